"""The C kernels are the same program whichever compiler makes them: the machine's, or the one of the ziglang package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tenon.native.build import KERNELS, LIBRARY, build, find_compiler
from tests.support.service_process import ROOT

TESTS = ("tests/unit/tenon/bundle/test_bundle_kernel.py", "tests/unit/tenon/windows/test_windows.py")
ZIGLANG = (sys.executable, "-m", "ziglang", "cc")


@pytest.mark.parametrize("compiler", [None, ZIGLANG], ids=["machine", "ziglang"])
def test_kernels_of_either_compiler_pass_the_kernels_tests(tmp_path: Path, compiler: Sequence[str] | None) -> None:
    """Images are built without a C compiler of the system: what ziglang makes must give the same bits."""
    if compiler is None and find_compiler() is None:
        pytest.skip("this machine has no C compiler of its own")
    shutil.copytree(ROOT / "tenon", tmp_path / "tenon", ignore=shutil.ignore_patterns(LIBRARY, "__pycache__"))
    for test in TESTS:
        (tmp_path / test).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / test, tmp_path / test)
    for kernel in KERNELS:
        build(tmp_path / kernel, compiler=compiler)
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", *TESTS],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=240, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert "skipped" not in told.stdout
    modules = [f"{kernel}/_kernel".replace("/", ".") for kernel in map(str, KERNELS)]
    where = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]))"
    loaded = subprocess.run(
        [sys.executable, "-c", where, *modules], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=180, check=True,
    ).stdout  # fmt: skip
    assert loaded.split() == [str(tmp_path / kernel / LIBRARY) for kernel in KERNELS]
