"""What was sent a moment ago and may have to be sent again.

That Redis answered does not say that it keeps what it was given: it writes its file a moment later (`appendfsync
everysec`, which under load is up to two seconds), and a replica that takes over may be behind. So ranges count as kept
only when the very server that took them is still running some seconds later.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from services.predictor.storage.place import Sent

HELD_SECONDS = 10.0


class Trail:
    """Ranges of the spool by the time they were sent."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._sent: deque[tuple[float, Sent]] = deque()

    def __bool__(self) -> bool:
        return bool(self._sent)

    def add(self, sent: Sent) -> None:
        """A range was sent now."""
        if self._seconds > 0:
            self._sent.append((self._clock(), sent))

    def sent_again(self, ranges: Iterable[Sent]) -> None:
        """All of these, and nothing else, were sent now."""
        now = self._clock()
        self._sent = deque((now, sent) for sent in ranges)

    def ranges(self) -> list[Sent]:
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

    def needs(self, segment: int) -> bool:
        """Whether a segment, or one before it, is still needed."""
        return bool(self._sent) and self._sent[0][1].segment <= segment
