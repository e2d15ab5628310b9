"""One entity's events in a compact binary form: what the online store keeps for each view and entity.

Layout (little endian), version 3:

    header   magic "TNF" · version u8 · columns u16 · flags u16 · events u32 · entity bytes u32
             table version i64 · horizon i64
    entity   the canonical text, UTF-8, padded with zeros to a multiple of 8
    arrays   event times, ascending; `until` of the events; then for each column: lateness (known - event time), until,
             value, valid. Of `until`: 0 for ever, else 1 + (until - event time). Last, with flag 1: of each event 0, or
             the key of the row that was pushed and is not in the table yet. Flag 2: nothing of the entity is in the table
    texts    with flag 4: for each column whose values are places in texts: column u32 · texts u32 · each: bytes u32 and
             UTF-8, ascending; padded with zeros to a multiple of 8. Then, as the blob's end, the bytes of all this u64
    chunks   with flag 8, in place of texts: what `chunks.py` describes; then, as the blob's end, the bytes of all this u64

             each array: type u8 (item size 1, 2, 4, 8; 0: all items are equal) · unit u56 (0: one) · base i64
             · (items - base) / unit, padded with zeros to a multiple of 8

Times and values are stored as differences from their smallest, in the narrowest type that holds them, counted in whole
seconds, minutes or hours where all of them are whole; reading gives back the exact int64. The kernel reads it too (kernel/blob.h).
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tenon.windows.chunks import Chunks
from tenon.windows.events import FOREVER, Column, Events, IntArray

_HEADER = struct.Struct("<3sBHHIIqq")
_ARRAY = struct.Struct("<Qq")
_MAGIC, _VERSION = b"TNF", 3
_PUSHED, _ONLY_PUSHED, _TEXTS, _CHUNKS = 1, 2, 4, 8
_UNITS = (3_600_000_000, 60_000_000, 1_000_000, 1000)
_TAIL, _PAIR = struct.Struct("<Q"), struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_FROM_THE_BEGINNING = -(1 << 63)
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}


class BlobCorrupt(ValueError):
    """The bytes are not a blob of this version."""


@dataclass(frozen=True, slots=True)
class EntityBlob:
    """An entity's events, ascending by event time. Values for times before `horizon` cannot be told from it.

    `pushed`: of each event 0, or the key of the pushed row it is of, which the table has not; None: none was pushed.
    `only_pushed`: the table has no row of the entity at all. `chunks`: where most events are, if not here.
    """

    entity: str
    table_version: int
    horizon: int
    events: Events
    pushed: IntArray | None = None
    only_pushed: bool = False
    chunks: Chunks | None = None


def encode_blob(blob: EntityBlob) -> bytes:
    """The blob as bytes; equal events give equal bytes, whatever order those of one instant are in."""
    events, pushed = _in_order(blob.events, blob.pushed)
    events, texts = _with_own_texts(events)
    flags = (_TEXTS if texts else 0) | (_CHUNKS if blob.chunks else 0)
    if flags == _TEXTS | _CHUNKS:
        raise ValueError("entities with texts are not in pieces")
    flags |= (_PUSHED if pushed is not None else 0) | (_ONLY_PUSHED if blob.only_pushed else 0)
    tail = texts if blob.chunks is None else _with_length(blob.chunks.to_bytes())
    name, first = blob.entity.encode(), events.columns[0]
    parts = [
        _HEADER.pack(
            _MAGIC, _VERSION, len(events.columns) - 1, flags, len(events), len(name), blob.table_version, blob.horizon
        ),
        name + bytes(-len(name) % 8),
    ]
    _write(parts, events.time)
    _write_until(parts, first.until, events.time, None)
    for column in events.columns[1:]:
        if column.known is None:
            parts.append(_ARRAY.pack(0, 0))
        else:
            _write(parts, _where(column, column.known - events.time))
        _write_until(parts, column.until, events.time, column)
        if column.value is None:
            parts.append(_ARRAY.pack(0, 0))
        else:
            _write(parts, _where(column, column.value))
        if column.valid is None:
            parts.append(_ARRAY.pack(0, 1))
        else:
            _write(parts, column.valid.astype(np.int64))
    if pushed is not None:
        _write(parts, pushed)
    return b"".join([*parts, tail])


def entity_of(data: bytes) -> str:
    """Whose blob it is. Raises `BlobCorrupt`."""
    try:
        magic, version, *_, size, _, _ = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != _VERSION:
            raise BlobCorrupt("not a blob of this version")
        return data[_HEADER.size : _HEADER.size + size].decode()
    except (struct.error, ValueError) as err:
        raise BlobCorrupt(f"the blob is cut short or damaged: {err}") from err


def newest_of(data: bytes) -> int | None:
    """The time of the newest event; None without any. Raises `BlobCorrupt`."""
    try:
        count, name = _HEADER.unpack_from(data)[4:6]
        time, _ = _read(data, _HEADER.size + name + -name % 8, count)
    except (struct.error, ValueError, KeyError) as err:
        raise BlobCorrupt(f"the blob is cut short or damaged: {err}") from err
    return int(time[-1]) if count else None


def chunks_of(data: bytes) -> Chunks | None:
    """What it says of its entity's chunks; None where it has all events itself. Raises `BlobCorrupt`."""
    try:
        if not _HEADER.unpack_from(data)[3] & _CHUNKS:
            return None
        (size,) = _TAIL.unpack_from(data, len(data) - _TAIL.size)
        return Chunks.from_bytes(data[max(len(data) - size, 0) : len(data) - _TAIL.size])
    except (struct.error, ValueError) as err:
        raise BlobCorrupt(f"what it says of its chunks is damaged: {err}") from err


