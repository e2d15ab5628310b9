"""What the head of an entity in pieces says of its chunks.

An entity with very many events has a head, a blob with the newest of them, and chunks, blobs under names of their own that
never change. Layout of what stands at the head's end (`blob.py`, flag 8), all numbers little endian:

    chunks u32 · numbers of a tile u32 · first i64 of each chunk · last i64 · settled i64 · bytes i64 · names 16 bytes each
    · tiles: of each chunk so many i64, as the kernel made them (kernel/pieces.h)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tenon.windows.events import FOREVER, BoolArray, Events, IntArray

NAME_BYTES = 16
_HEAD = struct.Struct("<II")
_NUMBERS = 4


@dataclass(frozen=True, slots=True)
class Chunks:
    """In the order of their times: `first` and `last` event, from when on (exclusive) every value is known and every
    correction made (`settled`), how many bytes they have, their names, and what their events add up to."""

    first: IntArray
    last: IntArray
    settled: IntArray
    size: IntArray
    names: tuple[bytes, ...]
    tiles: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def none(cls, numbers: int) -> Chunks:
        """Without any."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, nothing, nothing, (), np.zeros((0, numbers), np.int64))

    @classmethod
    def one(cls, name: bytes, events: Events, data: bytes, tile: bytes, *, will_do: bool) -> Chunks:
        """A single one, of these events in the order of their times. `will_do`: what the tile says is all of it; else it is
        never settled, so that its events are read."""
        settled_from = settled_at(events) if will_do else FOREVER
        first, last, settled, size = (np.array([n]) for n in (*events.time[[0, -1]], settled_from, len(data)))
        return cls(first, last, settled, size, (name,), np.frombuffer(tile, np.int64).reshape(1, -1))

    def take(self, places: IntArray) -> Chunks:
        """Some of them."""
        names = tuple(self.names[place] for place in places.tolist())
        return Chunks(
            self.first[places], self.last[places], self.settled[places], self.size[places], names, self.tiles[places]
        )

    def since(self, since: int) -> Chunks | None:
        """Those with an event that is not before; None without any."""
        kept = np.flatnonzero(self.last >= since)
        if len(kept) == len(self):
            return self
        return self.take(kept) if len(kept) else None

    def looked_at(self, at: int, windows: IntArray) -> tuple[BoolArray, BoolArray]:
        """Which chunks have to be read for values at `at`, and of which the tile will do. Neither: no window has it."""
        if not len(windows):
            return np.zeros(len(self), np.bool_), np.zeros(len(self), np.bool_)
        seen = (self.first < at) & (self.last >= at - windows[-1])
        starts = at - windows[:, None]
        edged = ((self.first < starts) & (starts <= self.last)).any(axis=0)
        read = seen & (edged | (self.settled >= at))
        return read, seen & ~read

    def to_bytes(self) -> bytes:
        """In the form described above."""
        head = _HEAD.pack(len(self), self.tiles.shape[1])
        numbers = np.concatenate([self.first, self.last, self.settled, self.size]).astype("<i8").tobytes()
        return b"".join([head, numbers, *self.names, self.tiles.astype("<i8").tobytes()])

    @classmethod
    def from_bytes(cls, data: bytes) -> Chunks:
        """Raises `ValueError` for anything else."""
        if len(data) < _HEAD.size:
            raise ValueError("what is said of chunks is cut short")
        count, numbers = _HEAD.unpack_from(data)
        names = _HEAD.size + 8 * _NUMBERS * count
        tiles = names + NAME_BYTES * count
        if not count or len(data) != tiles + 8 * numbers * count:
            raise ValueError("what is said of chunks is cut short")
        first, last, settled, size = np.frombuffer(data, "<i8", _NUMBERS * count, _HEAD.size).reshape(_NUMBERS, count)
        of_each = tuple(data[at : at + NAME_BYTES] for at in range(names, tiles, NAME_BYTES))
        sums = np.frombuffer(data, "<i8", numbers * count, tiles).reshape(count, numbers)
        return cls(first, last, settled, size, of_each, sums)


def joined(parts: list[Chunks]) -> Chunks | None:
    """Several, one after the other."""
    if not parts:
        return None
    return Chunks(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.last for part in parts]),
        np.concatenate([part.settled for part in parts]),
        np.concatenate([part.size for part in parts]),
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.tiles for part in parts]),
    )


def settled_at(events: Events) -> int:
    """After this moment what counts of the events never changes any more but by windows."""
    latest = int(events.time.max())
    for column in events.columns:
        counted = np.ones(len(events), np.bool_) if column.valid is None else column.valid
        known = column.known[counted] if column.known is not None else events.time[:0]
        until = column.until[counted & (column.until != FOREVER)] if column.until is not None else events.time[:0]
        latest = max([latest, *(int(moments.max()) for moments in (known, until) if len(moments))])
    return latest
