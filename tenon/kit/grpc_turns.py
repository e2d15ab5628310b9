"""Turns of callers: while more than one asks, their calls are answered in a circle over them instead of as they came."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_WINDOW_SECONDS = 2.0
MOST_IN_LINE = 1000


class Company:
    """Who asked in the last seconds. Belongs to one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now: set[str] = set()
        self._before: set[str] = set()
        self._until = 0.0
        self._crowded = False

    def seen(self, who: str) -> bool:
        """Note a caller; gives whether there is another one."""
        now = self._clock()
        if now > self._until:
            # After a long rest nobody of before is there any more.
            self._before = self._now if now < self._until + _WINDOW_SECONDS else set()
            self._now = set()
            self._until = now + _WINDOW_SECONDS
        if who not in self._now:
            self._now.add(who)
            self._crowded = len(self._now | self._before) > 1
        return self._crowded


class Circle:
    """One thread that takes one piece of work of each caller after the other."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Callable[[], None]]] = {}
        self._changed = threading.Condition()
        self._started = False

    def add(self, who: str, work: Callable[[], None]) -> bool:
        """Do it when it is the caller's turn; False when too much of this caller waits already."""
        with self._changed:
            line = self._lines.setdefault(who, deque())
            if len(line) >= MOST_IN_LINE:
                return False
            line.append(work)
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name="grpc-turns", daemon=True).start()
            self._changed.notify()
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._changed.wait()
                who = next(iter(self._lines))
                line = self._lines.pop(who)
                work = line.popleft()
                if line:
                    # To the end of the circle.
                    self._lines[who] = line
            try:
                work()
            except Exception:
                # The door: one call must not end the thread that answers all of them.
                log.exception("a call could not be answered in its turn")
