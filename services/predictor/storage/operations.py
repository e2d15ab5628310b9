"""Tells what versions did, as operations records on a bounded Redis stream. No answer ever waits for this."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import redis

from services.predictor.storage.trail import HELD_SECONDS, Trail
from tenon.core.operations import Operations, OperationsRecord, pack_operations
from tenon.kit.events import OPERATIONS
from tenon.kit.redis import reaching_redis, run_of

_MAX_ENTRIES = 200_000
_PARTS_A_RECORD = 500


class OperationsTeller:
    """Sends what has been counted since the last time. What could not be sent is sent again, as it was and under its id, so
    that monitor counts it once; what happens meanwhile goes into the record after it. So is what a Redis that was started
    again may have lost of its last seconds."""

    def __init__(
        self,
        client: redis.Redis | None,
        replica: str,
        news: Callable[[], Sequence[Operations]],
        *,
        held_seconds: float = HELD_SECONDS,
    ) -> None:
        self._client, self._replica, self._news = client, replica, news
        self._sent = 0
        self._waiting: list[OperationsRecord] = []
        self._told: Trail[OperationsRecord] = Trail(held_seconds)
        self._run = ""

    def tell(self) -> None:
        """Send. Raises `Unavailable`; then nothing is lost."""
        if self._client is None:
            return
        if not self._waiting:
            parts, at = self._news(), time.time_ns() // 1000
            for begin in range(0, len(parts), _PARTS_A_RECORD):
                self._sent += 1
                some = tuple(parts[begin : begin + _PARTS_A_RECORD])
                self._waiting.append(OperationsRecord(f"{self._replica}-{self._sent}", at, some))
        with reaching_redis(f"tell {OPERATIONS}"):
            self._settle(self._client)
            while self._waiting:
                fields: dict[Any, Any] = dict(pack_operations(self._waiting[0]))
                self._client.xadd(OPERATIONS, fields, maxlen=_MAX_ENTRIES, approximate=True)
                self._told.add(self._waiting.pop(0))

    def _settle(self, client: redis.Redis) -> None:
        if not self._told and not self._waiting:
            return
        run = run_of(client)
        if run == self._run:
            self._told.settle()
        else:
            self._waiting = [*self._told.items(), *self._waiting]
            self._told.clear()
        self._run = run
