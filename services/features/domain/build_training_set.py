"""Use case: a training set, each feature with its value at the row's own event time."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

import polars as pl

from services.features.domain.entity import scaled_integers
from services.features.domain.forget_rows import ForgetRows
from services.features.domain.frames import codes_of, micros, series_of
from services.features.domain.model import LakeTable, TrainingSet, View
from services.features.domain.plan import Plan, compile_view
from services.features.domain.ports import Datasets, Lake, Meter, TrainingFiles, Views
from services.features.domain.read_events import read_events
from services.features.domain.spread_join import Spine, SpreadJoin, items_of
from tenon.core.errors import Invalid, Place, Precondition, Unavailable, did_you_mean
from tenon.core.specs import ColumnType, DatasetSpec
from tenon.core.tenancy import TenantId
from tenon.core.timestamps import rfc3339
from tenon.windows.events import Column, IntArray

MEMORY = 2 << 30
"""About how much memory a training set may take; a larger one is made through files."""
_SHARE = 4
_ATTEMPTS = 3
FORMAT = 5
"""Counted up when the same inputs would give another file, or a record beside it that programs before could not read."""


class BuildTrainingSet:
    """Joins a spine with views, point in time. The same data and definitions give the same bytes, and are made once."""

    def __init__(
        self, views: Views, datasets: Datasets, lake: Lake, files: TrainingFiles, meter: Meter, *, parallel: int = 1,
        scratch: Path | None = None, memory: int = MEMORY, forget: ForgetRows | None = None,
        now: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        """`forget` says whether what was made may still be given out."""
        self._views, self._datasets, self._lake, self._files, self._meter = views, datasets, lake, files, meter
        self._forget, self._now = forget, now
        self._scratch, self._memory = scratch, memory
        # Each holds its columns in memory; more at once would be slower, not faster.
        self._turn = threading.BoundedSemaphore(parallel)

    def build(
        self, tenant: TenantId, spine: str, columns: Sequence[str], views: Sequence[str], as_of: int | None = None
    ) -> TrainingSet:
        """Write the training set, or give the one that was written for the same inputs: from the tables as they are, or as they
        were at a time. Raises `NotFound`, `Invalid` for names that do not fit, `Precondition` where nothing was ingested by
        then, or rows of then were erased."""
        began = monotonic()
        if len(set(views)) < len(views):
            raise Invalid("VIEW_TWICE", "a view is named twice", place=Place(field="views"))
        for _ in range(_ATTEMPTS):
            made, reused, tables = self._once(tenant, spine, columns, views, as_of)
            if reused or self._forget is None or self._forget.may_be_given(tenant, made, tables):
                self._meter.trained(made.rows, monotonic() - began, reused=reused)
                return made
        raise Unavailable("TRAINING_SET_ERASED", f"rows of {spine!r} or its views are being erased again and again")

    def _once(
        self, tenant: TenantId, spine: str, columns: Sequence[str], views: Sequence[str], as_of: int | None
    ) -> tuple[TrainingSet, bool, list[LakeTable]]:
        """From the tables as they are: the training set, whether it was there already, and the tables."""
        stored = [self._views.get(tenant, name) for name in views]
        tables = {spine: self._table(tenant, spine, as_of)}
        for view in stored:
            if view.spec.dataset not in tables:
                tables[view.spec.dataset] = self._table(tenant, view.spec.dataset, as_of)
        carried = carried_columns(tables[spine].spec, columns)
        plans = [compile_view(view.spec, tables[view.spec.dataset].spec) for view in stored]
        for plan in plans:
            check_entity(plan, tables[spine].spec)
        fingerprint = _fingerprint(spine, tables, carried, stored, plans)
        found = self._files.find(tenant, fingerprint)
        if found is not None and found.erased is not None:
            # Without `as_of` only an ingest that was put back to an earlier state still names the table of that time.
            raise Precondition(
                "TRAINING_SET_ERASED",
                f"rows of {found.erased.dataset!r} that this training set would be made from were erased",
                place=Place(field=found.erased.dataset),
                hint=f"ingest does not know version {found.erased.table_version} of the table yet: commit a file to it"
                if as_of is None
                else "ask for the tables as they are now",
            )
        if found is not None:
            return found, True, list(tables.values())
        planned = TrainingSet(
            uri="", rows=0, fingerprint=fingerprint, file_sha256="",
            dataset_versions={name: table.version for name, table in sorted(tables.items())},
            view_digests={view.name: view.digest for view in stored},
            spine=spine, columns=tuple(carried), made_at=self._now(),
        )  # fmt: skip
        with self._turn, self._joined(tables, spine, carried, plans) as frame:
            return self._files.write(tenant, planned, frame), False, list(tables.values())

    def _table(self, tenant: TenantId, dataset: str, as_of: int | None) -> LakeTable:
        table = self._datasets.table(tenant, dataset)
        if table is not None and as_of is not None:
            version = self._lake.version_at(table, as_of)
            table = replace(table, version=version) if version >= 0 else None
        if table is None:
            raise Precondition(
                "DATASET_EMPTY",
                f"nothing was ever committed to data set {dataset!r}"
                + ("" if as_of is None else f" by {rfc3339(as_of)}"),
                place=Place(field=dataset),
                hint=f"tenon ingest {dataset} FILE",
            )
        return table

    @contextmanager
    def _joined(
        self, tables: dict[str, LakeTable], spine: str, carried: Sequence[str], plans: Sequence[Plan]
    ) -> Iterator[pl.DataFrame | pl.LazyFrame]:
        """In memory where it fits, else through files; the rows and values are the same."""
        rows = self._lake.rows(tables[spine])
        size = items_of(rows, len(carried) + sum(len(plan.features) for plan in plans))
        for dataset in {plan.dataset for plan in plans}:
            columns = {name for plan in plans if plan.dataset == dataset for name in plan.source_columns}
            size += items_of(self._lake.rows(tables[dataset]), len(columns))
        if size <= self._memory or rows == 0:
            yield self._join(tables, spine, carried, plans)
            return
        keys = [column.name for plan in plans for column in plan.entity]
        needed = list(dict.fromkeys([*carried, *keys]))
        spec = tables[spine].spec
        example = Spine(tables[spine], needed, rows, lambda found: [_carried(found, name, spec) for name in carried])
        if self._scratch is not None:
            self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="spread-") as folder:
            yield SpreadJoin(self._lake, tables, example, plans, Path(folder), self._memory // _SHARE).join()

    def _join(
        self, tables: dict[str, LakeTable], spine: str, carried: Sequence[str], plans: Sequence[Plan]
    ) -> pl.DataFrame:
        table = tables[spine]
        keys = [column.name for plan in plans for column in plan.entity]
        rows = self._lake.read(table, list(dict.fromkeys([*carried, *keys])))
        # Rows of a lake table come in no promised order; this one is total, since the primary key is unique.
        rows = rows.sort([table.spec.event_time, *table.spec.primary_key], nulls_last=True)
        at = rows.select(micros(table.spec.event_time)).to_series().to_numpy()
        series = [_carried(rows, name, table.spec) for name in carried]
        features: dict[str, list[pl.Series]] = {}
        for dataset in dict.fromkeys(plan.dataset for plan in plans):
            of_it = [plan for plan in plans if plan.dataset == dataset]
            source = read_events(self._lake, tables[dataset], of_it)
            # Views of one data set often aggregate the same columns.
            made: dict[str, Column] = {}
            for plan in of_it:
                features[plan.view] = _features(plan, source, rows, at, made)
        series += [column for plan in plans for column in features[plan.view]]
        return pl.DataFrame(series)


def _features(
    plan: Plan, source: pl.DataFrame, spine: pl.DataFrame, at: IntArray, made: dict[str, Column]
) -> list[pl.Series]:
    return series_of(plan, source, codes_of(plan, source, spine), at, made)


def carried_columns(spine: DatasetSpec, asked: Sequence[str]) -> list[str]:
    """Primary key, event time, then the asked columns with their knownAt columns, in the order of the data set."""
    for name in asked:
        if name not in spine.columns:
            near = did_you_mean(name, spine.columns)
            raise Invalid(
                "COLUMN_UNKNOWN",
                f"data set {spine.name!r} has no column {name[:80]!r}",
                place=Place(field="columns"),
                hint=f"did you mean `{near}`?" if near else None,
            )
    known = [column.known_at for name, column in spine.columns.items() if name in asked and column.known_at]
    wanted = {*asked, *known}
    return list(
        dict.fromkeys([*spine.primary_key, spine.event_time, *(name for name in spine.columns if name in wanted)])
    )


def check_entity(plan: Plan, spine: DatasetSpec) -> None:
    """Raises `Invalid` for a spine without the view's entity."""
    for column in plan.entity:
        found = spine.columns.get(column.name)
        if found is None or found.type is not column.type or (found.scale or 0) != column.scale:
            problem = "does not have" if found is None else f"has as {found.type.value}, not {column.type.value}"
            raise Invalid(
                "ENTITY_MISMATCH",
                f"view {plan.view!r} is by {column.name!r}, which the spine {spine.name!r} {problem}",
                place=Place(field="views"),
            )


