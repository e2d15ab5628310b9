"""Entities with so many events that they lie in pieces: how a blob is cut, and how values come from a head and its chunks.

Whatever is new goes to the head: late events and pushed ones too. When it has grown, the events that are not the newest
leave it, each for the chunk in whose time it falls, which is made anew under another name, or for new chunks at the end.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from tenon.windows.blob import BlobCorrupt, EntityBlob, chunks_of, decode_blob, encode_blob, with_more
from tenon.windows.chunks import Chunks, joined
from tenon.windows.events import Events, IntArray
from tenon.windows.held import HeldBlobs
from tenon.windows.program import IN_PIECES, Answer, Windows

ReadChunks = Callable[[Sequence[bytes]], Sequence[bytes | None]]
"""The chunks of these names; None for one that is not there."""
_FROM_THE_BEGINNING = -(1 << 63)


class ChunksGoneError(Exception):
    """A chunk was replaced since the head that names it was read: read the head again."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """In events: the `most` that a head has, pushed ones not counted; how many of the `newest` stay when it is cut; and how
    long a `chunk` is at least (and at most nearly twice that)."""

    most: int = 3072
    newest: int = 1024
    chunk: int = 1024


USUAL = Sizes()
"""Smaller heads are written faster, larger chunks need fewer tiles."""


def cut(blob: EntityBlob, windows: Windows, read: ReadChunks, sizes: Sizes) -> tuple[EntityBlob, dict[bytes, bytes]]:
    """The blob with no more events than it should have, and the chunks it names that are new. Its values stay the same.

    Raises `BlobCorrupt` where a chunk that it names is not there or is none.
    """
    pushed = np.zeros(len(blob.events), np.int64) if blob.pushed is None else blob.pushed
    loose = np.flatnonzero(pushed == 0)
    if len(loose) <= sizes.most or not windows.in_pieces:
        return blob, {}
    time = blob.events.time
    order = loose[np.argsort(time[loose], kind="stable")]
    leaving = order[: len(order) - sizes.newest]
    old = blob.chunks or Chunks.none(windows.tile_numbers)
    # Chunk i takes what is after the last event of the one before, and not after its own.
    place = np.searchsorted(old.last, time[leaving])
    if np.count_nonzero(place == len(old)) < sizes.chunk:
        leaving, place = leaving[place < len(old)], place[place < len(old)]
    if not len(leaving):
        return blob, {}
    grown = np.unique(place[place < len(old)])
    made: dict[bytes, bytes] = {}
    parts: list[Chunks] = []
    done = 0
    for index, data in zip(grown.tolist(), read([old.names[index] for index in grown.tolist()]), strict=True):
        if data is None:
            raise BlobCorrupt("a chunk is not there")
        late = replace(blob, events=blob.events.take(leaving[place == index]), pushed=None, chunks=None)
        whole = with_more(decode_blob(data), late, _FROM_THE_BEGINNING).events
        parts += [old.take(np.arange(done, index)), *_closed(blob.entity, whole, windows, sizes, made)]
        done = index + 1
    parts.append(old.take(np.arange(done, len(old))))
    parts += _closed(blob.entity, blob.events.take(leaving[place == len(old)]), windows, sizes, made)
    stays = np.delete(np.arange(len(time)), leaving)
    keys = pushed[stays]
    return replace(
        blob, events=blob.events.take(stays), pushed=keys if keys.any() else None, chunks=joined(parts)
    ), made  # fmt: skip


def _closed(entity: str, events: Events, windows: Windows, sizes: Sizes, made: dict[bytes, bytes]) -> list[Chunks]:
    """Chunks of these events, which ascend by time; their bytes go to `made`."""
    parts = []
    if len(events):
        count = max(len(events) // sizes.chunk, 1)
        edges = np.linspace(0, len(events), count + 1).astype(np.int64).tolist()
        for begin, end in pairwise(edges):
            some = events.take(slice(begin, end))
            data, name = encode_blob(EntityBlob(entity, -1, _FROM_THE_BEGINNING, some)), uuid.uuid4().bytes
            made[name] = data
            tile, will_do = windows.tile(data)
            parts.append(Chunks.one(name, some, data, tile, will_do=will_do))
    return parts


def look_up(windows: Windows, blobs: HeldBlobs, rows: IntArray, at: IntArray, read: ReadChunks) -> Answer:
    """As `Windows.look_up`, of entities in pieces too. Only those chunks are read in which an edge of a window lies, or a
    moment at which something became known or was corrected that is not before the one asked for; all at once.

    Raises `ValueError` for bytes that are no blobs of this view, and `ChunksGoneError`.
    """
    answer = windows.look_up(blobs, rows, at)
    if not answer.heads:
        return answer
    heads: dict[int, tuple[bytes, Chunks]] = {}
    asked = []
    for row in np.flatnonzero(answer.statuses[0] == IN_PIECES).tolist():
        index = int(rows[row])
        if index not in heads:
            data = blobs[index] or b""
            chunks = chunks_of(data)
            if chunks is None or (windows.in_pieces and chunks.tiles.shape[1] != windows.tile_numbers):
                raise ValueError("a head is none of this view")
            heads[index] = data, chunks
        wanted, tiles = heads[index][1].looked_at(int(at[row]), windows.spans)
        if not windows.in_pieces:
            # As without a compiled kernel: all of them event by event.
            wanted |= tiles | windows.statics
            tiles[:] = False
        asked.append((row, index, np.flatnonzero(wanted), tiles))
    names = list(
        dict.fromkeys(heads[index][1].names[place] for _, index, wanted, _ in asked for place in wanted.tolist())
    )
    held = dict(zip(names, read(names) if names else (), strict=True))
    for row, index, read_of_it, used in asked:
        data, chunks = heads[index]
        found = [held[chunks.names[place]] for place in read_of_it.tolist()]
        if any(chunk is None for chunk in found):
            raise ChunksGoneError
        one = windows.look_up_pieces(HeldBlobs.of([data, *found]), chunks, used, int(at[row]))
        answer.values[:, row], answer.statuses[:, row] = one.values[:, 0], one.statuses[:, 0]
        answer.known[row] = one.known[0]
    return answer


def written_bytes(data: bytes) -> int:
    """Of an entity with this blob: its own bytes and its chunks'."""
    chunks = chunks_of(data)
    return len(data) + (0 if chunks is None else int(chunks.size.sum()))


def names_in(data: bytes | None) -> set[bytes]:
    """The chunks that a blob names."""
    chunks = None if data is None else chunks_of(data)
    return set() if chunks is None else set(chunks.names)
