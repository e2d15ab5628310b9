"""From the spool to the stream, at least once, in batches whose ids are the same when they are sent again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import redis

from services.predictor.storage.place import Place, Sent
from services.predictor.storage.ranges import BREATH_SECONDS, CHUNK_BYTES, Entry, Range, Segments
from services.predictor.storage.spool import Spool
from services.predictor.storage.stream import StreamFull
from services.predictor.storage.trail import HELD_SECONDS, Trail
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_LARGE_CHUNK_BYTES = 512 << 10
"""Where records have many rows each: a record costs the interpreter the same, however many rows it has."""
_MANY_ROWS = 8
_SHOUT_SECONDS = 30.0
_LOOK_SECONDS = 1.0


class Stream(Protocol):
    """Where batches go."""

    def send(self, entries: Sequence[Entry]) -> None:
        """Append all. Raises `redis.RedisError` or `StreamFull`."""
        ...

    def run(self) -> str:
        """Which run of which server answers. Raises `redis.RedisError`."""
        ...


class Shipper:
    """Moves rows to the stream on a thread of its own, in small pieces: between them, answers have the interpreter.

    Before a range of a segment is sent, the range is written down: after a crash the very same batches with the very
    same ids are sent again, so that the reader can drop what it has. That it arrived is written down with the next range,
    or when there is none. For `held_seconds` the rows stay in the spool; when Redis was started again or another took its
    place meanwhile, and when this process was, these ranges are sent again as they were.
    """

    def __init__(
        self,
        spool: Spool,
        stream: Stream,
        *,
        pause_seconds: float = 0.2,
        held_seconds: float = HELD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        on_shipped: Callable[[int], object] = lambda _rows: None,
        on_failed: Callable[[], object] = lambda: None,
        on_full: Callable[[bool], object] = lambda _full: None,
    ) -> None:
        self._spool = spool
        self._stream = stream
        self._pause = pause_seconds
        self._on_shipped = on_shipped
        self._on_failed = on_failed
        self._on_full = on_full
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        segment, self._start, self._end = spool.place.load()
        self._at = Segments(spool, segment)
        self._arrived = False
        self._more = False
        self._chunk = CHUNK_BYTES
        self._shouted = -_SHOUT_SECONDS
        self._clock = clock
        self._trail: Trail[Sent] = Trail(held_seconds, clock)
        self._run: str | None = None
        self._looked = -_LOOK_SECONDS
        # Shipped to their ends, by this process or the one before it; kept for the trail's sake.
        self._finished = [number for number in spool.numbers() if number < segment]
        for sent in spool.place.sent(held_seconds):
            self._trail.add(sent)

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="shipper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ship what is there if Redis answers, then end."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def step(self) -> bool:
        """Ship one range; False when there was nothing. Raises `redis.RedisError` or `StreamFull`, and then nothing is lost."""
        numbers = self._spool.numbers()
        if self._at.number not in numbers:
            self._go_to(min((item for item in numbers if item > self._at.number), default=numbers[-1]))
        limit = self._spool.end(self._at.number)
        stop = limit if self._end is None else self._end
        size = min(self._chunk, stop - self._start) if self._end is None else stop - self._start
        part = self._at.read(self._start, size, stop)
        if not part.size:
            return self._nothing(closed=self._at.number != numbers[-1], limit=limit)
        if self._end is None:
            self._end = self._start + part.size
            self._save()
        elif self._start + part.size < self._end:
            log.error(
                "a part of a spool segment is damaged and is not shipped", bytes=self._end - self._start - part.size
            )
        rows = self._send(self._at, part)
        self._chunk = _LARGE_CHUNK_BYTES if rows > _MANY_ROWS * part.records else CHUNK_BYTES
        self._trail.add(Sent(self._at.number, self._start, self._end))
        self._start, self._end = self._end, None
        self._arrived = True
        self._spool.shipped(self._at.number, self._start)
        self._more = self._at.number != numbers[-1] or limit - self._start > self._chunk // 2
        self._on_shipped(rows)
        return True

    def settle(self) -> None:
        """Send again what Redis may have lost, and let go what it keeps. Raises as `step`, and then nothing is lost."""
        if (self._trail or self._run is None) and self._clock() - self._looked >= _LOOK_SECONDS:
            run = self._stream.run()
            if run == self._run:
                self._trail.settle()
            elif self._trail:
                self._send_again()
            self._run = run
            self._looked = self._clock()
            self._let_go()

    def _let_go(self) -> None:
        if self._spool.memory_bytes:
            # There is no disk to be had: what still waits needs the room more.
            self._trail.clear()
        oldest = self._trail.oldest
        while self._finished and (oldest is None or self._finished[0] < oldest.segment):
            self._spool.remove(self._finished.pop(0))

    def _send_again(self) -> None:
        there, ranges = set(self._spool.numbers()), self._trail.items()
        if self._run is not None:
            log.warning("Redis was started again; what it had been given last is sent again", ranges=len(ranges))
        at: Segments | None = None
        for number, start, end in ranges:
            if number not in there:
                continue
            if at is None or at.number != number:
                at = Segments(self._spool, number)
            self._send(at, at.read(start, end - start, end))
            time.sleep(BREATH_SECONDS)
        self._trail.sent_again(ranges)

    def _send(self, at: Segments, part: Range) -> int:
        entries, rows = at.entries(part)
        if entries:
            self._stream.send(entries)
        return rows

    def _go_to(self, number: int) -> None:
        self._at.go_to(number)
        self._start, self._end = 0, None

    def _nothing(self, *, closed: bool, limit: int) -> bool:
        """There is no whole record behind the place."""
        if self._arrived:
            self._save()
        if not closed:
            return False
        if self._start < limit:
            log.error("the rest of a spool segment is damaged and is not shipped", bytes=limit - self._start)
        self._finished.append(self._at.number)
        self._spool.rest(self._at.number)
        self._go_to(self._at.number + 1)
        self._spool.shipped(self._at.number, 0)
        self._let_go()
        self._more = True
        return True

    def _loop(self) -> None:
        failures = 0
        while True:
            ending = self._ending.is_set()
            try:
                self.settle()
                # What came while a range was sent is not sent at once, or under load each range would be a row or two.
                while self.step():
                    if failures:
                        failures = 0
                        self._on_full(False)
                    if not (ending or self._more):
                        break
                    time.sleep(BREATH_SECONDS)
                    # A long way back to the front must neither fill the disk nor pass over a Redis that was started again.
                    self.settle()
                if ending:
                    return
                # Rows that come within a moment travel together; those that only this process has go at once.
                self._ending.wait(0.01 if self._spool.memory_bytes else self._pause)
            except (redis.RedisError, StreamFull) as err:
                failures += 1
                self._on_failed()
                self._on_full(isinstance(err, StreamFull))
                if time.monotonic() - self._shouted > _SHOUT_SECONDS:
                    self._shouted = time.monotonic()
                    if isinstance(err, StreamFull):
                        log.error("predictions wait in the spool: the stream is full", error=str(err))  # noqa: TRY400
                    else:
                        log.warning("predictions wait in the spool: Redis does not answer", error=str(err))
                if ending:
                    return
                self._ending.wait(min(2.0, 0.25 * 2 ** min(failures, 5)) * random.uniform(0.75, 1.25))
            except Exception:
                # A background loop is a door: what cannot be foreseen is logged and tried again.
                failures += 1
                self._on_failed()
                log.exception("shipping predictions failed", failures=failures)
                if ending:
                    return
                self._ending.wait(min(30.0, 2.0 ** min(failures, 5)))

    def _save(self) -> None:
        self._spool.place.save(Place(self._at.number, self._start, self._end))
        self._arrived = False
