"""Monitor's ports in memory, for tests of its use cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.drift.sketch import Layout, Sketch
from services.monitor.domain.kept.counted import Counted
from services.monitor.domain.kept.segment import take_rows
from services.monitor.domain.model import (
    Label,
    LabelledRows,
    PredictionBatch,
    Report,
    Role,
    Rows,
    SeenModel,
    Series,
    VerdictRecord,
    Window,
)
from tenon.core.errors import NotFound, Unavailable
from tenon.core.levels import BESIDE_THE_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tenon.core.manifest import Manifest
    from tenon.core.tenancy import TenantId

_BESIDE = {level.value for level in BESIDE_THE_MODEL}


def _times(batch: PredictionBatch, window: Window) -> np.ndarray:
    return batch.at if window.by == "at" else batch.event_time


def _inside(batch: PredictionBatch, window: Window) -> np.ndarray:
    return (_times(batch, window) >= window.start) & (_times(batch, window) < window.end)


@dataclass
class MemoryLog:
    """`PredictionLog`, `Labels` and `Fleet` in memory."""

    batches: dict[str, PredictionBatch] = field(default_factory=dict)
    labels: dict[tuple[TenantId, str, str], dict[int, float]] = field(default_factory=dict)
    changes: int = 0

    def store(self, tenant: TenantId, batch: PredictionBatch) -> bool:
        """See the port."""
        fresh = batch.batch_id not in self.batches
        self.batches.setdefault(batch.batch_id, batch)
        self.changes += fresh
        return fresh

    def _of(self, tenant: TenantId, model: str) -> list[PredictionBatch]:
        return [batch for batch in self.batches.values() if batch.tenant == tenant and batch.model == model]

    def seen(self, tenant: TenantId) -> list[SeenModel]:
        """See the port."""
        models = {batch.model for batch in self.batches.values() if batch.tenant == tenant}
        models |= {model for owner, model, _ in self.labels if owner == tenant}
        found = []
        for model in sorted(models):
            series: dict[tuple[int, Role], Series] = {}
            for batch in self._of(tenant, model):
                before = series.get((batch.version, batch.role))
                count = len(batch) + (before.predictions if before else 0)
                last = max(int(batch.at.max()), before.last_at if before else 0)
                series[batch.version, batch.role] = Series(model, batch.version, batch.role, count, 0, last)
            labelled = sum(1 for owner, name, _ in self.labels if (owner, name) == (tenant, model))
            found.append(SeenModel(model, tuple(series.values()), labelled))
        return found

    def seen_model(self, tenant: TenantId, model: str) -> SeenModel | None:
        """See the port."""
        return next((seen for seen in self.seen(tenant) if seen.model == model), None)

    def span(self, tenant: TenantId, model: str, by: str) -> tuple[int, int] | None:
        """See the port."""
        times = [getattr(batch, by) for batch in self._of(tenant, model)]
        return (int(min(one.min() for one in times)), int(max(one.max() for one in times))) if times else None

    def traffic(self, tenant: TenantId, model: str, window: Window) -> dict[tuple[int, Role], int]:
        """See the port."""
        totals: dict[tuple[int, Role], int] = {}
        for batch in self._of(tenant, model):
            if rows := int(_inside(batch, window).sum()):
                totals[batch.version, batch.role] = totals.get((batch.version, batch.role), 0) + rows
        return totals

    def levels(self, tenant: TenantId, model: str, window: Window) -> dict[str, int]:
        """See the port."""
        totals: dict[str, int] = {}
        for batch in self._of(tenant, model):
            rows = int(np.count_nonzero(_inside(batch, window)))
            if rows and batch.level and batch.role is not Role.SHADOW:
                totals[batch.level] = totals.get(batch.level, 0) + rows
        return totals

    def rows(self, tenant: TenantId, model: str, window: Window, version: int, roles: Sequence[Role]) -> Iterator[Rows]:
        """See the port."""
        for batch in self._of(tenant, model):
            wanted = batch.version == version and batch.level not in _BESIDE and (not roles or batch.role in roles)
            inside = _inside(batch, window)
            if wanted and inside.any():
                columns = {name: take_rows(column, inside) for name, column in batch.columns.items()}
                yield Rows(batch.score[inside], columns)

    def record(self, tenant: TenantId, model: str, labels: Sequence[Label]) -> int:
        """See the port."""
        for label in labels:
            self.labels.setdefault((tenant, model, label.prediction_id), {})[label.known_at] = label.value
        self.changes += 1
        known = {name for batch in self._of(tenant, model) for name in batch.prediction_ids}
        return len({label.prediction_id for label in labels} & known)

    def withdraw(self, tenant: TenantId, model: str, prediction_id: str, known_at: int) -> None:
        """See the port."""
        self.labels.get((tenant, model, prediction_id), {}).pop(known_at, None)

    def labelled(
        self, tenant: TenantId, model: str, window: Window, known_at: int | None
    ) -> dict[tuple[int, Role], LabelledRows]:
        """See the port."""
        groups: dict[tuple[int, Role], list[tuple[float, float, int, int, int]]] = {}
        numbers: dict[str, int] = {}
        for batch in self._of(tenant, model):
            for row in np.flatnonzero(_inside(batch, window)) if batch.level not in _BESIDE else ():
                history = self.labels.get((tenant, model, batch.prediction_ids[row]), {})
                known = [moment for moment in history if known_at is None or moment <= known_at]
                if known:
                    newest = max(known)
                    moment = int(_times(batch, window)[row])
                    label = numbers.setdefault(batch.prediction_ids[row], len(numbers))
                    late = newest - int(batch.event_time[row])
                    found = (float(batch.score[row]), history[newest], late, moment, label)
                    groups.setdefault((batch.version, batch.role), []).append(found)
        return {
            key: LabelledRows(*(np.array(column) for column in zip(*rows, strict=True))) for key, rows in groups.items()
        }

    def scores(
        self, tenant: TenantId, model: str, window: Window, stable: int, shadow: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `SameRequests`."""
        own = {
            name: float(score)
            for batch in self._of(tenant, model)
            if (batch.version, batch.role) == (shadow, Role.SHADOW) and batch.level not in _BESIDE
            for name, score in zip(batch.prediction_ids, batch.score, strict=True)
        }
        pairs = [
            (float(batch.score[row]), own[batch.prediction_ids[row]])
            for batch in self._of(tenant, model)
            if batch.version == stable and batch.role is not Role.SHADOW and batch.level not in _BESIDE
            for row in np.flatnonzero(_inside(batch, window))
            if batch.prediction_ids[row] in own
        ]
        found = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def active(self, since: int) -> list[tuple[TenantId, str, int]]:
        """See the port."""
        owners = {(batch.tenant, batch.model) for batch in self.batches.values() if int(batch.at.max()) >= since}
        return [(tenant, model, self.changes) for tenant, model in sorted(owners, key=str)]


