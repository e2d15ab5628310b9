"""Rows that no contract should let through: each kind is planted on purpose and counted, so that the story can check.

Lines that a careless export writes twice are planted, too: they are no error, the later one replaces the earlier.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Row = list[str]

SPOILT_SHARE = 0.015
REPEATED_SHARE = 0.003


def plant(
    rng: np.random.Generator, header: list[str], rows: list[Row], fresh_key: Callable[[], str]
) -> tuple[list[Row], dict[str, int]]:
    """The rows with spoilt ones in between, and how many of each kind.

    A spoilt row is a copy of a good one under a key of its own: every good row stays, so what is in the lake in the
    end is known exactly.
    """
    at = {name: index for index, name in enumerate(header)}
    count = max(len(KINDS), int(len(rows) * SPOILT_SHARE))
    kinds = [*KINDS, *rng.choice(list(KINDS), size=count - len(KINDS)).tolist()]
    spoilt = []
    for kind in kinds:
        row = list(rows[int(rng.integers(len(rows)))])
        row[at["visit_id"]] = fresh_key()
        KINDS[kind](row, at, rng)
        spoilt.append(row)
    places = np.sort(rng.integers(0, len(rows) + 1, len(spoilt)))
    mixed: list[Row] = []
    start = 0
    for place, row in zip(places.tolist(), spoilt, strict=True):
        mixed += [*rows[start:place], row]
        start = place
    mixed += rows[start:]
    return mixed, {kind: kinds.count(kind) for kind in KINDS}


def repeat(rng: np.random.Generator, rows: list[Row]) -> tuple[list[Row], int]:
    """The rows with some of them written a second time right away, and how many."""
    chosen = set(rng.choice(len(rows), size=max(1, int(len(rows) * REPEATED_SHARE)), replace=False).tolist())
    repeated = [line for place, row in enumerate(rows) for line in ([row, list(row)] if place in chosen else [row])]
    return repeated, len(chosen)


def _wrong_type(row: Row, at: dict[str, int], rng: np.random.Generator) -> None:
    column, text = [("triage", "urgent"), ("age", "forty"), ("hour", "7.5"), ("planned", "perhaps")][
        int(rng.integers(4))
    ]
    row[at[column]] = text


def _missing_key(row: Row, at: dict[str, int], _rng: np.random.Generator) -> None:
    row[at["visit_id"]] = ""


def _missing_value(row: Row, at: dict[str, int], _rng: np.random.Generator) -> None:
    row[at["patient_id"]] = ""


def _out_of_range(row: Row, at: dict[str, int], rng: np.random.Generator) -> None:
    row[at["age"]] = ["212", "-3", "999"][int(rng.integers(3))]


def _unknown_word(row: Row, at: dict[str, int], _rng: np.random.Generator) -> None:
    row[at["department"]] = "astrology"


def _impossible_date(row: Row, at: dict[str, int], rng: np.random.Generator) -> None:
    row[at["admitted_at"]] = ["2024-02-30T10:00:00Z", "2023-13-01T10:00:00Z", "31.12.2024 10:00"][int(rng.integers(3))]


def _ragged(row: Row, _at: dict[str, int], rng: np.random.Generator) -> None:
    if rng.integers(2):
        row.append("left over")
    else:
        row.pop()


KINDS: dict[str, Callable[[Row, dict[str, int], np.random.Generator], None]] = {
    "wrong_type": _wrong_type,
    "missing_key": _missing_key,
    "missing_value": _missing_value,
    "out_of_range": _out_of_range,
    "unknown_word": _unknown_word,
    "impossible_date": _impossible_date,
    "ragged": _ragged,
}
"""Every kind of spoilt row."""
