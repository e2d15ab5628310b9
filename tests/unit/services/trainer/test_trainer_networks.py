"""A perceptron is served by ONNX Runtime, with the answers that scikit-learn gives, alone and among others."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import polars as pl
import pytest
import skops.io

from services.predictor.domain.entries import Refused
from services.predictor.domain.model import Role, Track
from services.predictor.engine.loader import BundleLoader
from services.trainer.engine import bundling
from services.trainer.engine.onnx_gate import judge_onnx
from services.trainer.engine.preprocessing import columns_of
from tenon.bundle import Bundle, OnnxEvaluator, load_evaluator, load_explainer, open_bundle
from tenon.bundle.onnx_model import OnnxModel
from tenon.core.errors import Invalid, Precondition
from tenon.core.tenancy import TenantId
from tests.support.trainer_data import COST, COSTLY, model_spec, training_frame
from tests.unit.services.trainer.conftest import TENANT, Trainer
from tests.unit.services.trainer.test_trainer_training import inputs_of


@pytest.fixture(scope="module", params=["binary", "regression"])
def trained(request: pytest.FixtureRequest, signing_key: Any) -> tuple[bytes, Bundle]:
    """A perceptron of each task."""
    base = COSTLY if request.param == "binary" else COST
    trainer = Trainer(signing_key)
    data = trainer.train(model_spec(base, estimators=["mlp"])).bundle
    return data, open_bundle(data, signing_key.public_key())


def rows_of(count: int) -> dict[str, Any]:
    """Rows with missing and unknown values."""
    frame = inputs_of(training_frame(count, seed=11))
    odd = pl.Series(np.arange(count) % 7 == 3)
    return dict(
        columns_of(frame.with_columns(pl.when(odd).then(pl.lit("moon")).otherwise(pl.col("ward")).alias("ward")))
    )


def test_it_answers_as_scikit_learn(trained: tuple[bytes, Bundle]) -> None:
    """The native form, opened by a person, and the engine agree to the last bits of float64."""
    bundle = trained[1]
    assert bundle.manifest.engine == "onnxruntime"
    assert bundle.manifest.parity["kernel"].startswith("onnxruntime ")
    data = bundle.files["native/pipeline.skops"]
    # A plain type of numpy's, which SimpleImputer keeps.
    assert skops.io.get_untrusted_types(data=data) == ["numpy.dtype"]
    native = skops.io.loads(data, trusted=["numpy.dtype"])
    frame = inputs_of(training_frame(300, seed=11))
    binary = bundle.manifest.task == "binary"
    expected = native.predict_proba(frame)[:, 1] if binary else native.predict(frame)
    np.testing.assert_allclose(load_evaluator(bundle).predict(columns_of(frame)), expected, rtol=1e-12)


def test_how_many_are_asked_at_once_changes_no_bit(trained: tuple[bytes, Bundle]) -> None:
    """One by one, in parts of any size and in any order, a row has the same answer."""
    evaluator = load_evaluator(trained[1])
    rows = rows_of(67)
    together = evaluator.predict(rows)
    for size in (1, 2, 3, 5, 16, 17, 64):
        parts = [
            evaluator.predict({name: values[at : at + size] for name, values in rows.items()})
            for at in range(0, 67, size)
        ]
        assert np.array_equal(np.concatenate(parts), together)
    order = np.random.default_rng(1).permutation(67)
    assert np.array_equal(evaluator.predict({name: values[order] for name, values in rows.items()}), together[order])
    names = evaluator.row_reads
    alone = [
        evaluator.predict_row([None if rows[name][at] != rows[name][at] else rows[name][at] for name in names])
        for at in range(67)
    ]
    assert np.array_equal(alone, together)
    assert evaluator.predict({name: values[:0] for name, values in rows.items()}).shape == (0,)


def test_it_has_no_contributions(trained: tuple[bytes, Bundle]) -> None:
    """Asked to explain itself it says why not."""
    with pytest.raises(Precondition) as refused:
        load_explainer(trained[1])
    assert refused.value.reason == "EXPLANATION_UNAVAILABLE"


class NoCache:
    """Keeps nothing."""

    def get(self, _sha256: str) -> None:
        """Nothing."""

    def put(self, _sha256: str, _data: bytes) -> None:
        """Nothing."""

    def has(self, _sha256: str) -> bool:
        """Never."""
        return False


def load(data: bytes, bundle: Bundle, key: Any, tenant: TenantId = TENANT) -> Any:
    """As the predictor loads a release's track."""
    loader = BundleLoader(lambda *_: data, NoCache(), key.public_key())
    return loader.load(tenant, bundle.manifest.model, Track(Role.STABLE, 1, bundle.sha256))


def test_the_predictor_serves_it_by_the_engine_it_names(trained: tuple[bytes, Bundle], signing_key: Any) -> None:
    """Loaded, self-tested, and with engine and runtime in its metadata."""
    served = load(*trained, signing_key)
    assert (served.engine, served.kernel.split()[0]) == ("onnxruntime", "onnxruntime")
    assert served.reads == ()
    assert served.nbytes > 10_000
    assert np.array_equal(served.evaluator.predict(rows_of(5)), load_evaluator(trained[1]).predict(rows_of(5)))


def test_without_the_runtime_it_is_refused_and_named(
    trained: tuple[bytes, Bundle], signing_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A predictor without ONNX Runtime refuses the version, says what to install, and takes no other engine instead."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Refused) as refused:
        load(*trained, signing_key)
    assert refused.value.reason == "ENGINE_NOT_INSTALLED"
    assert "pip install 'tenon[onnx]'" in refused.value.message


def test_a_runtime_that_minds_its_neighbours_is_refused(
    trained: tuple[bytes, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a row's answer depends on its place, loading finds out."""
    honest = OnnxModel.predict

    def by_place(self: OnnxModel, columns: Any) -> Any:
        return honest(self, columns) * (1 + np.arange(16) * 1e-16 + (np.arange(16) == 15) * 1e-15)

    monkeypatch.setattr(OnnxModel, "predict", by_place)
    with pytest.raises(Invalid) as refused:
        load_evaluator(trained[1])
    assert refused.value.reason == "ENGINE_UNFIT"


def test_a_network_that_fails_its_gate_is_not_registered(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other engine for it, so the run fails and says how far off it was."""
    honest = judge_onnx

    def wrong(task: Any, pipeline: Any, build: Any, expected: Any, *rest: Any) -> Any:
        return honest(task, pipeline, build, expected + 1e-3, *rest)

    monkeypatch.setattr(bundling, "judge_onnx", wrong)
    with pytest.raises(Precondition) as refused:
        trainer.train(model_spec(COSTLY, estimators=["mlp"]))
    assert refused.value.reason == "PARITY_FAILED"
    assert "by onnxruntime" in refused.value.message
    assert trainer.versions.bundles == []


def test_columns_of_different_lengths_are_refused(trained: tuple[bytes, Bundle]) -> None:
    """As the other engines do."""
    evaluator = load_evaluator(trained[1])
    assert isinstance(evaluator, OnnxEvaluator)
    rows = rows_of(5)
    with pytest.raises(ValueError, match="'ward' has 3 rows, not 5"):
        evaluator.predict({**rows, "ward": rows["ward"][:3]})
