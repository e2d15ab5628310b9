"""Which versions were in effect when: what the endurance run holds every answer to."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import NamedTuple


class Window(NamedTuple):
    """A revision: from the moment its release was asked for to the moment its successor was read back from the replica.

    Both ends are the widest that can be known from outside; inside them the revision may have answered.
    """

    begins: float
    ends: float
    versions: frozenset[int]


class Answered(NamedTuple):
    """One answer: when it was sent and received, and the version it says."""

    model: str
    sent: float
    received: float
    version: int
    door: str


@dataclass
class Timeline:
    """The revisions of every model, in order."""

    _windows: dict[str, list[Window]] = field(default_factory=dict)

    def begin(self, model: str, asked: float, versions: frozenset[int]) -> None:
        """A release that was asked for at a moment; the one before stays possible until `settle`."""
        self._windows.setdefault(model, []).append(Window(asked, float("inf"), versions))

    def settle(self, model: str, read_back: float) -> None:
        """The newest release was seen in effect: whatever came before it cannot answer what is sent from now on."""
        windows = self._windows[model]
        for place in range(len(windows) - 1):
            if windows[place].ends == float("inf"):
                windows[place] = windows[place]._replace(ends=read_back)

    def allows(self, answer: Answered) -> bool:
        """Whether the version was in effect at some instant between send and receive."""
        windows = self._windows[answer.model]
        # Begins and ends both grow, so all that matters stands before the first window that begins too late.
        last = bisect.bisect_right(windows, answer.received, key=lambda window: window.begins)
        for window in reversed(windows[:last]):
            if window.ends < answer.sent:
                return False
            if answer.version in window.versions:
                return True
        return False

    def revisions(self) -> int:
        """How many there were."""
        return sum(map(len, self._windows.values()))
