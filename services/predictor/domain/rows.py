"""One row in which nothing is unusual, from the values of a request to the evaluator without any object in between.

As in `quick`, nothing is refused here: whatever is not quite usual is None, and the caller goes the long way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

LARGEST = float.fromhex("0x1.fffffep+127")
"""Of float32: trees compare in it, and a number beyond it could not be told from infinity."""
LONGEST = 10_000
"""No category or key is longer; what is would only fill the prediction log."""


class Input(Protocol):
    """A column of a signature."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def sort(self) -> str:
        """How its values are held: number, integer, boolean or text."""
        ...

    @property
    def source(self) -> str:
        """Where it comes from."""
        ...

    @property
    def nullable(self) -> bool:
        """Whether a value may be missing."""
        ...


class Field(NamedTuple):
    """One input of a version, in the order of its signature."""

    name: str
    is_text: bool
    is_boolean: bool
    may_lack: bool
    """A request column that may be left out."""


class Row(NamedTuple):
    """A row that was found fine: what the evaluator takes, and the same as the log keeps it."""

    values: list[Any]
    numbers: list[float]
    texts: list[str | None]


class RowLayout:
    """How one row of a version lies: numbers first, then texts, each in the signature's order; and as the evaluator reads them."""

    __slots__ = (
        "booleans",
        "fields",
        "names",
        "nullable",
        "number_names",
        "order",
        "text_names",
        "text_nullable",
        "whole",
    )

    def __init__(self, columns: Sequence[Input], reads: tuple[str, ...]) -> None:
        numbers = [column for column in columns if column.sort != "text"]
        texts = [column for column in columns if column.sort == "text"]
        self.fields = tuple(
            Field(
                column.name, column.sort == "text", column.sort == "boolean",
                column.nullable and column.source == "request",
            )
            for column in columns
        )  # fmt: skip
        self.names = tuple(column.name for column in columns)
        self.number_names = tuple(column.name for column in numbers)
        self.text_names = tuple(column.name for column in texts)
        self.nullable = tuple(column.nullable for column in numbers)
        self.text_nullable = tuple(column.nullable for column in texts)
        self.whole = tuple(place for place, column in enumerate(numbers) if column.sort == "integer")
        self.booleans = tuple(place for place, column in enumerate(numbers) if column.sort == "boolean")
        lying = (*self.number_names, *self.text_names)
        # None: the evaluator reads exactly these, in this order.
        self.order = None if reads == lying else tuple(lying.index(name) for name in reads)

    def row(self, numbers: list[float], texts: list[str | None]) -> Row | None:
        """The row if every value may be taken; missing numbers are NaN."""
        total = sum(numbers)
        # No NaN is among them if their sum is none, so that the two ends speak for all.
        if total == total:  # noqa: PLR0124
            if numbers and not (min(numbers) >= -LARGEST and max(numbers) <= LARGEST):
                return None
        else:
            for value, nullable in zip(numbers, self.nullable, strict=True):
                if not (-LARGEST <= value <= LARGEST or (nullable and math.isnan(value))):
                    return None
        for place in self.whole:
            if not (numbers[place].is_integer() or math.isnan(numbers[place])):
                return None
        for place in self.booleans:
            if not (numbers[place] in (0.0, 1.0) or math.isnan(numbers[place])):
                return None
        values: list[Any] = numbers
        if texts:
            for text, nullable in zip(texts, self.text_nullable, strict=True):
                if (not nullable) if text is None else len(text) > LONGEST:
                    return None
            values = [*numbers, *texts]
        order = self.order
        return Row(values if order is None else [values[place] for place in order], numbers, texts)
