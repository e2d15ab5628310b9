"""Estimates before labels, calibration, worth: against scikit-learn, known formulas, and what came true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from services.monitor.domain.model import Quality
from services.monitor.domain.quality.business_value import price_answers
from services.monitor.domain.quality.calibration import CalibrationPolicy, judge_calibration, logistic_line, wilson
from services.monitor.domain.quality.estimate import Known, estimate_binary, estimate_regression, expected_metrics
from services.monitor.domain.quality.loss_model import fit_losses
from services.monitor.domain.quality.measure import QualityPolicy
from services.monitor.domain.quality.words import Basis, Calibrated
from tenon.core.manifest import Evaluation, PredictionInterval
from tenon.core.specs.monitor import BusinessValue

POLICY = QualityPolicy()
NOTHING = Known(np.empty(0), np.empty(0), {})


def answers(rows: int, seed: int, *, spread: float = 1.5, shift: float = -1.0) -> Any:
    """Calibrated probabilities and truths."""
    random = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(-(random.normal(shift, spread, rows))))
    return chance, (random.random(rows) < chance).astype(float), random


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=4, max_size=60))
def test_certain_chances_give_scikit_learn_s_metrics(rows: list[tuple[int, int]]) -> None:
    """With chances of 0 and 1 the expected metrics are the metrics, ties and all."""
    score, truth = np.array([s / 10 + 0.1 for s, _ in rows]), np.array([float(t) for _, t in rows])
    found = expected_metrics(score, truth)
    assert found["brier"] == pytest.approx(brier_score_loss(truth, score))
    assert found["log_loss"] == pytest.approx(log_loss(truth, score, labels=[0, 1]))
    if 0 < truth.sum() < len(truth):
        assert found["roc_auc"] == pytest.approx(roc_auc_score(truth, score))
        assert found["pr_auc"] == pytest.approx(average_precision_score(truth, score))


def test_expected_metrics_are_the_means_over_drawn_truths() -> None:
    """Of a small sample, where a row's pair with itself would show: the mean of 4,000 draws, within its error."""
    random = np.random.default_rng(5)
    score = random.random(12)
    chance = random.random(12)
    draws = (random.random((4000, 12)) < chance).astype(float)
    kept = draws[(draws.sum(axis=1) > 0) & (draws.sum(axis=1) < 12)]
    found = expected_metrics(score, chance)
    assert found["brier"] == pytest.approx(float(((score - draws) ** 2).mean()), abs=0.01)
    weights = kept.sum(axis=1) * (12 - kept.sum(axis=1))
    above = (score[:, None] > score[None, :]).astype(float)
    right = np.einsum("di,ij,dj->d", kept, above, 1 - kept)
    assert found["roc_auc"] == pytest.approx(float(right.sum() / weights.sum()), abs=0.01)


def test_calibrated_answers_tell_their_own_quality() -> None:
    """In 25 windows of 600 the figure that came true lies inside the interval in about 95 of 100, and mostly near the middle."""
    inside = dict.fromkeys(("roc_auc", "log_loss", "brier"), 0)
    for seed in range(25):
        chance, truth, _ = answers(600, seed)
        found = {one.metric: one for one in estimate_binary(1, chance, NOTHING, Evaluation(rows=1, metrics={}), POLICY)}
        came = {
            "roc_auc": roc_auc_score(truth, chance),
            "log_loss": log_loss(truth, chance),
            "brier": brier_score_loss(truth, chance),
        }
        for name in inside:
            inside[name] += found[name].low <= came[name] <= found[name].high
        assert found["roc_auc"].basis is Basis.PROBABILITIES
    assert all(hits >= 21 for hits in inside.values()), inside


def test_answers_that_are_off_are_calibrated_on_labels_of_before() -> None:
    """A model that is too sure of itself: the raw estimate flatters it, the one on 3,000 labels does not."""
    chance, truth, random = answers(4000, 1)
    odds = np.log(chance / (1 - chance))
    bold = 1 / (1 + np.exp(-(2.2 * odds + 0.8)))
    known = Known(bold[:3000], truth[:3000], {})
    now, came = bold[3000:], log_loss(truth[3000:], bold[3000:])
    expected = Evaluation(rows=5000, metrics={"log_loss": 0.45, "roc_auc": 0.8})
    raw = {one.metric: one for one in estimate_binary(1, now, NOTHING, expected, POLICY)}["log_loss"]
    found = {one.metric: one for one in estimate_binary(1, now, known, expected, POLICY)}["log_loss"]
    assert raw.high < came
    assert found.low <= came <= found.high
    assert (found.basis, found.basis_rows, found.verdict) == (Basis.LABELS, 3000, Quality.WORSE)
    del random


