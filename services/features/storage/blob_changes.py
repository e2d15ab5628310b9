"""Changes of entities' blobs in Redis, by builders and by pushes at the same time: read, change, and write unless
somebody wrote meanwhile; then again. So no one's events are lost, and nobody waits for a build."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import redis

from tenon.core.errors import Unavailable
from tenon.windows.blob import BlobCorrupt, EntityBlob, decode_blob, encode_blob, events_in, newest_of
from tenon.windows.pieces import USUAL, Sizes, cut, names_in, written_bytes
from tenon.windows.program import Windows

_TRIES_OF_MANY, _TRIES = 3, 100
_CHUNK_STAYS_SECONDS = 60
_BUILD_TAKES_AT_MOST_SECONDS = 86_400
_SOME_CHUNKS = 1000

Make = Callable[[Sequence[bytes | None]], list[bytes | None]]
"""From what is held of some entities to what is to be held, as a new list; None: nothing."""


class Moved(Exception):
    """The key that was relied upon has changed."""


class WritesLost(Moved):
    """What a build has written is not all there any more."""


class Tally:
    """How many changes a build has written, counted here and, with each change, in Redis. Where Redis has counted fewer it
    has lost acknowledged ones since, as after a kill or where a replica that was behind took over; where it counts another
    build's, this one was taken for dead."""

    def __init__(self, client: redis.Redis, key: bytes) -> None:
        self.key, self._token, self._changes = key, uuid.uuid4().hex, 0
        with client.pipeline(transaction=True) as pipe:
            # Another build's, which is over or has lost its lock.
            pipe.delete(key)
            self._put(pipe, 0)
            pipe.execute()

    def write(self, pipe: Any) -> None:
        """Execute a transaction that is a change."""
        self._put(pipe, 1)
        pipe.execute()
        self._changes += 1

    def check(self, pipe: Any) -> None:
        """Raises `WritesLost` where Redis has not all that was written. The key has to be watched."""
        if pipe.hget(self.key, self._token) != b"%d" % self._changes:
            raise WritesLost

    def _put(self, pipe: Any, more: int) -> None:
        pipe.hincrby(self.key, self._token, more)
        pipe.expire(self.key, _BUILD_TAKES_AT_MOST_SECONDS)


