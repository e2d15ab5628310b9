"""Build the compiled evaluator in place: `python -m tenon.bundle.kernel.build`; see `tenon.native.build`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from tenon.native import build as native
from tenon.native.build import LIBRARY, CannotBuildError, find_compiler

__all__ = ["FOLDER", "LIBRARY", "CannotBuildError", "build", "digest_of_sources", "find_compiler"]

FOLDER = Path(__file__).resolve().parent

build = functools.partial(native.build, FOLDER)


def digest_of_sources(folder: Path = FOLDER) -> str:
    """What a library built from these sources carries in it."""
    return native.digest_of_sources(folder)


if __name__ == "__main__":
    sys.stdout.write(f"built {build().name}\n")
