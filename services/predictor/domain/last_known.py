"""The history that entities had when features was last asked: taken only when it cannot be asked, and only when it is
young enough."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Remembered:
    """One view of one entity. `at` is the time it was asked for (microseconds), `fetched` when, on the clock of this
    process (seconds); `known_until` and `data_until` as features said, None for nothing."""

    names: tuple[str, ...]
    values: npt.NDArray[Any]
    at: int
    fetched: float
    known_until: int | None
    data_until: int | None


class LastKnown:
    """A bounded memory: what was not fetched for longest is forgotten first, and what is older than anybody would take is not
    kept at all. Safe to use from many threads."""

    def __init__(self, entities: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = entities
        self._clock = clock
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Remembered] = OrderedDict()
        self._longest = 0.0

    def __len__(self) -> int:
        return len(self._found)

    def now(self) -> float:
        """The clock that `Remembered.fetched` is read from."""
        return self._clock()

    def keep(self, key: Hashable, found: Remembered, seconds: float) -> None:
        """Remember for so many seconds; forget what there is no room for, and what nobody would take any more."""
        with self._lock:
            self._longest = max(self._longest, seconds)
            self._found[key] = found
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
            since = found.fetched - self._longest
            # In the order of their fetching, so that the first that is young enough ends it.
            while self._found and next(iter(self._found.values())).fetched < since:
                self._found.popitem(last=False)

    def find(self, key: Hashable, at: int) -> tuple[Remembered, float] | None:
        """What is known, and how old that is for the time `at`: since it was fetched, or as far as the times asked for are
        apart, whichever is more."""
        with self._lock:
            found = self._found.get(key)
        if found is None:
            return None
        return found, max(self._clock() - found.fetched, abs(at - found.at) / 1e6)
