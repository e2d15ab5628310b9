"""Labels that nobody sends: the spine's rows have them, and ingest has the rows.

A row of the spine belongs to a prediction when the primary key is equal, if the request said it (looked for two days around: a request
without event time is about its own moment, and a model without feature views takes none); else when the event time and every column that both have are equal, of which the entity's columns must be some. Two rows that
fit make none fit. A row gives a label once its label column and the `knownAt` of that column have values.

Both sides may come first: a commit to the data set looks for the predictions its rows are about, and predictions that came since
the last look are looked up in the data set. A value that differs from what the data set said before is a correction: known from
its own `knownAt` if that moved on, else from the commit that brought it, so that what was known before can still be told. Doing
any of it twice changes nothing. A label that is taken away (set to missing) stays as it was last known.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.labels.match import is_history, texts_of
from services.monitor.domain.labels.record import MAX_LABELS, RecordLabels
from services.monitor.domain.model import Label, Role, Window
from tenon.core.matching import key_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import polars as pl

    from services.monitor.domain.label_words import AnsweredRows, SpineTable, WatchedModel
    from services.monitor.domain.ports import (
        Answered,
        Bookmarks,
        DatasetLabels,
        Fleet,
        PredictionLog,
        SpineRows,
        Spines,
    )
    from tenon.core.specs import DatasetSpec
    from tenon.core.tenancy import TenantId

CHUNK = 20_000
_ROWS_A_LOOK = 5_000
_OVERLAP = 64
_FAR = Window(-(2**62), 2**62)
_ASKED_WITHIN = 2 * 86_400_000_000
"""How far from a row's event time the answers are looked for that name its primary key."""


class LabelsFromDatasets:
    """The use case behind the event `dataset_committed` and the look at predictions that came late."""

    def __init__(
        self, spines: Spines, rows: SpineRows, log: PredictionLog, fleet: Fleet, answered: Answered,
        bookmarks: Bookmarks, said: DatasetLabels, record: RecordLabels, now: Callable[[], int],
    ) -> None:  # fmt: skip
        self._spines, self._rows, self._log, self._fleet = spines, rows, log, fleet
        self._answered, self._bookmarks, self._said = answered, bookmarks, said
        self._record, self._now = record, now
        self._changes: dict[tuple[TenantId, str], int] = {}

    def committed(self, tenant: TenantId, dataset: str) -> int:
        """Take labels from what was committed since the last time; gives how many are new or corrected."""
        table = self._spines.table(tenant, dataset)
        if table is None:
            return 0
        return sum(
            self._sync(tenant, model, table)
            for model in self._spines.models(tenant)
            if model.spec.spine == dataset and self._log.seen_model(tenant, model.spec.name) is not None
        )

    def heal(self) -> int:
        """Compare every model with its data set, whatever events were lost."""
        seen = {(tenant, name) for tenant, name, _ in self._fleet.active(0)}
        taken = 0
        for tenant in sorted({tenant for tenant, _ in seen}, key=str):
            watched = [model for model in self._spines.models(tenant) if (tenant, model.spec.name) in seen]
            taken += sum(self.committed(tenant, spine) for spine in sorted({model.spec.spine for model in watched}))
        return taken

    def late(self) -> int:
        """Look predictions up that came since the last time."""
        taken = 0
        for tenant, name, changes in self._fleet.active(0):
            if self._changes.get((tenant, name)) == changes:
                continue
            model = next((one for one in self._spines.models(tenant) if one.spec.name == name), None)
            if model is not None:
                taken += self._look_up(tenant, model)
            self._changes[tenant, name] = changes
        return taken

    def _sync(self, tenant: TenantId, model: WatchedModel, table: SpineTable) -> int:
        name, taken = model.spec.name, 0
        # One more than the version, so that 0 says never.
        done = self._bookmarks.get(tenant, name, "dataset") - 1
        if table.version <= done:
            return 0
        committed_at = self._rows.committed_at(table)
        for frame in self._rows.changed(table, _columns(model, table.spec), since=done):
            for chunk in _chunks(frame, table.spec):
                moments, apart = _micros(chunk, table.spec.event_time), _apart(model, table.spec)
                window = Window(int(moments[0]) - apart, int(moments[-1]) + apart + 1, "event_time")
                batches = self._answered.answered(tenant, name, window)
                taken += self._take(tenant, model, table.spec, chunk, batches, committed_at)
        self._bookmarks.put(tenant, name, "dataset", table.version + 1)
        return taken

    def _look_up(self, tenant: TenantId, model: WatchedModel) -> int:
        name, taken, rows = model.spec.name, 0, 0
        seen = self._bookmarks.get(tenant, name, "dataset log")
        group: list[AnsweredRows] = []
        table: SpineTable | None = None
        for batch in self._answered.answered(tenant, name, _FAR, after=max(0, seen - _OVERLAP)):
            table = table or self._spines.table(tenant, model.spec.spine)
            if table is None:
                return taken
            group.append(batch)
            rows += len(batch)
            if rows >= _ROWS_A_LOOK:
                taken += self._look_at(tenant, model, table, group, seen)
                group, rows = [], 0
        return taken if table is None else taken + self._look_at(tenant, model, table, group, seen)

    def _look_at(
        self, tenant: TenantId, model: WatchedModel, table: SpineTable, group: Sequence[AnsweredRows], seen: int
    ) -> int:
        if not group or group[-1].position <= seen:
            return 0
        first = min(int(batch.event_time.min()) for batch in group)
        last = max(int(batch.event_time.max()) for batch in group)
        committed_at, taken, apart = self._rows.committed_at(table), 0, _apart(model, table.spec)
        frame = self._rows.between(table, _columns(model, table.spec), first - apart, last + apart)
        for chunk in _chunks(frame, table.spec):
            taken += self._take(tenant, model, table.spec, chunk, group, committed_at)
        self._bookmarks.put(tenant, model.spec.name, "dataset log", group[-1].position)
        return taken

    def _take(
        self, tenant: TenantId, model: WatchedModel, spine: DatasetSpec, chunk: pl.DataFrame,
        batches: Iterable[AnsweredRows], committed_at: int,
    ) -> int:  # fmt: skip
        found: dict[str, tuple[float, int]] = {}
        index = _Index(model, spine, chunk)
        for batch in batches:
            found |= index.labels(batch)
        latest = self._now()
        said = self._said.newest(tenant, model.spec.name, found)
        fresh: list[Label] = []
        for one, (value, known_at) in found.items():
            before = said.get(one)
            if before is None:
                fresh.append(Label(one, value, known_at))
            elif before.value != value:
                moved = known_at > before.known_at
                fresh.append(Label(one, value, known_at if moved else max(committed_at, before.known_at + 1)))
        # What a wrong clock says is known tomorrow is taken when it is.
        fresh = [label for label in fresh if label.known_at <= latest]
        for begin in range(0, len(fresh), MAX_LABELS):
            some = fresh[begin : begin + MAX_LABELS]
            self._record(tenant, model.spec.name, some)
            self._said.put(tenant, model.spec.name, some)
        return len(fresh)


