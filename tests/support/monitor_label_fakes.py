"""Ports of label joins in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.label_words import AnsweredRows, KeyedLabel
from services.monitor.storage.answered import take
from tenon.core.matching import key_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from services.monitor.domain.model import Window
    from tenon.core.tenancy import TenantId
    from tests.support.monitor_fakes import MemoryLog


@dataclass
class MemoryAnswered:
    """`Answered` over a `MemoryLog`; a batch's position is its place in the log, from 1."""

    log: MemoryLog

    def answered(
        self, tenant: TenantId, model: str, window: Window, *, after: int = 0, ids: Collection[str] = ()
    ) -> Iterator[AnsweredRows]:
        """See the port."""
        for position, batch in enumerate(self.log.batches.values(), 1):
            if position <= after or (batch.tenant, batch.model) != (tenant, model):
                continue
            moments = batch.at if window.by == "at" else batch.event_time
            inside = (moments >= window.start) & (moments < window.end)
            if ids:
                inside &= np.array([name in ids for name in batch.prediction_ids])
            rows = np.flatnonzero(inside)
            if len(rows):
                yield AnsweredRows(
                    position, batch.version, batch.role, batch.level, tuple(batch.prediction_ids[row] for row in rows),
                    batch.at[rows], batch.event_time[rows], batch.score[rows],
                    {name: take(column, rows) for name, column in batch.columns.items()},
                )  # fmt: skip


@dataclass
class MemoryKeyedLabels:
    """`KeyedLabels` and `Bookmarks` in memory."""

    kept: dict[tuple[TenantId, str, int, tuple[tuple[str, str | None], ...], int], KeyedLabel] = field(
        default_factory=dict
    )
    places: dict[tuple[TenantId, str, str], int] = field(default_factory=dict)

    def keep(self, tenant: TenantId, model: str, labels: Sequence[KeyedLabel]) -> None:
        """See the port."""
        for one in labels:
            key = tuple((name, key_text(one.key[name])) for name in sorted(one.key))
            self.kept[tenant, model, one.event_time, key, one.known_at] = one

    def between(self, tenant: TenantId, model: str, first: int, last: int) -> list[KeyedLabel]:
        """See the port."""
        return [
            one
            for (owner, name, *_), one in self.kept.items()
            if (owner, name) == (tenant, model) and first - one.within <= one.event_time <= last + one.within
        ]

    def models(self) -> list[tuple[TenantId, str]]:
        """See the port."""
        return list(dict.fromkeys((key[0], key[1]) for key in self.kept))

    def get(self, tenant: TenantId, model: str, name: str) -> int:
        """See the port."""
        return self.places.get((tenant, model, name), 0)

    def put(self, tenant: TenantId, model: str, name: str, position: int) -> None:
        """See the port."""
        self.places[tenant, model, name] = position
