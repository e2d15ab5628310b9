"""Memory that is free goes back to the system; glibc keeps what large requests once needed."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable

_SECONDS = 10.0


class GiveBack:
    """Call it after large work; it acts once in ten seconds at most, and not at all where the system has no such call."""

    def __init__(self) -> None:
        self._last = -_SECONDS
        try:
            self._trim: Callable[[int], int] | None = ctypes.CDLL(None).malloc_trim
        except (AttributeError, OSError):
            self._trim = None

    def __call__(self) -> None:
        """Give back what is free; some milliseconds in which other threads run on."""
        now = time.monotonic()
        if self._trim is not None and now - self._last > _SECONDS:
            self._last = now
            self._trim(0)


def settle() -> None:
    """Leave what is there now out of later garbage collections, whose pauses become short, and give back what loading
    needed for a moment."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    GiveBack()()
