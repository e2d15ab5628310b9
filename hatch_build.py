"""Build hook: compile the C kernels (tenon/native/build.py lists them) when Tenon is installed or packed into a wheel.

The machine's C compiler does it; where there is none, the one in the `ziglang` wheel, which is asked for only then.
Where neither can, the install goes on with a warning, and numpy computes: the same numbers, slower. The same when
TENON_WITHOUT_KERNEL=1 is set, for a machine without a compiler that cannot download one.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILDER = Path("tenon/native/build.py")
ZIGLANG = "ziglang>=0.13,<1"


class KernelBuildHook(BuildHookInterface[Any]):
    """Adds the libraries to the wheel, whose tag then names the platform; in an editable install they stay in place."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling on this machine."""
        return [] if _unwanted() or self._builder().find_compiler() else [ZIGLANG]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Called before the wheel is packed."""
        builder = self._builder()
        libraries = [Path(kernel) / builder.LIBRARY for kernel in builder.KERNELS]
        try:
            # An old one must not be packed when there can be no new one.
            for library in libraries:
                (Path(self.root) / library).unlink(missing_ok=True)
            if _unwanted():
                raise builder.CannotBuildError("TENON_WITHOUT_KERNEL is set")
            compiler = builder.find_compiler()
            for library in libraries:
                builder.build(Path(self.root) / library.parent, compiler=compiler)
        except (builder.CannotBuildError, OSError) as err:
            self.app.display_warning(f"The C kernels were not built; numpy will compute, slower. {err}")
            return
        build_data["artifacts"] += [f"/{library.as_posix()}" for library in libraries]
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{_platform()}"

    def _builder(self) -> ModuleType:
        # By its path: importing `tenon` needs what is not installed here.
        spec = importlib.util.spec_from_file_location("tenon_kernel_build", Path(self.root) / BUILDER)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(BUILDER)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def _unwanted() -> bool:
    return os.environ.get("TENON_WITHOUT_KERNEL", "") not in ("", "0")


def _platform() -> str:
    name = sysconfig.get_platform()
    if sys.platform == "darwin":
        # The compiler makes code for this processor only, whatever the interpreter holds.
        name = name.replace("universal2", platform.machine())
    return re.sub(r"[.-]", "_", name)
