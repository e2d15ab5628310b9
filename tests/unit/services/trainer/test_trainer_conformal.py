"""Prediction intervals: they cover what they say, whatever the errors look like, and say so when they do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.trainer.domain.conformal import calibrate, interval_warnings
from tenon.bundle import open_bundle
from tenon.core.errors import Invalid
from tenon.core.manifest import PredictionInterval
from tenon.core.specs.model import Task
from tests.support.trainer_data import COST, COSTLY, model_spec
from tests.unit.services.trainer.conftest import Trainer

HOUR = 3_600_000_000


def of_errors(errors: np.ndarray, answer: np.ndarray, **options: object) -> PredictionInterval | None:
    """The interval of answers that were off by `errors`, one an hour."""
    at = np.arange(len(errors), dtype=np.int64) * HOUR
    return calibrate(at, answer + errors, answer, gap=HOUR, **options)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(["normal", "skewed", "growing", "discrete"]))
def test_rows_in_any_order_are_covered_as_often_as_said(seed: int, shape: str) -> None:
    """Symmetric, skewed, growing with the answer, tied: about nine of ten truths lie inside intervals made from other rows."""
    random = np.random.default_rng(seed)
    answer = random.uniform(0, 100, 4000)
    errors = {
        "normal": random.normal(size=4000),
        "skewed": random.exponential(size=4000) - 0.3,
        "growing": random.normal(size=4000) * answer,
        "discrete": random.integers(-2, 3, 4000).astype(float),
    }[shape]
    interval = of_errors(errors, answer)
    assert interval is not None
    # More than four standard deviations of calibration and measurement together.
    assert interval.measured_coverage > 0.9 - 0.04
    if shape != "discrete":
        assert interval.measured_coverage < 0.9 + 0.04


def test_answers_with_larger_errors_have_wider_intervals() -> None:
    """The bins know how errors grow with the answer; one width for all would not."""
    random = np.random.default_rng(1)
    answer = random.uniform(0, 100, 4000)
    interval = of_errors(random.normal(size=4000) * answer / 10, answer)
    assert interval is not None
    widths = [high - low for low, high in (interval.around(value) for value in (5.0, 50.0, 95.0))]
    assert widths[0] * 3 < widths[1] < widths[2]
    low, high = interval.around(50.0)
    assert low < 50.0 < high


def test_the_same_answer_again_and_again_is_one_bin() -> None:
    """Heavy ties make fewer bins, never an empty one; a constant answer makes one."""
    random = np.random.default_rng(2)
    some = of_errors(random.normal(size=4000), random.choice([1.0, 2.0, 3.0], 4000, p=[0.98, 0.015, 0.005]))
    one = of_errors(random.normal(size=400), np.full(400, 7.0))
    assert some is not None
    assert one is not None
    assert len(some.edges) < 3
    assert one.edges == []


def test_no_interval_goes_beyond_what_the_label_can_be() -> None:
    """A concentration is never negative; that costs no coverage."""
    random = np.random.default_rng(3)
    answer = random.uniform(-1, 3, 4000)
    label, at = np.maximum(answer + random.normal(size=4000), 0.0), np.arange(4000, dtype=np.int64) * HOUR
    interval = calibrate(at, label, answer, gap=HOUR, limits=(0.0, None))
    assert interval is not None
    assert interval.around(0.1)[0] == 0.0
    assert interval.around(-50.0) == (0.0, 0.0)
    assert interval.measured_coverage > 0.87


def test_neighbours_in_time_do_not_judge_each_other() -> None:
    """Rows nearer than the gap are left out; where that leaves too few, there is no interval."""
    at, label = np.arange(400, dtype=np.int64) * HOUR, np.zeros(400)
    near, far = calibrate(at, label, label, gap=100 * HOUR), calibrate(at, label, label, gap=270 * HOUR)
    assert near is not None
    assert (near.calibration_rows, near.measured_rows, near.measured_blocks) == (400, 400, [1.0] * 4)
    assert far is None
    # A slow wave of errors: blocks that are judged by the others show it, in-sample figures would not.
    errors = np.repeat([0.0, 3.0, -3.0, 9.0], 100) + np.random.default_rng(5).normal(size=400)
    moving = of_errors(errors, np.zeros(400))
    assert moving is not None
    assert min(moving.measured_blocks) < 0.2
    inside = (errors >= moving.low[0]) & (errors <= moving.high[0])
    assert inside.mean() > 0.88


def test_a_run_says_when_its_intervals_do_not_hold() -> None:
    """Data that moves within the test period shows as a measured coverage, and as a warning; so do too few rows."""
    random = np.random.default_rng(4)
    errors = random.normal(size=1000)
    errors[750:] += 9
    moved = of_errors(errors, np.zeros(1000))
    assert moved is not None
    assert moved.measured_coverage < 0.8
    assert "too narrow" in interval_warnings(Task.REGRESSION, moved)[0]
    assert of_errors(np.zeros(50), np.zeros(50)) is None
    assert "too few" in interval_warnings(Task.REGRESSION, None)[0]
    assert interval_warnings(Task.BINARY, None) == []


def test_a_trained_regression_carries_its_interval(trainer: Trainer) -> None:
    """In the signed manifest, the same each time; a binary model has none, but the threshold of its document."""
    key = trainer.signing_key.public_key()
    manifest = open_bundle(trainer.train(model_spec(COST)).bundle, key).manifest
    interval = manifest.evidence.interval
    assert interval is not None
    assert interval.coverage == 0.9
    assert interval.calibration_rows == interval.measured_rows == manifest.evidence.model.rows
    assert open_bundle(trainer.train(model_spec(COST)).bundle, key).manifest.evidence.interval == interval
    binary = open_bundle(trainer.train(model_spec(COSTLY, threshold=0.3, estimators=["logistic"])).bundle, key).manifest
    assert binary.evidence.interval is None
    assert binary.threshold == 0.3


def test_a_threshold_is_for_yes_or_no() -> None:
    """A regression has none, and 1.5 is no probability."""
    for base, threshold in ((COST, 0.5), (COSTLY, 1.5), (COSTLY, 0.0)):
        with pytest.raises(Invalid, match="threshold"):
            model_spec(base, threshold=threshold)


def test_an_interval_that_is_none_is_refused() -> None:
    """Bins that do not fit together, and numbers that are not finite."""
    good = {
        "coverage": 0.9, "edges": [1.0], "low": [-1.0, -1.0], "high": [1.0, 1.0], "calibration_rows": 9,
        "measured_coverage": 0.9, "measured_rows": 9, "measured_blocks": [0.9], "mean_width": 2.0,
    }  # fmt: skip
    PredictionInterval.model_validate(good)
    for wrong in ({"low": [-1.0]}, {"edges": [1.0, 0.0]}, {"high": [1.0, float("inf")]}, {"coverage": 1.5}):
        with pytest.raises(ValidationError):
            PredictionInterval.model_validate(good | wrong)
