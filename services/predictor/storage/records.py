"""The records of a spool segment: rows as they lie in memory, so that neither writing nor reading them is a parse.

A segment is records one behind the other, each padded to 8 bytes; all numbers are little-endian:

    size u32, crc u32 of all that follows (begun with the segment's number), slot u32, rows u32, at i64,
    request id (UTF-8, padded with zeros to the slot's width), rows x id (16 bytes), rows x event time i64,
    rows x score f64, rows x numbers f64 (row by row), texts (JSON: for each row a list, joined by commas)

What rows have in common stands once in a segment: a record with 0 rows describes its slot, as JSON. Files are used again,
so behind the last record may lie those of an earlier segment; their checksums do not fit.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson

from services.predictor.domain.logged import ID_BYTES, Logged
from services.predictor.domain.model import Source
from tenon.kit.prediction_batches import row_dtype

HEAD = struct.Struct("<II")
_COMMON = struct.Struct("<IIq")
_WALK = struct.Struct("<IIII")
START = HEAD.size + _COMMON.size

MOST_ROWS = 1000
_ROWS_BYTES = 128 << 10


class Slot:
    """How rows of one source are written: numbered within a segment, for request ids up to a width."""

    __slots__ = ("number", "one", "put", "segment", "size", "source", "width")

    def __init__(self, segment: int, number: int, source: Source, width: int) -> None:
        self.segment = segment
        self.number = number
        self.source = source
        self.width = width
        # One row of numbers alone, all of it but size and checksum.
        packed = struct.Struct(f"<IIq{width}s{ID_BYTES}sqd{len(source.numbers)}d")
        self.one = packed.pack
        # The same into a buffer, with size and checksum before it.
        self.put = struct.Struct(f"<II{packed.size}s").pack_into
        self.size = HEAD.size + packed.size

    def description(self, replica: str) -> bytes:
        """The record that says what the slot is."""
        source = self.source
        text = orjson.dumps(
            {
                "replica": replica,
                "tenant": source.tenant.value,
                "model": source.model,
                "version": source.version,
                "role": source.role.value,
                "protocol": source.protocol,
                "level": source.level,
                "width": self.width,
                "numbers": source.numbers,
                "texts": source.texts,
            }
        )
        return sealed(_COMMON.pack(self.number, 0, 0) + text, self.segment)

    def records(self, entry: Logged, request_id: bytes) -> Iterator[bytes]:
        """The records of an entry: a large one is several."""
        rows, names = entry.rows, len(self.source.numbers)
        if rows == 1:
            # By far the most frequent, and a third of the work.
            values = entry.numbers if isinstance(entry.numbers, list) else entry.numbers.ravel().tolist()
            body = self.one(
                self.number, 1, entry.at, request_id, entry.ids, entry.event_time[0], entry.scores[0], *values
            )
            if entry.texts:
                body += orjson.dumps([column[0] for column in entry.texts])
            yield sealed(body, self.segment)
            return
        step = max(1, min(MOST_ROWS, _ROWS_BYTES // (8 * names + 64 * len(self.source.texts) + 64)))
        matrix = np.asarray(entry.numbers, "<f8").reshape(rows, names)
        times, scores = np.asarray(entry.event_time, "<i8"), np.asarray(entry.scores, "<f8")
        for start in range(0, rows, step):
            part = slice(start, min(rows, start + step))
            parts = [
                _COMMON.pack(self.number, part.stop - start, entry.at),
                request_id.ljust(self.width, b"\0"),
                entry.ids[ID_BYTES * start : ID_BYTES * part.stop],
                times[part].tobytes(),
                scores[part].tobytes(),
                matrix[part].tobytes(),
            ]
            if self.source.texts:
                lines = list(zip(*(texts[part] for texts in entry.texts), strict=True))
                parts.append(orjson.dumps(lines)[1:-1])
            yield sealed(b"".join(parts), self.segment)


def width_of(request_id: bytes) -> int:
    """The width of a slot that takes this request id."""
    return (len(request_id) + 7) & ~7 or 8


def sealed(body: bytes, segment: int) -> bytes:
    """A record of a segment."""
    if len(body) % 8:
        body += bytes(-len(body) % 8)
    return HEAD.pack(HEAD.size + len(body), zlib.crc32(body, segment)) + body


class Run(NamedTuple):
    """Records of one slot side by side: `records` of one row each, or a single one of several."""

    place: int
    records: int
    rows: int


@dataclass(slots=True)
class Shape:
    """A slot as a reader sees it."""

    about: dict[str, Any]
    width: int
    numbers: int
    texts: int
    one: np.dtype[Any] = field(init=False)
    """A record of one row, without its texts: also how rows lie in a batch, see `tenon.kit.prediction_batches`."""

    def __post_init__(self) -> None:
        self.one = row_dtype(self.width, self.numbers)

    def several(self, rows: int) -> np.dtype[Any]:
        """A record of several rows, without its texts."""
        return np.dtype(
            [
                ("head", f"V{START - 8}"), ("at", "<i8"), ("request_id", f"S{self.width}"), ("id", f"V{ID_BYTES}", (rows,)),
                ("event_time", "<i8", (rows,)), ("score", "<f8", (rows,)), ("numbers", "<f8", (rows, self.numbers)),
            ]
        )  # fmt: skip


def end_of(data: bytes, segment: int) -> int:
    """Where the whole records of a segment end that nobody writes any more."""
    place, view = 0, memoryview(data)
    while place + START <= len(data):
        size, crc = HEAD.unpack_from(data, place)
        if size < START or size > len(data) - place or zlib.crc32(view[place + 8 : place + size], segment) != crc:
            break
        place += size
    return place


class SegmentReader:
    """Reads one segment from its beginning on; keeps the slots that it met.

    `checked` segments are those of another process, which may have been cut short: their checksums are looked at. What this
    process wrote itself lies in the kernel as it was written.
    """

    def __init__(self, segment: int, *, checked: bool = True) -> None:
        self._segment = segment
        self.shapes: dict[int, Shape] = {}
        self._checked = checked

    def scan(self, data: bytes, most: int = 1 << 62) -> tuple[int, dict[int, list[Run]]]:
        """(bytes that are whole records, the records of each slot); stops behind `most` bytes, at the first record that is
        cut short or damaged, and where nothing was written."""
        place, end, view = 0, len(data), memoryview(data)
        found: dict[int, list[Run]] = {}
        crc32, unpack, checked, segment = zlib.crc32, _WALK.unpack_from, self._checked, self._segment
        last, alike = -1, 0
        while place + START <= end and place < most:
            size, crc, slot, rows = unpack(data, place)
            if (
                size < START
                or size > end - place
                or (checked and crc32(view[place + 8 : place + size], segment) != crc)
            ):
                break
            if not rows:
                about = orjson.loads(data[place + START : place + size].rstrip(b"\0"))
                self.shapes[slot] = Shape(about, about["width"], len(about["numbers"]), len(about["texts"]))
                place += size
                continue
            runs = found.get(slot)
            if runs is None:
                if slot not in self.shapes:
                    break
                runs = found[slot] = []
            count = 1
            alike = alike + 1 if slot == last else 0
            last = slot
            if alike > 2 and rows == 1 and not checked and not self.shapes[slot].texts:
                # Rows of one version tend to lie together: all that do are found at once.
                count = _alike(data, place, size, slot)
                alike = 0
            runs.append(Run(place, count, rows))
            place += size * count
        return place, found

    def rows(self, data: bytes, slot: int, runs: Sequence[Run]) -> tuple[bytes, bytes]:
        """The rows of some records of a slot as they lie, one behind the other, and their texts."""
        shape = self.shapes[slot]
        size = shape.one.itemsize
        lines, texts = [], []
        for place, count, rows in runs:
            fixed = size * count
            if rows == 1:
                lines.append(data[place : place + fixed])
            else:
                lines.append(_unfolded(data, shape, place, rows))
                fixed = shape.several(rows).itemsize
            if shape.texts:
                end = place + int.from_bytes(data[place : place + 4], "little")
                texts.append(data[place + fixed : end].rstrip(b"\0"))
        return b"".join(lines), b",".join(texts)


def _alike(data: bytes, place: int, size: int, slot: int) -> int:
    """How many records from here on are of this slot, with one row and of this size, as all of these are."""
    most = (len(data) - place) // size
    heads = np.frombuffer(data, "<u4", most * size // 4, place).reshape(most, size // 4)
    same = (heads[:, 0] == size) & (heads[:, 2] == slot) & (heads[:, 3] == 1)
    return most if same.all() else int(same.argmin())


def _unfolded(data: bytes, shape: Shape, place: int, rows: int) -> bytes:
    """A record of several rows as rows of one."""
    record = np.frombuffer(data, shape.several(rows), 1, place)[0]
    found = np.zeros(rows, shape.one)
    for name in ("at", "request_id", "id", "event_time", "score", "numbers"):
        found[name] = record[name]
    return found.tobytes()


def parts_of(runs: Sequence[Run], size: int) -> list[list[Run]]:
    """Records in groups of a bounded number of rows; `size` is that of one row."""
    parts: list[list[Run]] = [[]]
    room = MOST_ROWS
    for run in runs:
        place, count, rows = run
        while count * rows > room:
            if rows == 1 and room:
                parts[-1].append(Run(place, room, 1))
                place, count = place + room * size, count - room
            parts.append([])
            room = MOST_ROWS
        parts[-1].append(Run(place, count, rows))
        room -= count * rows
    return parts
