"""The fallback ladder of a real predictor: features goes away and comes back, and every door says what its answer rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc
from tenon.api.predictor.v1 import predictor_pb2, predictor_pb2_grpc
from tenon.bundle import load_evaluator, load_without_history, open_bundle
from tests.support.fakes_predictor import FakeFeatures, FakeRegistry
from tests.support.predictor_bundles import KEYS, signing_key, visit_bundle
from tests.support.predictor_process import PredictorProcess, wait_until

AUTH = {"authorization": f"Bearer {KEYS['acme']}"}
METADATA = [("authorization", f"Bearer {KEYS['acme']}")]
LADDERS: dict[str, Any] = {
    "second": {"maxAge": "1h", "steps": [{"stale": "5m"}, "without_history"]},
    "number": {"steps": [{"rule": [{"when": {"age": {"above": 80}}, "value": 0.9}]}, "prior"]},
    "strict": {"steps": [{"stale": "2s"}, "refuse"]},
    "plain": None,
}
BUNDLES = {name: visit_bundle(model=name, history=True, fallback=ladder) for name, ladder in LADDERS.items()}
ROW: dict[str, Any] = {"age": 61.5, "count": 3, "urgent": True, "ward": "north"}


@dataclass
class Place:
    """A predictor, and the features that it asks."""

    features: FakeFeatures
    predictor: PredictorProcess

    def rest(self, model: str, *patients: str, **features: Any) -> httpx.Response:
        """By entity."""
        body = {"instances": [{"entity": {"patient_id": one}, "features": ROW | features} for one in patients]}
        return httpx.post(f"{self.predictor.url}/v1/models/{model}:predict", json=body, headers=AUTH, timeout=60)

    def levels(self, model: str, *patients: str, **features: Any) -> list[str]:
        """What each answer rests on."""
        answer = self.rest(model, *patients, **features)
        assert answer.status_code == 200, answer.text
        return [line["fallback_level"] for line in answer.json()["predictions"]]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Four models with the same inputs and different ladders."""
    registry, features = FakeRegistry().start(), FakeFeatures().start()
    features.values = {"p1": (100.0, 2.0), "p2": (0.2, 1.0)}
    for name, bundle in BUNDLES.items():
        registry.add("acme", name, 1, bundle)
        registry.release("acme", name, 1)
    process = PredictorProcess(tmp_path_factory.mktemp("ladder"), registry=registry.port, features=features.port)
    try:
        yield Place(features, process.start())
    finally:
        code = process.stop()
        registry.stop()
        features.stop()
    assert code == 0


def expected(model: str, patient: tuple[float, float] | None) -> float:
    """What the bundle itself says of the row: with this history, or its second model."""
    bundle = open_bundle(BUNDLES[model], signing_key().public_key())
    columns: dict[str, Any] = {
        "age": np.array([61.5]), "count": np.array([3.0]), "urgent": np.array([1.0]),
        "ward": np.array(["north"], object),
    }  # fmt: skip
    if patient is None:
        second = load_without_history(bundle)
        assert second is not None
        return float(second.predict(columns)[0])
    columns |= {"visits.cost_mean_30d": np.array(patient[:1]), "visits.count_30d": np.array(patient[1:])}
    return float(load_evaluator(bundle).predict(columns)[0])


def test_levels_walk_down_when_features_goes_and_up_when_it_is_back(place: Place) -> None:
    """Fresh, then last known or the second model by patient, then fresh again by itself; numbers are the bundle's own bits."""
    fresh = place.rest("second", "p1").json()["predictions"][0]
    assert (fresh["fallback_level"], fresh["fallback"]) == ("fresh", [])
    assert "fallback_reason" not in fresh
    assert fresh["value"] == expected("second", (100.0, 2.0))
    place.features.stop()
    known, new = place.rest("second", "p1", "p2").json()["predictions"]
    assert (known["fallback_level"], known["value"]) == ("stale", fresh["value"])
    assert known["feature_age_seconds"] >= 60
    assert "features could not be asked; history as last known" in known["fallback_reason"]
    assert (new["fallback_level"], new["value"]) == ("without_history", expected("second", None))
    assert new["fallback"] == ["visits.cost_mean_30d", "visits.count_30d"]
    assert "feature_age_seconds" not in new
    assert place.levels("plain", "p1") == ["missing"]
    assert place.levels("number", "p1", "p2") == ["prior", "prior"]
    assert place.levels("number", "p1", age=81) == ["rule"]
    assert place.rest("number", "p1", age=81).json()["predictions"][0]["value"] == 0.9
    assert place.rest("number", "p1").json()["predictions"][0]["value"] == 0.25
    place.features.start()
    for model in LADDERS:
        wait_until(partial(answers, place, model), f"{model} answers", 180)
        wait_until(partial(is_fresh, place, model), f"{model} is fresh again", 180)
    assert place.rest("second", "p2").json()["predictions"][0]["value"] == expected("second", (0.2, 1.0))
    assert place.predictor.metric("tenon_predictor_history_rows_total") > 0
    text = httpx.get(place.predictor.url + "/metrics", timeout=60).text
    assert 'tenon_predictor_history_rows_total{level="without_history",model="second",tenant="acme"}' in text


