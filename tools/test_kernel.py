"""The C kernels under sanitizers, and built without Python's headers: each time their tests run with them.

    python -m tools.test_kernel

A violation (a read beyond an array, an overflow, an undefined shift) ends the tests at once.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tenon.native.build import KERNELS, LIBRARY, build, find_compiler

ROOT = Path(__file__).resolve().parent.parent
TESTS = {kernel: f"tests/unit/{Path(kernel).parent}" for kernel in KERNELS}
SANITIZE = (
    "-g",
    "-DTENON_SANITIZED",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)


def main() -> int:
    """Build each variant beside the installed one and test it; 1 when one fails."""
    if len(sys.argv) > 1:
        return _test(sys.argv[1], Path(sys.argv[2]))
    compiler = find_compiler()
    if compiler is None:
        sys.stderr.write("no C compiler was found\n")
        return 1
    status = 0
    for kernel in KERNELS:
        for name, more in (("sanitized", SANITIZE), ("without Python.h", ("-DTENON_NO_PYTHON_H",))):
            with tempfile.TemporaryDirectory() as folder:
                library = build(ROOT / kernel, compiler=compiler, target=Path(folder) / LIBRARY, more=more)
                environment = dict(os.environ)
                if more is SANITIZE:
                    # Python itself is not sanitized, so the run-time library must come first; what Python never frees
                    # is not ours. With plain malloc, objects of Python are watched as well.
                    runtime = subprocess.check_output([*compiler, "-print-file-name=libasan.so"], text=True).strip()
                    environment |= {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
                sys.stderr.write(f"{name}: {TESTS[kernel]}\n")
                command = [sys.executable, "-m", "tools.test_kernel", kernel, str(library)]
                status |= subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    return int(status != 0)


def _test(kernel: str, library: Path) -> int:
    """In the child: the tests, with this library in the place of the installed one."""
    name = f"{kernel.replace('/', '.')}._kernel"
    spec = importlib.util.spec_from_file_location(name, library)
    if spec is None or spec.loader is None:
        return 1
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return int(pytest.main(["-q", "-p", "no:cacheprovider", "--timeout=900", "--capture=sys", TESTS[kernel]]))


if __name__ == "__main__":
    sys.exit(main())
