"""What earlier processes left in the folder of a spool."""

from __future__ import annotations

import os
from pathlib import Path

from services.predictor.storage.records import end_of
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

SUFFIX = ".log"
_FORMER = (".spool", ".rows")


def leftovers(folder: Path, first: int) -> dict[int, int]:
    """The segments that are not shipped yet, and how many bytes of each are whole records; before segment `first` all was
    shipped. What was only reserved is given back; a former format is refused aloud and kept."""
    for path in folder.glob("spare*"):
        path.unlink(missing_ok=True)
    found: dict[int, int] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if not path.stem.isdecimal():
            continue
        number = int(path.stem)
        if number < first:
            # It was shipped, but could not be deleted then.
            path.unlink()
            continue
        found[number] = end_of(path.read_bytes(), number)
        if path.stat().st_size > found[number]:
            os.truncate(path, found[number])
    refused = [path for suffix in _FORMER for path in folder.glob(f"*{suffix}")]
    if refused:
        log.error(
            "the prediction spool has segments in a former format, which are not shipped: let the version that wrote them "
            "ship them, or delete them",
            segments=len(refused),
            bytes=sum(path.stat().st_size for path in refused),
        )
    return found
