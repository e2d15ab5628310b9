"""Other servers that the predictor is compared with; `make bench-peers` installs them."""

from __future__ import annotations

from pathlib import Path

from tests.support.environments import CACHE

HOME = CACHE / "peers"


def installed(name: str) -> Path | None:
    """The Python of a peer that `make bench-peers` installed, if it did."""
    python = HOME / name / "bin" / "python"
    return python if python.exists() else None