def answers(place: Place, model: str) -> bool:
    return place.rest(model, "p2").status_code == 200


def is_fresh(place: Place, model: str) -> bool:
    return place.levels(model, "p2") == ["fresh"]


def test_a_refusal_is_503_on_every_door_and_only_for_this_model(place: Place) -> None:
    """A model that would rather not answer says so; the others answer."""
    place.features.stop()
    answer = place.rest("strict", "p1")
    assert (answer.status_code, answer.json()["reason"]) == (503, "HISTORY_UNAVAILABLE")
    assert "features could not be asked" in answer.json()["error"]
    body = {"inputs": [{"name": name, "datatype": kind, "shape": [1], "data": [value]} for name, kind, value in OIP]}
    refused = httpx.post(f"{place.predictor.url}/v2/models/strict/infer", json=body, headers=AUTH, timeout=60)
    assert refused.status_code == 503
    with grpc.insecure_channel(f"127.0.0.1:{place.predictor.grpc}") as channel:
        stub = predictor_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(instance_of("strict", "p1"), metadata=METADATA, timeout=60)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert place.levels("plain", "p1") == ["missing"]


OIP = [
    ("age", "FP64", 61.5), ("count", "INT64", 3), ("urgent", "BOOL", True), ("ward", "BYTES", "north"),
    ("patient_id", "BYTES", "p1"),
]  # fmt: skip


def instance_of(model: str, patient: str) -> predictor_pb2.PredictRequest:
    """One row by entity."""
    request = predictor_pb2.PredictRequest(model=model)
    instance = request.instances.add()
    instance.entity.update({"patient_id": patient})
    instance.features.update(ROW)
    return request


def test_all_doors_say_the_same(place: Place) -> None:
    """REST and gRPC, by entity and by tensors: the same level, reason and number; a request with its own history has none."""
    place.features.stop()
    by_entity = place.rest("second", "p9").json()["predictions"][0]
    body = {"inputs": [{"name": name, "datatype": kind, "shape": [1], "data": [value]} for name, kind, value in OIP]}
    tensors = httpx.post(f"{place.predictor.url}/v2/models/second/infer", json=body, headers=AUTH, timeout=60).json()
    with grpc.insecure_channel(f"127.0.0.1:{place.predictor.grpc}") as channel:
        twin = predictor_pb2_grpc.PredictionServiceStub(channel).Predict(
            instance_of("second", "p9"), metadata=METADATA, timeout=60
        )
        request = pb.ModelInferRequest(model_name="second")
        for name, kind, value in OIP:
            tensor = request.inputs.add(name=name, datatype=kind, shape=[1])
            field = {"FP64": "fp64", "INT64": "int64", "BOOL": "bool", "BYTES": "bytes"}[kind] + "_contents"
            getattr(tensor.contents, field).append(value.encode() if isinstance(value, str) else value)
        raw = inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, metadata=METADATA, timeout=60)
    wanted = ("without_history", "features could not be asked")
    assert (by_entity["fallback_level"], by_entity["fallback_reason"]) == wanted
    assert (tensors["parameters"]["fallback_level"], tensors["parameters"]["fallback_reason"]) == wanted
    assert (twin.predictions[0].fallback_level, twin.predictions[0].fallback_reason) == wanted
    assert tuple(raw.parameters[f"fallback_{what}"].string_param for what in ("level", "reason")) == wanted
    numbers = {
        by_entity["value"], tensors["outputs"][0]["data"][0], twin.predictions[0].value,
        raw.outputs[0].contents.fp64_contents[0],
    }  # fmt: skip
    assert numbers == {expected("second", None)}
    own = place.rest("second", "p9", **{"visits.cost_mean_30d": 3.0, "visits.count_30d": 1}).json()["predictions"][0]
    assert "fallback_level" not in own


def test_data_that_stopped_coming_are_said_to_be_old(place: Place) -> None:
    """`maxAge` against the newest event of the view: over it, the answer is stale or comes from the second model."""
    place.features.data_seconds_ago = 1800
    assert place.levels("second", "p1") == ["fresh"]
    place.features.data_seconds_ago = 7200
    line = place.rest("second", "p1").json()["predictions"][0]
    assert line["fallback_level"] == "without_history"
    assert "the data of view 'visits' end 2 h before, over 60 min" in line["fallback_reason"]


def test_the_log_knows_the_level(place: Place) -> None:
    """What was answered without history is found in the spool under its level, without the history that nobody knew."""
    place.rest("second", "p1")
    place.features.stop()
    place.rest("second", "p1", "p9")
    data = b"".join(path.read_bytes() for path in (place.predictor.folder / "data" / "spool").iterdir())
    for level in ("fresh", "stale", "without_history"):
        assert f'"level":"{level}"'.encode() in data


def test_nothing_is_left_behind_after_many_outages(place: Place) -> None:
    """Features goes and comes a few times under load: never an error, and fresh at the end."""
    for _ in range(3):
        place.features.stop()
        for number in range(20):
            assert place.rest("second", f"p{number}").status_code == 200
        place.features.start()
        wait_until(lambda: place.levels("second", "p1") == ["fresh"], "fresh again", 180)