@dataclass(frozen=True, slots=True)
class BlobChanges:
    """Of one plan's blobs, whose keys begin with `base`. How many bytes they are is counted beside them.

    With the plan's `windows`, a blob that has grown too large is cut. Its chunks are written in one transaction with the
    head that names them; those that no head names any more stay for a minute, for lookups that have read the head before.
    What a build writes is counted in its `tally`; it raises `WritesLost`.
    """

    client: redis.Redis
    base: bytes
    windows: Windows | None = None
    cut_at: Sizes = USUAL
    tally: Tally | None = None

    @property
    def index(self) -> bytes:
        """All entities, by the time of their newest event."""
        return self.base + b":newest"

    @property
    def size(self) -> bytes:
        """How many bytes all blobs have."""
        return self.base + b":bytes"

    @property
    def heads(self) -> bytes:
        """The last parts of the keys of those blobs that are heads."""
        return self.base + b":heads"

    @property
    def chunks(self) -> bytes:
        """What the keys of chunks begin with."""
        return self.base + b"~"

    def write_size(self, size: int) -> None:
        """Begin to count the bytes anew."""
        with self.client.pipeline(transaction=True) as pipe:
            pipe.set(self.size, size)
            self._execute(pipe)

    def change(
        self,
        parts: Sequence[bytes],
        make: Make,
        *,
        relying: tuple[str, bytes | None] | None = None,
        blind: bool = False,
    ) -> int:
        """Change these entities' blobs; gives how many bytes were written. `relying`: a key and what it must still hold,
        else `Moved`. `blind`: what is held need not be read; then the bytes are not counted either."""
        keys = [self.base + part for part in parts]
        for _ in range(_TRIES if len(parts) == 1 else _TRIES_OF_MANY):
            # A connection that was lost while it watched is a watch that failed; the next one finds out whether Redis is there.
            with suppress(redis.WatchError), self.client.pipeline(transaction=True) as pipe:
                pipe.watch(*keys, *([relying[0]] if relying else []))
                if relying and pipe.get(relying[0]) != relying[1]:
                    raise Moved
                if self.tally is not None:
                    pipe.watch(self.tally.key)
                    self.tally.check(pipe)
                held: Any = self._held_heads(pipe, parts) if blind else pipe.mget(keys)
                made = make(held)
                chunks = self._cut(pipe, made)
                gone = set().union(*map(_named, held)) - set().union(*map(names_in, made))
                pipe.multi()
                if chunks:
                    pipe.mset({self.chunks + name: data for name, data in chunks.items()})
                for name in gone:
                    pipe.expire(self.chunks + name, _CHUNK_STAYS_SECONDS)
                return self._write(pipe, keys, parts, held, made, blind=blind)
        if len(parts) == 1:
            raise Unavailable("VIEW_CHANGING", "an entity's values are changing all the time; try again")
        # Somebody writes one of these again and again: in smaller parts the others get through.
        middle, written = len(parts) // 2, 0
        for some in (slice(0, middle), slice(middle, None)):
            written += self.change(parts[some], _some_of(make, some, len(parts)), relying=relying, blind=blind)
        return written

    def _write(
        self, pipe: Any, keys: Sequence[bytes], parts: Sequence[bytes], held: Any, made: Any, *, blind: bool
    ) -> int:  # fmt: skip
        written = sum(written_bytes(data) for data in made if data is not None)
        gone = [(key, part) for key, part, data in zip(keys, parts, made, strict=True) if data is None]
        kept = [(key, part, data) for key, part, data in zip(keys, parts, made, strict=True) if data is not None]
        if kept:
            pipe.mset({key: data for key, _, data in kept})
            pipe.zadd(self.index, {part: _score(data) for _, part, data in kept})
        heads = {part for _, part, data in kept if names_in(data)}
        if heads:
            pipe.sadd(self.heads, *heads)
        if were := {part for part, data in zip(parts, held, strict=True) if _named(data)} - heads:
            pipe.srem(self.heads, *were)
        if gone:
            pipe.delete(*[key for key, _ in gone])
            pipe.zrem(self.index, *[part for _, part in gone])
        if not blind:
            pipe.incrby(self.size, written - sum(written_bytes(data) for data in held if data is not None))
        self._execute(pipe)
        return written

    def _execute(self, pipe: Any) -> None:
        if self.tally is None:
            pipe.execute()
        else:
            self.tally.write(pipe)

    def _cut(self, pipe: Any, made: list[bytes | None]) -> dict[bytes, bytes]:
        """Put heads in the place of blobs that are too large; gives the new chunks."""
        chunks = dict[bytes, bytes]()
        for place, data in enumerate(made):
            if data is None or self.windows is None or events_in(data) <= self.cut_at.most:
                continue
            if self.windows.in_pieces:
                blob, some = cut(decode_blob(data), self.windows, partial(self._read, pipe), self.cut_at)
                made[place] = encode_blob(blob)
                chunks |= some
        return chunks

    def _read(self, pipe: Any, names: Sequence[bytes]) -> Sequence[bytes | None]:
        found: Sequence[bytes | None] = pipe.mget([self.chunks + name for name in names]) if names else []
        return found

    def _held_heads(self, client: Any, parts: Sequence[bytes]) -> list[bytes | None]:
        """Of these blobs, those that are heads."""
        heads = client.smembers(self.heads)
        wanted = [part for part in parts if part in heads]
        found = dict(zip(wanted, client.mget([self.base + part for part in wanted]) if wanted else (), strict=True))
        return [found.get(part) for part in parts]

    def sizes(self, parts: Sequence[bytes]) -> list[int]:
        """How many bytes these entities have, their chunks included."""
        with self.client.pipeline(transaction=False) as pipe:
            for part in parts:
                pipe.strlen(self.base + part)
            alone = pipe.execute()
        heads = self._held_heads(self.client, parts)
        return [size if head is None else written_bytes(head) for size, head in zip(alone, heads, strict=True)]

    def remove_chunks(self) -> None:
        """Of all entities; nobody reads or writes them any more."""
        heads: Any = self.client.smembers(self.heads)
        for part in heads:
            head: Any = self.client.get(self.base + part)
            names = sorted(_named(head))
            for first in range(0, len(names), _SOME_CHUNKS):
                self.client.delete(*[self.chunks + name for name in names[first : first + _SOME_CHUNKS]])
        self.client.delete(self.heads)


def _named(held: bytes | None) -> set[bytes]:
    """The chunks that a blob names. One that cannot be read names none: what is written in its place is what counts."""
    try:
        return names_in(held)
    except BlobCorrupt:
        return set()


def _score(data: bytes) -> float:
    newest = newest_of(data)
    return -math.inf if newest is None else newest


def _some_of(make: Make, some: slice, count: int) -> Make:
    def made(held: Sequence[bytes | None]) -> list[bytes | None]:
        whole: list[bytes | None] = [None] * count
        whole[some] = held
        return make(whole)[some]

    return made


def encoded(blob: EntityBlob | None) -> bytes | None:
    """The blob as bytes; None stays None."""
    return None if blob is None else encode_blob(blob)