def test_too_few_answers_are_not_estimated() -> None:
    """As with quality on labels: below 100 rows nothing is said."""
    assert estimate_binary(1, np.full(99, 0.5), NOTHING, Evaluation(rows=1, metrics={}), POLICY) == []
    assert estimate_regression(1, np.full(99, 0.5), {}, NOTHING, Evaluation(rows=1, metrics={}), None, POLICY) == []
    assert estimate_regression(1, np.full(200, 0.5), {}, NOTHING, Evaluation(rows=1, metrics={}), None, POLICY) == []


def test_losses_are_learnt_where_a_column_says_something() -> None:
    """A window with more of the hard rows has larger errors by the estimate, as it came true; noise adds nothing."""
    random = np.random.default_rng(7)

    def rows(count: int, hard: float) -> Any:
        kind = (random.random(count) < hard).astype(float)
        noise = random.normal(size=count)
        answer = random.normal(100, 10, count)
        truth = answer + random.normal(size=count) * np.where(kind > 0, 20.0, 5.0)
        return answer, truth, {"kind": kind, "noise": noise}

    answer, truth, columns = rows(4000, 0.2)
    known = Known(answer, truth, columns)
    now, came, inputs = rows(2000, 0.7)
    expected = Evaluation(rows=4000, metrics={"mae": float(np.abs(answer - truth).mean())})
    mae, rmse = estimate_regression(1, now, inputs, known, expected, None, POLICY)
    assert mae.low <= float(np.abs(now - came).mean()) <= mae.high
    assert rmse.value == pytest.approx(float(np.sqrt(((now - came) ** 2).mean())), rel=0.1)
    assert (mae.verdict, mae.basis, mae.basis_rows) == (Quality.WORSE, Basis.LABELS, 4000)
    model = fit_losses(answer, {"noise": columns["noise"]}, np.abs(answer - truth))
    assert model.predict(now, {"noise": inputs["noise"]}).std() < 0.1 * np.abs(answer - truth).mean()
    missing = {"noise": np.full(2000, np.nan)}
    assert np.isfinite(model.predict(now, missing)).all()


def test_without_labels_the_test_s_interval_says_how_large_errors_are() -> None:
    """For normal errors, the mean error follows from the interval's width."""
    interval = PredictionInterval(
        coverage=0.9, edges=[10.0], low=[-1.645, -16.45], high=[1.645, 16.45], calibration_rows=5000,
        measured_coverage=0.9, measured_rows=5000, mean_width=5.0,
    )  # fmt: skip
    score = np.where(np.arange(1000) < 500, 5.0, 15.0)
    (mae,) = estimate_regression(1, score, {}, NOTHING, Evaluation(rows=9, metrics={"mae": 4.0}), interval, POLICY)
    assert mae.value == pytest.approx(5.5 * np.sqrt(2 / np.pi), rel=0.01)
    assert (mae.basis, mae.basis_rows) == (Basis.INTERVAL, 5000)
    assert mae.low < mae.value < mae.high


def test_reliability_bins_are_scikit_learn_s() -> None:
    """Quantile bins with the same means; the error is their weighted distance; the intervals are Wilson's."""
    chance, truth, _ = answers(5000, 3)
    found = judge_calibration("binary", 1, chance, truth, CalibrationPolicy())
    true, said = calibration_curve(truth, chance, n_bins=10, strategy="quantile")
    assert [one.truth for one in found.bins] == pytest.approx(true.tolist())
    assert [one.answer for one in found.bins] == pytest.approx(said.tolist())
    assert found.error == pytest.approx(float(np.mean(np.abs(true - said))), rel=1e-6)
    assert found.verdict is Calibrated.CALIBRATED
    assert found.in_the_large == pytest.approx(float(chance.mean() - truth.mean()))
    low, high = wilson(np.array([0.1]), np.array([50.0]), 1.959963984540054)
    assert (low[0], high[0]) == (pytest.approx(0.0434758, abs=1e-6), pytest.approx(0.2136023, abs=1e-5))


def test_the_line_in_log_odds_is_scikit_learn_s() -> None:
    """Cox's slope and intercept, as an unpenalised logistic regression gives them."""
    chance, truth, _ = answers(3000, 4)
    odds = np.log(chance / (1 - chance))
    fitted = LogisticRegression(C=1e9, tol=1e-10, max_iter=500).fit(odds[:, None], truth)
    assert list(logistic_line(chance, truth)) == [
        pytest.approx(fitted.coef_[0, 0], abs=1e-3), pytest.approx(fitted.intercept_[0], abs=1e-3),
    ]  # fmt: skip
    slope, intercept = logistic_line(np.full(100, 0.5), np.ones(100))
    assert np.isfinite([slope, intercept]).all()


