"""The forest answers with XGBoost's own bits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenon.bundle import Forest
from tenon.core.errors import Invalid


def train(
    objective: str = "binary:logistic",
    *,
    rows: int = 300,
    width: int = 4,
    rounds: int = 12,
    seed: int = 0,
    **params: Any,
) -> tuple[xgb.Booster, np.ndarray]:
    """A booster on random data with missing values, and other random rows to ask it about."""
    random = np.random.default_rng(seed)
    data = random.normal(size=(rows, width)).round(int(random.integers(0, 4)))
    data[random.random(data.shape) < 0.15] = np.nan
    label = random.random(rows) < 0.3 if "logistic" in objective else random.normal(size=rows) * 9 + 50
    booster = xgb.train({"objective": objective, "nthread": 1, **params}, xgb.DMatrix(data, label=label), rounds)
    asked = random.normal(size=(257, width))
    asked[random.random(asked.shape) < 0.2] = np.nan
    # Values that lie exactly on thresholds are where `<` and `<=` part.
    asked[:100] = data[:100]
    return booster, asked


def model_of(booster: xgb.Booster) -> dict[str, Any]:
    """XGBoost's JSON model."""
    model: dict[str, Any] = json.loads(booster.save_raw("json"))
    return model


def assert_same_bits(booster: xgb.Booster, asked: np.ndarray) -> None:
    """Margins and answers are equal bit for bit, for all rows at once and for each alone."""
    forest = Forest.from_npz(Forest.from_booster_json(model_of(booster)).to_npz())
    margin = booster.predict(xgb.DMatrix(asked), output_margin=True)
    answer = booster.predict(xgb.DMatrix(asked))
    assert forest.margin(asked).tobytes() == margin.tobytes()
    assert forest.predict(asked).astype(np.float32).tobytes() == answer.tobytes()
    alone = np.concatenate([forest.margin(asked[row : row + 1]) for row in range(40)])
    assert alone.tobytes() == margin[:40].tobytes()


@pytest.mark.parametrize(
    "objective", ["binary:logistic", "reg:logistic", "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror"]
)
@pytest.mark.parametrize("method", ["hist", "exact", "approx"])
def test_margins_and_answers_have_the_bits_of_xgboost(objective: str, method: str) -> None:
    """For each objective and tree method, missing values included."""
    assert_same_bits(*train(objective, max_depth=5, tree_method=method))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    depth=st.integers(0, 9),
    width=st.integers(1, 9),
    rounds=st.integers(1, 30),
    seed=st.integers(0, 2**16),
    lossguide=st.booleans(),
    parallel=st.integers(1, 3),
    objective=st.sampled_from(["binary:logistic", "reg:squarederror"]),
)
def test_any_shape_of_forest_has_the_bits_of_xgboost(
    depth: int, width: int, rounds: int, seed: int, lossguide: bool, parallel: int, objective: str
) -> None:
    """Stumps, single leaves, deep and unbalanced trees, several trees a round."""
    params: dict[str, Any] = {"max_depth": depth, "tree_method": "hist", "num_parallel_tree": parallel}
    if lossguide:
        params |= {"grow_policy": "lossguide", "max_leaves": 17}
    assert_same_bits(*train(objective, rows=120, width=width, rounds=rounds, seed=seed, **params))


@pytest.mark.parametrize("score", [0.01, 0.3, 0.5, 0.977])
def test_a_given_base_score_is_in_the_space_of_the_answer(score: float) -> None:
    """The base score of a logistic objective is a probability, and becomes a margin with the C library's logf."""
    assert_same_bits(*train(base_score=score))
    assert_same_bits(*train("reg:squarederror", base_score=score * 100))


def test_a_base_score_in_the_older_plain_form_is_read_too() -> None:
    """XGBoost before 3.1 wrote a number, later ones write a list of one."""
    booster, asked = train()
    model = model_of(booster)
    text = model["learner"]["learner_model_param"]["base_score"]
    assert text.startswith("[")
    model["learner"]["learner_model_param"]["base_score"] = text.strip("[]")
    plain = Forest.from_booster_json(model).margin(asked)
    assert plain.tobytes() == booster.predict(xgb.DMatrix(asked), output_margin=True).tobytes()


