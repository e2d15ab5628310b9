"""Contributions are Shapley values: they equal the definition, XGBoost's own, and add up to the margin."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenon.bundle import Evaluator, Explainer, Forest, Linear, Numeric, OneHot, Pipeline, compiled, contributions
from tenon.bundle.contributions import (
    ForestExplainer,
    cover_from_npy,
    cover_of_booster_json,
    cover_to_npy,
    training_means,
)
from tenon.bundle.tree_shap import NumpyExplainer
from tenon.core.errors import Invalid, Precondition
from tenon.core.manifest import Signature, TrainingBaseline
from tests.support.properties import examples

PROPERTY = settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))


def grow(random: np.random.Generator, depth: int, features: int, cover: float) -> dict[str, Any]:
    """A tree of any shape; a feature may come again on a path, and a branch may have no cover at all."""
    if depth == 0 or random.random() < 0.2:
        return {"leaf": np.float32(random.normal()), "cover": cover}
    share = float(random.choice([0.0, 1.0, random.random()], p=[0.1, 0.1, 0.8]))
    # A branch without cover cannot be split: nothing would be known of the way on.
    sides = [
        grow(random, depth - 1 if part > 0 else 0, features, part) for part in (cover * share, cover * (1 - share))
    ]
    return {
        "feature": int(random.integers(features)), "threshold": np.float32(random.normal()), "cover": cover,
        "default_left": bool(random.integers(2)), "left": sides[0], "right": sides[1],
    }  # fmt: skip


def flat(trees: list[dict[str, Any]], features: int, base: float) -> tuple[Forest, np.ndarray]:
    """The trees as the bundle keeps them."""
    offsets: list[int] = [0]
    nodes: list[tuple[Any, ...]] = []
    for tree in trees:
        queue, own = [tree], []
        for node in queue:
            if "leaf" in node:
                own.append((-1, -1, 0, node["leaf"], False, node["cover"]))
            else:
                own.append(
                    (
                        len(queue),
                        len(queue) + 1,
                        node["feature"],
                        node["threshold"],
                        node["default_left"],
                        node["cover"],
                    )
                )
                queue += [node["left"], node["right"]]
        nodes += own
        offsets.append(len(nodes))
    kinds: tuple[Any, ...] = (np.int32, np.int32, np.int32, np.float32, np.bool_, np.float32)
    arrays = [np.array([node[at] for node in nodes], kind) for at, kind in enumerate(kinds)]
    return Forest(features, np.float32(base), "identity", np.array(offsets, np.int32), *arrays[:5]), arrays[5]


def expected(node: dict[str, Any], row: np.ndarray, known: frozenset[int]) -> float:
    """What a tree answers when only some features are known: by definition."""
    if "leaf" in node:
        return float(node["leaf"])
    left, right = node["left"], node["right"]
    if node["feature"] in known:
        value = row[node["feature"]]
        goes_left = node["default_left"] if np.isnan(value) else value < node["threshold"]
        return expected(left if goes_left else right, row, known)
    weights = [float(np.float32(side["cover"])) / float(np.float32(node["cover"])) for side in (left, right)]
    return weights[0] * expected(left, row, known) + weights[1] * expected(right, row, known)


def shapley(trees: list[dict[str, Any]], features: int, row: np.ndarray) -> list[float]:
    """Shapley values by enumeration of all sets."""
    answer = {
        frozenset(some): sum(expected(tree, row, frozenset(some)) for tree in trees)
        for size in range(features + 1)
        for some in itertools.combinations(range(features), size)
    }
    found = []
    for feature in range(features):
        total = 0.0
        for some, value in answer.items():
            if feature not in some:
                weight = math.factorial(len(some)) * math.factorial(features - len(some) - 1) / math.factorial(features)
                total += weight * (answer[some | {feature}] - value)
        found.append(total)
    return [*found, answer[frozenset()]]


def explained(forest: Forest, cover: np.ndarray, matrix: np.ndarray) -> list[np.ndarray]:
    """By the compiled kernel, and by numpy."""
    out = np.empty((len(matrix), forest.features + 1))
    NumpyExplainer(forest, cover).contributions(matrix.astype(np.float32), out)
    assert compiled.explainer_type() is not None
    return [ForestExplainer(forest, cover).contributions(matrix), out]


@PROPERTY
@given(seed=st.integers(0, 2**32 - 1), features=st.integers(1, 5), trees=st.integers(1, 3), depth=st.integers(0, 6))
def test_any_small_forest_has_the_shapley_values_of_the_definition(
    seed: int, features: int, trees: int, depth: int
) -> None:
    """Both implementations, for missing values, repeated features and branches that no training row took."""
    random = np.random.default_rng(seed)
    grown = [grow(random, depth, features, float(np.float32(random.uniform(1, 100)))) for _ in range(trees)]
    forest, cover = flat(grown, features, 0.5)
    matrix = random.normal(size=(4, features))
    matrix[random.random(matrix.shape) < 0.3] = np.nan
    wanted = np.array([shapley(grown, features, row) for row in matrix.astype(np.float32)])
    wanted[:, -1] += 0.5
    for found in explained(forest, cover, matrix):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1), depth=st.integers(1, 14), lossguide=st.booleans(),
    objective=st.sampled_from(["binary:logistic", "reg:squarederror", "reg:absoluteerror"]),
)  # fmt: skip
def test_a_booster_is_explained_as_xgboost_does_it(seed: int, depth: int, lossguide: bool, objective: str) -> None:
    """XGBoost works in float32; the sum of ours is that of the leaves in float64."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(400, 12)).astype(np.float32)
    label = matrix[:, 0] * matrix[:, 1] + matrix[:, 2] + random.normal(size=400)
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    params = {
        "objective": objective, "max_depth": depth, "nthread": 1, "min_child_weight": 0, "base_score": 0.4,
        "grow_policy": "lossguide" if lossguide else "depthwise", "tree_method": "hist",
    }  # fmt: skip
    data = xgb.DMatrix(matrix, label > 0 if objective == "binary:logistic" else label, nthread=1)
    booster = xgb.train(params, data, 20)
    model = json.loads(booster.save_raw("json"))
    forest, cover = Forest.from_booster_json(model), cover_of_booster_json(model)
    theirs = booster.predict(data, pred_contribs=True).astype(np.float64)
    scale = 1 + np.abs(theirs).sum(axis=1, keepdims=True)
    ours, numpys = explained(forest, cover, matrix.astype(np.float64)[:60])
    assert np.max(np.abs(ours - theirs[:60]) / scale[:60]) < 2e-6
    assert np.max(np.abs(ours - numpys) / scale[:60]) < 1e-13
    layout = booster.predict(data, pred_leaf=True)[:60].astype(int).reshape(60, -1)
    margins = float(forest.base_margin) + sum(
        forest.threshold[forest.offsets[tree] + layout[:, tree]].astype(np.float64) for tree in range(forest.trees)
    )
    np.testing.assert_allclose(ours.sum(axis=1), margins, rtol=0, atol=1e-12 * float(scale.max()))


