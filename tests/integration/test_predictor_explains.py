"""A real predictor process explains its answers over REST and gRPC, with the same words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from tenon.api.inference.v2 import inference_pb2, inference_pb2_grpc
from tenon.api.predictor.v1 import predictor_pb2, predictor_pb2_grpc
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import KEYS, linear_bundle, visit_bundle
from tests.support.predictor_process import PredictorProcess

AUTH = {"authorization": f"Bearer {KEYS['acme']}"}
VISITS = [
    {"features": {"age": 61.5, "count": 3, "urgent": True, "ward": "north"}},
    {"features": {"age": None, "count": 0, "urgent": None, "ward": "moon"}},
]
PRICE = [{"features": {"x0": 9.0, "x1": 1.0}}]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PredictorProcess]:
    """With a forest, a linear model with an interval, and a version without covers."""
    registry = FakeRegistry().start()
    bundles = {
        "stay": visit_bundle(threshold=0.5),
        "price": linear_bundle(explained=True),
        "old": visit_bundle(model="old", cover=False),
    }
    for model, data in bundles.items():
        registry.add("acme", model, 1, data)
        registry.release("acme", model, 1)
    folder = tmp_path_factory.mktemp("predictor")
    running = PredictorProcess(folder, registry=registry.port, extra={"TENON_PREDICTOR_EXPLAIN_ROWS": "50"})
    try:
        yield running.start()
    finally:
        running.stop()
        registry.stop()


def ask(predictor: PredictorProcess, model: str, body: Any, query: str = "") -> httpx.Response:
    """Over REST."""
    return httpx.post(f"{predictor.url}/v1/models/{model}:predict{query}", json=body, headers=AUTH, timeout=60)


def ask_grpc(predictor: PredictorProcess, model: str, instances: list[Any], *, explain: bool) -> list[dict[str, Any]]:
    """Over gRPC, as the JSON of the same message."""
    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc}") as channel:
        request = ParseDict(
            {"model": model, "instances": instances, "explain": explain}, predictor_pb2.PredictRequest()
        )
        answer = predictor_pb2_grpc.PredictionServiceStub(channel).Predict(
            request, metadata=tuple(AUTH.items()), timeout=60
        )
    return [MessageToDict(item, preserving_proto_field_name=True) for item in answer.predictions]


def test_rest_and_grpc_explain_with_the_same_words(predictor: PredictorProcess) -> None:
    """Query or body over REST, a field over gRPC: the same contributions, in the same order, with the row's values."""
    by_query = ask(predictor, "stay", {"instances": VISITS}, "?explain=true").json()["predictions"]
    by_body = ask(predictor, "stay", {"instances": VISITS, "explain": True}).json()["predictions"]
    over_grpc = ask_grpc(predictor, "stay", VISITS, explain=True)
    for one, two, three in zip(by_query, by_body, over_grpc, strict=True):
        assert one["explanation"] == two["explanation"] == three["explanation"]
        assert one["label"] == two["label"] == three["label"]
        parts = one["explanation"]["contributions"]
        assert {part["column"] for part in parts} == {"age", "count", "urgent", "ward"}
        total = one["explanation"]["base"] + sum(part["contribution"] for part in parts)
        assert total == pytest.approx(one["explanation"]["margin"], abs=1e-6)
    assert {part["column"]: part["value"] for part in by_query[1]["explanation"]["contributions"]} == {
        "age": None, "count": 0, "urgent": None, "ward": "moon",
    }  # fmt: skip


def test_without_explain_the_answer_says_nothing_of_it(predictor: PredictorProcess) -> None:
    """And is the same number."""
    plain = ask(predictor, "stay", {"instances": VISITS}).json()["predictions"]
    explained = ask(predictor, "stay", {"instances": VISITS, "explain": True}).json()["predictions"]
    assert "explanation" not in plain[0]
    assert "explanation" not in ask_grpc(predictor, "stay", VISITS, explain=False)[0]
    assert [row["value"] for row in plain] == [row["value"] for row in explained]