class _Index:
    """A chunk of the spine by what a request says of a row."""

    def __init__(self, model: WatchedModel, spine: DatasetSpec, chunk: pl.DataFrame) -> None:
        self._model, self._spine, self._chunk = model, spine, chunk
        self._moments = _micros(chunk, spine.event_time).tolist()
        self._values = _values(model, chunk)
        known = spine.columns[model.spec.label.column].known_at or spine.event_time
        self._known = chunk[known].cast(int).to_list()
        self._texts: dict[str, list[str | None]] = {}
        self._tables: dict[tuple[str, ...], Mapping[tuple[object, ...], int]] = {}

    def labels(self, batch: AnsweredRows) -> dict[str, tuple[float, int]]:
        """Value and known-at of those predictions of a batch that a labelled row is about."""
        if batch.role is Role.SHADOW:
            return {}
        names = self._names(batch)
        if names is None:
            return {}
        by_key = names == tuple(self._spine.primary_key)
        table = self._tables.get(names)
        if table is None:
            table = self._tables[names] = self._build(names, by_key=by_key)
        rows = np.arange(len(batch), dtype=np.intp)
        columns = [texts_of(batch.columns[name], rows) for name in names]
        found = {}
        for row, (one, moment) in enumerate(zip(batch.prediction_ids, batch.event_time.tolist(), strict=True)):
            key = tuple(column[row] for column in columns)
            place = table.get(key if by_key else (moment, *key), -1)
            if place >= 0 and (label := self._label(place)) is not None:
                found[one] = label
        return found

    def _label(self, place: int) -> tuple[float, int] | None:
        value, known_at = self._values[place], self._known[place]
        return None if value is None or math.isnan(value) or known_at is None else (value, int(known_at))

    def _names(self, batch: AnsweredRows) -> tuple[str, ...] | None:
        key = tuple(self._spine.primary_key)
        if all(name in batch.columns for name in key):
            return key
        if not self._model.entity or not all(name in batch.columns for name in self._model.entity):
            return None
        left_out = {self._model.spec.label.column, self._spine.event_time}
        return tuple(
            name
            for name in sorted(batch.columns)
            if name in self._chunk.columns and name not in left_out and not is_history(name)
        )

    def _build(self, names: Sequence[str], *, by_key: bool) -> dict[tuple[object, ...], int]:
        for name in names:
            if name not in self._texts:
                self._texts[name] = [key_text(value) for value in self._chunk[name].to_list()]
        table: dict[tuple[object, ...], int] = {}
        for place, key in enumerate(zip(*(self._texts[name] for name in names), strict=True)):
            full = key if by_key else (self._moments[place], *key)
            # Two rows that look the same to whoever asked: neither is the one.
            table[full] = -1 if full in table else place
        return table


def _apart(model: WatchedModel, spine: DatasetSpec) -> int:
    """How far answer and row may be apart: a key that the request says is enough to tell which row it is."""
    said = {*model.entity, *model.spec.features.request}
    return _ASKED_WITHIN if said.issuperset(spine.primary_key) else 0


def _columns(model: WatchedModel, spine: DatasetSpec) -> list[str]:
    label = model.spec.label.column
    known = spine.columns[label].known_at
    wanted = [*spine.primary_key, spine.event_time, *model.entity, *model.spec.features.request, label, known]
    return [name for name in dict.fromkeys(wanted) if name is not None and name in spine.columns]


def _values(model: WatchedModel, chunk: pl.DataFrame) -> list[float | None]:
    column, above = chunk[model.spec.label.column].cast(float), model.spec.label.above
    return (column > above).cast(float).to_list() if above is not None else column.to_list()


def _chunks(frame: pl.DataFrame, spine: DatasetSpec) -> Iterator[pl.DataFrame]:
    ordered = frame.sort([spine.event_time, *spine.primary_key])
    moments = _micros(ordered, spine.event_time)
    begin = 0
    while begin < len(moments):
        # Rows of one moment stay together: they decide with each other which of them is meant.
        end = int(np.searchsorted(moments, moments[min(begin + CHUNK, len(moments)) - 1], "right"))
        yield ordered[begin:end]
        begin = end


def _micros(frame: pl.DataFrame, column: str) -> np.ndarray:
    return frame[column].dt.cast_time_unit("us").cast(int).to_numpy()
