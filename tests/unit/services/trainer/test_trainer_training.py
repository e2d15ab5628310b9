"""The training use case with the real libraries on small data."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import skops.io
import xgboost

from services.trainer.domain.examples import label_examples, model_inputs
from services.trainer.domain.ports import Plan
from services.trainer.engine.estimators import InstalledEstimators
from services.trainer.engine.preprocessing import columns_of
from tenon.bundle import load_evaluator, open_bundle
from tenon.core.errors import Precondition, Unavailable
from tenon.core.specs import FeatureViewSpec, model_signature, parse_spec, spec_digest
from tests.support.trainer_data import COST, COSTLY, DAY, HISTORY, history_spec, model_spec, training_frame, visits_spec
from tests.unit.services.trainer.conftest import FakeTrainingSets, Trainer

ROOT = Path(__file__).resolve().parents[4]


def test_evidence_puts_the_model_between_the_naive_and_the_flattering(trainer: Trainer) -> None:
    """A run shows baseline, model and random split on equally many rows, the candidates, the periods and the gates."""
    trained = trainer.train(model_spec(estimators=["xgboost", "logistic"]))
    evidence = open_bundle(trained.bundle, trainer.signing_key.public_key()).manifest.evidence
    assert evidence.model.metrics["roc_auc"] > evidence.baseline.metrics["roc_auc"] == 0.5
    assert evidence.random_split is not None
    assert evidence.random_split.rows == evidence.model.rows
    assert set(evidence.candidates) == {"xgboost", "logistic"}
    assert evidence.train_to < evidence.test_from <= evidence.test_to
    assert trained.outcome.gates[0]["passed"]
    done = [progress for progress, _ in trained.steps]
    assert done == sorted(done)
    assert done[-1] < 1
    assert any("no label" in warning for warning in evidence.warnings)


@pytest.mark.parametrize("estimator", ["xgboost", "logistic", "ridge", "mlp"])
def test_the_bundle_answers_as_the_fitted_pipeline_did(trainer: Trainer, estimator: str) -> None:
    """Parity is in the manifest, holds, and covers every test row."""
    base = COST if estimator == "ridge" else COSTLY
    trained = trainer.train(model_spec(base, estimators=[estimator]))
    bundle = open_bundle(trained.bundle, trainer.signing_key.public_key())
    assert bundle.manifest.evidence.estimator == estimator
    assert bundle.manifest.parity["rows"] == bundle.manifest.evidence.model.rows
    assert bundle.manifest.parity.get("margins_not_bit_equal", 0) == 0
    assert bundle.manifest.parity["max_difference"] < 1e-6
    assert load_evaluator(bundle).predict(columns_of(inputs_of(training_frame(50)))).shape == (50,)


@pytest.mark.parametrize(
    ("base", "estimator"), [(COSTLY, "xgboost"), (COSTLY, "logistic"), (COST, "xgboost"), (COST, "mlp")]
)
def test_the_same_data_and_seed_give_the_same_bundle(trainer: Trainer, base: dict[str, object], estimator: str) -> None:
    """Another run of the same document gives the same bytes, also when its rows come in another order; another seed
    changes the model."""
    spec = model_spec(base, estimators=[estimator])
    key = trainer.signing_key.public_key()
    first = open_bundle(trainer.train(spec, run_id="run-1").bundle, key)
    shuffled = training_frame().sample(fraction=1.0, shuffle=True, seed=3)
    second = trainer.train(spec, shuffled, run_id="run-2")
    assert second.outcome.version == 2
    assert open_bundle(second.bundle, key).manifest == first.manifest
    assert second.outcome.bundle_sha256 == first.sha256
    if estimator == "xgboost":
        other = open_bundle(trainer.train(model_spec(base, estimators=[estimator], seed=8)).bundle, key)
        assert other.manifest.files["forest.npz"] != first.manifest.files["forest.npz"]


def test_the_number_of_threads_does_not_change_the_model() -> None:
    """XGBoost on one thread and on two gives the same bytes, so bundles are the same on any machine size."""
    frame = inputs_of(training_frame(21_000, days=2000))
    plan = Plan(model_spec().task, inputs(), "roc_auc", 0)
    labelled = label_examples(training_frame(21_000, days=2000), model_spec(), visits_spec(), inputs())
    params = {"max_depth": 4, "rounds": 5}
    one, two = (
        InstalledEstimators(threads).build("xgboost", plan).fit(labelled.examples, params, lambda _: None)
        for threads in (1, 2)
    )
    assert np.array_equal(one.predict(frame), two.predict(frame))


def test_the_native_form_is_kept_and_needs_no_pickle(trainer: Trainer) -> None:
    """A person can open the Booster and the scikit-learn preprocessing with their own libraries and get the answers."""
    bundle = open_bundle(trainer.train(model_spec()).bundle, trainer.signing_key.public_key())
    data = bundle.files["native/pipeline.skops"]
    assert "schema.json" in zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert skops.io.get_untrusted_types(data=data) == []
    transformer = skops.io.loads(data)
    booster = xgboost.Booster()
    booster.load_model(bytearray(bundle.files["native/model.ubj"]))
    frame = inputs_of(training_frame(40, seed=9))
    matrix = xgboost.DMatrix(transformer.transform(frame).astype(np.float32), feature_names=booster.feature_names)
    assert np.allclose(booster.predict(matrix), load_evaluator(bundle).predict(columns_of(frame)), rtol=1e-6)
    assert {"ward=surgery", "diagnosis"} <= set(booster.feature_names or ())


def test_unknown_and_missing_values_are_answered(trainer: Trainer) -> None:
    """A level never seen, a missing level and missing numbers give a finite probability."""
    evaluator = load_evaluator(open_bundle(trainer.train(model_spec()).bundle, trainer.signing_key.public_key()))
    columns = dict(columns_of(inputs_of(training_frame(3))))
    columns["ward"] = np.array(["moon", None, "eye"], dtype=object)
    columns["diagnosis"] = np.array([None, "Z99", "D01"], dtype=object)
    columns["age"] = np.array([np.nan, 30.0, np.nan])
    answers = evaluator.predict(columns)
    assert np.all((answers > 0) & (answers < 1))


def test_baseline_describes_inputs_as_they_are_given(trainer: Trainer) -> None:
    """Every model input, before preprocessing, and the scores of the test period are described for drift."""
    manifest = open_bundle(trainer.train(model_spec()).bundle, trainer.signing_key.public_key()).manifest
    described = manifest.baseline.columns
    assert set(described) == {item.name for item in manifest.signature.inputs if item.source in {"request", "history"}}
    assert described["ward"].kind == "categorical"
    assert described["emergency"].kind == "numeric"
    assert described["age"].rows == manifest.evidence.train_rows
    assert manifest.baseline.score.rows == manifest.evidence.model.rows


def test_labels_later_than_the_gap_are_named(trainer: Trainer) -> None:
    """With a gap shorter than the labels' delay the evidence warns, and rows known too late are not learnt from."""
    short = trainer.train(model_spec(split={"test": "90d", "gap": "1d"})).outcome.evidence
    assert any("later than the gap" in warning for warning in short["warnings"])
    frame = training_frame()
    start = int(frame.filter(pl.col("cost").is_not_null())["admitted_at"].max()) - 90 * DAY  # type: ignore[arg-type]
    honest = frame.filter(
        (pl.col("admitted_at") < start - DAY) & (pl.col("billed_at") < start) & pl.col("cost").is_not_null()
    )
    assert short["train_rows"] == honest.height