def test_early_stopping_keeps_the_first_rounds() -> None:
    """`iterations` cuts the forest as `iteration_range` does."""
    booster, asked = train(rounds=20)
    cut = Forest.from_booster_json(model_of(booster), iterations=7)
    expected = booster.predict(xgb.DMatrix(asked), output_margin=True, iteration_range=(0, 7))
    assert cut.trees == 7
    assert cut.margin(asked).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"booster": "dart", "rate_drop": 0.5}, "dart"),
        ({"booster": "gblinear"}, "gblinear"),
        ({"objective": "count:poisson"}, "poisson"),
    ],
)
def test_what_is_not_a_plain_forest_is_refused(params: dict[str, Any], word: str) -> None:
    """The trainer learns at once that the evaluator cannot serve it, and why."""
    data = xgb.DMatrix(np.arange(60.0).reshape(30, 2), label=np.arange(30) % 2)
    booster = xgb.train({"objective": "binary:logistic", **params}, data, 2)
    with pytest.raises(Invalid, match=word) as caught:
        Forest.from_booster_json(model_of(booster))
    assert caught.value.reason == "FOREST_UNSUPPORTED"


def test_several_classes_are_refused() -> None:
    """A forest has one output."""
    data = xgb.DMatrix(np.arange(60.0).reshape(30, 2), label=np.arange(30) % 3)
    booster = xgb.train({"objective": "multi:softprob", "num_class": 3}, data, 2)
    with pytest.raises(Invalid):
        Forest.from_booster_json(model_of(booster))


def test_the_same_forest_gives_the_same_bytes() -> None:
    """`forest.npz` holds no clock and no order of chance."""
    booster, _ = train()
    model = model_of(booster)
    assert Forest.from_booster_json(model).to_npz() == Forest.from_booster_json(model).to_npz()


def test_no_rows_give_no_answers() -> None:
    """An empty matrix is fine."""
    booster, asked = train()
    assert len(Forest.from_booster_json(model_of(booster)).predict(asked[:0])) == 0


def _forest(**changes: Any) -> Forest:
    parts: dict[str, Any] = {
        "features": 1,
        "base_margin": np.float32(0),
        "objective": "logistic",
        "offsets": np.array([0, 3], np.int32),
        "left": np.array([1, -1, -1], np.int32),
        "right": np.array([2, -1, -1], np.int32),
        "feature": np.array([0, 0, 0], np.int32),
        "threshold": np.array([0.5, 1, 2], np.float32),
        "default_left": np.array([True, False, False]),
    }
    return Forest(**(parts | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"left": np.array([0, -1, -1], np.int32)},
        {"left": np.array([2, -1, -1], np.int32)},
        {"right": np.array([7, -1, -1], np.int32)},
        {"feature": np.array([1, 0, 0], np.int32)},
        {"threshold": np.array([np.nan, 1, 2], np.float32)},
        {"threshold": np.array([0.5, 1], np.float32)},
        {"offsets": np.array([0, 2], np.int32)},
        {"offsets": np.array([0, 3, 3], np.int32)},
        {"objective": "softmax"},
        {"base_margin": np.float32(np.inf)},
        {"features": -1},
    ],
)
def test_arrays_that_are_no_forest_are_refused(changes: dict[str, Any]) -> None:
    """Loops, children that are not there, unknown features, and odd numbers never reach the evaluation."""
    with pytest.raises((ValueError, IndexError)):
        _forest(**changes)


def test_a_damaged_npz_is_refused_with_its_name() -> None:
    """Every cut of the file, and a pickled array, end in FOREST_INVALID."""
    data = _forest().to_npz()
    for end in range(0, len(data), 97):
        with pytest.raises(Invalid) as caught:
            Forest.from_npz(data[:end])
        assert caught.value.reason == "FOREST_INVALID"


def test_a_compressed_npz_is_refused(tmp_path: Any) -> None:
    """What could unpack to any size is not read."""
    path = tmp_path / "big.npz"
    np.savez_compressed(path, left=np.zeros(10_000_000))
    with pytest.raises(Invalid, match="stored"):
        Forest.from_npz(path.read_bytes())
