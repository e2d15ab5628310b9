"""What the domain needs from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.predictor.domain.logged import Logged
from services.predictor.domain.model import ModelKey, Release, Role, Served, ServedModel, Source, Track
from tenon.core.operations import Failure
from tenon.core.tenancy import TenantId

FloatArray = npt.NDArray[np.float64]


class Loader(Protocol):
    """Gets versions ready to answer."""

    def load(self, tenant: TenantId, model: str, track: Track) -> Served:
        """Fetch, verify, load and self-test. Raises `Refused` for bytes that will never do, and any other
        `TenonError` for what may work later."""
        ...

    def is_at_hand(self, track: Track) -> bool:
        """Whether `load` would need nobody else: the bundle is on this machine, where it was loaded before."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What a replica remembers over a restart."""

    desired: Sequence[Release]
    served: Sequence[Release] = ()
    """For models whose desired release could not be put into effect: the one that was."""
    recent: Iterable[ModelKey] = ()
    """The models that were in memory, the one that was used last first."""


class ReleaseStore(Protocol):
    """The last known releases, over restarts and the registry's absence."""

    def load(self) -> Known | None:
        """What was saved; None when nothing was."""
        ...

    def save(self, known: Known) -> None:
        """Keep all of this and nothing else."""
        ...


class Reporter(Protocol):
    """Tells the registry what is really served."""

    def report(self, models: Sequence[ServedModel], *, leaving: bool = False) -> None:
        """Send the whole state. Raises `TenonError`."""
        ...


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Entity keys of each row, and the time of each; `digests`: by view, the definition that the model was trained on."""

    views: tuple[str, ...]
    keys: Sequence[Mapping[str, str]]
    at: Sequence[int]
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """Feature values by reference, and the age of the freshest view of each row in seconds (NaN: none).

    By view, in microseconds: `known_until`, when the newest event that counts for each row was known (-1: none), and
    `data_until`, the newest event of any entity (absent: not known); `untold`, the rows asked for a time so far back that
    features cannot tell (absent: none).
    """

    values: Mapping[str, npt.NDArray[Any]]
    age_seconds: FloatArray
    known_until: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    data_until: Mapping[str, int] = field(default_factory=dict)
    untold: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)


class HistorySource(Protocol):
    """Looks features up."""

    def fetch(self, tenant: TenantId, query: HistoryQuery) -> History | None:
        """The features of all rows in one call; None when they cannot be had in time (the caller goes on without)."""
        ...


class PredictionLog(Protocol):
    """Where answered predictions go before they are answered.

    What is appended survives the end of this process. Never raises for a full disk: that is counted and shouted.
    """

    def append(self, entries: Sequence[Logged]) -> None:
        """Rows that were answered together, of one version or several."""
        ...

    def append_row(
        self,
        source: Source,
        request_id: str,
        prediction_id: bytes,
        at: int,
        event_time: int,
        score: float,
        numbers: Sequence[float],
    ) -> None:
        """The same for one row of numbers, without any object in between: the quick way."""
        ...


class Observer(Protocol):
    """Counts what happens."""

    def answered(self, served: Served, role: Role, protocol: str, scores: float | FloatArray, seconds: float) -> None:
        """A version answered one row, or one for each of `scores`."""
        ...

    def failed(self, served: Served, role: Role, protocol: str, failure: Failure) -> None:
        """A version did not answer a request that had reached it."""
        ...

    def refused(self, tenant: str, protocol: str, outcome: str) -> None:
        """A request was refused."""
        ...

    def history_missing(self, tenant: TenantId, model: str, rows: int) -> None:
        """Rows were answered without the history they should have had."""
        ...

    def history_level(self, tenant: TenantId, model: str, level: str, rows: int) -> None:
        """What rows rest on whose history was asked for; see `rungs.Level`."""
        ...

    def feature_age(self, tenant: TenantId, model: str, seconds: float) -> None:
        """How old the freshest history used was."""
        ...

    def cold_load(self, outcome: str, seconds: float) -> None:
        """A model that a request waited for was loaded, or not."""
        ...

    def evicted(self, models: int) -> None:
        """Models were taken out of memory to make room."""
        ...

    def shadow(self, outcome: str) -> None:
        """A shadow evaluation was done, failed or dropped."""
        ...

    def serving(self, models: Sequence[ServedModel], loaded: Sequence[Served]) -> None:
        """What is served changed."""
        ...
