"""The nouns of the fallback ladder: its rungs, and what the rows of an answer stand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tenon.core.levels import BY_THE_MODEL as BY_THE_MODEL  # noqa: PLC0414 - nouns of this module as well
from tenon.core.levels import Level as Level  # noqa: PLC0414

FloatArray = npt.NDArray[np.float64]


WORSE = {level: place for place, level in enumerate(Level)}


class Answering(Protocol):
    """What answers rows from their columns."""

    @property
    def nbytes(self) -> int:
        """Its size in memory."""
        ...

    def predict(self, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """One float64 for each row."""
        ...


@dataclass(frozen=True, slots=True)
class Stale:
    """History that is at most so many seconds old."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Missing:
    """The version's own model, with missing history."""


@dataclass(frozen=True, slots=True)
class WithoutHistory:
    """The second model."""

    evaluator: Answering


@dataclass(frozen=True, slots=True)
class Constant:
    """A declared number, or the training rate or median (`Level.PRIOR`)."""

    value: float
    level: Level = Level.CONSTANT


@dataclass(frozen=True, slots=True)
class Condition:
    """On one request column; a missing value fulfils none."""

    column: str
    above: float | None = None
    below: float | None = None
    one_of: frozenset[Any] | None = None

    def holds(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """For which rows."""
        if values.dtype == object:
            return np.array([value is not None and value in (self.one_of or ()) for value in values], np.bool_)
        found: npt.NDArray[np.bool_] = ~np.isnan(values)
        if self.above is not None:
            found &= values > self.above
        if self.below is not None:
            found &= values < self.below
        if self.one_of is not None:
            found &= np.isin(values, [float(value) for value in self.one_of])
        return found


@dataclass(frozen=True, slots=True)
class Rule:
    """Cases in order, each with all its conditions and its answer; rows that fit none go on down the ladder."""

    cases: tuple[tuple[tuple[Condition, ...], float], ...]

    def answers(self, columns: Mapping[str, npt.NDArray[Any]], rows: int) -> FloatArray:
        """The answer for each row; NaN where no case holds."""
        found = np.full(rows, np.nan)
        for conditions, value in self.cases:
            fits = np.isnan(found)
            for condition in conditions:
                fits &= condition.holds(columns[condition.column])
            found[fits] = value
        return found


@dataclass(frozen=True, slots=True)
class Refuse:
    """No answer."""


Rung = Stale | Missing | WithoutHistory | Rule | Constant | Refuse


@dataclass(frozen=True, slots=True)
class Ladder:
    """What is tried when history is not fresh; `max_age` is how old a view's data may be, in seconds."""

    rungs: tuple[Rung, ...]
    max_age: Mapping[str, float]

    @property
    def stale_seconds(self) -> float | None:
        """How old history may be; None: a last known one is never taken."""
        return next((rung.seconds for rung in self.rungs if isinstance(rung, Stale)), None)

    @property
    def nbytes(self) -> int:
        """Size in memory of the second model."""
        return sum(rung.evaluator.nbytes for rung in self.rungs if isinstance(rung, WithoutHistory))


UNDECLARED = Ladder((Missing(),), {})
"""Of a model that declares none."""


@dataclass(frozen=True, slots=True)
class Footing:
    """What some rows rest on, why, and which history features they lack."""

    level: Level
    reason: str = ""
    lost: tuple[str, ...] = ()


FIRM = Footing(Level.FRESH)


@dataclass(frozen=True, slots=True)
class Footings:
    """What the rows of an answer rest on. `of_row` gives the place in `found`; None: all rest on the only one."""

    found: tuple[Footing, ...]
    of_row: npt.NDArray[np.intp] | None = None

    def at(self, row: int) -> Footing:
        """What a row rests on."""
        return self.found[0 if self.of_row is None else int(self.of_row[row])]

    def rows(self, place: int) -> npt.NDArray[np.intp] | None:
        """Which rows rest on one of `found`; None: all."""
        return None if self.of_row is None else np.flatnonzero(self.of_row == place)

    @property
    def worst(self) -> Footing:
        """What the least of the rows rests on: for a protocol with one word for a whole answer."""
        return max(self.found, key=lambda footing: WORSE[footing.level])

    @property
    def lost(self) -> tuple[str, ...]:
        """Every history feature that some row lacks."""
        return tuple(dict.fromkeys(name for footing in self.found for name in footing.lost))


def only(footing: Footing) -> Footings:
    """All rows rest on the same."""
    return Footings((footing,))


def grouped(footings: Sequence[Footing]) -> Footings:
    """From one for each row."""
    places: dict[Footing, int] = {}
    of_row = [places.setdefault(footing, len(places)) for footing in footings]
    return Footings(tuple(places), None if len(places) == 1 else np.array(of_row, np.intp))
