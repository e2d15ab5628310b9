"""The records of a spool segment: rows as they lie in memory, so that neither writing nor reading them is a parse.

A segment is records one behind the other, each padded to 8 bytes; all numbers are little-endian:

    size u32, crc u32 of all that follows, slot u32, rows u32, at i64,
    request id (UTF-8, padded with zeros to the slot's width), rows x id (16 bytes), rows x event time i64,
    rows x score f64, rows x numbers f64 (row by row), texts (JSON: for each row a list, joined by commas)

What rows have in common stands once in a segment: a record with 0 rows describes its slot, as JSON. A size of 0 ends the
segment: the rest was reserved and never written.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from services.predictor.domain.logged import ID_BYTES, Logged
from services.predictor.domain.model import Source

HEAD = struct.Struct("<II")
_COMMON = struct.Struct("<IIq")
_WALK = struct.Struct("<IIII")
START = HEAD.size + _COMMON.size

MOST_ROWS = 1000
_ROWS_BYTES = 128 << 10


class Slot:
    """How rows of one source are written: numbered within a segment, for request ids up to a width."""

    __slots__ = ("number", "one", "size", "source", "width")

    def __init__(self, number: int, source: Source, width: int) -> None:
        self.number = number
        self.source = source
        self.width = width
        # One row of numbers alone, all of it but size and checksum.
        packed = struct.Struct(f"<IIq{width}s{ID_BYTES}sqd{len(source.numbers)}d")
        self.one = packed.pack
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
        return sealed(_COMMON.pack(self.number, 0, 0) + text)

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
            yield sealed(body)
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
            yield sealed(b"".join(parts))


def width_of(request_id: bytes) -> int:
    """The width of a slot that takes this request id."""
    return (len(request_id) + 7) & ~7 or 8


def sealed(body: bytes) -> bytes:
    """A record."""
    if len(body) % 8:
        body += bytes(-len(body) % 8)
    return HEAD.pack(HEAD.size + len(body), zlib.crc32(body)) + body


@dataclass(slots=True)
class Shape:
    """A slot as a reader sees it."""

    about: dict[str, Any]
    width: int
    numbers: int
    texts: int
    one: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.one = self.dtype(1)

    def dtype(self, rows: int) -> np.dtype[Any]:
        """A record with so many rows, without its texts."""
        return np.dtype(
            [
                ("size", "<u4"), ("crc", "<u4"), ("slot", "<u4"), ("rows", "<u4"), ("at", "<i8"),
                ("request_id", f"V{self.width}"), ("id", f"V{ID_BYTES}", (rows,)), ("event_time", "<i8", (rows,)),
                ("score", "<f8", (rows,)), ("numbers", "<f8", (rows, self.numbers)),
            ]
        )  # fmt: skip


@dataclass(slots=True)
class Rows:
    """Rows of one slot, field by field."""

    at: npt.NDArray[np.int64]
    request_ids: npt.NDArray[np.void]
    ids: npt.NDArray[np.void]
    event_time: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.float64]
    texts: bytes
    """JSON: a list for each row."""


def end_of(data: bytes) -> int:
    """Where the records of a segment end that nobody writes any more; the last may be damaged."""
    place = 0
    while place + START <= len(data):
        size, _ = HEAD.unpack_from(data, place)
        if size < START or size > len(data) - place:
            break
        place += size
    return place


class SegmentReader:
    """Reads one segment from its beginning on; keeps the slots that it met."""

    def __init__(self) -> None:
        self.shapes: dict[int, Shape] = {}

    def scan(self, data: bytes, most: int = 1 << 62) -> tuple[int, dict[int, list[tuple[int, int]]]]:
        """(bytes that are whole records, for each slot the (place, rows) of its records); stops behind `most` bytes, at the
        first record that is cut short or damaged, and where nothing was written."""
        place, end, view = 0, len(data), memoryview(data)
        found: dict[int, list[tuple[int, int]]] = {}
        crc32, unpack = zlib.crc32, _WALK.unpack_from
        while place + START <= end and place < most:
            size, crc, slot, rows = unpack(data, place)
            if size < START or size > end - place or crc32(view[place + 8 : place + size]) != crc:
                break
            if rows:
                records = found.get(slot)
                if records is None:
                    if slot not in self.shapes:
                        break
                    records = found[slot] = []
                records.append((place, rows))
            else:
                about = orjson.loads(data[place + START : place + size].rstrip(b"\0"))
                self.shapes[slot] = Shape(about, about["width"], len(about["numbers"]), len(about["texts"]))
            place += size
        return place, found

    def rows(self, data: bytes, slot: int, records: Sequence[tuple[int, int]]) -> Rows:
        """The rows of some records of a slot."""
        shape = self.shapes[slot]
        parts, start = [], 0
        while start < len(records):
            place, rows = records[start]
            stop = start + 1
            if rows == 1:
                while stop < len(records) and records[stop][1] == 1:
                    stop += 1
                parts.append(_single(data, shape, [place for place, _ in records[start:stop]]))
            else:
                parts.append(_several(data, shape, place, rows))
            start = stop
        if len(parts) == 1:
            return parts[0]
        return Rows(
            np.concatenate([part.at for part in parts]),
            np.concatenate([part.request_ids for part in parts]),
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.event_time for part in parts]),
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.numbers for part in parts]),
            b",".join(part.texts for part in parts),
        )


def _single(data: bytes, shape: Shape, places: list[int]) -> Rows:
    """Records of one row each: as they lie, when they lie side by side, else picked together."""
    dtype, count = shape.one, len(places)
    if not shape.texts and places[-1] - places[0] == (count - 1) * dtype.itemsize:
        table = np.frombuffer(data, dtype, count, places[0])
    else:
        index = (np.array(places) // 8)[:, np.newaxis] + np.arange(dtype.itemsize // 8)
        table = np.frombuffer(data[: len(data) & ~7], "<u8")[index].view(dtype).ravel()
    texts = b",".join([_texts(data, shape, place, dtype.itemsize) for place in places]) if shape.texts else b""
    return Rows(
        table["at"], table["request_id"], table["id"].ravel(), table["event_time"].ravel(), table["score"].ravel(),
        table["numbers"].reshape(count, shape.numbers), texts,
    )  # fmt: skip


def _several(data: bytes, shape: Shape, place: int, rows: int) -> Rows:
    """One record of several rows."""
    dtype = shape.dtype(rows)
    record = np.frombuffer(data, dtype, 1, place)
    return Rows(
        np.repeat(record["at"], rows), np.repeat(record["request_id"], rows), record["id"][0], record["event_time"][0],
        record["score"][0], record["numbers"][0], _texts(data, shape, place, dtype.itemsize),
    )  # fmt: skip


def _texts(data: bytes, shape: Shape, place: int, fixed: int) -> bytes:
    if not shape.texts:
        return b""
    size = int.from_bytes(data[place : place + 4], "little")
    return data[place + fixed : place + size].rstrip(b"\0")
