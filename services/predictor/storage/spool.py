"""The prediction log's local spool: append-only segments that are written before an answer leaves.

A record is a length, a CRC-32 and JSON; it is in the operating system's hands before the answer is, so the end of the
process at any instant loses nothing that was answered. `sync` brings it to the disk a few times a second, which bounds
what the end of the whole machine can lose. A record cut short at the end of a segment was never answered.
"""

from __future__ import annotations

import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from services.predictor.domain.logged import Logged, id_texts
from services.predictor.domain.model import Source
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_HEADER = struct.Struct("<II")
_SUFFIX = ".spool"


class Spool:
    """Appends records; a `Shipper` reads them again. Safe to use from many threads."""

    def __init__(
        self,
        folder: Path,
        replica: str,
        *,
        max_bytes: int,
        segment_bytes: int = 8 << 20,
        on_dropped: Callable[[int], None] = lambda _rows: None,
        on_size: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self.folder = folder
        self.wake = threading.Event()
        self._replica = replica
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._on_dropped = on_dropped
        self._on_size = on_size
        self._lock = threading.Lock()
        self._shouted = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        sizes = {number: self.path(number).stat().st_size for number in self.segments()}
        self._total = sum(sizes.values())
        # A new process never writes behind the end of another one, which may be cut short.
        self._number = max(sizes, default=0) + 1
        self._size = 0
        self._fd = self._open(self._number)
        self._dirty = False

    def append(self, entries: Sequence[Logged]) -> None:
        """See `PredictionLog`."""
        data = b"".join(frame(self._encode(entry)) for entry in entries)
        rows = sum(entry.rows for entry in entries)
        with self._lock:
            if self._total + len(data) > self._max_bytes:
                self._drop(rows, "the prediction spool is full; answers are not logged until it drains")
                return
            try:
                if self._size and self._size + len(data) > self._segment_bytes:
                    self._rotate()
                written = os.write(self._fd, data)
                if written != len(data):
                    # The disk is full: take the piece back, so that the next record begins where a record may.
                    os.ftruncate(self._fd, self._size)
                    self._drop(rows, "the disk is full; answers are not logged")
                    return
            except OSError as err:
                self._drop(rows, f"the prediction spool cannot be written: {err.strerror}")
                return
            self._size += len(data)
            self._total += len(data)
            self._dirty = True
        self.wake.set()

    def append_row(
        self,
        source: Source,
        request_id: str,
        prediction_id: bytes,
        at: int,
        event_time: int,
        score: float,
        numbers: Sequence[float],
    ) -> None:
        """See `PredictionLog`."""
        self.append([Logged(source, request_id, prediction_id, at, [event_time], [score], list(numbers))])

    def sync(self) -> None:
        """Bring what was written to the disk."""
        with self._lock:
            if not self._dirty:
                return
            self._dirty = False
            fd = os.dup(self._fd)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        with self._lock:
            os.close(self._fd)

    def segments(self) -> list[int]:
        """The numbers of all segments on disk, oldest first."""
        return sorted(int(path.stem) for path in self.folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal())

    def path(self, number: int) -> Path:
        """The file of a segment."""
        return self.folder / f"{number:012d}{_SUFFIX}"

    def end(self) -> tuple[int, int]:
        """The segment that is being written and how many of its bytes are complete."""
        with self._lock:
            return self._number, self._size

    def remove(self, number: int) -> None:
        """Delete a segment that was shipped; never the one that is being written."""
        with self._lock:
            if number >= self._number:
                return
            path = self.path(number)
            try:
                size = path.stat().st_size
                path.unlink()
            except OSError:
                return
            self._total -= size
            self._on_size(self._total)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._total

    def _encode(self, entry: Logged) -> bytes:
        source = entry.source
        return orjson.dumps(
            {
                "replica": self._replica,
                "tenant": source.tenant.value,
                "model": source.model,
                "version": source.version,
                "role": source.role.value,
                "protocol": source.protocol,
                "level": source.level,
                "request_id": entry.request_id,
                "prediction_id": id_texts(entry.ids),
                "at": entry.at,
                "event_time": entry.event_time,
                # orjson writes NaN as null, which is what the log wants.
                "score": entry.scores if isinstance(entry.scores, list) else entry.scores.tolist(),
                "columns": {name: values.tolist() for name, values in entry.columns.items()},
            }
        )

    def _open(self, number: int) -> int:
        return os.open(self.path(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _rotate(self) -> None:
        fresh = self._open(self._number + 1)
        if self._dirty:
            os.fsync(self._fd)
        os.close(self._fd)
        self._fd, self._number, self._size = fresh, self._number + 1, 0

    def _drop(self, rows: int, message: str) -> None:
        self._on_dropped(rows)
        if time.monotonic() - self._shouted > 10:
            self._shouted = time.monotonic()
            log.error(message, spool_bytes=self._total, cap_bytes=self._max_bytes)


def frame(payload: bytes) -> bytes:
    """A record as it stands in a segment."""
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def records(data: bytes) -> Iterator[tuple[int, Any]]:
    """(end offset, record) of each whole record; stops at the first that is cut short or damaged."""
    place = 0
    while place + _HEADER.size <= len(data):
        length, crc = _HEADER.unpack_from(data, place)
        end = place + _HEADER.size + length
        payload = data[place + _HEADER.size : end]
        if end > len(data) or zlib.crc32(payload) != crc:
            return
        yield end, orjson.loads(payload)
        place = end
