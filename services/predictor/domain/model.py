"""The nouns of serving: releases and their tracks, loaded versions, what is asked and what is answered."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services.predictor.domain.rows import RowLayout
from services.predictor.domain.rungs import Footings, Ladder, Level
from tenon.core.manifest import PredictionInterval
from tenon.core.roles import Role as Role  # noqa: PLC0414 - one of the nouns of this module, as before
from tenon.core.tenancy import TenantId

FloatArray = npt.NDArray[np.float64]


class Evaluator(Protocol):
    """Answers rows; thread-safe."""

    def predict(self, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """One float64 for each row."""
        ...

    def predict_row(self, values: Sequence[Any]) -> float:
        """The same for one row, in the order of what the version reads (see `Served.reads`)."""
        ...

    def predict_matrix(self, matrix: FloatArray) -> FloatArray:
        """The same for rows of numbers, in that order."""
        ...


@dataclass(frozen=True, slots=True)
class Track:
    """One version of a release; `weight_permille` is the share of a canary or an arm."""

    role: Role
    version: int
    bundle_sha256: str
    weight_permille: int = 0


class ModelKey(NamedTuple):
    """A tenant's model."""

    tenant: TenantId
    model: str


@dataclass(frozen=True, slots=True)
class Release:
    """What the registry wants served for one model. No tracks: the release was withdrawn."""

    tenant: TenantId
    model: str
    revision: int
    tracks: tuple[Track, ...]

    @property
    def key(self) -> ModelKey:
        """Whose model it is."""
        return ModelKey(self.tenant, self.model)


class Kind(enum.Enum):
    """How a column's values are held."""

    NUMBER = "number"  # float64, NaN is missing
    INTEGER = "integer"  # the same, and only whole numbers
    BOOLEAN = "boolean"  # the same, and only 0 and 1
    TEXT = "text"  # str or None
    TIMESTAMP = "timestamp"  # RFC 3339


