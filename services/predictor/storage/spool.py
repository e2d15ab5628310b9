"""The prediction log's local spool: segments that are written before an answer leaves.

What was appended is in the operating system's hands, so the end of the process at any instant loses nothing that was
answered; `sync` brings it to the disk a few times a second, which bounds what the end of the whole machine can lose. When
the disk is full or the spool at its cap, segments lie in memory for a while and a `Shipper` sends those at once; only what
does not fit there either is dropped, counted and shouted about.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from services.predictor.domain.logged import Logged
from services.predictor.domain.model import Source
from services.predictor.storage import segments
from services.predictor.storage.leftovers import SUFFIX, leftovers
from services.predictor.storage.place import PlaceFile
from services.predictor.storage.records import HEAD, SegmentReader, Slot, width_of
from services.predictor.storage.segments import Segment
from services.predictor.storage.trail import HELD_SECONDS
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_SHOUT_SECONDS = 10.0
_SPARES = 2
_LAG = 1  # A full segment that more than so many leave before is not held in memory until its turn.


class Spool:
    """Appends rows; a `Shipper` reads them again. Safe to use from many threads."""

    def __init__(
        self,
        folder: Path,
        replica: str,
        *,
        max_bytes: int,
        segment_bytes: int = 2 << 20,
        memory_bytes: int = 16 << 20,
        mapped: bool | None = None,
        held_seconds: float = HELD_SECONDS,
        on_dropped: Callable[[int], object] = lambda _rows: None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._replica = replica
        self._max_bytes = max_bytes
        self._segment_bytes = max(4096, min(segment_bytes, max_bytes // 8))
        self._memory_bytes = memory_bytes
        self._mapped = segments.reserves(folder) if mapped is None else mapped
        self._on_dropped = on_dropped
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._shouted: dict[str, float] = {}
        self.place = PlaceFile(folder / "shipped.place")
        begin = self.place.load()
        self._shipped = (begin.segment, begin.start)
        self._mark = self._synced = self._shipped
        # Segments that are complete, by number: the bytes used of each.
        self._closed = leftovers(
            folder, min([begin.segment, *(sent.segment for sent in self.place.sent(held_seconds))])
        )
        self._disk = sum(self._closed.values())
        self._memory: dict[int, Segment] = {}
        self._retired: list[tuple[Segment, int]] = []
        self._spares: list[Segment] = []
        self._named = -1
        self._no_disk_until = 0.0
        self._ended = False
        # A new process never writes behind the end of another one, which may be cut short.
        self._number = max([begin.segment, *self._closed])
        self._first = self._number + 1
        self._slots: dict[tuple[Source, int], Slot] = {}
        # By the length of the request's id: what a row of numbers is written with.
        self._quick: dict[Source, dict[int, tuple[int, int, Any, Any]]] = {}
        self._segment = segments.in_memory(0)
        self._buffer, self._place, self._limit = self._segment.buffer, 0, 0
        with self._lock:
            self._rotate(0)

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
        text = request_id.encode("utf-8", "replace")
        with self._lock:
            slots = self._quick.get(source)
            found = None if slots is None else slots.get(len(text))
            if found is not None:
                number, size, pack, put = found
                place = self._place
                end = place + size
                if end <= self._limit:
                    body = pack(number, 1, at, text, prediction_id, event_time, score, *numbers)
                    put(self._buffer, place, size, crc32(body, self._number), body)
                    self._place = end
                    return
            self._append_slowly(source, text, prediction_id, at, event_time, score, numbers)

    def append(self, entries: Sequence[Logged]) -> None:
        """See `PredictionLog`."""
        for entry in entries:
            text = entry.request_id.encode("utf-8", "replace")
            key = (entry.source, width_of(text))
            while True:
                with self._lock:
                    slot = self._slots.get(key) or self._room(key, 0)
                if slot is None:
                    self._drop(entry.rows)
                    break
                # Beside the lock, for a large answer must not keep small ones waiting.
                data = b"".join(slot.records(entry, text))
                with self._lock:
                    if self._slots.get(key) is slot:
                        if self._place + len(data) <= self._limit and self._write(data):
                            break
                        if self._room(key, len(data)) is None:
                            self._drop(entry.rows)
                            break

    def sync(self) -> None:
        """Bring to the disk what was written before the last call and has not left since, and have a segment ready for when
        this one is full. What has left needs no disk any more. Raises `OSError`."""
        with self._syncing:
            with self._lock:
                current, retired, self._retired = self._segment, self._retired, []
                kept: list[tuple[Segment, int]] = []
                is_behind = max(self._shipped, self._synced) < self._mark
                self._mark = mark = (current.number, self._place)
                wanted = not self._spares
            try:
                while retired:
                    segment, used = retired.pop()
                    if not is_behind or self._shipped >= (segment.number, used):
                        kept.append((segment, used))
                    else:
                        segment.close(used)
                if is_behind:
                    if current.path is not None:
                        current.sync()
                        if self._named != current.number:
                            # A file that is used again has a new name, of which the disk hears only by its folder.
                            segments.sync_names(self._folder)
                            self._named = current.number
                    self._synced = mark
            finally:
                with self._lock:
                    self._retired += [*retired, *kept]
            if wanted:
                self._prepare()

    def close(self) -> None:
        """Sync and close."""
        with self._syncing, self._lock:
            self._ended = True
            for segment, used in [*self._retired, (self._segment, self._place)]:
                # Also when it was shipped: the next process looks at no more than there is.
                segment.close(used)
            if not self._place and self._segment.path is not None:
                self._segment.path.unlink(missing_ok=True)
            for spare in self._spares:
                spare.release()
                if spare.path is not None:
                    spare.path.unlink(missing_ok=True)
            self._slots, self._quick, self._retired, self._spares, self._limit = {}, {}, [], [], 0
            self.place.close()

    def numbers(self) -> list[int]:
        """The segments that hold something or may, oldest first; the last is the one that is being written."""
        with self._lock:
            return [*sorted(self._closed), self._segment.number]

    def end(self, number: int) -> int:
        """How many bytes of a segment are complete records."""
        with self._lock:
            return self._place if number == self._segment.number else self._closed[number]

    def reader(self, number: int) -> SegmentReader:
        """What understands a segment."""
        return SegmentReader(number, checked=number < self._first)

    def read(self, number: int, start: int, end: int) -> bytes:
        """A piece of a segment. Raises `OSError`."""
        with self._lock:
            segment = self._memory.get(number)
            if segment is not None:
                return bytes(memoryview(segment.buffer)[start:end])  # type: ignore[arg-type]
        with self.path(number).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), end - start, start)

    def remove(self, number: int) -> None:
        """Delete a segment that was shipped, or use its file again; never the one that is being written."""
        with self._syncing, self._lock:
            used = self._closed.pop(number, None)
            if used is None or self._memory.pop(number, None) is not None:
                return
            self._disk -= used
            for place, (segment, _) in enumerate(self._retired):
                if segment.number == number:
                    del self._retired[place]
                    if self._use_again(segment):
                        return
                    segment.release()
                    break
            with contextlib.suppress(OSError):
                self.path(number).unlink()

    def rest(self, number: int) -> None:
        """A segment was shipped and is kept for a moment: nobody need have it in memory meanwhile."""
        with self._lock:
            for segment, _ in self._retired:
                if segment.number == number:
                    segment.unburden()

    def shipped(self, number: int, place: int) -> None:
        """Everything before this place has left."""
        self._shipped = (number, place)

    def path(self, number: int) -> Path:
        """The file of a segment."""
        return self._folder / f"{number:012d}{SUFFIX}"

    @property
    def waiting_bytes(self) -> int:
        """Of the log, what has not left; on disk or in memory."""
        with self._lock:
            number, place = self._shipped
            ends = {**self._closed, self._segment.number: self._place}
            return sum(end - (place if item == number else 0) for item, end in ends.items() if item >= number)

    @property
    def memory_bytes(self) -> int:
        """Of that, what only this process has: more than nothing is an alarm."""
        with self._lock:
            number, place = self._shipped
            ends = {**self._closed, self._segment.number: self._place}
            return sum(ends[item] - (place if item == number else 0) for item in self._memory if item >= number)

    def _spare_path(self, number: int) -> Path:
        return self._folder / f"spare-{number}"

    def _use_again(self, segment: Segment) -> bool:
        """Keep a file whose rows have left: its pages are in memory and its blocks reserved, so that writing it costs least."""
        if len(self._spares) >= _SPARES or segment.limit != self._segment_bytes or self._ended or segment.path is None:
            return False
        path = self._spare_path(segment.number)
        try:
            segment.path.rename(path)
        except OSError:
            return False
        segment.path = path
        self._disk += segment.limit
        self._spares.append(segment)
        return True

    def _append_slowly(
        self,
        source: Source,
        text: bytes,
        prediction_id: bytes,
        at: int,
        event_time: int,
        score: float,
        numbers: Sequence[float],
    ) -> None:
        """The first row of a source in a segment, and every row where segments are written."""
        key = (source, width_of(text))
        while (slot := self._room(key, None)) is not None:
            if self._segment.takes_structs:
                self._quick.setdefault(source, {})[len(text)] = (slot.number, slot.size, slot.one, slot.put)
            body = slot.one(slot.number, 1, at, text, prediction_id, event_time, score, *numbers)
            if self._write(HEAD.pack(slot.size, crc32(body, slot.segment)) + body):
                return
        self._drop(1)

    def _write(self, data: bytes) -> bool:
        """Put a record down; False when the file did not take it, and then the segment is at its end."""
        end = self._place + len(data)
        try:
            self._buffer[self._place : end] = data
        except OSError as err:
            self._failed(err)
            return False
        self._place = end
        return True

    def _failed(self, err: OSError) -> None:
        """The segment's file takes no more: the segment is at its end, and the next is not on this disk."""
        self._shout(f"the prediction spool cannot be written: {err.strerror}; answers are logged through memory")
        self._no_disk_until = time.monotonic() + 1
        self._limit = self._place

    def _room(self, key: tuple[Source, int], need: int | None) -> Slot | None:
        """The slot, described in a segment with room for `need` bytes (None: one row of numbers); None: there is none."""
        while True:
            slot, text = self._slots.get(key), b""
            if slot is None:
                slot = Slot(self._number, len(self._slots) + 1, *key)
                text = slot.description(self._replica)
            wanted = len(text) + (slot.size if need is None else need)
            if self._place + wanted <= self._limit:
                if not text:
                    return slot
                if self._write(text):
                    self._slots[key] = slot
                    return slot
            # In a fresh segment the slot must be described again.
            if not self._rotate(wanted + len(slot.description(self._replica))):
                return None

    def _rotate(self, need: int) -> bool:
        """Go on in a fresh segment with room for `need` bytes; False when there is none to be had."""
        fresh = self._next(need)
        if fresh is None:
            return False
        if self._segment.number:
            self._closed[self._segment.number] = self._place
            if self._segment.path is not None:
                self._disk -= self._segment.limit - self._place
                self._retired.append((self._segment, self._place))
                if self._segment.number - self._shipped[0] > _LAG:
                    self._segment.unburden()
        self._number = fresh.number
        self._segment, self._slots, self._quick = fresh, {}, {}
        self._buffer, self._place, self._limit = fresh.buffer, 0, fresh.limit
        return True

    def _next(self, need: int) -> Segment | None:
        if self._ended:
            return None
        number = self._number + 1
        while self._spares and need <= self._segment_bytes:
            spare = self._spares.pop()
            try:
                spare.path = spare.path and spare.path.rename(self.path(number))
            except OSError:
                log.warning("a spare segment of the prediction spool is gone")
                spare.release()
                self._disk -= spare.limit
            else:
                spare.number = number
                return spare
        size = max(self._segment_bytes, need)
        if time.monotonic() >= self._no_disk_until and self._reserve(size):
            fresh = self._file(self.path(number), size)
            if fresh is not None:
                fresh.number = number
                return fresh
            self._disk -= size
        held = sum(segment.limit for segment in self._memory.values())
        size = max(min(1 << 20, self._memory_bytes), need)
        if held + size > self._memory_bytes:
            return None
        self._memory[number] = fresh = segments.in_memory(size)
        fresh.number = number
        return fresh

    def _reserve(self, size: int) -> bool:
        """Whether the cap allows a file of this size; then it counts."""
        if self._disk + size > self._max_bytes:
            self._shout("the prediction spool is full; answers are logged through memory while there is room")
            return False
        self._disk += size
        return True

    def _file(self, path: Path, size: int) -> Segment | None:
        try:
            return segments.in_file(path, size, mapped=self._mapped)
        except OSError as err:
            self._shout(f"the prediction spool has no disk: {err.strerror}; answers are logged through memory")
            return None

    def _prepare(self) -> None:
        """Have a spare segment, so that an answer need not wait for one; and leave memory when there is a disk again."""
        with self._lock:
            if not self._reserve(self._segment_bytes):
                return
        spare = self._file(self._spare_path(0), self._segment_bytes)
        with self._lock:
            if spare is None:
                self._disk -= self._segment_bytes
                return
            self._spares.append(spare)
            if self._segment.path is None:
                self._rotate(0)

    def _drop(self, rows: int) -> None:
        self._on_dropped(rows)
        self._shout("answers are not logged: neither the disk nor memory has room for them")

    def _shout(self, message: str) -> None:
        now = time.monotonic()
        if now >= self._shouted.get(message, now):
            self._shouted[message] = now + _SHOUT_SECONDS
            log.error(message, disk_bytes=self._disk, cap_bytes=self._max_bytes)