def _carried(rows: pl.DataFrame, name: str, spine: DatasetSpec) -> pl.Series:
    column = spine.columns[name]
    match column.type:
        case ColumnType.TIMESTAMP:
            return rows.select(micros(name)).to_series()
        case ColumnType.DECIMAL:
            scaled = rows.select(scaled_integers(name, column.scale or 0, rows.schema[name])).to_series()
            # Polars would multiply by the reciprocal, which rounds twice: 35 / 100 is 0.35, not 0.35000000000000003.
            units = scaled.cast(pl.Float64).to_numpy() / float(10 ** (column.scale or 0))
            return pl.Series(name, units).fill_nan(None)
        case _:
            return rows[name]


def _fingerprint(
    spine: str, tables: dict[str, LakeTable], carried: Sequence[str], views: Sequence[View], plans: Sequence[Plan]
) -> str:
    content = {
        "format": FORMAT,
        "spine": spine,
        "tables": {name: [table.uri, table.version] for name, table in tables.items()},
        "order": [tables[spine].spec.event_time, *tables[spine].spec.primary_key],
        "columns": [
            [name, tables[spine].spec.columns[name].type.value, tables[spine].spec.columns[name].scale]
            for name in carried
        ],
        "views": [[view.name, plan.digest] for view, plan in zip(views, plans, strict=True)],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
