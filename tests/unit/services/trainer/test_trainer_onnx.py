"""The ONNX form answers as the evaluator does, and does not get into a bundle when it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.engine import bundling
from services.trainer.engine.onnx_gate import compare, judge_onnx
from services.trainer.engine.onnx_graph import onnx_of
from tenon.bundle import Forest, Linear, Numeric, OneHot, Pipeline, open_bundle
from tenon.bundle.onnx_model import OnnxModel
from tenon.bundle.pipeline import Transform
from tenon.core.errors import Invalid
from tests.support.trainer_data import COST, COSTLY, model_spec
from tests.unit.services.trainer.conftest import Trainer
from tests.unit.tenon.bundle.test_bundle_kernel import (
    PROPERTY,
    WORDS,
    evaluator_of,
    random_columns,
    random_forest,
    random_pipeline,
)

SPOKEN = [word for word in WORDS if "\0" not in word and not "\ud800" <= word <= "\udfff"]


@PROPERTY
@given(st.integers(0, 2**32 - 1))
def test_the_graph_answers_as_the_evaluator(seed: int) -> None:
    """Any pipeline with a forest or a linear model, on missing, odd, unknown and unspeakable values: the same bits, but
    for a link's exponential, which may differ in the last one, also between one row alone and among others."""
    random = np.random.default_rng(seed)
    pipeline = speakable(random_pipeline(random, int(random.integers(1, 7))))
    model: Forest | Linear = random_forest(random, pipeline.width, int(random.integers(1, 100)), 5)
    if random.integers(2):
        link = str(random.choice(["logistic", "identity"]))
        model = Linear(tuple(random.normal(size=pipeline.width).tolist()), float(random.normal()), link)
    columns = random_columns(random, pipeline, 40)
    with np.errstate(all="ignore"):
        expected = evaluator_of(pipeline, model).predict(columns)
    data = onnx_of(pipeline, model, "probability")
    assert data == onnx_of(pipeline, model, "probability")
    graph = OnnxModel(pipeline, data)
    given_ = graph.predict(columns)
    alone = graph.predict({name: values[3:4] for name, values in columns.items()})
    exact = "identity" in (getattr(model, "objective", ""), getattr(model, "link", ""))
    most = 0.0 if exact else 1.2e-7 if isinstance(model, Forest) else 5e-16
    np.testing.assert_allclose(given_, expected, rtol=most, atol=1e-300)
    np.testing.assert_allclose(alone, given_[3:4], rtol=most, atol=1e-300)


def speakable(pipeline: Pipeline) -> Pipeline:
    """Without the levels that ONNX text cannot hold."""
    steps: list[Transform] = []
    for step in pipeline.transforms:
        if isinstance(step, Numeric):
            steps.append(step)
        else:
            words = tuple(word for word in step.categories if word in SPOKEN) or ("a",)
            steps.append(type(step)(**{**fields_of(step), "categories": words}))
    return Pipeline(tuple(steps))


def fields_of(step: Any) -> dict[str, Any]:
    """A transform's fields."""
    return {name: getattr(step, name) for name in type(step).__slots__}


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_a_level_that_onnx_cannot_hold_leaves_the_form_out(word: str) -> None:
    """The gate says which column it is, instead of a graph that confuses levels."""
    pipeline = Pipeline((OneHot("ward", (word, "a")),))
    model = Linear((1.0, 2.0), 0.0, "identity")
    rows = pl.DataFrame({"ward": ["a"]})
    data, form = judge_onnx("regression", pipeline, lambda: onnx_of(pipeline, model, "prediction"), np.ones(1), rows)
    assert data == b""
    assert not form.included
    assert "'ward'" in form.reason


def test_preprocessing_in_float32_does_not_pass() -> None:
    """The known trap: a few scaled values cross a tree's threshold, far off, and the gate counts and names them."""
    random = np.random.default_rng(5)
    means, scales = [123456.789, 98765.4321], [7.3, 3.1]
    pipeline = Pipeline(tuple(Numeric(f"x{at}", None, means[at], scales[at]) for at in range(2)))
    forest = random_forest(random, 2, 100, 6)
    columns = {
        f"x{at}": np.round(means[at] + scales[at] * random.normal(size=20_000), 3) for at in range(2)
    }  # fmt: skip
    exact = forest.predict(pipeline.transform(columns))
    rounded = [
        (columns[f"x{at}"].astype(np.float32) - np.float32(means[at])) / np.float32(scales[at]) for at in range(2)
    ]
    form = compare("binary", exact, forest.predict(np.column_stack(rounded).astype(np.float64)))
    assert not form.included
    assert form.rows_outside > 10
    assert form.max_difference is not None
    assert form.max_difference > 1e-3
    assert f"{form.rows_outside} of 20000" in form.reason
    graph = OnnxModel(pipeline, onnx_of(pipeline, forest, "probability"))
    assert compare("binary", exact, graph.predict(columns)).included