def events_in(data: bytes) -> int:
    """How many events it has itself. Raises `BlobCorrupt`."""
    try:
        return int(_HEADER.unpack_from(data)[4])
    except struct.error as err:
        raise BlobCorrupt(f"the blob is cut short or damaged: {err}") from err


def texts_of(data: bytes) -> dict[int, tuple[str, ...]]:
    """By column, the texts in which its values are places. Raises `BlobCorrupt`."""
    if not _HEADER.unpack_from(data)[3] & _TEXTS:
        return {}
    try:
        (size,) = _TAIL.unpack_from(data, len(data) - _TAIL.size)
        offset, end = len(data) - size, len(data) - _TAIL.size
        found: dict[int, tuple[str, ...]] = {}
        while 0 <= offset <= end - _PAIR.size:
            column, count = _PAIR.unpack_from(data, offset)
            offset += _PAIR.size
            if not column:
                break
            texts = []
            for _ in range(count):
                (length,) = _LENGTH.unpack_from(data, offset)
                texts.append(data[offset + _LENGTH.size : offset + _LENGTH.size + length].decode())
                offset += _LENGTH.size + length
            found[column] = tuple(texts)
    except (struct.error, ValueError) as err:
        raise BlobCorrupt(f"the blob's texts are damaged: {err}") from err
    return found


def decode_blob(data: bytes) -> EntityBlob:
    """Read a blob. Raises `BlobCorrupt`."""
    try:
        entity = entity_of(data)
        _, _, columns, flags, count, name_bytes, table_version, horizon = _HEADER.unpack_from(data)
        offset = _HEADER.size + name_bytes + -name_bytes % 8
        time, offset = _read(data, offset, count)
        until, offset = _read(data, offset, count)
        read = [Column(until=_until(until, time))]
        for _ in range(columns):
            late, offset = _read(data, offset, count)
            until, offset = _read(data, offset, count)
            value, offset = _read(data, offset, count)
            valid, offset = _read(data, offset, count)
            read.append(Column(time + late, _until(until, time), value, valid != 0))
        pushed = None
        if flags & _PUSHED:
            pushed, offset = _read(data, offset, count)
        if flags & _TEXTS:
            for place, texts in texts_of(data).items():
                column = replace(read[place], texts=texts)
                if column.value is None or not (_where(column, column.value) < max(len(texts), 1)).all():
                    raise BlobCorrupt("a value has no text")
                read[place] = column
        chunks = chunks_of(data)
        if flags & (_TEXTS | _CHUNKS):
            offset += _TAIL.unpack_from(data, len(data) - _TAIL.size)[0]
        if offset != len(data):
            raise BlobCorrupt("its length is wrong")
        if (time[1:] < time[:-1]).any():
            raise BlobCorrupt("its events are not in order")
    except (struct.error, ValueError, KeyError, IndexError) as err:
        raise BlobCorrupt(f"the blob is cut short or damaged: {err}") from err
    events, only = Events(time, tuple(read)), bool(flags & _ONLY_PUSHED)
    return EntityBlob(entity, table_version, horizon, events, pushed, only_pushed=only, chunks=chunks)


