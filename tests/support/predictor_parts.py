"""The predictor's ports as fakes, and versions made by hand, for unit tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from services.predictor.domain.logged import Logged
from services.predictor.domain.model import Column, FloatArray, Release, Role, Served, ServedModel, Source, Track
from services.predictor.domain.ports import History, HistoryQuery, Known
from services.predictor.domain.predict import Predictor
from services.predictor.domain.routing import Table
from services.predictor.domain.shadow import ShadowQueue
from tenon.core.operations import Failure
from tenon.core.tenancy import TenantId

ACME = TenantId("acme")
GLOBEX = TenantId("globex")

AGE = Column("age", "float", "request", nullable=True)
COUNT = Column("count", "integer", "request", nullable=False)
URGENT = Column("urgent", "boolean", "request", nullable=True)
WARD = Column("ward", "string", "request", nullable=True)
COST = Column("visits.cost", "float", "history", nullable=True)
PATIENT = Column("patient_id", "string", "entity", nullable=True)
ARRIVED = Column("arrived_at", "timestamp", "event_time", nullable=True)
PLAIN = (AGE, COUNT, URGENT, WARD)
WITH_HISTORY = (AGE, COST, PATIENT, ARRIVED)


class SumEvaluator:
    """Adds its constant to the sum of all numbers, missing ones as 0: answers can be told apart and checked by hand."""

    def __init__(self, constant: float = 0.0) -> None:
        self.constant = constant

    def predict(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The sums."""
        total: Any = self.constant
        for values in columns.values():
            if values.dtype != object:
                total = total + np.nan_to_num(values)
        return np.asarray(total, np.float64)


