"""Drift verdicts: quiet without a shift, loud with one, silent about what a window cannot show."""

from typing import Any

import numpy as np
import pytest

from services.monitor.domain.drift.judge import DriftPolicy, judge_drift, overall
from services.monitor.domain.drift.sketch import Layout, Sketch
from services.monitor.domain.model import Column, ColumnReport, Drift, NumericColumn, TextColumn
from tenon.core.manifest import CategoricalBaseline, NumericBaseline, TrainingBaseline
from tests.support.monitor_data import categorical_baseline, numeric_baseline

LEVELS = [f"level {place}" for place in range(30)]
WEIGHTS = 1 / np.arange(1, 31)
WEIGHTS /= WEIGHTS.sum()


def world(rng: np.random.Generator, rows: int) -> dict[str, Any]:
    """Twelve columns of many shapes; `gaps` is missing in a fifth of the rows."""
    gaps = rng.normal(size=rows)
    gaps[rng.random(rows) < 0.2] = np.nan
    return {
        **{f"normal {place}": rng.normal(size=rows) for place in range(5)},
        "cost": rng.lognormal(8, 1.5, size=rows),
        "count": rng.poisson(3, size=rows).astype(float),
        "flag": (rng.random(rows) < 0.1).astype(float),
        "gaps": gaps,
        "ward": rng.choice(LEVELS[:4], size=rows, p=[0.4, 0.3, 0.2, 0.1]),
        "diagnosis": rng.choice(LEVELS, size=rows, p=WEIGHTS),
        "sex": rng.choice(["f", "m"], size=rows),
    }


@pytest.fixture(scope="module")
def baseline() -> TrainingBaseline:
    """Twenty thousand training rows."""
    rng = np.random.default_rng(0)
    columns: dict[str, NumericBaseline | CategoricalBaseline] = {
        name: numeric_baseline(values) if values.dtype.kind == "f" else categorical_baseline(values.tolist())
        for name, values in world(rng, 20_000).items()
    }
    return TrainingBaseline(columns=columns, score=numeric_baseline(rng.beta(2, 5, size=20_000)))


def column(values: Any) -> Column:
    """Values as the log holds them."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return NumericColumn(array)
    levels, codes = np.unique(array, return_inverse=True)
    return TextColumn(codes.astype(np.int32), tuple(str(level) for level in levels))


def judge(baseline: TrainingBaseline, rows: dict[str, Any], score: Any) -> dict[str, ColumnReport]:
    """The columns' verdicts, by name, worst first."""
    sketch = Sketch(Layout.of(baseline))
    sketch.add({name: column(values) for name, values in rows.items()}, np.asarray(score))
    return {report.column: report for report in judge_drift(sketch, DriftPolicy())}


@pytest.mark.parametrize("rows", [100, 300, 1_000, 10_000])
def test_no_shift_no_alarm(baseline: TrainingBaseline, rows: int) -> None:
    """Of windows from the training distribution at most five in a hundred show any drifting column (seeded)."""
    rng = np.random.default_rng(rows)
    alarms = 0
    for _ in range(60):
        verdicts = judge(baseline, world(rng, rows), rng.beta(2, 5, size=rows))
        alarms += overall(verdicts.values()) is Drift.DRIFT
    assert alarms <= 3


def test_clear_shifts_are_found_and_nothing_else(baseline: TrainingBaseline) -> None:
    """At 2,000 rows each of five kinds of shift is found in (nearly) every window, without a false column beside it."""
    rng = np.random.default_rng(5)
    shifted = {"normal 1", "cost", "ward", "flag", "gaps"}
    found = dict.fromkeys(shifted, 0)
    false = 0
    for _ in range(25):
        rows = world(rng, 2_000)
        rows["normal 1"] = rows["normal 1"] + 0.5
        rows["cost"] = rows["cost"] * 1.7
        rows["ward"] = rng.choice(LEVELS[:4], size=2_000, p=[0.2, 0.3, 0.2, 0.3])
        rows["flag"] = (rng.random(2_000) < 0.25).astype(float)
        rows["gaps"] = np.where(rng.random(2_000) < 0.2, np.nan, rows["gaps"])
        verdicts = judge(baseline, rows, rng.beta(2, 5, size=2_000))
        drifted = {name for name, report in verdicts.items() if report.verdict is Drift.DRIFT}
        for name in shifted & drifted:
            found[name] += 1
        false += len(drifted - shifted)
    assert min(found.values()) >= 24, found
    assert false <= 1


def test_a_shift_that_matters_to_nobody_is_no_drift(baseline: TrainingBaseline) -> None:
    """In a huge window a tiny shift is beyond doubt, and still below the floor from which it is called drift."""
    rng = np.random.default_rng(6)
    rows = world(rng, 100_000)
    rows["normal 0"] = rows["normal 0"] + 0.08
    report = judge(baseline, rows, rng.beta(2, 5, size=100_000))["normal 0"]
    assert report.p_value < 1e-6
    assert report.verdict is Drift.NO_DRIFT


def test_too_few_rows_say_nothing(baseline: TrainingBaseline) -> None:
    """Below 100 rows every column is not enough evidence, however far it has moved."""
    rng = np.random.default_rng(8)
    rows = world(rng, 99)
    rows["cost"] = rows["cost"] * 100
    verdicts = judge(baseline, rows, rng.beta(2, 5, size=99))
    assert {report.verdict for report in verdicts.values()} == {Drift.NOT_ENOUGH_EVIDENCE}
    assert "at least 100" in verdicts["cost"].summary


