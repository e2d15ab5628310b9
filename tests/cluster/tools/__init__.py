"""The tools that tests of the cluster need: found on the PATH where the version suits, else as built by
`python -m tests.cluster.tools` (`make cluster-tools`) into a folder outside the tree. Asking never builds: that takes minutes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from tests.cluster.tools.build import Unavailable, find, manifest_files

__all__ = ["manifests", "tool"]


def tool(name: str) -> str:
    """The path of a tool; without it the test is skipped, or fails where CI is set and the tools were to be had."""
    found = find(name)
    if found is None:
        _cannot(f"{name} is not here in a version that suits: `make cluster-tools` builds it")
    return str(found)


def manifests(name: str) -> list[Path]:
    """The files of some custom resource definitions; skipped or failed as above."""
    try:
        return manifest_files(name)
    except Unavailable as err:
        _cannot(str(err))


def _cannot(reason: str) -> NoReturn:
    # .ci/run sets the second where the tools cannot be built at all (no Go, no network), and says so at length.
    if os.environ.get("CI") and not os.environ.get("TENON_WITHOUT_CLUSTER_TOOLS"):
        pytest.fail(reason)
    pytest.skip(reason)
