"""Words of erasure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is to be forgotten: rows with these ids, or with the value of a column of the log (`patient_id`: `p7`)."""

    prediction_ids: frozenset[str] = frozenset()
    key: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Erased:
    """What was taken out of one model's log, and the versions that had answered."""

    rows: int
    labels: int
    versions: tuple[int, ...]
    prediction_ids: tuple[str, ...] = ()
