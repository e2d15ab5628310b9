"""Use case: what features look like: their values over time, where they come from, one entity's history."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from services.features.domain.entity import entity_text
from services.features.domain.frames import codes_of, micros, series_of, with_entity
from services.features.domain.model import LakeTable, LoadedFile, View
from services.features.domain.plan import Plan, compile_view
from services.features.domain.ports import Datasets, Lake, Views
from services.features.domain.read_events import read_events
from services.features.domain.texts import Shown
from tenon.core.errors import Invalid, NotFound, Place, Precondition, did_you_mean
from tenon.core.expressions import Op
from tenon.core.specs import Condition, DatasetSpec, Feature, FeatureViewSpec, Function
from tenon.core.specs.feature_view import ALL
from tenon.core.tenancy import TenantId
from tenon.windows.events import BoolArray, FloatArray, IntArray

SAMPLE = 20_000
PERIODS = 24
BINS = 20
MAX_POINTS = 1_000
_WHOLE, _HUGE, _LARGEST = 2.0**40, 1e290, float(np.finfo(np.float64).max)
_KEPT = 64
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Spread:
    """How some values lie; None where there is none."""

    rows: int
    missing: int
    mean: float | None
    low: float | None
    median: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """One feature over the rows of its own data set, each at its event time. `low` and `high` are the 10 % and 90 %
    quantiles; `edges` has one item more than `counts`, whose first and last also hold what lies outside. Of texts there are
    none of these but the most common ones, with their rows."""

    reference: str
    meaning: str
    whole: Spread
    minimum: float | None
    maximum: float | None
    edges: list[float]
    counts: list[int]
    over_time: list[Spread]
    most_common: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class ViewStatistics:
    """A view's features at one version of its table. `starts`: where each period begins (microseconds)."""

    view: str
    revision: int
    dataset: str
    table_version: int
    rows: int
    sampled: int
    starts: list[int]
    features: list[FeatureStatistics]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a feature is made of."""

    reference: str
    meaning: str
    columns: list[str]
    known_at: list[str]
    features: list[str]


@dataclass(frozen=True, slots=True)
class Lineage:
    """From features to the data set and the files that it was loaded from, newest first; the table is None before any."""

    view: View
    dataset: DatasetSpec
    table: LakeTable | None
    origins: list[Origin]
    files: list[LoadedFile]


@dataclass(frozen=True, slots=True)
class EntityHistory:
    """Values by feature and time of one entity, as a training set would have them; None is missing."""

    table_version: int
    references: list[str]
    at: IntArray
    values: list[list[Shown]]


class DescribeFeatures:
    """Reads the lake; one description at a time, since each holds its columns in memory."""

    def __init__(self, views: Views, datasets: Datasets, lake: Lake) -> None:
        self._views, self._datasets, self._lake = views, datasets, lake
        self._turn = threading.Lock()
        self._made: dict[tuple[TenantId, str, int, str, int], ViewStatistics] = {}

    def statistics(self, tenant: TenantId, name: str) -> ViewStatistics:
        """Each feature at the event times of its data set's rows, or of an even sample of them. Raises `NotFound`, and
        `Precondition` when nothing was ingested."""
        view, table, plan = self._opened(tenant, name)
        key = (tenant, name, view.revision, plan.digest, table.version)
        with self._turn:
            found = self._made.get(key)
            if found is None:
                found = self._statistics(view, table, plan)
                while len(self._made) >= _KEPT:
                    self._made.pop(next(iter(self._made)))
                self._made[key] = found
        return found

    def _statistics(self, view: View, table: LakeTable, plan: Plan) -> ViewStatistics:
        source = read_events(self._lake, table, [plan])
        names = [*table.spec.primary_key, plan.event_time, *(column.name for column in plan.entity)]
        spine = self._lake.read(table, list(dict.fromkeys(names)))
        spine = spine.sort([plan.event_time, *table.spec.primary_key])
        total = spine.height
        spine = spine.gather_every(-(-total // SAMPLE)) if total > SAMPLE else spine
        at = _times(spine, plan)
        values = series_of(plan, source, codes_of(plan, source, spine), at)
        starts = np.linspace(at[0], at[-1] + 1, PERIODS + 1)[:-1].astype(np.int64) if len(at) else at[:0]
        bounds = [*np.searchsorted(at, starts).tolist(), len(at)]
        features = [
            _described(feature, meaning(view.spec, feature), values[place], bounds)
            for place, feature in enumerate(view.spec.features())
        ]
        return ViewStatistics(
            view.name, view.revision, table.spec.name, table.version, total, spine.height, starts.tolist(), features
        )

    def history(
        self, tenant: TenantId, name: str, keys: Mapping[str, str], start: int | None, end: int | None, points: int
    ) -> EntityHistory:
        """One entity's values at evenly spaced times, the last at `end`. Left out, they lie between the entity's first
        event and just after its last. Raises `NotFound`, `Invalid` for keys or times that do not fit."""
        if not 1 <= points <= MAX_POINTS:
            raise Invalid("POINTS_INVALID", f"points is {points}; it can be 1 to {MAX_POINTS}", place=Place(field="points"))  # fmt: skip
        _, table, plan = self._opened(tenant, name)
        known = [column.name for column in plan.entity]
        for key in keys:
            if key not in known:
                near = did_you_mean(key, known)
                raise Invalid(
                    "ENTITY_KEY_UNKNOWN",
                    f"{key[:80]!r} is no key of view {name!r}",
                    place=Place(field=f"keys.{key[:80]}"),
                    hint=f"did you mean `{near}`?" if near else f"the keys are: {', '.join(known)}",
                )
        text = entity_text(plan.entity, keys, "history")
        with self._turn:
            source = read_events(self._lake, table, [plan])
            source = source.filter(with_entity(source, plan.entity) == text) if text is not None else source.clear()
        times = _times(source, plan)
        if not len(times) and start is None and end is None:
            raise NotFound(
                "ENTITY_NOT_FOUND",
                f"{table.spec.name!r} has no event of this entity",
                place=Place(field="keys"),
                hint="keys are compared as they are, case and spaces included; asked for a range of time, the entity nobody knows has values too",
            )
        first = start if start is not None else (int(times.min()) if len(times) else 0)
        last = end if end is not None else (int(times.max()) + 1 if len(times) else first)
        if first > last:
            raise Invalid("TIME_RANGE_INVALID", "`from` is after `to`", place=Place(field="from"))
        at = np.linspace(first, last, points).astype(np.int64) if points > 1 else np.array([last], np.int64)
        # All of it is one entity's, whatever its name.
        codes = np.zeros(len(source), np.int64)
        asked = np.full(len(at), 0 if text is not None else -1, np.int64)
        values = series_of(plan, source, (codes, asked, 1), at)
        return EntityHistory(
            table.version, [feature.reference for feature in plan.features], at, [column.to_list() for column in values]
        )

    def lineage(self, tenant: TenantId, name: str) -> Lineage:
        """Feature to columns, data set and files. Raises `NotFound`."""
        view = self._views.get(tenant, name)
        table = self._datasets.table(tenant, view.spec.dataset)
        dataset = table.spec if table else self._datasets.definition(tenant, view.spec.dataset)
        files = [file for file in self._datasets.files(tenant, view.spec.dataset) if table is not None]
        return Lineage(view, dataset, table, _origins(view, dataset), files)

    def _opened(self, tenant: TenantId, name: str) -> tuple[View, LakeTable, Plan]:
        view = self._views.get(tenant, name)
        table = self._datasets.table(tenant, view.spec.dataset)
        if table is None:
            raise Precondition(
                "DATASET_EMPTY",
                f"nothing was ever committed to data set {view.spec.dataset!r}",
                place=Place(field=view.spec.dataset),
                hint=f"tenon ingest {view.spec.dataset} FILE",
            )
        return view, table, compile_view(view.spec, table.spec)


def _times(rows: pl.DataFrame, plan: Plan) -> IntArray:
    return np.ascontiguousarray(rows.select(micros(plan.event_time)).to_series().to_numpy())


def meaning(view: FeatureViewSpec, feature: Feature) -> str:
    """A feature in a few words."""
    if feature.steps:
        return view.expressions[feature.name]
    function, column = feature.function, feature.column or "events"
    if function is Function.STATIC:
        return f"{column}, the newest there is"
    what = f"{feature.quantile:g} quantile" if feature.quantile is not None else function.value.replace("_", " ")
    if feature.above is not None and function is Function.RATE:
        what = f"rate above {feature.above:g}"
    elif feature.condition is not None:
        what = f"rate {_words(feature.condition)}"
    when = "ever" if feature.window == ALL else f"in {feature.window}"
    only = " and ".join(f"{name} is {_words(condition)}" for name, condition in (feature.where or {}).items())
    return f"{what} of {column} {when}" + (f" where {only}" if only else "")


def _words(condition: Condition) -> str:
    """`above 1 and below 7`, `one of LHR, VIE`."""
    found = [
        f"{word} {bound:g}"
        for word, bound in (("above", condition.above), ("below", condition.below))
        if bound is not None
    ]
    if condition.one_of is not None:
        named = [
            str(one).lower() if isinstance(one, bool) else f"{one:g}" if isinstance(one, float) else one
            for one in condition.one_of
        ]
        found.append(", ".join(named[:_NAMED]) + (f" or {len(named) - _NAMED} more" if len(named) > _NAMED else ""))
    return " and ".join(found)


def _described(feature: Feature, said: str, column: pl.Series, bounds: Sequence[int]) -> FeatureStatistics:
    if column.dtype == pl.String:
        missing = column.is_null().to_numpy()
        counted = column.drop_nulls().value_counts(name="rows").sort(["rows", column.name], descending=[True, False])
        return FeatureStatistics(
            reference=feature.reference,
            meaning=said,
            whole=_missing(missing),
            minimum=None,
            maximum=None,
            edges=[],
            counts=[],
            over_time=[_missing(missing[a:b]) for a, b in pairwise(bounds)],
            most_common=counted.head(BINS).rows(),
        )
    values = column.fill_null(math.nan).to_numpy()
    there = values[~np.isnan(values)]
    edges, counts = _bars(there)
    return FeatureStatistics(
        reference=feature.reference,
        meaning=said,
        whole=_spread(values),
        minimum=float(there.min()) if len(there) else None,
        maximum=float(there.max()) if len(there) else None,
        edges=edges,
        counts=counts,
        over_time=[_spread(values[a:b]) for a, b in pairwise(bounds)],
        most_common=[],
    )


def _bars(there: FloatArray) -> tuple[list[float], list[int]]:
    if not len(there):
        return [], []
    unit = _unit(there)
    there = there * unit
    low, high = (float(edge) for edge in np.quantile(there, [0.01, 0.99]))
    if low == high:
        low, high = float(there.min()), float(there.max())
    if (there == np.floor(there)).all() and max(abs(low), abs(high)) < _WHOLE:
        # Whole numbers: every bar holds as many of them as the next.
        high = max(high, low + 1.0)
        wide = max(1.0, np.ceil((high - low + 1) / BINS))
        made = np.arange(low, high + wide + 0.5, wide) - 0.5
    else:
        # One value alone gets bars that are wide enough to be told from each other.
        made = np.linspace(low, high if high > low else low + max(1.0, abs(low) * 1e-9), BINS + 1)
    counts = np.histogram(np.clip(there, made[0], made[-1]), made)[0]
    return (made.clip(-_LARGEST * unit, _LARGEST * unit) / unit).tolist(), counts.tolist()


def _unit(there: FloatArray) -> float:
    """Sums and differences of the values times this are finite, however large they are."""
    return 2.0**-40 if float(np.abs(there).max()) > _HUGE else 1.0


def _missing(missing: BoolArray) -> Spread:
    return Spread(len(missing), int(missing.sum()), None, None, None, None)


def _spread(values: FloatArray) -> Spread:
    there = values[~np.isnan(values)]
    if not len(there):
        return Spread(len(values), len(values), None, None, None, None)
    unit = _unit(there)
    low, median, high = (float(value) / unit for value in np.quantile(there * unit, [0.1, 0.5, 0.9]))
    return Spread(len(values), len(values) - len(there), float((there * unit).mean()) / unit, low, median, high)


def _origins(view: View, dataset: DatasetSpec) -> list[Origin]:
    origins: dict[str, Origin] = {}
    for feature in view.spec.features():
        used = [step.name for step in feature.steps if step.op is Op.FEATURE]
        columns = ([feature.column] if feature.column else []) + sorted(feature.where or {})
        for name in used:
            columns += origins[name].columns if name in origins else []
        columns = list(dict.fromkeys(columns))
        known = dict.fromkeys(found for name in columns if (found := dataset.columns[name].known_at))
        origins[feature.name] = Origin(feature.reference, meaning(view.spec, feature), columns, list(known), list(dict.fromkeys(used)))  # fmt: skip
    return list(origins.values())
