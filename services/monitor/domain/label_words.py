"""The words of label joins: rows of the log with their ids, labels that name an entity and a time, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from services.monitor.domain.model import Column, Role
    from tenon.core.specs import DatasetSpec, ModelSpec

KeyValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class AnsweredRows:
    """Some rows of one batch of the log, whole. `position` grows from batch to batch in the order they were taken."""

    position: int
    version: int
    role: Role
    level: str
    prediction_ids: tuple[str, ...]
    at: npt.NDArray[np.int64]
    event_time: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.prediction_ids)


@dataclass(frozen=True, slots=True)
class KeyedLabel:
    """The true value of an event that is named by its entity and its time."""

    key: Mapping[str, KeyValue]
    event_time: int
    value: float
    known_at: int
    within: int = 0
    """How far off the logged event time may be, microseconds; the nearest one counts."""


@dataclass(frozen=True, slots=True)
class Match:
    """The predictions a label belongs to. More than one event fits where `events` is above 1, and then none is taken."""

    ids: tuple[str, ...] = ()
    events: int = 0


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A label that fits several events, by its place in the call."""

    place: int
    events: int


@dataclass(frozen=True, slots=True)
class KeyedRecorded:
    """What became of a call's labels by entity and time: places of those that wait, and of those that fit several events."""

    accepted: int
    predictions: int
    waiting: Sequence[int]
    ambiguous: Sequence[Ambiguous]

    @property
    def matched(self) -> int:
        """Labels whose event was answered."""
        return self.accepted - len(self.waiting)


@dataclass(frozen=True, slots=True)
class SpineTable:
    """Where a data set's rows are, at a version."""

    uri: str
    version: int
    spec: DatasetSpec


@dataclass(frozen=True, slots=True)
class WatchedModel:
    """A model as far as its labels are concerned."""

    spec: ModelSpec
    entity: tuple[str, ...]
    """Columns its history is looked up by."""