KIND_OF_TYPE = {
    "float": Kind.NUMBER,
    "decimal": Kind.NUMBER,
    "integer": Kind.INTEGER,
    "boolean": Kind.BOOLEAN,
    "string": Kind.TEXT,
    "date": Kind.TEXT,
    "timestamp": Kind.TIMESTAMP,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a version's signature. `source` is request, history, entity or event_time."""

    name: str
    type: str
    source: str
    nullable: bool
    kind: Kind = field(init=False, repr=False, compare=False)
    """How its values are held."""

    def __post_init__(self) -> None:
        # A KeyError for a type that nobody knows.
        object.__setattr__(self, "kind", KIND_OF_TYPE[self.type])

    @property
    def sort(self) -> str:
        """`kind` as a word."""
        return self.kind.value


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What logged rows have in common: who answered, and what their columns are called. The log knows it by identity,
    so get it from `Served.source`."""

    tenant: TenantId
    model: str
    version: int
    role: Role
    protocol: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...] = ()
    level: str = ""
    """What the answers rest on; empty: no history had to be looked up. See `rungs.Level`."""


class Layout:
    """How the inputs of a version that takes only numbers lie in one row."""

    __slots__ = ("booleans", "columns", "names", "order", "wanted", "whole")

    def __init__(self, columns: tuple[Column, ...], reads: tuple[str, ...]) -> None:
        self.columns = columns
        self.names = tuple(column.name for column in columns)
        self.wanted = tuple((column.name, column.kind is Kind.BOOLEAN) for column in columns)
        self.whole = tuple(place for place, column in enumerate(columns) if column.kind is Kind.INTEGER)
        self.booleans = tuple(place for place, column in enumerate(columns) if column.kind is Kind.BOOLEAN)
        # None: the evaluator reads exactly these, in this order.
        self.order = None if reads == self.names else [self.names.index(name) for name in reads]


@dataclass(frozen=True)
class Served:
    """A loaded, verified and self-tested version. Nothing in it changes."""

    tenant: TenantId
    model: str
    version: int
    sha256: str
    engine: str
    output: str
    columns: tuple[Column, ...]
    views: Mapping[str, tuple[str, ...]]
    evaluator: Evaluator = field(repr=False)
    nbytes: int = 0
    kernel: str = "numpy"
    parity: str = ""
    """In words: how far the engine was from the fitted pipeline when the version was trained."""
    reads: tuple[str, ...] = ()
    """The inputs in the order of the evaluator's `predict_matrix`; empty: it has none, or not for numbers alone."""
    row_reads: tuple[str, ...] = ()
    """The inputs in the order of the evaluator's `predict_row`, text among them; empty: it has none."""
    ladder: Ladder | None = field(default=None, repr=False)
    """What is tried when history is not fresh; None: `rungs.UNDECLARED`."""
    interval: PredictionInterval | None = field(default=None, repr=False)
    """How far its answers may be off; regression only."""
    interval_without_history: PredictionInterval | None = field(default=None, repr=False)
    """The same of its second model."""
    threshold: float | None = None
    """From this probability on the answer is yes; None: it says none."""
    definitions: Mapping[str, str] = field(default_factory=dict)
    """By view, the digest of the definition that the model was trained on."""
    by_name: Mapping[str, Column] = field(init=False, repr=False)
    inputs: tuple[Column, ...] = field(init=False, repr=False)
    history: tuple[Column, ...] = field(init=False, repr=False)
    features_of: Mapping[str, tuple[str, ...]] = field(init=False, repr=False)
    lookups: tuple[Column, ...] = field(init=False, repr=False)
    event_time: Column | None = field(init=False, repr=False)
    layout: Layout | None = field(init=False, repr=False)
    """None: the rows of this version are always taken column by column."""
    row_layout: RowLayout | None = field(init=False, repr=False)
    """None: a row of this version, too, is always taken column by column."""
    sources: dict[Any, Source] = field(init=False, repr=False, compare=False)
    """What `source` gave before."""
    kept: dict[Any, Any] = field(init=False, repr=False, compare=False)
    """What doors keep of a version, to be gone with it."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "by_name", {column.name: column for column in self.columns})
        put(self, "inputs", tuple(column for column in self.columns if column.source in ("request", "history")))
        history = tuple(column for column in self.columns if column.source == "history")
        put(self, "history", history)
        features: dict[str, list[str]] = {}
        for column in history:
            features.setdefault(column.name.partition(".")[0], []).append(column.name)
        put(self, "features_of", {view: tuple(names) for view, names in features.items()})
        put(self, "event_time", next((column for column in self.columns if column.source == "event_time"), None))
        put(self, "lookups", self._lookups())
        plain = all(column.kind in (Kind.NUMBER, Kind.INTEGER, Kind.BOOLEAN) for column in self.inputs)
        put(self, "layout", Layout(self.inputs, self.reads) if plain and self.reads else None)
        timeless = all(column.kind is not Kind.TIMESTAMP for column in self.inputs)
        put(self, "row_layout", RowLayout(self.inputs, self.row_reads) if timeless and self.row_reads else None)
        put(self, "sources", {})
        put(self, "kept", {})

    def source(
        self,
        role: Role,
        protocol: str,
        numbers: tuple[str, ...] | None = None,
        texts: tuple[str, ...] = (),
        level: str = "",
    ) -> Source:
        """What its logged rows have in common; `numbers` None: the columns of its layout."""
        key = (role, protocol, numbers, texts, level)
        found = self.sources.get(key)
        if found is None:
            names = numbers if numbers is not None else self.layout.names if self.layout is not None else ()
            found = Source(self.tenant, self.model, self.version, role, protocol, names, texts, level)
            found = self.sources.setdefault(key, found)
        return found

    def _lookups(self) -> tuple[Column, ...]:
        """The columns that identify the entity: as the bundle says, else those that can only be meant for that."""
        named = {name for names in self.views.values() for name in names}
        if named:
            return tuple(column for column in self.columns if column.name in named)
        entities = tuple(column for column in self.columns if column.source == "entity")
        if entities or not self.history:
            return entities
        exact = ("string", "integer", "boolean", "date")
        return tuple(column for column in self.columns if column.source == "request" and column.type in exact)


class Serving(NamedTuple):
    """One version and its role, as it answers."""

    served: Served
    role: Role


class Arm(NamedTuple):
    """A version that answers a share of the traffic beside the stable one. One with the role of the stable version holds
    the place of an arm that could not be loaded."""

    role: Role
    served: Served
    weight_permille: int


@dataclass(frozen=True)
class Entry:
    """What is in effect for one model: an immutable row of the table that requests are routed by."""

    revision: int
    stable: Served
    canary: Served | None = None
    weight_permille: int = 0
    shadow: Served | None = None
    arms: tuple[Arm, ...] = ()
    used: list[bool] = field(default_factory=lambda: [False], init=False, repr=False, compare=False)
    """Whether it was asked for since somebody last looked (see `WatchfulTable`)."""
    lead: Serving = field(init=False, repr=False)
    """The stable version, as it answers."""
    split: tuple[tuple[int, Serving], ...] = field(init=False, repr=False)
    """The bucket below which each other version answers, growing; empty: the stable one answers everything."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lead", Serving(self.stable, Role.STABLE))
        split, upper = [], 0
        for arm in self._beside():
            upper += arm.weight_permille
            split.append((upper, Serving(arm.served, arm.role)))
        object.__setattr__(self, "split", tuple(split))

    def answering(self) -> tuple[Serving, ...]:
        """The versions that may answer."""
        return (self.lead, *(serving for _, serving in self.split if serving.role != Role.STABLE))

    def versions(self) -> tuple[Served, ...]:
        """Every version in it."""
        beside = (arm.served for arm in self._beside())
        return (self.stable, *beside, *((self.shadow,) if self.shadow is not None else ()))

    def tracks(self) -> tuple[Track, ...]:
        """What is really loaded, by the digest of the bytes loaded."""
        found = [Track(Role.STABLE, self.stable.version, self.stable.sha256)]
        found += [
            Track(arm.role, arm.served.version, arm.served.sha256, arm.weight_permille)
            for arm in self._beside()
            if arm.role != Role.STABLE
        ]
        if self.shadow is not None:
            found.append(Track(Role.SHADOW, self.shadow.version, self.shadow.sha256))
        return tuple(found)

    def _beside(self) -> tuple[Arm, ...]:
        """The canary and the arms, in the order in which they take their shares."""
        canary = () if self.canary is None else (Arm(Role.CANARY, self.canary, self.weight_permille),)
        return (*canary, *self.arms)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One line of the report to the registry; `problem` says why the desired revision is not served."""

    tenant: TenantId
    model: str
    revision: int
    tracks: tuple[Track, ...]
    problem: str = ""


Values = npt.NDArray[Any] | Sequence[Any]
"""A column as a door got it: a numpy array of a datatype, or a list of plain values (None is missing)."""


class Doubles(list[float]):
    """Stands for a float64 array where making one would cost more than looking at its values."""

    __slots__ = ()


def with_arrays(columns: Mapping[str, Values]) -> Mapping[str, Values]:
    """The columns with arrays for `Doubles`."""
    return {
        name: np.array(values, np.float64) if type(values) is Doubles else values for name, values in columns.items()
    }


@dataclass(slots=True)
class Ask:
    """A request as a door understood it. `version` None: the release decides.

    With `matrix` the values are one numeric matrix (rows, columns in the signature's order) instead of `columns`.
    `partial` names the columns that only some rows gave. With `split_rows` each row is routed by its own entity; else the whole request by its first row's.
    """

    model: str
    version: str | None
    protocol: str
    request_id: str
    rows: int
    columns: Mapping[str, Values]
    matrix: npt.NDArray[Any] | None = None
    split_rows: bool = False
    partial: frozenset[str] = frozenset()
    explain: bool = False
    """The answer says what each input contributed."""


@dataclass(slots=True)
class Answer:
    """Rows answered by one version, in the order of `rows` (positions in the request)."""

    served: Served
    role: Role
    rows: npt.NDArray[np.intp] | None
    scores: FloatArray
    ids: bytes
    """16 bytes a row; see `logged.id_texts`."""
    fallback: tuple[str, ...]
    feature_ages: FloatArray | None
    """How old each row's history is, in seconds; NaN for a row without any."""
    footings: Footings | None = None
    """What the rows rest on; None: no history had to be looked up."""
    explained: Any = None
    """`explaining.Explained` of its rows, when it was asked for."""

    @property
    def feature_age_seconds(self) -> float | None:
        """The freshest history of all rows: what a protocol with one figure for a whole answer can say."""
        return None if self.feature_ages is None else float(np.nanmin(self.feature_ages))

    def interval_of(self, row: int, value: float) -> tuple[float, float, float] | None:
        """(low, high, nominal coverage) of one row's answer; None for a probability, a rule or a constant, and for an
        answer with stale or lost history, for nobody has measured how far off those are."""
        interval = self.served.interval
        if self.footings is not None and (level := self.footings.at(row).level) is not Level.FRESH:
            interval = self.served.interval_without_history if level is Level.WITHOUT_HISTORY else None
        return None if interval is None else (*interval.around(value), interval.coverage)

    def age_of(self, row: int) -> float | None:
        """How old the history of one row of this answer is; None when it has none."""
        if self.feature_ages is None or np.isnan(self.feature_ages[row]):
            return None
        return float(self.feature_ages[row])
