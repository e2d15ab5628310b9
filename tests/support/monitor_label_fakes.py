"""Ports of label joins in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.kept.segment import take_rows
from services.monitor.domain.label_words import AnsweredRows, KeyedLabel
from services.monitor.domain.review_words import Correction, ReviewItem, ReviewRound, State
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
                    {name: take_rows(column, rows) for name, column in batch.columns.items()},
                )  # fmt: skip


@dataclass
class MemoryLabelLookup:
    """`LabelLookup` over a `MemoryLog`."""

    log: MemoryLog

    def known(
        self, tenant: TenantId, model: str, prediction_ids: Sequence[str], known_at: int | None
    ) -> dict[str, tuple[float, int]]:
        """See the port."""
        found = {}
        for name in prediction_ids:
            history = self.log.labels.get((tenant, model, name), {})
            moments = [moment for moment in history if known_at is None or moment <= known_at]
            if moments:
                found[name] = history[max(moments)], max(moments)
        return found


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

    def forget(self, tenant: TenantId, model: str, column: str, value: str) -> int:
        """See the port."""
        theirs = [key for key in self.kept if key[:2] == (tenant, model) and (column, value) in key[3]]
        for key in theirs:
            del self.kept[key]
        return len(theirs)

    def get(self, tenant: TenantId, model: str, name: str) -> int:
        """See the port."""
        return self.places.get((tenant, model, name), 0)

    def put(self, tenant: TenantId, model: str, name: str, position: int) -> None:
        """See the port."""
        self.places[tenant, model, name] = position


@dataclass
class MemoryReviews:
    """`Reviews` and `KnownLabels` in memory, the labels being those of a `MemoryLog`."""

    log: MemoryLog
    rounds: dict[tuple[TenantId, str], list[ReviewRound]] = field(default_factory=dict)
    kept: dict[tuple[TenantId, str], dict[tuple[str, int], Correction]] = field(default_factory=dict)

    def known(self, tenant: TenantId, model: str, ids: Collection[str]) -> dict[str, tuple[int, float]]:
        """See the port."""
        found = {one: self.log.labels.get((tenant, model, one), {}) for one in ids}
        return {one: max(history.items()) for one, history in found.items() if history}

    def withdraw(self, tenant: TenantId, model: str, prediction_id: str, known_at: int) -> None:
        """See the port."""
        self.log.labels.get((tenant, model, prediction_id), {}).pop(known_at, None)

    def current(self, tenant: TenantId, model: str) -> ReviewRound | None:
        """See the port."""
        return next(iter(self.rounds.get((tenant, model), [])[::-1]), None)

    def start(self, tenant: TenantId, model: str, fresh: ReviewRound) -> ReviewRound:
        """See the port."""
        rounds = self.rounds.setdefault((tenant, model), [])
        rounds.append(replace(fresh, number=len(rounds) + 1))
        return rounds[-1]

    def _set(self, tenant: TenantId, model: str, item: ReviewItem) -> None:
        rounds = self.rounds[tenant, model]
        items = tuple(item if one.rank == item.rank else one for one in rounds[-1].items)
        rounds[-1] = replace(rounds[-1], items=items)

    def decide(
        self, tenant: TenantId, model: str, prediction_id: str, state: State, at: int, expert: str,
        correction: Correction | None,
    ) -> ReviewItem | None:  # fmt: skip
        """See the port."""
        current = self.current(tenant, model)
        items = [one for one in current.open if one.prediction_id == prediction_id] if current else []
        if not items:
            return None
        value = correction.value if correction else None
        decided = replace(items[0], state=state, value=value, decided_at=at, decided_by=expert)
        self._set(tenant, model, decided)
        if correction:
            self.kept.setdefault((tenant, model), {})[prediction_id, correction.known_at] = correction
        return decided

    def undo(self, tenant: TenantId, model: str, expert: str, at: int) -> ReviewItem | None:
        """See the port."""
        current = self.current(tenant, model)
        mine = [one for one in current.items if one.decided_by == expert and one.decided_at] if current else []
        if not mine:
            return None
        last = max(mine, key=lambda one: (one.decided_at or 0, one.rank))
        self._set(tenant, model, replace(last, state=State.OPEN, value=None, decided_at=None, decided_by=""))
        kept, key = self.kept.get((tenant, model), {}), (last.prediction_id, last.decided_at or 0)
        if key in kept:
            kept[key] = replace(kept[key], undone_at=at)
        return last

    def reviewed(self, tenant: TenantId, model: str) -> set[str]:
        """See the port."""
        return {one for (one, _), found in self.kept.get((tenant, model), {}).items() if found.undone_at is None}

    def corrections(self, tenant: TenantId, model: str, known_before: int) -> list[Correction]:
        """See the port."""
        newest: dict[str, Correction] = {}
        for (one, known_at), found in sorted(self.kept.get((tenant, model), {}).items()):
            if known_at <= known_before and (found.undone_at is None or found.undone_at > known_before):
                newest[one] = found
        return list(newest.values())

    def forget(self, tenant: TenantId, model: str, ids: Collection[str]) -> None:
        """See the port."""
        kept = self.kept.get((tenant, model), {})
        for key in [key for key in kept if key[0] in ids]:
            del kept[key]
        rounds = self.rounds.get((tenant, model), [])
        for place, one in enumerate(rounds):
            rounds[place] = replace(one, items=tuple(item for item in one.items if item.prediction_id not in ids))
