"""Labels by experts, laid over those of the spine before a model learns from them.

Which row a correction is about: the one with the primary key, if the request said it; else the one with the same event time
and entity columns, and where there are several, the one that equals the request in every other column too. A correction that
finds no row, or more than one, is left out and counted.

Which label holds: the one that was known last, as everywhere. A corrected row keeps the time at which its label first became
known: a slip of the pen that is put right teaches nothing about the future, and a row that was ripe for training stays it. A
row that had no label is labelled from the moment the expert said so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tenon.core.matching import key_text
from tenon.core.specs import DatasetSpec, ModelSpec

VALUE, KNOWN_AT = "__corrected", "__corrected_at"


@dataclass(frozen=True, slots=True)
class Correction:
    """An expert's label; `key` is what the request said."""

    prediction_id: str
    value: float
    known_at: int
    event_time: int
    key: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the corrections; the digest is over those that were laid over a row."""

    frame: pl.DataFrame
    count: int = 0
    left_out: int = 0
    digest: str = ""


def columns_for(corrections: Sequence[Correction], spine: DatasetSpec, spec: ModelSpec) -> list[str]:
    """Columns of the spine that the corrections name, which the training set must therefore carry."""
    named = {name for one in corrections for name in one.key}
    return [name for name in spine.columns if name in named and name not in (spec.label.column, spine.event_time)]


def lay_over(
    frame: pl.DataFrame, spine: DatasetSpec, spec: ModelSpec, entity: Sequence[str], corrections: Sequence[Correction]
) -> Applied:  # fmt: skip
    """The frame with each row's correction in two more columns; without corrections it stays as it is."""
    if not corrections:
        return Applied(frame)
    rows = _Rows(frame, spine, spec, entity, corrections)
    newest: dict[int, Correction] = {}
    for one in sorted(corrections, key=lambda one: (one.known_at, one.prediction_id)):
        place = rows.find(one)
        if place is not None:
            # Two answers about one event: what was said last holds.
            newest[place] = one
    known = [newest.get(place) for place in range(frame.height)]
    laid = frame.with_columns(
        pl.Series(VALUE, [one.value if one else None for one in known], pl.Float64),
        pl.Series(KNOWN_AT, [one.known_at if one else None for one in known], pl.Int64),
    )
    said = sorted((one.prediction_id, one.value, one.known_at) for one in newest.values())
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest() if said else ""
    return Applied(laid, len(newest), len(corrections) - len(newest), digest)


class _Rows:
    """Finds rows of the frame; only those with a key or a time that some correction names are looked at."""

    def __init__(
        self, frame: pl.DataFrame, spine: DatasetSpec, spec: ModelSpec, entity: Sequence[str],
        corrections: Sequence[Correction],
    ) -> None:  # fmt: skip
        self._keys, self._entity = tuple(spine.primary_key), tuple(entity)
        self._facts = [
            name for name in columns_for(corrections, spine, spec) if name in frame.columns and name not in self._keys
        ]
        by_key = [one for one in corrections if self._has_key(one)]
        times = {one.event_time for one in corrections}
        moments = frame[spine.event_time].cast(pl.Int64)
        near = moments.is_in(list(times))
        if by_key:
            wanted = {key_text(one.key[self._keys[0]]) for one in by_key}
            texts = [key_text(value) for value in frame[self._keys[0]].to_list()]
            near = near | pl.Series([text in wanted for text in texts])
        self._places = near.arg_true().to_list()
        chosen = frame[self._places]
        self._moments = moments.gather(self._places).to_list()
        self._texts = {
            name: [key_text(value) for value in chosen[name].to_list()]
            for name in dict.fromkeys([*self._keys, *self._facts])
        }

    def _has_key(self, one: Correction) -> bool:
        return all(one.key.get(name) is not None for name in self._keys)

    def find(self, one: Correction) -> int | None:
        """The row's place in the frame."""
        everywhere = range(len(self._places))
        if self._has_key(one):
            found = self._equal(everywhere, one, self._keys)
        else:
            entity = [name for name in self._entity if name in self._texts and name in one.key]
            if not entity:
                return None
            at = [row for row in everywhere if self._moments[row] == one.event_time]
            found = self._equal(at, one, entity)
            if len(found) > 1:
                found = self._equal(found, one, [name for name in self._facts if name in one.key])
        return self._places[found[0]] if len(found) == 1 else None

    def _equal(self, rows: Sequence[int], one: Correction, names: Sequence[str]) -> list[int]:
        said = {name: key_text(one.key[name]) for name in names}
        return [row for row in rows if all(self._texts[name][row] == text for name, text in said.items())]
