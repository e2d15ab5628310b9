"""A bounded, even sample of the rows that were answered with history, kept in memory until it is compared."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.model import PredictionBatch, Role, TextColumn
from services.monitor.domain.skew.words import SampledRow
from tenon.core.levels import BESIDE_THE_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.kept.segment import Segment
    from tenon.core.tenancy import TenantId

_NOT_BY_THE_MODEL = {level.value for level in BESIDE_THE_MODEL}
_MOST_VERSIONS = 5_000
Key = tuple["TenantId", str, int]


class RowSample:
    """A reservoir of each version's rows. What is lost with the process is taken again from what is answered next.

    Vitter, J. (1985). Random sampling with a reservoir. ACM Trans. Math. Softw. 11(1). Algorithm R.
    """

    def __init__(
        self, rows: int, expected: Callable[[TenantId, str, int], object] = lambda *_: None, *, seed: int = 0
    ) -> None:
        """`expected` is told of each version of which there will be something to compare."""
        self._rows, self._expected = rows, expected
        self._random = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._kept: dict[Key, list[SampledRow]] = {}
        self._seen: dict[Key, int] = {}

    def offer(self, batch: PredictionBatch | Segment) -> None:
        """Perhaps keep some rows of a batch. What has no history, or was not answered by the model, is not of interest;
        a shadow's rows are those of the version that answered."""
        if batch.role is Role.SHADOW or batch.level in _NOT_BY_THE_MODEL:
            return
        if not batch.level and not any("." in name for name in batch.columns):
            return
        key = (batch.tenant, batch.model, batch.version)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                if len(self._kept) >= _MOST_VERSIONS:
                    return
                kept = self._kept[key] = []
                self._expected(*key)
            before = self._seen.get(key, 0)
            self._seen[key] = before + len(batch)
            # Each row has its place among all that were seen; places beyond the reservoir fall out.
            places = (self._random.random(len(batch)) * np.arange(before + 1, before + len(batch) + 1)).astype(np.int64)
            for row in np.flatnonzero((places < self._rows) | (np.arange(before, before + len(batch)) < self._rows)):
                if len(kept) < self._rows:
                    kept.append(_row(batch, int(row)))
                elif places[row] < self._rows:
                    kept[places[row]] = _row(batch, int(row))

    def take(self) -> dict[Key, list[SampledRow]]:
        """The sample since it was taken last."""
        with self._lock:
            kept, self._kept, self._seen = self._kept, {}, {}
        return kept


def _row(batch: PredictionBatch | Segment, row: int) -> SampledRow:
    values: dict[str, float | str | None] = {}
    for name, column in batch.columns.items():
        if isinstance(column, TextColumn):
            code = int(column.codes[row])
            values[name] = column.levels[code] if code >= 0 else None
        else:
            values[name] = float(column.values[row])
    return SampledRow(
        batch.tenant, batch.model, batch.version, int(batch.at[row]), int(batch.event_time[row]), batch.level, values
    )  # fmt: skip