def test_what_is_off_is_said_which_way() -> None:
    """Too high, too low, both; and chance alone is not enough: of 60 calibrated windows of 500 at most three are accused."""
    chance, truth, _ = answers(5000, 5)
    odds = np.log(chance / (1 - chance))
    policy = CalibrationPolicy()

    def verdict(shifted: Any) -> Calibrated:
        return judge_calibration("binary", 1, 1 / (1 + np.exp(-shifted)), truth, policy).verdict

    assert verdict(odds + 0.7) is Calibrated.TOO_HIGH
    assert verdict(odds - 0.7) is Calibrated.TOO_LOW
    assert verdict((odds + 1) * 3 - 1) is Calibrated.MISCALIBRATED
    accused = 0
    for seed in range(60):
        chance, truth, _ = answers(500, 100 + seed)
        accused += judge_calibration("binary", 1, chance, truth, policy).verdict is not Calibrated.CALIBRATED
    assert accused <= 3
    few = judge_calibration("binary", 1, chance[:50], truth[:50], policy)
    assert (few.verdict, judge_calibration("binary", 1, chance[:1], truth[:1], policy).bins) == (
        Calibrated.NOT_ENOUGH_EVIDENCE,
        (),
    )


def test_a_regression_is_calibrated_by_its_means_and_its_intervals() -> None:
    """Bias is found with its direction; the coverage is that of the manifest's own intervals, ends and all."""
    random = np.random.default_rng(9)
    answer = random.normal(50, 10, 3000)
    truth = answer + random.normal(0, 5, 3000)
    interval = PredictionInterval(
        coverage=0.9, edges=[50.0], low=[-8.2, -8.2], high=[8.2, 8.2], least=0.0, calibration_rows=50, measured_coverage=0.9,
        measured_rows=50, mean_width=16.4,
    )  # fmt: skip
    found = judge_calibration("regression", 1, answer, truth, CalibrationPolicy(), interval=interval)
    assert (found.verdict, found.nominal) == (Calibrated.CALIBRATED, 0.9)
    inside = [
        interval.around(a)[0] <= t <= interval.around(a)[1]
        for a, t in zip(answer.tolist(), truth.tolist(), strict=True)
    ]
    assert found.coverage == pytest.approx(np.mean(inside))
    slope, intercept = np.polyfit(answer, truth, 1)
    assert [found.slope, found.intercept] == pytest.approx([slope, intercept])
    assert judge_calibration("regression", 1, answer + 4, truth, CalibrationPolicy()).verdict is Calibrated.TOO_HIGH


def test_answers_are_worth_what_is_declared() -> None:
    """Counts by hand; the better constant answer beside it; the declared threshold outranks the model's."""
    score = np.array([0.9, 0.8, 0.4, 0.3, 0.2, 0.6])
    truth = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    declared = BusinessValue.model_validate(
        {"unit": "EUR", "perTruePositive": 100, "perFalsePositive": -30, "perFalseNegative": -10}
    )
    worth = price_answers(2, score, truth, declared, None)
    assert worth is not None
    assert (worth.true_positives, worth.false_positives, worth.false_negatives, worth.true_negatives) == (2, 1, 1, 2)
    assert [worth.total, worth.threshold, worth.per_answer] == pytest.approx([160.0, 0.5, 160 / 6])
    assert (worth.without, worth.without_answer) == (210.0, "yes")
    assert "50 less than always saying yes" in worth.summary
    lower = price_answers(2, score, truth, declared, 0.25)
    assert lower is not None
    assert lower.threshold == 0.25
    strict = price_answers(2, score, truth, declared.model_copy(update={"threshold": 0.85}), 0.25)
    assert strict is not None
    assert (strict.threshold, strict.total) == (0.85, 80.0)
    assert price_answers(2, score[:0], truth[:0], declared, None) is None
    minutes = price_answers(
        1,
        np.array([3.0, 5.0]),
        np.array([4.0, 2.0]),
        BusinessValue.model_validate({"unit": "EUR", "perUnitOfError": -2}),
        None,
    )
    assert minutes is not None
    assert (minutes.total, minutes.threshold, minutes.without) == (-8.0, None, None)


def test_the_interval_of_worth_holds() -> None:
    """Of 200 windows of 400 answers the expected worth lies inside in about 95 of 100."""
    declared = BusinessValue.model_validate({"unit": "EUR", "perTruePositive": 100, "perFalsePositive": -30})
    chance, _, random = answers(400, 8)
    per = np.where(chance >= 0.5, 100 * chance - 30 * (1 - chance), 0)
    inside = 0
    for _ in range(200):
        truth = (random.random(400) < chance).astype(float)
        worth = price_answers(1, chance, truth, declared, None)
        assert worth is not None
        inside += worth.low <= per.sum() <= worth.high
    assert inside >= 185
