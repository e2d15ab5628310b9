"""Turns at an event loop: while more than one tenant asks, each gets one request in before any gets its second.

Nothing waits while only one tenant asks. Otherwise the first request of a tenant in a turn of the loop runs at once and its
others line up; a few of those, taken in a circle over the tenants, run in each following turn. So a tenant that keeps 64
connections busy waits for itself, and one that asks now and then waits for a few requests of the others at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

Run = Callable[[], None]


class Loop(Protocol):
    """What is needed of an event loop."""

    def call_soon(self, callback: Callable[..., object], /) -> object:
        """Run in the next turn."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], /) -> object:
        """Run later."""
        ...


class Turns:
    """See the module. Belongs to one loop and its thread."""

    def __init__(self, *, each_turn: int = 4, most_waiting: int = 256, window_seconds: float = 2.0) -> None:
        self._each_turn = each_turn
        self._most = most_waiting
        self._window = window_seconds
        self._loop: Loop | None = None
        self._now: set[str] = set()
        self._before: set[str] = set()
        self._went: set[str] = set()
        self._lines: dict[str, deque[Run]] = {}
        self._turning = False
        self.crowded = False
        """Whether more than one tenant asks."""

    def begin(self, loop: Loop) -> None:
        """The loop; without one nobody waits."""
        self._loop = loop

    @property
    def waiting(self) -> int:
        """Requests in line."""
        return sum(map(len, self._lines.values()))

    def seen(self, tenant: str) -> bool:
        """Note that a tenant asks; gives whether more than one does."""
        if tenant not in self._now and self._loop is not None:
            if not self._now and not self._before:
                self._loop.call_later(self._window, self._shift)
            self._now.add(tenant)
            self.crowded = len(self._now | self._before) > 1
        return self.crowded

    def go(self, tenant: str) -> bool:
        """Whether a request may run at once."""
        if not self.seen(tenant):
            return True
        if tenant in self._went:
            return False
        self._went.add(tenant)
        self._turn_soon()
        return True

    def line_up(self, tenant: str, run: Run) -> bool:
        """Run when it is the tenant's turn; False when its line is too long already."""
        line = self._lines.setdefault(tenant, deque())
        if len(line) >= self._most:
            return False
        line.append(run)
        self._turn_soon()
        return True

    def _turn_soon(self) -> None:
        if not self._turning and self._loop is not None:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        # Who waits in line has had its turn with that; who does not may go at once.
        self._went = set(self._lines)
        for _ in range(self._each_turn):
            if not self._lines:
                break
            tenant = next(iter(self._lines))
            line = self._lines.pop(tenant)
            run = line.popleft()
            if line:
                # To the end of the circle.
                self._lines[tenant] = line
            run()
        if self._lines or self._went:
            self._turn_soon()

    def _shift(self) -> None:
        self._before, self._now = self._now, set()
        self.crowded = len(self._before) > 1
        if self._before and self._loop is not None:
            self._loop.call_later(self._window, self._shift)
