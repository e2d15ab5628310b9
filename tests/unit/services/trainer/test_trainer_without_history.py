"""The second model of a fallback ladder: trained without history, judged on the same rows, sealed in the same bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from tenon.bundle import load_evaluator, load_explainer, load_without_history, open_bundle
from tenon.core.errors import Precondition
from tests.support.trainer_data import COST, COSTLY, model_spec, training_frame
from tests.unit.services.trainer.conftest import Trainer

LADDER = {"steps": [{"stale": "7d"}, "without_history"]}


@pytest.mark.parametrize(("base", "estimator"), [(COSTLY, "xgboost"), (COSTLY, "logistic"), (COST, "ridge")])
def test_the_bundle_has_a_second_model_that_reads_no_history(
    trainer: Trainer, base: dict[str, Any], estimator: str
) -> None:
    """Same estimator, same test rows, its own figures and its own parity; it answers from request columns alone."""
    trained = trainer.train(model_spec(base, estimators=[estimator], fallback=LADDER))
    bundle = open_bundle(trained.bundle, trainer.signing_key.public_key())
    manifest = bundle.manifest
    second = load_without_history(bundle)
    assert second is not None
    assert manifest.fallback is not None
    assert manifest.fallback.without_history is not None
    assert manifest.fallback.without_history.engine == manifest.engine
    assert manifest.fallback.without_history.parity["rows"] == manifest.evidence.model.rows
    assert manifest.evidence.without_history is not None
    assert manifest.evidence.without_history.rows == manifest.evidence.model.rows
    assert manifest.evidence.without_history.metrics != manifest.evidence.model.metrics
    request = {item.name for item in manifest.signature.inputs if item.source == "request"}
    assert set(second.pipeline.columns) <= request
    assert not set(load_evaluator(bundle).pipeline.columns) <= request
    assert trained.outcome.evidence["without_history"]["rows"] == manifest.evidence.model.rows


@pytest.mark.parametrize(("base", "estimator"), [(COSTLY, "xgboost"), (COSTLY, "logistic"), (COST, "ridge")])
def test_both_models_of_a_trained_bundle_explain_themselves(
    trainer: Trainer, base: dict[str, Any], estimator: str
) -> None:
    """Covers and training means are in the bundle: contributions of the declared inputs add up to each margin."""
    trained = trainer.train(model_spec(base, estimators=[estimator], fallback=LADDER))
    bundle = open_bundle(trained.bundle, trainer.signing_key.public_key())
    frame = training_frame(200, seed=4)
    names = [item.name for item in bundle.manifest.signature.inputs if item.source in ("request", "history")]
    columns = {
        name: np.array(frame[name].to_list(), object)
        if frame[name].dtype == pl.String
        else frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        for name in names
    }
    for without_history in (False, True):
        explainer = load_explainer(bundle, without_history=without_history)
        found = explainer.explain(columns)
        assert set(found.columns) <= set(names)
        assert not without_history or not any("." in name for name in found.columns)
        np.testing.assert_allclose(
            found.base + found.contributions.sum(axis=1), found.margin, rtol=2e-6, atol=2e-6
        )  # fmt: skip
        assert np.abs(found.contributions).max() > 0
    # Over the training rows a linear model's contributions have mean zero; over others of their kind, nearly.
    if estimator != "xgboost":
        spread = found.contributions.std(axis=0)
        assert np.all(np.abs(found.contributions.mean(axis=0)) < 0.5 * spread + 1e-9)


def test_a_network_is_not_explained(trainer: Trainer) -> None:
    """Contributions are for forests and linear models; others say so with a code."""
    trained = trainer.train(model_spec(estimators=["mlp"]))
    with pytest.raises(Precondition) as caught:
        load_explainer(open_bundle(trained.bundle, trainer.signing_key.public_key()))
    assert caught.value.reason == "EXPLANATION_UNAVAILABLE"


def test_without_the_step_there_is_no_second_model(trainer: Trainer) -> None:
    """A ladder without that step costs no training and no bytes; its prior is the training rate."""
    trained = trainer.train(model_spec(fallback={"steps": ["prior"]}))
    bundle = open_bundle(trained.bundle, trainer.signing_key.public_key())
    assert load_without_history(bundle) is None
    assert bundle.manifest.evidence.without_history is None
    assert not any(name.startswith("without_history/") for name in bundle.files)
    assert bundle.manifest.fallback is not None
    prior = bundle.manifest.fallback.prior
    assert prior is not None
    assert 0 < prior < 1


def test_the_main_model_is_the_one_it_would_be_without_a_ladder(trainer: Trainer) -> None:
    """Declaring a ladder changes nothing in the model that answers with history."""
    key = trainer.signing_key.public_key()
    plain = open_bundle(trainer.train(model_spec()).bundle, key)
    laddered = open_bundle(trainer.train(model_spec(fallback=LADDER)).bundle, key)
    assert {name: laddered.manifest.files[name] for name in plain.manifest.files} == plain.manifest.files
    assert laddered.manifest.evidence.model == plain.manifest.evidence.model


def test_the_prior_of_a_regression_is_the_median(trainer: Trainer) -> None:
    """The median, which a few very dear visits do not move."""
    trained = trainer.train(model_spec(COST, fallback={"steps": ["prior"]}))
    ladder = open_bundle(trained.bundle, trainer.signing_key.public_key()).manifest.fallback
    assert ladder is not None
    assert ladder.prior is not None
    cost: Any = training_frame()["cost"].drop_nulls().cast(float)
    assert cost.quantile(0.3) < ladder.prior < cost.quantile(0.7)
    assert ladder.prior != float(cost.mean())
