"""Concept drift on errors: the same changes as river's ADWIN finds, whatever the order the labels were read in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.domain.quality.concept import Adwin, follow_errors
from services.monitor.domain.quality.words import Concept

# Recorded from river 0.26.1 (`drift.ADWIN()`, 2026-11-21): what it found, and its window and mean in the end.
RECORDED = [
    ((1000, 0.2, 0.8, 0, "bit"), [1055], 944, 0.7966101694915254),
    ((5000, 0.2, 0.3, 1, "bit"), [5567], 4432, 0.29422382671480146),
    ((5000, 0.1, 0.1, 2, "bit"), [], 10000, 0.1023),
    ((5000, 0.3, 0.2, 3, "bit"), [5311], 4688, 0.20285836177474403),
    ((4000, 0.1, 0.14, 4, "beta"), [4383], 3616, 0.14075664214205955),
    ((3000, 0.3, 0.2, 5, "beta"), [3167], 2832, 0.199950957917789),
    ((2000, 0.2, 0.35, 7, "steps"), [2239, 4127, 6111], None, None),
    ((700, 0.1, 0.3, 8, "steps"), [831, 1535, 2175], None, None),
]


def errors(rows: int, first: float, second: float, seed: int, kind: str) -> list[float]:
    """Errors whose mean changes, made anew by seed."""
    random = np.random.default_rng(seed)
    if kind == "steps":
        parts = [random.random(rows) < chance for chance in (first, second, first / 2, second * 1.2, second)]
        return np.concatenate(parts).astype(float).tolist()
    if kind == "bit":
        return np.concatenate([random.random(rows) < first, random.random(rows) < second]).astype(float).tolist()
    return np.concatenate([random.beta(2, 2 / mean - 2, rows) for mean in (first, second)]).tolist()


@pytest.mark.parametrize(("what", "found", "width", "mean"), RECORDED)
def test_the_changes_are_river_s(
    what: tuple[int, float, float, int, str], found: list[int], width: int | None, mean: float | None
) -> None:
    """To the row; and the window that is left, to the last digits."""
    window, places = Adwin(), []
    for place, value in enumerate(errors(*what)):
        if window.add(value):
            places.append(place)
            window = Adwin()
    assert places == found
    if width is not None:
        assert window.width == width
        assert window.mean == pytest.approx(mean)


@given(st.lists(st.floats(0, 1), max_size=400))
def test_a_window_is_its_values(values: list[float]) -> None:
    """However they are put together in buckets, the mean is that of the last values."""
    window = Adwin()
    for value in values:
        window.add(value)
    kept = values[len(values) - window.width :]
    assert window.mean == pytest.approx(float(np.mean(kept)) if kept else 0.0)


def test_errors_are_followed_in_the_order_in_which_they_became_known() -> None:
    """Replicas that read the rows in another order say the same; the change is where the labels say it."""
    error = np.array(errors(1500, 0.1, 0.4, 11, "bit"))
    known = np.arange(3000) * 1_000_000 + 5
    once = follow_errors(3, error, known, "squared error", 1.0)
    shuffled = np.random.default_rng(1).permutation(3000)
    again = follow_errors(3, error[shuffled], known[shuffled], "squared error", 1.0)
    assert once == again
    assert (once.verdict, len(once.changes)) == (Concept.WORSE, 1)
    (change,) = once.changes
    assert 1500 * 1_000_000 < change.known_at < 1800 * 1_000_000
    assert change.before == pytest.approx(0.1, abs=0.03)
    assert "changed once, from 0.1" in once.summary


def test_few_errors_and_steady_ones() -> None:
    """Too little is said to be so; a mean that stays is said with its size, in the unit of the errors."""
    random = np.random.default_rng(2)
    error = random.exponential(30.0, 4000)
    known = np.arange(4000)
    assert follow_errors(1, error[:150], known[:150], "absolute error", 240.0).verdict is Concept.NOT_ENOUGH_EVIDENCE
    steady = follow_errors(1, error, known, "absolute error", 240.0)
    assert steady.verdict is Concept.UNCHANGED
    assert "stayed at about 29.3" in steady.summary
    falls = follow_errors(1, np.where(known < 2000, error, error / 3), known, "absolute error", 240.0)
    assert falls.verdict is Concept.BETTER


def test_steady_errors_raise_few_alarms() -> None:
    """At most two of forty runs of 2,000 errors that do not change (delta 0.002 is a bound for each look)."""
    random = np.random.default_rng(3)
    known = np.arange(2000)
    runs = [follow_errors(1, (random.random(2000) < 0.15).astype(float), known, "e", 1.0) for _ in range(40)]
    assert sum(bool(run.changes) for run in runs) <= 2
