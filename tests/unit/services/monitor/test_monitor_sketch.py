"""Sketches: counted in any pieces and merged in any order they are the same; stored and read they are the same."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.monitor.domain.drift.sketch import Layout, Sketch
from services.monitor.domain.model import Column, NumericColumn, TextColumn
from tenon.core.manifest import TrainingBaseline
from tests.support.monitor_data import categorical_baseline, numeric_baseline

RNG = np.random.default_rng(3)
BASELINE = TrainingBaseline(
    columns={
        "cost": numeric_baseline(RNG.lognormal(3, 1, size=2_000)),
        "ward": categorical_baseline(["a"] * 50 + ["b"] * 30),
        "gone": numeric_baseline(RNG.normal(size=50)),
    },
    score=numeric_baseline(RNG.beta(2, 5, size=2_000)),
)
LAYOUT = Layout.of(BASELINE)


def rows(seed: int, count: int) -> tuple[dict[str, Column], np.ndarray]:
    """Some rows with missing values, an unknown level and a column training did not have."""
    rng = np.random.default_rng(seed)
    cost = np.where(rng.random(count) < 0.1, np.nan, rng.lognormal(3, 1, size=count))
    columns: dict[str, Column] = {
        "cost": NumericColumn(cost),
        "ward": TextColumn(rng.integers(-1, 3, size=count).astype(np.int32), ("b", "new", "a")),
        "extra": NumericColumn(cost),
    }
    return columns, rng.beta(2, 5, size=count)


def sketch_of(*parts: tuple[int, int]) -> Sketch:
    """A sketch of several chunks."""
    sketch = Sketch(LAYOUT)
    for part in parts:
        sketch.add(*rows(*part))
    return sketch


def same(one: Sketch, other: Sketch) -> bool:
    """Whether two sketches hold the same numbers."""
    return one.rows == other.rows and bool((one.counts == other.counts).all())


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 300)), max_size=4), st.randoms())
def test_merging_is_counting_at_once(parts: list[tuple[int, int]], shuffle: Random) -> None:
    """Windows merged in any order are the window counted at once, to the last row."""
    shuffled = list(parts)
    shuffle.shuffle(shuffled)
    merged = Sketch(LAYOUT)
    for part in shuffled:
        merged.merge(sketch_of(part))
    assert same(merged, sketch_of(*parts))


@pytest.mark.parametrize("count", [0, 1, 100, 70_000])
def test_stored_and_read_it_is_the_same(count: int) -> None:
    """What is stored is small and comes back whole, whatever the counts' width."""
    sketch = sketch_of((1, count))
    data = sketch.to_bytes()
    assert same(Sketch.from_bytes(LAYOUT, data), sketch)
    assert len(data) < 2_000


def test_what_is_counted() -> None:
    """Values, missing values, unseen levels and values out of training's range are told apart."""
    sketch = Sketch(LAYOUT)
    columns: dict[str, Column] = {
        "cost": NumericColumn(np.array([1e9, -1.0, np.nan, 20.0])),
        "ward": TextColumn(np.array([0, 1, 1, -1], dtype=np.int32), ("a", "new")),
    }
    sketch.add(columns, np.array([0.1, 0.2, np.nan, 0.3]))
    tallied = sketch.tallied()
    assert (tallied["cost"].rows, tallied["cost"].window_missing, tallied["cost"].unseen) == (4, 1, 2)
    assert (tallied["ward"].window.tolist(), tallied["ward"].window_missing, tallied["ward"].unseen) == (
        [1, 0, 2],
        1,
        2,
    )
    assert tallied["score"].window_missing == 1
    assert not sketch.seen("gone")
    assert sketch.rows == 4


def test_two_windows_can_be_compared() -> None:
    """Beside another window, that window's counts stand where training's would."""
    now, then = sketch_of((1, 500)), sketch_of((2, 900))
    tallied = now.tallied(then)["cost"]
    assert (tallied.rows, tallied.baseline_rows) == (500, 900)


def test_other_bins_are_refused() -> None:
    """Sketches of other bins are never mixed, and damaged bytes are never taken for counts."""
    other = Layout.of(BASELINE.model_copy(update={"score": numeric_baseline(RNG.normal(size=100))}))
    data = sketch_of((1, 100)).to_bytes()
    with pytest.raises(ValueError, match="other bins"):
        Sketch(other).merge(sketch_of((1, 10)))
    with pytest.raises(ValueError, match="other bins"):
        Sketch.from_bytes(other, data)
    with pytest.raises(ValueError, match="different bins"):
        Sketch(other).tallied(sketch_of((1, 10)))
    for broken in (b"", data[:20], data[:-5], b"XX" + data[2:], data[:40] + b"\0\0\0" + data[43:]):
        with pytest.raises(ValueError, match=r"damaged|no sketch"):
            Sketch.from_bytes(LAYOUT, broken)