def test_a_regression_says_its_interval_on_both_doors(predictor: PredictorProcess) -> None:
    """Low, high and the nominal coverage; a probability has none."""
    wanted = {"low": 18.0, "high": 30.0, "coverage": 0.9}
    row = ask(predictor, "price", {"instances": PRICE}).json()["predictions"][0]
    assert row["interval"] == wanted
    assert "label" not in row
    assert ask_grpc(predictor, "price", PRICE, explain=False)[0]["interval"] == wanted
    assert "interval" not in ask(predictor, "stay", {"instances": VISITS}).json()["predictions"][0]


def test_the_open_inference_protocol_explains_by_a_parameter(predictor: PredictorProcess) -> None:
    """Parameter `explain` adds a tensor of contributions whose parameters name its columns: JSON, binary and gRPC."""
    values = {"age": ("FP64", 61.5), "count": ("INT64", 3), "urgent": ("BOOL", True), "ward": ("BYTES", "north")}
    inputs = [{"name": name, "datatype": kind, "shape": [1], "data": [value]} for name, (kind, value) in values.items()]
    plain = predictor.infer("stay", {"inputs": inputs}).json()
    assert [output["name"] for output in plain["outputs"]] == ["probability"]
    answer = predictor.infer("stay", {"inputs": inputs, "parameters": {"explain": True}}).json()
    score, tensor = answer["outputs"]
    assert score["data"] == plain["outputs"][0]["data"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("contributions", "FP64", [1, 5])
    assert tensor["parameters"] == {"columns": "age,count,urgent,ward,base", "space": "log-odds"}
    assert 1 / (1 + math.exp(-sum(tensor["data"]))) == pytest.approx(score["data"][0], rel=1e-6)
    wanted = {"explain": True, "binary_data_output": True}
    binary = predictor.infer("stay", {"inputs": inputs, "parameters": wanted}).content
    assert np.frombuffer(binary[-40:], "<f8").tolist() == tensor["data"]
    outputs = [{"name": "contributions", "parameters": {"binary_data": True}}, {"name": "prediction_id"}]
    named = predictor.infer("stay", {"inputs": inputs, "outputs": outputs, "parameters": {"explain": True}}).content
    assert np.frombuffer(named[-40:], "<f8").tolist() == tensor["data"]
    assert predictor.infer("stay", {"inputs": inputs, "outputs": outputs[:1]}).status_code == 400
    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc}") as channel:
        request = inference_pb2.ModelInferRequest(model_name="stay")
        request.parameters["explain"].bool_param = True
        request.outputs.add(name="contributions")
        for name, (kind, value) in values.items():
            item = request.inputs.add(name=name, datatype=kind, shape=[1])
            contents = {"FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}
            getattr(item.contents, contents.get(kind, "bytes_contents")).append(
                value.encode() if isinstance(value, str) else value
            )
        found = inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(
            request, metadata=tuple(AUTH.items()), timeout=60
        )
    assert list(found.outputs[1].contents.fp64_contents) == tensor["data"]
    assert found.outputs[1].parameters["columns"].string_param == tensor["parameters"]["columns"]


def test_what_cannot_be_explained_says_so(predictor: PredictorProcess) -> None:
    """Too many rows, a version without covers, other words: refused with a code; gRPC as REST."""
    many = ask(predictor, "stay", {"instances": VISITS[:1] * 51, "explain": True})
    assert (many.status_code, many.json()["reason"]) == (413, "EXPLAIN_TOO_MANY_ROWS")
    old = ask(predictor, "old", {"instances": VISITS}, "?explain=true")
    assert (old.status_code, old.json()["reason"]) == (412, "EXPLANATION_UNAVAILABLE")
    assert ask(predictor, "old", {"instances": VISITS}).status_code == 200
    assert ask(predictor, "stay", {"instances": VISITS}, "?explian=true").status_code == 400
    assert ask(predictor, "stay", {"instances": VISITS, "explain": 1}).status_code == 400
    with pytest.raises(grpc.RpcError) as caught:
        ask_grpc(predictor, "old", VISITS, explain=True)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.RpcError) as caught:
        ask_grpc(predictor, "stay", VISITS * 30, explain=True)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