def with_more(old: EntityBlob, fresh: EntityBlob, since: int) -> EntityBlob:
    """The fresh blob with the old one's events before its own, without those from before `since`: what a blob made of
    all of them at once would be. Pushed events stay, however old: they leave with their rows."""
    old_pushed = _filled(old.pushed, 0, len(old.events))
    places = np.flatnonzero((old.events.time >= since) | (old_pushed != 0))
    kept = old.events.take(places)
    columns = []
    for one, other in zip(kept.columns, fresh.events.columns, strict=True):
        a, b = _of_same_texts(one, other)
        known = None if a.known is None and b.known is None else _joined(
            kept.time if a.known is None else a.known, fresh.events.time if b.known is None else b.known
        )  # fmt: skip
        valid = _joined(_filled(a.valid, 1, len(kept)), _filled(b.valid, 1, len(fresh.events))).astype(np.bool_)
        until = _joined(_filled(a.until, FOREVER, len(kept)), _filled(b.until, FOREVER, len(fresh.events)))
        value = _joined(_filled(a.value, 0, len(kept)), _filled(b.value, 0, len(fresh.events)))
        columns.append(Column(known, until, value, valid, a.texts))
    events = Events(_joined(kept.time, fresh.events.time), tuple(columns))
    order = np.argsort(events.time, kind="stable")
    pushed = _joined(old_pushed[places], _filled(fresh.pushed, 0, len(fresh.events)))[order]
    return replace(
        fresh,
        events=events.take(order),
        pushed=pushed if pushed.any() else None,
        only_pushed=old.only_pushed and fresh.only_pushed,
        chunks=old.chunks and old.chunks.since(since),
    )


def without_pushed(blob: EntityBlob, keys: Collection[int] | None = None) -> EntityBlob | None:
    """The blob without the pushed events of these rows (None: of all); None when nothing is left of an entity that the
    table does not know."""
    if blob.pushed is None:
        return None if blob.only_pushed else blob
    gone = blob.pushed != 0 if keys is None else np.isin(blob.pushed, list(keys)) & (blob.pushed != 0)
    places = np.flatnonzero(~gone)
    pushed = blob.pushed[places]
    if blob.only_pushed and not pushed.any():
        return None
    return replace(blob, events=blob.events.take(places), pushed=pushed if pushed.any() else None)


def laid_over(below: EntityBlob | None, above: EntityBlob | None) -> EntityBlob | None:
    """A blob with pushed events above it; it stays of the version that it was of."""
    if below is None or above is None:
        return above if below is None else below
    stamped = replace(above, table_version=below.table_version, horizon=below.horizon)
    return with_more(below, stamped, _FROM_THE_BEGINNING)


def _of_same_texts(a: Column, b: Column) -> tuple[Column, Column]:
    """Two columns with the texts of both."""
    if a.texts == b.texts:
        return a, b
    texts = tuple(sorted({*(a.texts or ()), *(b.texts or ())}))
    place = {text: index for index, text in enumerate(texts)}

    def moved(column: Column) -> Column:
        if column.value is None or not column.texts:
            return replace(column, texts=texts)
        places = np.array([place[text] for text in column.texts], np.int64)
        return replace(column, value=places[_where(column, column.value)], texts=texts)

    return moved(a), moved(b)


