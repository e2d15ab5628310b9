"""Changes of entities' blobs in Redis, by builders and by pushes at the same time: read, change, and write unless
somebody wrote meanwhile; then again. So no one's events are lost, and nobody waits for a build."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from tenon.core.errors import Unavailable
from tenon.windows.blob import EntityBlob, encode_blob, newest_of

_TRIES_OF_MANY, _TRIES = 3, 100

Make = Callable[[Sequence[bytes | None]], Sequence[bytes | None]]
"""From what is held of some entities to what is to be held; None: nothing."""


class Moved(Exception):
    """The key that was relied upon has changed."""


@dataclass(frozen=True, slots=True)
class BlobChanges:
    """Of one plan's blobs, whose keys begin with `base`. How many bytes they are is counted beside them."""

    client: redis.Redis
    base: bytes

    @property
    def index(self) -> bytes:
        """All entities, by the time of their newest event."""
        return self.base + b":newest"

    @property
    def size(self) -> bytes:
        """How many bytes all blobs have."""
        return self.base + b":bytes"

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
            with self.client.pipeline(transaction=True) as pipe:
                pipe.watch(*keys, *([relying[0]] if relying else []))
                if relying and pipe.get(relying[0]) != relying[1]:
                    raise Moved
                held: Any = [None] * len(keys) if blind else pipe.mget(keys)
                made = make(held)
                pipe.multi()
                try:
                    return self._write(pipe, keys, parts, held, made, blind=blind)
                except redis.WatchError:
                    continue
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
        written = sum(len(data) for data in made if data is not None)
        gone = [(key, part) for key, part, data in zip(keys, parts, made, strict=True) if data is None]
        kept = [(key, part, data) for key, part, data in zip(keys, parts, made, strict=True) if data is not None]
        if kept:
            pipe.mset({key: data for key, _, data in kept})
            pipe.zadd(self.index, {part: _score(data) for _, part, data in kept})
        if gone:
            pipe.delete(*[key for key, _ in gone])
            pipe.zrem(self.index, *[part for _, part in gone])
        if not blind:
            pipe.incrby(self.size, written - sum(len(data) for data in held if data is not None))
        pipe.execute()
        return written


def _score(data: bytes) -> float:
    newest = newest_of(data)
    return -math.inf if newest is None else newest


def _some_of(make: Make, some: slice, count: int) -> Make:
    def made(held: Sequence[bytes | None]) -> Sequence[bytes | None]:
        whole: list[bytes | None] = [None] * count
        whole[some] = held
        return make(whole)[some]

    return made


def encoded(blob: EntityBlob | None) -> bytes | None:
    """The blob as bytes; None stays None."""
    return None if blob is None else encode_blob(blob)