def test_a_very_deep_tree_stays_exact() -> None:
    """150 different features on one path, each taken by all but a little of the cover."""
    features = 150
    tree: dict[str, Any] = {"leaf": np.float32(1), "cover": 1000.0}
    for feature in reversed(range(features)):
        cover = tree["cover"] * 1.02
        cold = {"leaf": np.float32(feature % 7), "cover": cover - tree["cover"]}
        tree = {
            "feature": feature, "threshold": np.float32(0), "cover": cover, "default_left": True, "left": tree,
            "right": cold,
        }  # fmt: skip
    forest, cover_array = flat([tree], features, 0.0)
    matrix = np.full((2, features), -1.0)
    matrix[1, ::3] = 1.0
    for found in explained(forest, cover_array, matrix):
        np.testing.assert_allclose(found.sum(axis=1), forest.margin(matrix), rtol=1e-10, atol=1e-13)


def test_contributions_are_of_the_inputs() -> None:
    """One-hot columns and missing indicators are added up to the column they come from, wherever they stand."""
    random = np.random.default_rng(3)
    pipeline = Pipeline(
        (Numeric("x", impute=0.1, indicator=True), OneHot("w", ("a", "b")), Numeric("y"), Numeric("x"), OneHot("v", ()))
    )
    forest, cover = flat([grow(random, 5, 6, 50.0) for _ in range(10)], 6, 0.2)
    evaluator = Evaluator(_signature(pipeline), pipeline, forest)
    explainer = Explainer(evaluator, ForestExplainer(forest, cover), None)
    columns = {
        "x": np.array([np.nan, 0.3, -2.0]), "w": np.array(["a", "unseen", None], object), "y": np.array([1.0, np.nan, 0]),
        "v": np.array(["q", None, "z"], object),
    }  # fmt: skip
    found = explainer.explain(columns)
    raw = ForestExplainer(forest, cover).contributions(pipeline.transform(columns))
    assert found.columns == ("x", "w", "y", "v")
    assert found.space == "value"
    np.testing.assert_allclose(found.contributions[:, 0], raw[:, [0, 1, 5]].sum(axis=1), atol=1e-15)
    np.testing.assert_allclose(found.contributions[:, 1], raw[:, [2, 3]].sum(axis=1), atol=1e-15)
    assert found.contributions[:, 3].tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.base + found.contributions.sum(axis=1), found.margin, atol=1e-6)


