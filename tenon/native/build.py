"""Build Tenon's C kernels in place: `python -m tenon.native.build` (installing Tenon does it by itself).

A kernel is a folder of C sources with a `module.c`; beside it appears its library. Only the standard library: the build
hook runs this file where nothing of Tenon is installed.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = "_kernel.abi3.so"
KERNELS = ("tenon/bundle/kernel", "tenon/windows/kernel", "tenon/histograms/kernel")
"""Every kernel's folder, from the root of the project."""
# Fused or reordered arithmetic would change last bits; the answers are those of XGBoost.
FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra")
ZIG = ("-m", "ziglang", "cc")
_TRIAL = "#include <math.h>\n#include <stdlib.h>\nfloat trial(float x) { return expf(x); }\n"


class CannotBuildError(Exception):
    """Why there is no library; its text is for whoever installs."""


def digest_of_sources(folder: Path) -> str:
    """What a library built from these sources carries in it, so that an old one is never taken for a new one."""
    digest = hashlib.sha256()
    for path in (HERE / "abi.h", *sorted(folder.glob("*.[ch]"))):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def find_compiler() -> list[str] | None:
    """The first of $CC, cc, gcc and clang that makes a library here; None when none does."""
    named = shlex.split(os.environ.get("CC", ""))
    for candidate in (named, ["cc"], ["gcc"], ["clang"]):
        if candidate and shutil.which(candidate[0]) and _works(candidate):
            return candidate
    return None


def build(
    folder: Path, *, compiler: Sequence[str] | None = None, target: Path | None = None, more: Sequence[str] = ()
) -> Path:
    """Compile a kernel to `target` (left out: beside its sources), which appears whole or not at all.

    Raises `CannotBuildError`.
    """
    target = target or folder / LIBRARY
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise CannotBuildError("it is made for CPython with its global lock")
    command = list(compiler or find_compiler() or _zig())
    headers = [
        path for path in map(sysconfig.get_path, ("include", "platinclude")) if (Path(path) / "Python.h").is_file()
    ]
    # A system's Python may come without its headers; the few declarations of the stable ABI that we use, we have.
    include = [f"-I{path}" for path in dict.fromkeys(headers)] or ["-DTENON_NO_PYTHON_H"]
    platform = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    # Zig would otherwise compile for this very processor; a wheel may go elsewhere.
    platform += ["-mcpu=baseline"] if "ziglang" in command else []
    include.append(f"-I{HERE}")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as temporary:
        made = Path(temporary) / LIBRARY
        define = f'-DTENON_SOURCE="{digest_of_sources(folder)}"'
        source = str(folder / "module.c")
        _run([*command, *FLAGS, *platform, *include, define, *more, source, "-o", str(made), "-lm"])
        made.replace(target)
    return target


def _zig() -> list[str]:
    command = [sys.executable, *ZIG]
    if not _works(command):
        raise CannotBuildError("no C compiler was found ($CC, cc, gcc, clang, or the ziglang package)")
    return command


def _works(command: Sequence[str]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "trial.c"
        source.write_text(_TRIAL)
        try:
            _run([*command, "-shared", "-fPIC", str(source), "-o", str(source.with_suffix(".so")), "-lm"])
        except CannotBuildError:
            return False
    return True


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as err:
        raise CannotBuildError(f"{command[0]} did not run: {err}") from err
    if done.returncode != 0:
        raise CannotBuildError(f"{shlex.join(command)} failed:\n{done.stderr[-4000:]}")


def main() -> int:
    """Build every kernel in place, and say what was built."""
    for kernel in KERNELS:
        try:
            build(HERE.parent.parent / kernel)
        except CannotBuildError as err:
            sys.stderr.write(f"{kernel} was not built: {err}\n")
            return 1
        sys.stdout.write(f"built {kernel}/{LIBRARY}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
