"""From the spool to the stream, at least once, in batches whose ids are the same when they are sent again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import redis

from services.predictor.storage.place import Place
from services.predictor.storage.records import Run, parts_of
from services.predictor.storage.spool import Spool
from services.predictor.storage.stream import StreamFull
from tenon.kit.prediction_batches import pack_batch
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_CHUNK_BYTES = 128 << 10
_LARGE_CHUNK_BYTES = 512 << 10
"""Where records have many rows each: a record costs the interpreter the same, however many rows it has."""
_MANY_ROWS = 8
_BREATH_SECONDS = 0.0005
_SHOUT_SECONDS = 30.0

Entry = Mapping[str, bytes]


class Stream(Protocol):
    """Where batches go."""

    def send(self, entries: Sequence[Entry]) -> None:
        """Append all. Raises `redis.RedisError` or `StreamFull`."""
        ...


class Shipper:
    """Moves rows to the stream on a thread of its own, in small pieces: between them, answers have the interpreter.

    Before a range of a segment is sent, the range is written down: after a crash the very same batches with the very
    same ids are sent again, so that the reader can drop what it has. That it arrived is written down with the next range,
    or when there is none.
    """

    def __init__(
        self,
        spool: Spool,
        stream: Stream,
        *,
        pause_seconds: float = 0.2,
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
        self._segment, self._start, self._end = spool.place.load()
        self._reader = self._spool.reader(self._segment)
        self._read_to = 0
        self._arrived = False
        self._more = False
        self._chunk = _CHUNK_BYTES
        self._shouted = -_SHOUT_SECONDS

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
        if self._segment not in numbers:
            self._go_to(min((item for item in numbers if item > self._segment), default=numbers[-1]))
        limit = self._spool.end(self._segment)
        self._learn()
        stop = limit if self._end is None else self._end
        size = min(self._chunk, stop - self._start) if self._end is None else stop - self._start
        data = self._spool.read(self._segment, self._start, self._start + size)
        whole, found = self._reader.scan(data)
        if not whole and size < stop - self._start:
            # One record alone is larger than a chunk.
            data = self._spool.read(self._segment, self._start, stop)
            whole, found = self._reader.scan(data, most=1)
        if not whole:
            return self._nothing(closed=self._segment != numbers[-1], limit=limit)
        if self._end is None:
            self._end = self._start + whole
            self._save()
        elif self._start + whole < self._end:
            log.error("a part of a spool segment is damaged and is not shipped", bytes=self._end - self._start - whole)
        rows = self._send(data, found)
        records = sum(run.records for runs in found.values() for run in runs)
        self._chunk = _LARGE_CHUNK_BYTES if rows > _MANY_ROWS * records else _CHUNK_BYTES
        self._start, self._end = self._end, None
        self._read_to = self._start
        self._arrived = True
        self._spool.shipped(self._segment, self._start)
        self._more = self._segment != numbers[-1] or limit - self._start > self._chunk // 2
        self._on_shipped(rows)
        return True

    def _go_to(self, number: int) -> None:
        self._segment, self._start, self._end = number, 0, None
        self._reader, self._read_to = self._spool.reader(number), 0

    def _learn(self) -> None:
        """After a restart within a segment: what its rows have in common stands before the place."""
        while self._read_to < self._start:
            data = self._spool.read(self._segment, self._read_to, self._start)[: 4 * _CHUNK_BYTES]
            whole, _ = self._reader.scan(data)
            if not whole:
                data = self._spool.read(self._segment, self._read_to, self._start)
                whole, _ = self._reader.scan(data, most=1)
            if not whole:
                break
            self._read_to += whole
            time.sleep(_BREATH_SECONDS)

    def _nothing(self, *, closed: bool, limit: int) -> bool:
        """There is no whole record behind the place."""
        if self._arrived:
            self._save()
        if not closed:
            return False
        if self._start < limit:
            log.error("the rest of a spool segment is damaged and is not shipped", bytes=limit - self._start)
        self._spool.remove(self._segment)
        self._go_to(self._segment + 1)
        self._spool.shipped(self._segment, 0)
        self._more = True
        return True

    def _send(self, data: bytes, found: Mapping[int, list[Run]]) -> int:
        entries, total = [], 0
        for slot, runs in found.items():
            shape = self._reader.shapes[slot]
            for index, part in enumerate(parts_of(runs, shape.one.itemsize)):
                rows, texts = self._reader.rows(data, slot, part)
                batch_id = f"{shape.about['replica']}-{self._segment}-{self._start}-{slot}-{index}"
                entries.append(pack_batch({"batch_id": batch_id, **shape.about}, rows, texts))
                total += len(rows) // shape.one.itemsize
        if entries:
            self._stream.send(entries)
        return total

    def _loop(self) -> None:
        failures = 0
        while True:
            ending = self._ending.is_set()
            try:
                # What came while a range was sent is not sent at once, or under load each range would be a row or two.
                while self.step():
                    if failures:
                        failures = 0
                        self._on_full(False)
                    if not (ending or self._more):
                        break
                    time.sleep(_BREATH_SECONDS)
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
        self._spool.place.save(Place(self._segment, self._start, self._end))
        self._arrived = False
