"""A real predictor serves a network by ONNX Runtime, and refuses it where that is not installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from services.trainer.engine.onnx_graph import Network, onnx_of
from tenon.bundle import Bundle, Numeric, OneHot, Pipeline, load_evaluator, open_bundle, write_bundle
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import (
    KEYS,
    VISIT_INPUTS,
    WARDS,
    manifest_of,
    signing_key,
    visit_bundle,
    visit_request,
)
from tests.support.predictor_process import PredictorProcess, wait_until


def network_bundle() -> bytes:
    """A version of `stay` that is neither a forest nor linear."""
    random = np.random.default_rng(5)
    pipeline = Pipeline(
        (Numeric("age", 40.0, 38.5, 17.25), Numeric("count"), Numeric("urgent", 0.0), OneHot("ward", WARDS))
    )
    sizes = (pipeline.width, 8, 1)
    layers = tuple(
        (random.normal(size=(sizes[at], sizes[at + 1])), random.normal(size=sizes[at + 1])) for at in range(2)
    )
    graph = onnx_of(pipeline, Network(layers, "logistic"), "probability")
    manifest = manifest_of("acme", "stay", VISIT_INPUTS, engine="onnxruntime")
    return write_bundle(manifest, {"pipeline.json": pipeline.to_json(), "model.onnx": graph}, signing_key())


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry with a forest, released, and a network."""
    fake = FakeRegistry().start()
    fake.add("acme", "stay", 1, visit_bundle())
    fake.add("acme", "stay", 2, network_bundle())
    fake.release("acme", "stay", 1)
    yield fake
    fake.stop()


def served_version(predictor: PredictorProcess) -> str:
    """Which version answers."""
    answer = predictor.infer("stay", visit_request())
    assert answer.status_code == 200, answer.text
    version: str = answer.json()["parameters"]["version"]
    return version


def test_a_network_is_served_by_the_runtime(tmp_path: Path, registry: FakeRegistry) -> None:
    """After the release the engine and the runtime's version stand in the metadata, and a row has the same bits alone and
    among others, those of the bundle's own evaluator."""
    predictor = PredictorProcess(tmp_path, registry=registry.port).start()
    try:
        registry.release("acme", "stay", 2)
        wait_until(lambda: served_version(predictor) == "2", "the network is served")
        key = {"authorization": f"Bearer {KEYS['acme']}"}
        properties = httpx.get(f"{predictor.url}/v2/models/stay", headers=key, timeout=60).json()["properties"]
        assert properties["engine"] == "onnxruntime"
        assert properties["kernel"].startswith("onnxruntime ")
        rows: list[dict[str, object]] = [
            {"age": at * 1.7 if at % 5 else None, "count": at % 4, "urgent": at % 3 == 0, "ward": [*WARDS, "", None][at % 5]}
            for at in range(37)
        ]  # fmt: skip

        def ask(some: list[dict[str, object]]) -> list[float]:
            body = {"instances": [{"features": row} for row in some]}
            answer = httpx.post(f"{predictor.url}/v1/models/stay:predict", json=body, headers=key, timeout=60)
            assert answer.status_code == 200, answer.text
            return [row["value"] for row in answer.json()["predictions"]]

        together = ask(rows)
        assert [ask([row])[0] for row in rows] == together
        bundle: Bundle = open_bundle(network_bundle(), signing_key().public_key())
        columns = {
            name: np.array([row[name] for row in rows], object if name == "ward" else np.float64) for name in rows[0]
        }
        assert load_evaluator(bundle).predict(columns).tolist() == together
    finally:
        predictor.stop()


def test_without_the_runtime_the_old_version_stays(tmp_path: Path, registry: FakeRegistry) -> None:
    """The release of the network is refused, the report says what to install, and version 1 goes on answering."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "onnxruntime.py").write_text("raise ImportError('not installed here')\n")
    path = os.pathsep.join([str(hidden), os.environ.get("PYTHONPATH", "")])
    predictor = PredictorProcess(tmp_path, registry=registry.port, extra={"PYTHONPATH": path}).start()
    try:
        registry.release("acme", "stay", 2)
        wait_until(lambda: "ENGINE_NOT_INSTALLED" in problems(registry), "the trouble is reported")
        assert "pip install 'tenon[onnx]'" in problems(registry)
        assert served_version(predictor) == "1"
    finally:
        predictor.stop()


def problems(registry: FakeRegistry) -> str:
    """What the replica reported last."""
    return "" if not registry.reports else " ".join(model.problem for model in registry.reports[-1].models)