@pytest.mark.parametrize(
    ("frame", "changes", "reason", "words"),
    [
        (training_frame().head(0), {}, "NO_ROWS", "visits"),
        (training_frame().with_columns(cost=None), {}, "LABEL_ALL_MISSING", "cost"),
        (
            training_frame().with_columns(age=None),
            {"features": {"request": ["age"]}},
            "NO_FEATURE_VALUES",
            "costly_visit",
        ),
        (training_frame(60), {}, "TOO_FEW_TRAIN_ROWS", "at least 50"),
        (training_frame(), {"split": {"testFrom": "2031-01-01"}}, "NO_TEST_ROWS", "2031-01-01"),
        (training_frame(), {"label": {"column": "cost", "above": 1e9}}, "TRAINING_ONE_CLASS", "negative"),
        (training_frame(), {"label": {"column": "cost", "above": -1.0}}, "TRAINING_ONE_CLASS", "positive"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused_with_its_reason(
    trainer: Trainer, frame: pl.DataFrame, changes: dict[str, Any], reason: str, words: str
) -> None:
    """Each refusal has its reason and names the thing."""
    with pytest.raises(Precondition) as refused:
        trainer.train(model_spec(**changes), frame)
    assert refused.value.reason == reason
    assert words in refused.value.message


def test_one_class_names_the_class_and_the_count(trainer: Trainer) -> None:
    """The refusal says which class it is and how many rows have it."""
    with pytest.raises(Precondition) as refused:
        trainer.train(model_spec(label={"column": "cost", "above": 1e9}))
    assert refused.value.data["class"] == "negative"
    assert str(refused.value.data["rows"]) in refused.value.message


def test_few_of_the_rarer_class_are_said_to_be_few(trainer: Trainer) -> None:
    """The evidence has an interval for every figure, and a warning names it where the rarer class has under 100 rows."""
    evidence = trainer.train(model_spec(COSTLY, estimators=["logistic"])).outcome.evidence
    figures = evidence["model"]
    rarer = min(figures["positives"], figures["rows"] - figures["positives"])
    assert 0 < rarer < 100
    assert figures["intervals"].keys() == figures["metrics"].keys()
    low, high = figures["intervals"]["roc_auc"]
    assert any(
        f"only {rarer} test rows" in text and f"{low:.4g} or {high:.4g}" in text for text in evidence["warnings"]
    )


def test_few_rows_are_trained_without_a_validation_period(trainer: Trainer) -> None:
    """With too few rows to hold some out, the first estimator is taken with its defaults, and the evidence says so."""
    trained = trainer.train(model_spec(), training_frame(90))
    assert "validation" in trained.outcome.evidence["warnings"][0]
    assert trained.outcome.evidence["candidates"] == {}


def test_a_bundle_that_answers_differently_is_not_registered(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the evaluator's answers are not the pipeline's, the run fails with PARITY_FAILED and registers nothing."""
    from tenon.bundle import Forest

    honest = Forest.margin
    monkeypatch.setattr(Forest, "margin", lambda self, matrix: np.nextafter(honest(self, matrix), np.float32(9)))
    with pytest.raises(Precondition) as refused:
        trainer.train(model_spec())
    assert refused.value.reason == "PARITY_FAILED"
    assert trainer.versions.bundles == []


def test_a_view_changed_in_between_is_noticed(trainer: Trainer) -> None:
    """When the training set was made with another definition than the signature, the run is to be tried again."""
    with pytest.raises(Unavailable) as refused:
        trainer.train(model_spec(), training_sets=FakeTrainingSets(training_frame(), view_digest="other"))
    assert refused.value.reason == "DEFINITIONS_CHANGED"


def test_the_api_imports_no_machine_learning_library() -> None:
    """The API process starts without the libraries that only the worker needs."""
    code = "import sys, services.trainer.main; print({'sklearn', 'xgboost', 'scipy', 'skops', 'onnx', 'onnxruntime'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert answer.stdout.strip() == "set()", answer.stderr


def test_a_column_with_no_values_at_all_is_survived(trainer: Trainer) -> None:
    """A history that nobody has yet, or a string that is always missing, is no reason to fail, for either engine."""
    frame = training_frame().with_columns(
        pl.lit(None, dtype=pl.Float64).alias("patient_history.cost_mean_365d"),
        pl.lit(None, dtype=pl.String).alias("ward"),
    )
    for estimator in ("xgboost", "logistic", "mlp"):
        assert trainer.train(model_spec(estimators=[estimator]), frame).outcome.version


def test_a_text_of_history_is_a_category(trainer: Trainer) -> None:
    """The latest ward that was known teaches as a request's ward does; it is text in the signature and asked for as text."""
    view = parse_spec(FeatureViewSpec, HISTORY | {"latest": [{"column": "ward"}]})
    frame = training_frame(1200).with_columns(pl.col("ward").alias("patient_history.ward_latest"))
    spec = model_spec(features={"request": ["age"], "views": ["patient_history"]}, estimators=["xgboost"])
    sets = FakeTrainingSets(frame, spec_digest(view))
    trained = trainer.train(spec, training_sets=sets, view=view)
    bundle = open_bundle(trained.bundle, trainer.signing_key.public_key())
    kinds = {item.name: (item.type, item.source) for item in bundle.manifest.signature.inputs}
    assert kinds["patient_history.ward_latest"] == ("string", "history")
    row = {name: np.array([40.0, 40.0]) for name, (kind, _) in kinds.items() if kind in ("float", "integer")}
    wards = np.array(["surgery", None], object)
    one, other = load_evaluator(bundle).predict(row | {"patient_history.ward_latest": wards}).tolist()
    assert one != other


def inputs() -> list:
    """The model's own inputs."""
    return model_inputs(model_signature(model_spec(), visits_spec(), {"patient_history": history_spec()}))


def inputs_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Only the model's inputs of a training set, typed as a model sees them."""
    return frame.select(
        pl.col(item.name) if item.type.value == "string" else pl.col(item.name).cast(pl.Float64).fill_null(float("nan"))
        for item in inputs()
    )