def _with_own_texts(events: Events) -> tuple[Events, bytes]:
    """Events whose columns have no other texts than their own, and those as bytes."""
    columns, parts = list(events.columns), []
    for index, column in enumerate(columns):
        if column.texts is None or column.value is None:
            continue
        present = column.value if column.valid is None else column.value[column.valid]
        used = np.unique(present)
        value = np.where(np.isin(column.value, used), np.searchsorted(used, column.value), 0)
        texts = tuple(column.texts[place] for place in used.tolist())
        columns[index] = replace(column, value=value, texts=texts)
        parts.append(_PAIR.pack(index, len(texts)))
        parts += [_LENGTH.pack(len(data)) + data for data in (text.encode() for text in texts)]
    if not parts:
        return events, b""
    whole = b"".join(parts)
    whole += bytes(-len(whole) % 8)
    return Events(events.time, tuple(columns)), _with_length(whole)


def _with_length(whole: bytes) -> bytes:
    return whole + _TAIL.pack(len(whole) + _TAIL.size)


def _joined(a: Any, b: Any) -> IntArray:
    joined: IntArray = np.concatenate([a, b]).astype(np.int64)
    return joined


def _in_order(events: Events, pushed: IntArray | None) -> tuple[Events, IntArray | None]:
    """By time, then by everything else: nothing depends on the order in which events of one instant came."""
    if len(events) < 2 or (events.time[1:] > events.time[:-1]).all():
        return events, pushed
    keys = [_filled(events.columns[0].until, FOREVER, len(events))]
    for column in events.columns[1:]:
        for item, usual in ((column.known, 0), (column.until, FOREVER), (column.value, 0)):
            keys.append(_where(column, _filled(item, usual, len(events))))
        keys.append(_filled(column.valid, 1, len(events)).astype(np.int64))
    keys.append(_filled(pushed, 0, len(events)))
    order = np.lexsort([*reversed(keys), events.time])
    return events.take(order), None if pushed is None else pushed[order]


def _filled(items: Any, usual: int, count: int) -> IntArray:
    filled: IntArray = np.full(count, usual, np.int64) if items is None else items
    return filled


def _where(column: Column, items: IntArray) -> IntArray:
    """What a missing value carries is nobody's business: zeros."""
    return items if column.valid is None else np.where(column.valid, items, 0)


def _write_until(parts: list[bytes], until: IntArray | None, time: IntArray, column: Column | None) -> None:
    if until is None:
        parts.append(_ARRAY.pack(0, 0))
        return
    spans = np.where(until == FOREVER, 0, np.maximum(until, time) - time + 1)
    _write(parts, spans if column is None else _where(column, spans))


def _until(spans: IntArray, time: IntArray) -> IntArray | None:
    return np.where(spans == 0, FOREVER, time + spans - 1) if spans.any() else None


def _write(parts: list[bytes], items: IntArray) -> None:
    if len(items) == 0:
        parts.append(_ARRAY.pack(0, 0))
        return
    base, top = int(items.min()), int(items.max())
    size = _size(top - base)
    unit = 0
    if size:
        # Differences of int64 taken in uint64 are exact modulo 2^64, and so is adding the base again.
        offsets = items.astype(np.uint64) - np.uint64(base % (1 << 64))
        if size > 2:
            unit = next((unit for unit in _UNITS if not _leaves(offsets[:8], unit) and not _leaves(offsets, unit)), 0)
            if unit:
                offsets //= np.uint64(unit)
                size = _size((top - base) // unit)
    parts.append(_ARRAY.pack(size | unit << 8, base))
    if size:
        data = offsets.astype(_TYPES[size]).tobytes()
        parts.append(data + bytes(-len(data) % 8))


def _leaves(offsets: Any, unit: int) -> bool:
    return bool((offsets % np.uint64(unit)).any())


def _size(span: int) -> int:
    return next(size for size in (0, 1, 2, 4, 8) if span < 1 << 8 * size)


def _read(data: bytes, offset: int, count: int) -> tuple[IntArray, int]:
    kind, base = _ARRAY.unpack_from(data, offset)
    size, unit = kind & 255, kind >> 8 or 1
    offset += _ARRAY.size
    if size == 0:
        return np.full(count, base, np.int64), offset
    items = np.frombuffer(data, _TYPES[size], count, offset).astype(np.uint64)
    items = items * np.uint64(unit) + np.uint64(base % (1 << 64))
    return items.view(np.int64), offset + count * size + -(count * size) % 8