def test_a_small_baseline_cannot_call_a_window_quiet() -> None:
    """Against 25 training rows even a large window could only have shown huge shifts, and says so."""
    rng = np.random.default_rng(9)
    small = TrainingBaseline(
        columns={"x": numeric_baseline(rng.normal(size=25))}, score=numeric_baseline(rng.normal(size=25))
    )
    report = judge(small, {"x": rng.normal(size=5_000)}, rng.normal(size=5_000))["x"]
    assert report.verdict is Drift.NOT_ENOUGH_EVIDENCE
    assert "could only have shown" in report.summary


def test_unseen_levels_and_missing_values_are_named(baseline: TrainingBaseline) -> None:
    """A level that training never saw, and a column that stops coming, are drift with their shares."""
    rng = np.random.default_rng(10)
    rows = world(rng, 500)
    rows["ward"] = np.where(rng.random(500) < 0.15, "new wing", rows["ward"].astype(object)).astype(str)
    rows["cost"] = np.full(500, np.nan)
    verdicts = judge(baseline, rows, rng.beta(2, 5, size=500))
    assert verdicts["ward"].verdict is Drift.DRIFT
    assert verdicts["ward"].unseen_ratio == pytest.approx(0.15, abs=0.05)
    assert "training never saw" in verdicts["ward"].summary
    assert verdicts["cost"].verdict is Drift.DRIFT
    assert verdicts["cost"].missing_ratio == 1.0
    assert "missing in 100.0%" in verdicts["cost"].summary


@pytest.mark.parametrize("trained", [150, 1_000, 5_000])
def test_new_keys_are_no_drift(trained: int) -> None:
    """A column of which nearly every row has a value of its own is not judged by its values, but by how many are missing."""
    listed = {f"trained {place}": 1 for place in range(min(trained, 200))}
    ids = CategoricalBaseline(rows=trained, missing=0, counts=listed, other=trained - len(listed))
    score = np.random.default_rng(0).normal(size=3_000)
    sketch = Sketch(Layout.of(TrainingBaseline(columns={"id": ids}, score=numeric_baseline(score))))
    levels = tuple(f"new {place}" for place in range(1_500))
    codes = np.arange(1_500, dtype=np.int32)
    sketch.add({"id": TextColumn(codes, levels)}, score[:1_500])
    found = {one.column: one for one in judge_drift(sketch, DriftPolicy())}["id"]
    assert (found.verdict, found.unseen_ratio) == (Drift.NOT_ENOUGH_EVIDENCE, 0.0)
    assert "as a key has" in found.summary
    sketch.add({"id": TextColumn(np.full(1_500, -1, np.int32), ())}, score[1_500:])
    gone = {one.column: one for one in judge_drift(sketch, DriftPolicy())}["id"]
    assert (gone.verdict, gone.change) == (Drift.DRIFT, "missing")


def test_many_levels_are_no_keys_when_one_of_them_is_frequent() -> None:
    """A column of remarks, most of them said once, is judged: what was usual may be gone."""
    listed = {"none": 300, **{f"remark {place}": 1 for place in range(199)}}
    remarks = CategoricalBaseline(rows=1_000, missing=0, counts=listed, other=501)
    score = np.random.default_rng(0).normal(size=1_000)
    sketch = Sketch(Layout.of(TrainingBaseline(columns={"remark": remarks}, score=numeric_baseline(score))))
    sketch.add({"remark": TextColumn(np.arange(1_000, dtype=np.int32), tuple(f"new {n}" for n in range(1_000)))}, score)
    assert {one.column: one.verdict for one in judge_drift(sketch, DriftPolicy())}["remark"] is Drift.DRIFT


def test_the_worst_column_comes_first(baseline: TrainingBaseline) -> None:
    """Drifting columns come first, ordered by how much they drift; a column that was not logged comes last."""
    rng = np.random.default_rng(11)
    rows = world(rng, 1_000)
    rows["normal 3"] = rows["normal 3"] + 3
    rows["sex"] = np.where(rng.random(1_000) < 0.5, "m", rows["sex"])
    del rows["count"]
    order = list(judge(baseline, rows, rng.beta(2, 5, size=1_000)))
    assert order[:2] == ["normal 3", "sex"]
    assert order[-1] == "count"


def test_counting_in_pieces_is_counting_at_once(baseline: TrainingBaseline) -> None:
    """How the log's rows are cut into chunks changes no figure."""
    rng = np.random.default_rng(12)
    rows, score = world(rng, 1_003), rng.beta(2, 5, size=1_003)
    pieces = Sketch(Layout.of(baseline))
    for begin in range(0, 1_003, 100):
        some = slice(begin, begin + 100)
        pieces.add({name: column(values[some]) for name, values in rows.items()}, score[some])
    assert {report.column: report for report in judge_drift(pieces, DriftPolicy())} == judge(baseline, rows, score)


def test_booleans_match_levels_written_as_words() -> None:
    """A boolean that training counted as levels is compared by value."""
    trained = TrainingBaseline(
        columns={"smoker": categorical_baseline(["true"] * 500 + ["false"] * 500)},
        score=numeric_baseline(np.random.default_rng(0).normal(size=1_000)),
    )
    same = np.array([0.0, 1.0] * 100)
    report = judge(trained, {"smoker": same}, np.zeros(200))["smoker"]
    assert report.unseen_ratio == 0
    assert report.verdict is Drift.NO_DRIFT


def test_an_input_called_score_is_told_from_the_answers() -> None:
    """A column named as we name the model's answers keeps a row of its own."""
    rng = np.random.default_rng(13)
    trained = TrainingBaseline(
        columns={"score": numeric_baseline(rng.normal(size=5_000))}, score=numeric_baseline(rng.beta(2, 5, size=5_000))
    )
    verdicts = judge(trained, {"score": rng.normal(loc=2, size=500)}, rng.beta(2, 5, size=500))
    assert verdicts["score (input)"].verdict is Drift.DRIFT
    assert verdicts["score"].verdict is Drift.NO_DRIFT
