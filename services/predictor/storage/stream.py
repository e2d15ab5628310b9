"""The Redis stream of the prediction log. It is bounded, and what no reader has seen yet is never cut off: when too much
of that waits, nothing is added until the readers have caught up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis

from tenon.kit.events import PREDICTIONS
from tenon.kit.redis import run_of

_CHECK_SECONDS = 1.0
_CHECK_BYTES = 16 << 20


class StreamFull(Exception):
    """The readers of the stream are too far behind; the message says which."""


class PredictionStream:
    """Appends entries, and takes away what every group of readers is done with."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        max_bytes: int = 256 << 20,
        check_seconds: float = _CHECK_SECONDS,
        on_used: Callable[[int], object] = lambda _bytes: None,
    ) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._on_used = on_used
        self._check_seconds = check_seconds
        self._checked = 0.0
        self._since = 0

    def send(self, entries: Sequence[Mapping[str, bytes]]) -> None:
        """Append all. Raises `StreamFull` or `redis.RedisError`; then some may have been appended."""
        if self._since > _CHECK_BYTES or time.monotonic() - self._checked > self._check_seconds:
            self._check()
        with self._client.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.execute_command("XADD", PREDICTIONS, "*", *(part for item in entry.items() for part in item))
                self._since += sum(map(len, entry.values()))
            pipe.execute()

    def run(self) -> str:
        """Which run of which server answers. Raises `redis.RedisError`."""
        return run_of(self._client)

    def _check(self) -> None:
        used, last = self._used(), ""
        if used > self._max_bytes // 8:
            floor, last = self._floor()
            if floor is not None:
                self._client.xtrim(PREDICTIONS, minid=floor, approximate=False)
                used = self._used()
        self._on_used(used)
        if used > self._max_bytes:
            raise StreamFull(
                f"{used >> 20} MiB of the stream {PREDICTIONS} were not read yet "
                + (f"by the group {last!r}" if last else "and it has no readers")
            )
        self._checked, self._since = time.monotonic(), 0

    def _used(self) -> int:
        return self._client.memory_usage(PREDICTIONS) or 0

    def _floor(self) -> tuple[str | None, str]:
        """The oldest entry that a group still needs, and the group's name; None: nobody reads."""
        found: list[tuple[tuple[int, int], str]] = []
        groups: Any = self._client.xinfo_groups(PREDICTIONS)
        for group in groups:
            needed = group["last-delivered-id"]
            if group["pending"]:
                summary: Any = self._client.xpending(PREDICTIONS, group["name"])
                needed = summary["min"] or needed
            millis, _, number = needed.decode().partition("-")
            found.append(((int(millis), int(number)), group["name"].decode()))
        if not found:
            return None, ""
        (millis, number), name = min(found)
        return f"{millis}-{number}", name
