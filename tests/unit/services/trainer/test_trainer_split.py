"""Splits by time: what may be learnt from, for any times at all."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.domain.split import split_at_random, split_by_time, split_validation, start_of_test
from tenon.core.specs import Split
from tenon.core.timestamps import parse_rfc3339

instants = st.integers(-1_000, 1_000)
rows = st.lists(st.tuples(instants, st.integers(-50, 500)), min_size=1, max_size=60)


def columns(drawn: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Event times and known-at times (a label may, in dirty data, be known before its event)."""
    event = np.array([at for at, _ in drawn], dtype=np.int64)
    return event, event + np.array([delay for _, delay in drawn], dtype=np.int64)


@given(rows, instants, st.integers(0, 300))
def test_nothing_known_after_the_start_is_learnt_from(drawn: list[tuple[int, int]], start: int, gap: int) -> None:
    """Every training row happened before the gap and its label was known before the test starts; the test is the rest
    from the start on; each row is counted exactly once."""
    event, known = columns(drawn)
    split = split_by_time(event, known, start=start, gap=gap)
    assert all(event[split.train] < start - gap)
    assert all(known[split.train] < start)
    assert all(event[split.test] >= start)
    assert len(split.train) + len(split.test) + split.in_gap + split.known_late == len(event)
    assert not set(split.train) & set(split.test)


@given(rows, instants, st.integers(0, 300))
def test_no_honest_row_is_wasted(drawn: list[tuple[int, int]], start: int, gap: int) -> None:
    """A row outside the gap whose label was known in time is in the training rows."""
    event, known = columns(drawn)
    train = set(split_by_time(event, known, start=start, gap=gap).train)
    for index, (at, when) in enumerate(zip(event, known, strict=True)):
        assert (index in train) == (at < start - gap and when < start)


@given(rows, st.integers(0, 300))
def test_validation_is_held_out_in_the_same_way(drawn: list[tuple[int, int]], gap: int) -> None:
    """Inside the training rows the last part is held out with the same gap and the same rule for labels."""
    event, known = columns(drawn)
    split = split_validation(event, known, gap=gap)
    assert len(split.test) >= 1
    assert all(event[split.train] < split.start - gap)
    assert all(known[split.train] < split.start)
    assert event[split.test].min() == split.start


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 9))
def test_the_random_split_has_the_same_sizes_and_rows(train: int, test: int, seed: int) -> None:
    """The dishonest split takes the very same rows, with the same sizes, and the same ones for the same seed."""
    pool = np.arange(1000, 1000 + train + test)
    one, other = split_at_random(pool, train=train, seed=seed)
    assert (len(one), len(other)) == (train, test)
    assert sorted([*one, *other]) == pool.tolist()
    again, _ = split_at_random(pool, train=train, seed=seed)
    assert np.array_equal(one, again)


def test_the_test_period_is_a_day_or_a_length() -> None:
    """`testFrom` is that instant; `test` is a length before the last row."""
    event = np.array([0, parse_rfc3339("2024-03-10")])
    assert start_of_test(Split(test_from="2024-03-01"), event) == parse_rfc3339("2024-03-01")
    assert start_of_test(Split(test="10d"), event) == parse_rfc3339("2024-02-29")
