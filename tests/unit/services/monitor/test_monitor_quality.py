"""Quality on labels: the metrics are scikit-learn's, the intervals cover, and verdicts wait for evidence."""

import numpy as np
import pytest
from sklearn import metrics as reference

from services.monitor.domain.model import Quality
from services.monitor.domain.quality.measure import QualityPolicy, bootstrap, judge_quality
from services.monitor.domain.quality.remember import JudgeQuality
from tenon.core.manifest import Evaluation

POLICY = QualityPolicy(resamples=200)


def answers(rng: np.random.Generator, rows: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities and outcomes; `noise` makes the probabilities worse."""
    truth = 1 / (1 + np.exp(-rng.normal(size=rows) * 1.5))
    value = (rng.random(rows) < truth).astype(float)
    logit = np.log(truth / (1 - truth)) + rng.normal(size=rows) * noise
    return 1 / (1 + np.exp(-logit)), value


def evaluation(score: np.ndarray, value: np.ndarray) -> Evaluation:
    """The test's figures of a model."""
    return Evaluation(
        rows=len(score),
        positives=int(value.sum()),
        metrics={
            "roc_auc": reference.roc_auc_score(value, score),
            "pr_auc": reference.average_precision_score(value, score),
            "log_loss": reference.log_loss(value, score),
            "brier": reference.brier_score_loss(value, score),
        },
    )


@pytest.mark.parametrize("digits", [1, 3, 12])
def test_binary_metrics_are_scikit_learns(digits: int) -> None:
    """Also with many tied scores, every binary metric equals scikit-learn's."""
    score, value = answers(np.random.default_rng(0), 700)
    score = np.clip(np.round(score, digits), 0.001, 0.999)
    found = {name: point for name, (point, _) in bootstrap("binary", score, value, POLICY).items()}
    assert found == pytest.approx(evaluation(score, value).metrics, rel=1e-9)


def test_regression_metrics_are_scikit_learns() -> None:
    """Also far from zero, every regression metric equals scikit-learn's."""
    rng = np.random.default_rng(1)
    value = 1e6 + rng.normal(size=500)
    score = value + rng.normal(size=500)
    found = {name: point for name, (point, _) in bootstrap("regression", score, value, POLICY).items()}
    assert found == pytest.approx(
        {
            "mae": reference.mean_absolute_error(value, score),
            "rmse": reference.root_mean_squared_error(value, score),
            "r2": reference.r2_score(value, score),
        },
        rel=1e-6,
    )


def test_intervals_cover() -> None:
    """The 95 % interval of the ROC AUC holds the true value in most of 60 samples (seeded)."""
    rng = np.random.default_rng(2)
    truth = evaluation(*answers(rng, 200_000)).metrics["roc_auc"]
    covered = 0
    for _ in range(60):
        _, samples = bootstrap("binary", *answers(rng, 400), POLICY)["roc_auc"]
        low, high = np.percentile(samples, [2.5, 97.5])
        covered += low <= truth <= high
    assert covered >= 52


def test_a_good_model_is_as_expected() -> None:
    """The same model on fresh rows is called worse or better in at most 5 % of 60 windows (seeded)."""
    rng = np.random.default_rng(3)
    false = 0
    for _ in range(60):
        expected = evaluation(*answers(rng, 3_000))
        verdict, _, _ = judge_quality("binary", 1, *answers(rng, 500), expected, POLICY)
        false += verdict is not Quality.AS_EXPECTED
    assert false <= 3


def test_a_spoilt_model_is_worse_and_the_reason_is_given() -> None:
    """Noisy scores on 1,000 labels are found in every of ten windows; the text holds figure, interval, n and test."""
    rng = np.random.default_rng(4)
    expected = evaluation(*answers(rng, 3_000))
    for _ in range(10):
        verdict, figures, text = judge_quality("binary", 7, *answers(rng, 1_000, noise=2.0), expected, POLICY)
        assert verdict is Quality.WORSE
        assert figures[0].verdict is Quality.WORSE
        assert figures[0].version == 7
        assert "n = 1,000" in text
        assert "in the version's test" in text


def test_a_smaller_share_of_positives_alone_is_not_worse_precision() -> None:
    """Average precision falls with the share of positives; then it is shown and not judged."""
    rng = np.random.default_rng(5)
    expected = evaluation(*answers(rng, 20_000))
    score, value = answers(rng, 8_000)
    kept = (value == 0) | (rng.random(8_000) < 0.3)
    _, figures, _ = judge_quality("binary", 1, score[kept], value[kept], expected, POLICY)
    by_name = {figure.metric: figure for figure in figures}
    assert by_name["pr_auc"].value < by_name["pr_auc"].expected - 0.05
    assert by_name["pr_auc"].verdict is Quality.NOT_ENOUGH_EVIDENCE
    assert by_name["roc_auc"].verdict is Quality.AS_EXPECTED


def test_few_labels_are_not_enough() -> None:
    """Under 100 labels, or under 20 of the rarer class, there is no verdict and the reason says what is missing."""
    rng = np.random.default_rng(6)
    expected = evaluation(*answers(rng, 1_000))
    verdict, figures, text = judge_quality("binary", 1, *answers(rng, 99), expected, POLICY)
    assert (verdict, figures) == (Quality.NOT_ENOUGH_EVIDENCE, [])
    assert "99 labels; at least 100" in text
    score, value = answers(rng, 500)
    value[:] = 0
    value[:19] = 1
    verdict, _, text = judge_quality("binary", 1, score, value, expected, POLICY)
    assert verdict is Quality.NOT_ENOUGH_EVIDENCE
    assert "only 19 of the rarer class" in text


def test_large_windows_resample_a_part_and_scale() -> None:
    """The interval from a fifth of the rows is as wide as the one from all of them, around the exact figure."""
    score, value = answers(np.random.default_rng(10), 10_000)
    everything = bootstrap("binary", score, value, QualityPolicy(resamples=300))
    part = bootstrap("binary", score, value, QualityPolicy(resamples=300, resampled_rows=2_000))
    for name, (point, samples) in part.items():
        assert point == everything[name][0]
        assert samples.mean() == pytest.approx(point, abs=samples.std())
        assert samples.std() == pytest.approx(everything[name][1].std(), rel=0.25)


def test_the_same_rows_give_the_same_interval() -> None:
    """The bootstrap is seeded and looks at rows, not at their order."""
    score, value = answers(np.random.default_rng(7), 300)
    shuffled = np.random.default_rng(8).permutation(300)
    one = bootstrap("binary", score, value, POLICY)
    other = bootstrap("binary", score[shuffled], value[shuffled], POLICY)
    for name in one:
        np.testing.assert_array_equal(one[name][1], other[name][1])


def test_a_regression_that_got_worse() -> None:
    """Errors half again as large are worse; errors a third smaller are better."""
    rng = np.random.default_rng(9)
    expected = Evaluation(rows=2_000, metrics={"mae": 0.7979, "rmse": 1.0, "r2": 0.5})
    value = rng.normal(size=1_000) * np.sqrt(2)
    for scale, verdict in ((1.5, Quality.WORSE), (0.66, Quality.BETTER), (1.0, Quality.AS_EXPECTED)):
        score = value + rng.normal(size=1_000) * scale
        assert judge_quality("regression", 1, score, value, expected, POLICY)[0] is verdict


def test_the_same_rows_are_judged_once() -> None:
    """Asked again it says the same, without measuring; other rows, another test or another version are measured."""
    rng, asked = np.random.default_rng(8), []
    score = rng.random(400)
    value = (rng.random(400) < score).astype(float)
    judge = JudgeQuality(QualityPolicy(resamples=50))
    test = Evaluation(
        rows=1000, positives=500, metrics={"roc_auc": 0.83, "pr_auc": 0.8, "log_loss": 0.5, "brier": 0.17}
    )
    first = judge("binary", 1, score, value, test)
    assert judge("binary", 1, score.copy(), value.copy(), test) is first
    wrong = value.copy()
    wrong[:200] = 1 - wrong[:200]
    for version, values, expected in (
        (2, value, test),
        (1, wrong, test),
        (1, value, test.model_copy(update={"rows": 10})),
    ):
        asked.append(judge("binary", version, score, values, expected))
        assert asked[-1] is not first
    assert asked[1][0] is Quality.WORSE
    assert asked[0][1][0].version == 2
