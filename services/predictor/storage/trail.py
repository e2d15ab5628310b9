"""What was sent a moment ago and may have to be sent again.

That Redis answered does not say that it keeps what it was given: it writes its file a moment later (`appendfsync
everysec`, which under load is up to two seconds), and a replica that takes over may be behind. So it counts as kept
only when the very server that took them is still running some seconds later (decision 17).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

HELD_SECONDS = 10.0


Sent = TypeVar("Sent")


class Trail(Generic[Sent]):
    """What was sent, by the time when it was."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._sent: deque[tuple[float, Sent]] = deque()

    def __bool__(self) -> bool:
        return bool(self._sent)

    def add(self, sent: Sent) -> None:
        """It was sent now."""
        if self._seconds > 0:
            self._sent.append((self._clock(), sent))

    def sent_again(self, items: Iterable[Sent]) -> None:
        """All of these, and nothing else, were sent now."""
        now = self._clock()
        self._sent = deque((now, sent) for sent in items)

    def items(self) -> list[Sent]:
        """What may have to be sent again, oldest first."""
        return [sent for _, sent in self._sent]

    def clear(self) -> None:
        """Nothing of it is sent again."""
        self._sent.clear()

    def settle(self) -> None:
        """The server that took all of it still runs: what it has had for long enough is safe."""
        oldest = self._clock() - self._seconds
        while self._sent and self._sent[0][0] <= oldest:
            self._sent.popleft()

    @property
    def oldest(self) -> Sent | None:
        """What was sent first of all that may have to be sent again."""
        return self._sent[0][1] if self._sent else None
