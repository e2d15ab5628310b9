"""The predictor's spool in tests: rows for it, and a stream that can fail in every way."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import redis

from services.predictor.domain.logged import Logged, id_texts
from services.predictor.domain.model import Role, Source
from services.predictor.storage.shipping import Shipper
from services.predictor.storage.spool import Spool
from services.predictor.storage.stream import StreamFull
from tenon.core.tenancy import TenantId
from tenon.kit.prediction_batches import unpack_batch


@functools.cache
def source_of(version: int, role: Role) -> Source:
    """What rows of a version have in common."""
    return Source(TenantId("acme"), "stay", version, role, "rest", ("age",), ("ward",))


def logged(first: int, rows: int = 1, *, version: int = 1, role: Role = Role.STABLE) -> Logged:
    """Rows with ids that count from `first`."""
    return Logged(
        source_of(version, role), f"r{first}", b"".join(raw(first + row) for row in range(rows)), 1_000_000, [5] * rows,
        np.arange(rows, dtype=np.float64), np.array([np.nan, *range(rows - 1)], np.float64), [[None, *(["é"] * (rows - 1))]],
    )  # fmt: skip


def raw(number: int) -> bytes:
    """An id that says its number."""
    return number.to_bytes(16, "big")


class FakeStream:
    """Takes batches, unless it is down or full; can also fail after it has taken them."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []
        self.down = False
        self.full = False
        self.lose_answers = False
        self.name = "first"

    def send(self, entries: Sequence[Mapping[str, bytes]]) -> None:
        """See `Stream`."""
        if self.down:
            raise redis.ConnectionError("down")
        if self.full:
            raise StreamFull("full")
        for entry in entries:
            found = unpack_batch({name.encode(): value for name, value in entry.items()})
            found["columns"] = {name: plain(values) for name, values in found["columns"].items()}
            self.batches.append({name: plain(value) for name, value in found.items()})
        if self.lose_answers:
            raise redis.TimeoutError("no answer")

    def run(self) -> str:
        """See `Stream`."""
        if self.down:
            raise redis.ConnectionError("down")
        return self.name

    def ids(self) -> list[str]:
        """Every prediction id that arrived, each batch once."""
        known = {batch["batch_id"]: batch for batch in self.batches}
        return [text for batch in known.values() for text in batch["prediction_id"]]


def plain(value: Any) -> Any:
    """Arrays as lists, NaN as None."""
    if not isinstance(value, np.ndarray):
        return value
    return [None if isinstance(item, float) and math.isnan(item) else item for item in value.tolist()]


def spool_in(folder: Path, **more: Any) -> Spool:
    """A spool."""
    return Spool(folder, "replica-1", **({"max_bytes": 10 << 20} | more))


def ship_all(shipper: Shipper) -> None:
    """Ship until nothing is left."""
    while shipper.step():
        pass


def shipper_for(spool: Spool, target: FakeStream) -> Shipper:
    """A shipper to a fake."""
    return Shipper(spool, target, held_seconds=0)


def ids(count: int, start: int = 0) -> list[str]:
    """Expected ids."""
    return id_texts(b"".join(raw(number) for number in range(start, start + count)))