class BrokenEvaluator:
    """Fails whatever it is asked."""

    def predict(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Never answers."""
        raise RuntimeError("broken on purpose")


def served(
    version: int = 1, columns: Sequence[Column] = PLAIN, *, model: str = "stay", evaluator: Any = None,
    views: Mapping[str, tuple[str, ...]] | None = None, tenant: TenantId = ACME,
) -> Served:  # fmt: skip
    """A loaded version whose answers begin at 1000 times its number."""
    if views is None and any(column.source == "history" for column in columns):
        views = {"visits": ("patient_id",)}
    # The fakes have no way for plain rows: such requests then go column by column.
    answering: Any = evaluator or SumEvaluator(1000.0 * version)
    return Served(
        tenant, model, version, f"{version:064x}", "tenon-forest", "prediction", tuple(columns), views or {},
        answering, 100,
    )  # fmt: skip


@dataclass
class FakeLog:
    """Keeps what was logged."""

    entries: list[Logged] = field(default_factory=list)

    def append(self, entries: Sequence[Logged]) -> None:
        """See `PredictionLog`."""
        self.entries += entries

    def append_row(
        self, source: Source, request_id: str, prediction_id: bytes, at: int, event_time: int, score: float,
        numbers: Sequence[float],
    ) -> None:  # fmt: skip
        """See `PredictionLog`."""
        self.append([Logged(source, request_id, prediction_id, at, [event_time], [score], list(numbers))])

    def roles(self) -> list[tuple[int, Role, int]]:
        """(version, role, rows) of each entry."""
        return [(entry.source.version, entry.source.role, entry.rows) for entry in self.entries]


@dataclass
class FakeHistory:
    """Answers from a dict by patient, or not at all."""

    values: dict[str, float] = field(default_factory=dict)
    ages: dict[str, float] = field(default_factory=dict)
    down: bool = False
    queries: list[HistoryQuery] = field(default_factory=list)

    def fetch(self, tenant: TenantId, query: HistoryQuery) -> History | None:
        """See `HistorySource`."""
        self.queries.append(query)
        if self.down:
            return None
        found = [self.values.get(keys.get("patient_id", ""), np.nan) for keys in query.keys]
        ages = [self.ages.get(keys.get("patient_id", ""), 42.0) for keys in query.keys]
        return History({"visits.cost": np.array(found)}, np.array(ages))


@dataclass
class FakeObserver:
    """Counts."""

    answers: list[tuple[int, Role, str, int]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    missing: int = 0
    ages: list[float] = field(default_factory=list)
    levels: dict[str, int] = field(default_factory=dict)
    shadows: list[str] = field(default_factory=list)
    cold: list[str] = field(default_factory=list)
    failures: list[tuple[int, Role, Failure]] = field(default_factory=list)
    evictions: int = 0
    states: list[Sequence[ServedModel]] = field(default_factory=list)

    def answered(self, served: Served, role: Role, protocol: str, scores: float | FloatArray, seconds: float) -> None:
        """See `Observer`."""
        rows = 1 if isinstance(scores, float) else len(scores)
        self.answers.append((served.version, role, protocol, rows))

    def failed(self, served: Served, role: Role, protocol: str, failure: Failure) -> None:
        """See `Observer`."""
        self.failures.append((served.version, role, failure))

    def refused(self, tenant: str, protocol: str, outcome: str) -> None:
        """See `Observer`."""
        self.refusals.append(outcome)

    def history_missing(self, tenant: TenantId, model: str, rows: int) -> None:
        """See `Observer`."""
        self.missing += rows

    def history_level(self, tenant: TenantId, model: str, level: str, rows: int) -> None:
        """See `Observer`."""
        self.levels[level] = self.levels.get(level, 0) + rows

    def feature_age(self, tenant: TenantId, model: str, seconds: float) -> None:
        """See `Observer`."""
        self.ages.append(seconds)

    def cold_load(self, outcome: str, seconds: float) -> None:
        """See `Observer`."""
        self.cold.append(outcome)

    def evicted(self, models: int) -> None:
        """See `Observer`."""
        self.evictions += models

    def shadow(self, outcome: str) -> None:
        """See `Observer`."""
        self.shadows.append(outcome)

    def serving(self, models: Sequence[ServedModel], loaded: Sequence[Served]) -> None:
        """See `Observer`."""
        self.states.append(models)


@dataclass
class FakeLoader:
    """Loads any version, except those that are told to fail; what was loaded once is at hand."""

    failing: dict[int, Exception] = field(default_factory=dict)
    loads: list[int] = field(default_factory=list)
    at_hand: set[str] = field(default_factory=set)

    def is_at_hand(self, track: Track) -> bool:
        """See `Loader`."""
        return track.bundle_sha256 in self.at_hand

    def load(self, tenant: TenantId, model: str, track: Track) -> Served:
        """See `Loader`."""
        self.loads.append(track.version)
        if track.version in self.failing:
            raise self.failing[track.version]
        self.at_hand.add(track.bundle_sha256)
        return replace(served(track.version, model=model, tenant=tenant), sha256=track.bundle_sha256)


@dataclass
class MemoryStore:
    """Keeps what is known in memory."""

    saved: Known | None = None

    def load(self) -> Known | None:
        """See `ReleaseStore`."""
        return self.saved

    def save(self, known: Known) -> None:
        """See `ReleaseStore`."""
        self.saved = Known(list(known.desired), list(known.served), list(known.recent))

    @property
    def desired(self) -> list[Release] | None:
        """The releases saved last."""
        return None if self.saved is None else list(self.saved.desired)


@dataclass
class World:
    """A predictor with all its fakes."""

    table: Table = field(default_factory=Table)
    history: FakeHistory = field(default_factory=FakeHistory)
    log: FakeLog = field(default_factory=FakeLog)
    observer: FakeObserver = field(default_factory=FakeObserver)
    shadow_errors: list[Exception] = field(default_factory=list)
    shadow_size: int = 100

    def __post_init__(self) -> None:
        self.shadows = ShadowQueue(
            self.log,
            self.observer,
            lambda _served, err: self.shadow_errors.append(err),
            size=self.shadow_size,
        )
        self.predictor = Predictor(self.table, self.history, self.log, self.shadows, self.observer, max_rows=1000)