@dataclass
class MemoryWindows:
    """`Windows` in memory: counted anew from a `MemoryLog` each time, with steps as long as asked."""

    log: MemoryLog
    versions: MemoryVersions

    def counted(
        self, tenant: TenantId, model: str, window: Window, *,
        version: int = 0, roles: Sequence[Role] = (), step: int | None = None, sketched: bool = True,
    ) -> list[Counted]:  # fmt: skip
        """See the port."""
        if step is not None:
            first, last = window.start // step, -(-window.end // step)
            ends = [Window(place * step, (place + 1) * step, window.by) for place in range(first, last)]
            return [
                one for part in ends for one in self.counted(tenant, model, part, version=version, roles=roles)
            ]  # fmt: skip
        found = []
        for (number, role), rows in sorted(self.log.traffic(tenant, model, window).items()):
            if version not in {0, number} or (roles and role not in roles):
                continue
            levels: dict[str, int] = {}
            for batch in self.log._of(tenant, model):
                inside = int(_inside(batch, window).sum())
                if inside and batch.level and (batch.version, batch.role) == (number, role):
                    levels[batch.level] = levels.get(batch.level, 0) + inside
            sketch = self._sketch(tenant, model, window, number, role) if sketched else None
            found.append(Counted(window.start, window.end, number, role, rows, levels, sketch))
        return found

    def _sketch(self, tenant: TenantId, model: str, window: Window, version: int, role: Role) -> Sketch | None:
        try:
            sketch = Sketch(Layout.of(self.versions.manifest(tenant, model, version).baseline))
        except (NotFound, Unavailable):
            return None
        for rows in self.log.rows(tenant, model, window, version, [role]):
            sketch.add(rows.columns, rows.score)
        return sketch


@dataclass
class MemoryVersions:
    """`Versions` in memory; `down` is a registry that cannot be reached."""

    manifests: dict[int, Manifest] = field(default_factory=dict)
    down: bool = False

    def manifest(self, tenant: TenantId, model: str, version: int) -> Manifest:
        """See the port."""
        if self.down:
            raise Unavailable("REGISTRY_UNAVAILABLE", "the registry is away")
        if version not in self.manifests:
            raise NotFound("VERSION_NOT_FOUND", f"there is no version {version}")
        return self.manifests[version]


@dataclass
class MemoryVerdicts:
    """`Verdicts` and `Gauges` in memory."""

    records: list[VerdictRecord] = field(default_factory=list)
    shown: list[Report] = field(default_factory=list)

    def add(self, tenant: TenantId, record: VerdictRecord) -> None:
        """See the port."""
        self.records.append(record)

    def latest(self, tenant: TenantId) -> dict[str, VerdictRecord]:
        """See the port."""
        return {record.model: record for record in self.records}

    def history(self, tenant: TenantId, model: str, limit: int) -> list[VerdictRecord]:
        """See the port."""
        return self.records[::-1][:limit]

    def show(self, report: Report) -> None:
        """See the port."""
        self.shown.append(report)
