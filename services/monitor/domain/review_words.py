"""The words of expert review."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.monitor.domain.label_words import KeyValue


class Reason(enum.StrEnum):
    """Why an answer is worth an expert's look."""

    LABEL = "disagrees_with_label"  # sure of itself, and the label says otherwise: one of the two is wrong
    COSTLY = "costly"  # being wrong here is expected to cost most, by the declared business value
    UNCERTAIN = "uncertain"  # nearest to the threshold, or with the widest interval
    HISTORY = "disagrees_with_history"  # unlike what was true of the same entity before


class State(enum.StrEnum):
    """How far an item of the queue is."""

    OPEN = "open"
    LABELLED = "labelled"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """One answer in the queue. `rank` is its fixed place, from 1."""

    rank: int
    prediction_id: str
    at: int
    event_time: int
    version: int
    score: float
    label: float | None
    reason: Reason
    why: str
    columns: Mapping[str, KeyValue | None]
    state: State = State.OPEN
    value: float | None = None
    decided_at: int | None = None
    decided_by: str = ""


@dataclass(frozen=True, slots=True)
class ReviewRound:
    """A queue as it was put together at a moment, in its fixed order."""

    number: int
    built_at: int
    window_start: int
    window_end: int
    looked_at: int
    """Answers that were candidates."""
    items: tuple[ReviewItem, ...] = field(default=())

    def count(self, state: State) -> int:
        """Items in a state."""
        return sum(item.state is state for item in self.items)

    @property
    def open(self) -> tuple[ReviewItem, ...]:
        """What is left to decide, in order."""
        return tuple(item for item in self.items if item.state is State.OPEN)


@dataclass(frozen=True, slots=True)
class Correction:
    """A label by an expert, and what the request said: the trainer finds the spine's row by it."""

    prediction_id: str
    value: float
    known_at: int
    expert: str
    event_time: int
    key: Mapping[str, KeyValue | None]
    undone_at: int | None = None
