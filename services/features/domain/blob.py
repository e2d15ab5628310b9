"""One entity's recent events in a compact binary form: what the online store keeps for each view and entity.

Layout (little endian), version 1:

    header   magic "TNF" · version u8 · columns u16 · flags u16 (0) · events u32 · entity bytes u32
             table version i64 · horizon i64
    entity   the canonical text, UTF-8, padded with zeros to a multiple of 8
    arrays   event times, ascending; then for each column: lateness (known - event time), value, valid
             each: type u8 (item size 1, 2, 4, 8; 0: all items are equal) · 7 bytes of zeros · base i64
             · items - base, padded with zeros to a multiple of 8

Times and values are stored as differences from their smallest, in the narrowest type that holds them; reading gives
back the exact int64. Every array starts on 8 bytes, so that numpy reads it in place.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.features.domain.history import ColumnHistory, IntArray

_HEADER = struct.Struct("<3sBHHIIqq")
_ARRAY = struct.Struct("<B7xq")
_MAGIC, _VERSION = b"TNF", 1
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}


class BlobCorrupt(ValueError):
    """The bytes are not a blob of this version."""


@dataclass(frozen=True, slots=True)
class EntityBlob:
    """An entity's events, ascending by event time. Values for times before `horizon` cannot be told from it."""

    entity: str
    table_version: int
    horizon: int
    event_time: IntArray
    columns: tuple[ColumnHistory, ...]


def encode_blob(blob: EntityBlob) -> bytes:
    """The blob as bytes; equal blobs give equal bytes."""
    name = blob.entity.encode()
    parts = [
        _HEADER.pack(
            _MAGIC, _VERSION, len(blob.columns), 0, len(blob.event_time), len(name), blob.table_version, blob.horizon
        ),
        name + bytes(-len(name) % 8),
    ]
    _write(parts, blob.event_time)
    for column in blob.columns:
        _write(parts, np.where(column.valid, column.known - blob.event_time, 0))
        _write(parts, np.where(column.valid, column.value, 0))
        _write(parts, column.valid.astype(np.int64))
    return b"".join(parts)


def decode_blob(data: bytes) -> EntityBlob:
    """Read a blob. Raises `BlobCorrupt`."""
    try:
        magic, version, columns, _, events, name_bytes, table_version, horizon = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != _VERSION:
            raise BlobCorrupt("not a blob of this version")
        offset = _HEADER.size + name_bytes + -name_bytes % 8
        entity = data[_HEADER.size : _HEADER.size + name_bytes].decode()
        event_time, offset = _read(data, offset, events)
        read = []
        for _ in range(columns):
            late, offset = _read(data, offset, events)
            value, offset = _read(data, offset, events)
            valid, offset = _read(data, offset, events)
            read.append(ColumnHistory(event_time + late, value, valid.astype(np.bool_)))
        if offset != len(data):
            raise BlobCorrupt("its length is wrong")
    except (struct.error, ValueError, KeyError) as err:
        raise BlobCorrupt(f"the blob is cut short or damaged: {err}") from err
    return EntityBlob(entity, table_version, horizon, event_time, tuple(read))


def _write(parts: list[bytes], items: IntArray) -> None:
    if len(items) == 0:
        parts.append(_ARRAY.pack(0, 0))
        return
    base, top = int(items.min()), int(items.max())
    size = next(size for size in (0, 1, 2, 4, 8) if top - base < 1 << 8 * size)
    parts.append(_ARRAY.pack(size, base))
    if size:
        # Differences of int64 taken in uint64 are exact modulo 2^64, and so is adding the base again.
        offsets = (items.astype(np.uint64) - np.uint64(base % (1 << 64))).astype(_TYPES[size]).tobytes()
        parts.append(offsets + bytes(-len(offsets) % 8))


def _read(data: bytes, offset: int, count: int) -> tuple[IntArray, int]:
    size, base = _ARRAY.unpack_from(data, offset)
    offset += _ARRAY.size
    if size == 0:
        return np.full(count, base, np.int64), offset
    items = np.frombuffer(data, _TYPES[size], count, offset).astype(np.uint64) + np.uint64(base % (1 << 64))
    return items.view(np.int64), offset + count * size + -(count * size) % 8
