"""Why an answer is what it is: the contributions of its inputs, from whichever model answered the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.predictor.domain.model import Column, FloatArray, Kind, Served
from services.predictor.domain.rungs import BY_THE_MODEL, Footings, Level
from tenon.core.errors import Place, TooLarge

Arrays = Mapping[str, npt.NDArray[Any]]


class Contributions(Protocol):
    """What an explainer found for some rows; base + the sum of a row's contributions is its margin."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The inputs explained."""
        ...

    @property
    def contributions(self) -> FloatArray:
        """(rows, columns)."""
        ...

    @property
    def base(self) -> float:
        """What is answered when nothing is known of a row."""
        ...

    @property
    def margin(self) -> FloatArray:
        """The answers before the link."""
        ...

    @property
    def space(self) -> str:
        """What all of these are measured in: `log-odds` or `value`."""
        ...


class Explainer(Protocol):
    """Explains rows; thread-safe."""

    def explain(self, columns: Arrays) -> Contributions:
        """The contributions of every row."""
        ...


class Explainers(Protocol):
    """Gets explainers; they are made when first asked for, so that answering alone costs nothing."""

    def of(self, served: Served, *, without_history: bool) -> Explainer:
        """The explainer of a version, or of its second model. Raises `Precondition` (EXPLANATION_UNAVAILABLE) for a
        version that cannot explain, and other `TenonError`s for what may work later."""
        ...


@dataclass(frozen=True, slots=True)
class Explained:
    """Rows of an answer that one model explained, and what they held. `rows` None: all rows of the answer."""

    rows: npt.NDArray[np.intp] | None
    found: Contributions
    values: Arrays


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one input of one row adds to its margin."""

    column: str
    value: Any
    contribution: float


@dataclass(frozen=True, slots=True)
class RowExplanation:
    """One row explained: the largest contribution first."""

    space: str
    base: float
    margin: float
    contributions: tuple[Contribution, ...]


class Explaining:
    """Explains what is asked for, up to `most_rows` rows of a request."""

    def __init__(self, explainers: Explainers, *, most_rows: int) -> None:
        self._explainers = explainers
        self._most_rows = most_rows

    def check(self, rows: int) -> None:
        """Raises `TooLarge` for more rows than are explained at once."""
        if rows > self._most_rows:
            raise TooLarge(
                "EXPLAIN_TOO_MANY_ROWS",
                f"{rows} rows are to be explained; at most {self._most_rows} are at once",
                place=Place(field="explain"),
                hint="ask in several calls, or without explain",
                data={"rows": rows, "cap": self._most_rows},
            )

    def explain(self, served: Served, columns: Arrays, footings: Footings | None, count: int) -> list[Explained]:
        """Of all rows that a model answered; the answer of a rule or a constant has no contributions."""
        found = []
        for of_second in (False, True):
            rows = _rows_of(footings, of_second, count)
            if rows is not None and not len(rows):
                continue
            explainer = self._explainers.of(served, without_history=of_second)
            some = columns if rows is None else {name: values[rows] for name, values in columns.items()}
            found.append(Explained(rows, explainer.explain(some), some))
        return found


def _rows_of(footings: Footings | None, of_second: bool, count: int) -> npt.NDArray[np.intp] | None:
    """Rows that the version's own model answered, or its second one; None: all."""
    if footings is None:
        return np.empty(0, np.intp) if of_second else None
    wanted = {Level.WITHOUT_HISTORY} if of_second else BY_THE_MODEL
    places = [place for place, footing in enumerate(footings.found) if footing.level in wanted]
    if footings.of_row is None:
        return None if places else np.empty(0, np.intp)
    found = np.flatnonzero(np.isin(footings.of_row, places))
    return None if len(found) == count else found


def by_row(served: Served, explained: list[Explained], count: int) -> list[RowExplanation | None]:
    """One explanation for each row of an answer; None where no model answered."""
    rows: list[RowExplanation | None] = [None] * count
    for some in explained:
        found = some.found
        places = range(count) if some.rows is None else some.rows.tolist()
        columns = [(served.by_name[name], some.values[name].tolist()) for name in found.columns]
        # The larger first; equals in the order of the model's inputs.
        order = np.argsort(-np.abs(found.contributions), axis=1, kind="stable").tolist()
        amounts, margins = found.contributions.tolist(), found.margin.tolist()
        for index, place in enumerate(places):
            amount = amounts[index]
            rows[place] = RowExplanation(
                found.space,
                found.base,
                margins[index],
                tuple(
                    Contribution(columns[at][0].name, _plain(columns[at][0], columns[at][1][index]), amount[at])
                    for at in order[index]
                ),
            )
    return rows


CONTRIBUTIONS = "contributions"
"""The output tensor of the Open Inference Protocol that explanations are in."""


def as_tensor(explained: list[Explained], count: int) -> tuple[FloatArray, dict[str, str]]:
    """`as_matrix` for the protocol: the tensor, and parameters that say what its columns are and what they measure."""
    names, matrix, space = as_matrix(explained, count)
    return matrix, {"columns": ",".join([*names, "base"]), "space": space}


def as_matrix(explained: list[Explained], count: int) -> tuple[tuple[str, ...], FloatArray, str]:
    """(columns, contributions of every row with the base last, space): NaN for rows that no model answered, and for
    inputs that the model which did does not read."""
    names = tuple(dict.fromkeys(name for some in explained for name in some.found.columns))
    place = {name: at for at, name in enumerate(names)}
    out = np.full((count, len(names) + 1), np.nan)
    for some in explained:
        rows = np.arange(count) if some.rows is None else some.rows
        at = np.array([place[name] for name in some.found.columns], np.intp)
        out[rows[:, np.newaxis], at] = some.found.contributions
        out[rows, -1] = some.found.base
    return names, out, explained[0].found.space if explained else ""


def _plain(column: Column, value: Any) -> Any:
    """A value as the caller wrote it: whole numbers and booleans are float64 inside; None is missing."""
    if not isinstance(value, float):
        return value
    if np.isnan(value):
        return None
    if column.kind is Kind.BOOLEAN:
        return bool(value)
    return int(value) if column.kind is Kind.INTEGER and value.is_integer() else value
