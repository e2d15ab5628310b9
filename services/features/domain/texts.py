"""Texts among the values of an answer: the numbers in their places are places in a table of texts, each of which is there once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import polars as pl

from services.features.domain.plan import Plan
from tenon.core.errors import Unavailable
from tenon.windows.blob import texts_of
from tenon.windows.events import FloatArray, IntArray
from tenon.windows.held import HeldBlobs
from tenon.windows.program import Answer

Shown = float | str | None
"""A value as people and JSON see it; None is missing."""


class TextTable:
    """The texts of one answer."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    @property
    def texts(self) -> list[str]:
        """In the order of their places."""
        return list(self._places)

    def place(self, text: str | None) -> float:
        """Where a text is; NaN where it is missing."""
        return math.nan if text is None else float(self._places.setdefault(text, len(self._places)))

    def places(self, texts: Iterable[str | None]) -> FloatArray:
        """The same for many."""
        return np.array([self.place(text) for text in texts], np.float64)


def place_texts(plan: Plan, answer: Answer, blobs: HeldBlobs, rows: IntArray, table: TextTable) -> None:
    """Put places of the answer's table where the kernel gave those of a row's own blob (`rows` says which). Raises `Unavailable` where a blob
    does not have them."""
    features = plan.text_features
    if not features:
        return
    for row in np.flatnonzero(~np.isnan(answer.values[[place for place, _ in features]]).all(axis=0)).tolist():
        texts = texts_of(blobs[int(rows[row])] or b"")
        for place, column in features:
            own = answer.values[place, row]
            if not math.isnan(own):
                try:
                    answer.values[place, row] = table.place(texts[column][int(own)])
                except (KeyError, IndexError) as err:
                    raise Unavailable(
                        "BLOB_CORRUPT", "an online value cannot be read; the view has to be built again"
                    ) from err


def text_places(plans: Sequence[Plan]) -> list[int]:
    """Which of the plans' features, one after the other, are texts."""
    return [place for place, f in enumerate(chain.from_iterable(plan.features for plan in plans)) if f.is_text]


def numbers_of(plan: Plan, columns: Sequence[pl.Series], table: TextTable) -> FloatArray:
    """Columns of a training set as numbers by feature and row, NaN where missing; texts are places in the table."""
    rows = [
        table.places(column.to_list()) if feature.is_text else column.fill_null(math.nan).to_numpy()
        for feature, column in zip(plan.features, columns, strict=True)
    ]
    return np.array(rows, np.float64).reshape(len(plan.features), -1)


def shown(value: float, texts: Sequence[str] | None) -> Shown:
    """A value for people. `texts`: the table, where it is a place in one."""
    if math.isnan(value):
        return None
    return value if texts is None else texts[int(value)]