def test_what_the_gate_of_a_regression_allows() -> None:
    """1e-5 of the answer, or of the median size for answers near zero, whatever the unit; never a missing number."""
    expected = np.array([1000.0, 2000.0, 3000.0, 0.0])
    for unit in (1.0, 1e-9, 1e9):
        near = expected + np.array([0.0099, 0.019, 0.029, 0.014])
        assert compare("regression", expected * unit, near * unit).included
        far = compare("regression", expected * unit, (expected + np.array([0.02, 0, 0, 0])) * unit)
        assert (far.included, far.rows_outside) == (False, 1)
    lost = compare("regression", expected, np.array([1000.0, np.nan, 3000.0, 0.0]))
    assert (lost.included, lost.rows_outside, lost.max_difference) == (False, 1, None)


def test_another_label_does_not_pass_however_near() -> None:
    """A probability a hair below one half is another answer than one half."""
    form = compare("binary", np.array([0.5, 0.2]), np.array([np.nextafter(0.5, 0), 0.2]))
    assert (form.included, form.labels_differing, form.rows_outside) == (False, 1, 0)
    own = compare("binary", np.array([0.3, 0.2]), np.array([np.nextafter(0.3, 0), 0.2]), threshold=0.3)
    assert own.labels_differing == 1


@pytest.mark.parametrize(
    ("base", "estimator"), [(COSTLY, "xgboost"), (COSTLY, "logistic"), (COST, "xgboost"), (COST, "ridge")]
)
def test_the_bundle_has_the_form_and_its_evidence(trainer: Trainer, base: dict[str, Any], estimator: str) -> None:
    """Every held-out row was compared; the graph is a valid one, with named columns and text for strings."""
    bundle = open_bundle(
        trainer.train(model_spec(base, estimators=[estimator])).bundle, trainer.signing_key.public_key()
    )
    form = bundle.manifest.forms["onnx"]
    assert form.included
    assert form.rows == bundle.manifest.evidence.model.rows
    assert form.max_difference is not None
    assert form.max_difference <= 6e-8
    graph = onnx.load_from_string(bundle.files["model.onnx"])
    onnx.checker.check_model(graph, full_check=True)
    kinds = {item.name: item.type.tensor_type.elem_type for item in graph.graph.input}
    assert kinds["ward"] == onnx.TensorProto.STRING
    assert kinds["age"] == onnx.TensorProto.DOUBLE
    assert [item.name for item in graph.graph.output] == [bundle.manifest.signature.output]


def test_a_form_that_answers_differently_is_left_out_and_said(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is registered without it; manifest and warnings say how many rows and how far."""
    honest = judge_onnx

    def wrong(task: Any, pipeline: Any, build: Any, expected: Any, *rest: Any) -> Any:
        return honest(task, pipeline, build, expected + 1e-3 * (np.arange(len(expected)) < 7), *rest)

    monkeypatch.setattr(bundling, "judge_onnx", wrong)
    trained = trainer.train(model_spec())
    bundle = open_bundle(trained.bundle, trainer.signing_key.public_key())
    assert "model.onnx" not in bundle.files
    form = bundle.manifest.forms["onnx"]
    assert (form.included, form.rows_outside) == (False, 7)
    assert any("onnx form is left out" in text and "7 of" in text for text in trained.outcome.evidence["warnings"])
    assert bundle.manifest.evidence.warnings == trained.outcome.evidence["warnings"]


def test_a_graph_that_is_none_or_takes_other_columns_is_refused() -> None:
    """Bytes that are no graph, and a graph of other columns, are refused by name."""
    pipeline = Pipeline((Numeric("age"),))
    other = onnx_of(Pipeline((Numeric("ages"),)), Linear((1.0,), 0.0, "identity"), "prediction")
    for data in (b"", b"nonsense" * 100, other):
        with pytest.raises(Invalid) as refused:
            OnnxModel(pipeline, data)
        assert refused.value.reason == "ONNX_INVALID"