def test_a_linear_model_is_explained_from_the_training_mean() -> None:
    """The means come from the manifest; over the training rows themselves each column's contributions add up to zero."""
    xs, words = [1.0, 2.0, np.nan, 5.0], ["a", "b", None, "b"]
    pipeline = Pipeline(
        (
            Numeric("x", impute=2.0, mean=2.5, scale=1.5, indicator=True),
            OneHot("w", ("(missing)", "a", "b"), "(missing)"),
        )
    )
    baseline = TrainingBaseline.model_validate(
        {
            "columns": {
                "x": {"rows": 4, "missing": 1, "edges": [], "counts": [0], "mean": 8 / 3, "iqr": None},
                "w": {"kind": "categorical", "rows": 4, "missing": 1, "counts": {"b": 2, "a": 1}, "other": 0},
            },
            "score": {"rows": 0, "missing": 0, "edges": [], "counts": [0], "mean": None, "iqr": None},
        }
    )
    columns = {"x": np.array(xs), "w": np.array(words, object)}
    means = training_means(pipeline, baseline)
    np.testing.assert_allclose(means, pipeline.transform(columns).mean(axis=0), atol=1e-15)
    model = Linear((0.5, -1.0, 0.3, 2.0, -0.7), 0.25, "logistic")
    evaluator = Evaluator(_signature(pipeline), pipeline, model)
    found = Explainer(evaluator, None, means).explain(columns)
    assert found.space == "log-odds"
    np.testing.assert_allclose(found.base + found.contributions.sum(axis=1), found.margin, atol=1e-14)
    np.testing.assert_allclose(found.contributions.sum(axis=0), 0, atol=1e-14)
    without = baseline.model_copy(update={"columns": {"x": baseline.columns["x"]}})
    with pytest.raises(Precondition, match="'w'") as caught:
        training_means(pipeline, without)
    assert caught.value.reason == "EXPLANATION_UNAVAILABLE"


def test_a_cover_that_fits_no_forest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong length, negative, not a number, nothing above something; compiled and numpy alike."""
    forest, cover = flat([grow(np.random.default_rng(1), 4, 3, 9.0)], 3, 0.0)
    inner = np.flatnonzero(forest.left >= 0)[-1]
    for place, value in ((0, np.nan), (0, np.inf), (-1, -1.0), (inner, 0.0)):
        wrong = cover.copy()
        wrong[place] = value
        for make in (compiled.explainer_type, lambda: None):
            monkeypatch.setattr(contributions, "explainer_type", make)
            with pytest.raises(Invalid) as caught:
                ForestExplainer(forest, wrong)
            assert caught.value.reason == "COVER_INVALID"
    with pytest.raises(Invalid):
        ForestExplainer(forest, cover[1:])
    assert cover_from_npy(cover_to_npy(cover)).tobytes() == cover.tobytes()
    for data in (b"", b"junk", cover_to_npy(cover)[:-3], _npy(cover.astype(np.float64)), _npy(cover.reshape(-1, 1))):
        with pytest.raises(Invalid):
            cover_from_npy(data)


@settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    changes=st.lists(
        st.tuples(
            st.integers(0, 6), st.floats(0, 1), st.one_of(st.integers(-3, 40), st.integers(-(2**31), 2**31 - 1))
        ), min_size=1, max_size=3,
    ),
)  # fmt: skip
def test_hostile_arrays_are_refused_or_harmless(seed: int, changes: list[tuple[int, float, int]]) -> None:
    """The compiled explainer believes nobody."""
    random = np.random.default_rng(seed)
    forest, cover = flat([grow(random, 4, 3, 50.0) for _ in range(4)], 3, 0.0)
    make = compiled.explainer_type()
    assert make is not None
    arrays = [forest.offsets, forest.left, forest.right, forest.feature, forest.threshold, forest.default_left, cover]
    for which, where, value in changes:
        arrays[which] = arrays[which].copy()
        arrays[which][int(where * (len(arrays[which]) - 1))] = value
    matrix, out = random.normal(size=(5, 3)).astype(np.float32), np.empty((5, 4))
    try:
        explainer = make(3, 0.0, *arrays)
    except ValueError:
        return
    explainer.contributions(matrix, out)


def test_calls_that_make_no_sense_are_errors() -> None:
    """Shapes, types, arity."""
    forest, cover = flat([grow(np.random.default_rng(2), 3, 3, 9.0)], 3, 0.0)
    make = compiled.explainer_type()
    assert make is not None
    arrays = (forest.offsets, forest.left, forest.right, forest.feature, forest.threshold, forest.default_left, cover)
    explainer = make(3, 0.0, *arrays)
    good, out = np.zeros((2, 3), np.float32), np.empty((2, 4))
    explainer.contributions(good, out)
    assert explainer.nbytes() > 0
    frozen = np.frombuffer(bytes(64)).reshape(2, 4)
    for wrong in (
        (good[:1], out), (good[:, :2], out), (good.astype(np.float64), out), (good, out[:, :3]), (good, frozen),
        (good, out.astype(np.float32)), (good[:, ::-1], out), (good[0], out), (good,), (None, out),
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError, BufferError)):
            explainer.contributions(*wrong)
    for parts in (
        (3, math.inf, *arrays),
        (3, 0.0, *arrays[:-1]),
        (-1, 0.0, *arrays),
        (3, 0.0, arrays[0][:0], *arrays[1:]),
    ):
        with pytest.raises((ValueError, TypeError)):
            make(*parts)


def _npy(array: np.ndarray) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _signature(pipeline: Pipeline) -> Signature:
    inputs = [{"name": name, "type": "float", "source": "request", "nullable": True} for name in pipeline.columns]
    return Signature.model_validate({"inputs": inputs, "output": "prediction"})
