"""A real predictor process, asked by somebody else's clients and by hand."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc
from tenon.api.predictor.v1 import predictor_pb2, predictor_pb2_grpc
from tenon.bundle import load_evaluator, open_bundle
from tests.support.fakes_predictor import FakeFeatures, FakeRegistry
from tests.support.predictor_bundles import ADMIN_KEY, KEYS, linear_bundle, signing_key, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess, wait_until
from tests.support.triton_probe import COLUMNS

AUTH = {"authorization": f"Bearer {KEYS['acme']}"}


@dataclass
class Place:
    """What the tests of this file share."""

    registry: FakeRegistry
    features: FakeFeatures
    predictor: PredictorProcess

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """POST with the key of acme."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(self.predictor.url + path, content=content, headers=AUTH | headers, timeout=60)

    def channel(self) -> grpc.Channel:
        """To the gRPC door."""
        return grpc.insecure_channel(f"127.0.0.1:{self.predictor.grpc}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One predictor with four models of acme; globex has none."""
    registry, features = FakeRegistry().start(), FakeFeatures().start()
    features.values = {"p1": (10.0, 2.0), "p2": (0.25, 0.0)}
    registry.add("acme", "stay", 1, visit_bundle())
    registry.release("acme", "stay", 1)
    registry.add("acme", "price", 4, linear_bundle())
    registry.release("acme", "price", 4)
    registry.add("acme", "visit", 1, visit_bundle(model="visit", history=True))
    registry.add("acme", "visit", 2, visit_bundle(model="visit", history=True, shift=2.0))
    registry.release("acme", "visit", 1)
    registry.add("acme", "split", 1, visit_bundle(model="split"))
    registry.add("acme", "split", 2, visit_bundle(model="split", shift=1.0))
    registry.release("acme", "split", 1, canary=2, permille=300)
    caps = {"TENON_MAX_BODY_MIB": "4", "TENON_PREDICTOR_MAX_INFLATED_MIB": "8"}
    folder = tmp_path_factory.mktemp("predictor")
    predictor = PredictorProcess(folder, registry=registry.port, features=features.port, extra=caps)
    try:
        predictor.start()
        yield Place(registry, features, predictor)
    finally:
        code = predictor.stop()
        registry.stop()
        features.stop()
    assert code == 0


def expected() -> list[float]:
    """What the bundle answers to the rows of `triton_probe`."""
    evaluator = load_evaluator(open_bundle(visit_bundle(), signing_key().public_key()))
    columns = {
        name: values if values.dtype == object else values.astype(np.float64) for name, (_, values) in COLUMNS.items()
    }
    answers: list[float] = evaluator.predict(columns).tolist()
    return answers


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_tritonclient_gets_the_bits_of_the_bundle(place: Place, protocol: str) -> None:
    """Binary and JSON, both shapes, compressed, with reserved parameters, ids, outputs by name, metadata and index."""
    port = place.predictor.http if protocol == "http" else place.predictor.grpc
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.triton_probe", protocol, str(port), KEYS["acme"]],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout)
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)
    assert found.get("other_ready", False) is False
    assert set(found["scores"]) >= {"outputs", "parameters", "gzip"}
    for name, scores in found["scores"].items():
        assert scores == expected(), name
    assert len(set(found["ids"])) == 3
    assert found["id"] == "r-1"
    assert "'count'" in found["refusal"]
    assert found["metadata"]["name"] == "stay"
    assert found["metadata"]["versions"] == ["1"]
    assert [item["name"] for item in found["metadata"]["inputs"]] == ["age", "count", "urgent", "ward"]
    assert [item["datatype"] for item in found["metadata"]["inputs"]] == ["FP64", "INT64", "BOOL", "BYTES"]
    assert found["server"]["name"] == "tenon"
    index = found["index"]["models"] if isinstance(found["index"], dict) else found["index"]
    assert {"name": "stay", "version": "1", "state": "READY", "reason": "stable"} in index


def test_plain_json_says_who_answered(place: Place) -> None:
    """Tenant, version, role and prediction id stand in every answer; a given id comes back."""
    answer = place.post("/v2/models/stay/infer", visit_request() | {"id": "mine"}, **{"x-request-id": "req-7"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("stay", "1", "mine")
    parameters = body["parameters"]
    assert (parameters["tenant"], parameters["version"], parameters["role"]) == ("acme", "1", "stable")
    assert len(parameters["prediction_id"]) == 36
    assert answer.headers["x-request-id"] == "req-7"
    assert answer.headers["content-type"] == "application/json"


def test_null_is_missing_and_a_matrix_is_taken(place: Place) -> None:
    """In JSON; and one tensor for all columns of a numeric model."""
    assert place.post("/v2/models/stay/infer", visit_request(age=("FP64", [None]))).status_code == 200
    matrix = {"inputs": [{"name": "any", "datatype": "FP64", "shape": [2, 2], "data": [[1, 2], [3, 4]]}]}
    answer = place.post("/v2/models/price/infer", matrix)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [2], "data": [9.0, 19.0]}]
    flat = {"inputs": [{"name": "any", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}]}
    assert place.post("/v2/models/price/infer", flat).json()["outputs"] == answer.json()["outputs"]


COUNT = {"name": "count", "datatype": "INT64", "shape": [1], "data": [3]}
BAD: list[tuple[str, Any, int]] = [
    ("not json", b"{", 400),
    ("empty", b"", 400),
    ("a list", b"[]", 400),
    ("a number", b"7", 400),
    ("deep", b"[" * 100_000, 400),
    ("not utf-8", b'{"inputs": "\xff"}', 400),
    ("no inputs", {}, 400),
    ("inputs null", {"inputs": None}, 400),
    ("inputs empty", {"inputs": []}, 400),
    ("inputs of lists", {"inputs": [[]]}, 400),
    ("many empty inputs", {"inputs": [{}] * 100_000}, 400),
    ("few empty inputs", {"inputs": [{}]}, 400),
    ("name a number", {"inputs": [COUNT | {"name": 3}]}, 400),
    ("unknown input", {"inputs": [COUNT, COUNT | {"name": "cuont"}]}, 400),
    ("given twice", {"inputs": [COUNT, COUNT]}, 400),
    ("no datatype", {"inputs": [{"name": "count", "shape": [1], "data": [1]}]}, 400),
    ("wrong datatype", {"inputs": [COUNT | {"datatype": "INT63"}]}, 400),
    ("datatype a list", {"inputs": [COUNT | {"datatype": ["INT64"]}]}, 400),
    ("shape text", {"inputs": [COUNT | {"shape": "1"}]}, 400),
    ("shape negative", {"inputs": [COUNT | {"shape": [1, -1]}]}, 400),
    ("shape of texts", {"inputs": [COUNT | {"shape": ["1", "30"]}]}, 400),
    ("shape too large", {"inputs": [COUNT | {"shape": [10**12]}]}, 400),
    ("shape too deep", {"inputs": [COUNT | {"shape": [1, 1, 1]}]}, 400),
    ("no rows", {"inputs": [COUNT | {"shape": [0], "data": []}]}, 400),
    ("more data than shape", {"inputs": [COUNT | {"data": [1, 2]}]}, 400),
    ("no data", {"inputs": [{"name": "count", "datatype": "INT64", "shape": [1]}]}, 400),
    ("data an object", {"inputs": [COUNT | {"data": {}}]}, 400),
    ("a float as INT64", {"inputs": [COUNT | {"data": [1.5]}]}, 400),
    ("a text as INT64", {"inputs": [COUNT | {"data": ["1"]}]}, 400),
    ("a boolean as INT64", {"inputs": [COUNT | {"data": [True]}]}, 400),
    ("half a count", {"inputs": [COUNT | {"datatype": "FP64", "data": [0.5]}]}, 400),
    ("beyond float32", {"inputs": [COUNT, {"name": "age", "datatype": "FP64", "shape": [1], "data": [1e39]}]}, 400),
    ("beyond int64", {"inputs": [COUNT | {"data": [2**63]}]}, 400),
    ("beyond all", b'{"inputs":[{"name":"count","datatype":"FP64","shape":[1],"data":[1e999]}]}', 400),
    ("huge integer", b'{"inputs":[{"name":"count","datatype":"INT64","shape":[1],"data":[' + b"9" * 400 + b"]}]}", 400),
    ("missing where needed", {"inputs": [COUNT | {"data": [None]}]}, 400),
    ("a needed column left out", {"inputs": [{"name": "age", "datatype": "FP64", "shape": [1], "data": [1]}]}, 400),
    ("rows differ", {"inputs": [COUNT, {"name": "age", "datatype": "FP64", "shape": [2], "data": [1, 2]}]}, 400),
    ("text for a number", {"inputs": [COUNT | {"datatype": "BYTES", "data": ["NaN"]}]}, 400),
    ("a number for text", {"inputs": [COUNT, {"name": "ward", "datatype": "INT64", "shape": [1], "data": [1]}]}, 400),
    ("unknown output", {"inputs": [COUNT], "outputs": [{"name": "probabilty"}]}, 400),
    ("output without name", {"inputs": [COUNT], "outputs": [{}]}, 400),
    ("outputs a text", {"inputs": [COUNT], "outputs": "probability"}, 400),
    ("parameters a list", {"inputs": [COUNT], "parameters": []}, 400),
    ("id a number", {"inputs": [COUNT], "id": 7}, 400),
    ("id endless", {"inputs": [COUNT], "id": "x" * 1000}, 400),
    ("binary beyond the body", {"inputs": [{"name": "count", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}]}, 400),
    ("binary of negative size", {"inputs": [{"name": "count", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": -1}}]}, 400),
    ("too many rows", {"inputs": [COUNT | {"shape": [10_001], "data": [1] * 10_001}]}, 413),
    ("too large", b" " * (5 << 20), 413),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status"), [item[1:] for item in BAD], ids=[item[0] for item in BAD])
def test_a_mistake_is_never_ours(place: Place, body: Any, status: int) -> None:
    """Each is refused as the caller's, with `error`, a reason and a request id, and without anything of our insides."""
    answer = place.post("/v2/models/stay/infer", body)
    assert answer.status_code == status, answer.text
    refusal = answer.json()
    assert refusal["error"]
    assert refusal["reason"].isupper()
    assert refusal["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    assert "/tenon/" not in answer.text
    assert len(answer.content) < 3000


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-encoding": "br"}, b"x", 415),
        ({"content-encoding": "gzip"}, b"not gzip", 400),
        ({"content-encoding": "gzip"}, gzip.compress(json.dumps(visit_request()).encode())[:-9], 400),
        ({"content-encoding": "gzip"}, gzip.compress(b" " * (9 << 20)), 413),
        ({"inference-header-content-length": "99999"}, b"{}", 400),
        ({"inference-header-content-length": "-1"}, b"{}", 400),
        ({"inference-header-content-length": "2"}, b"{}xxxx", 400),
        ({"content-encoding": "gzip"}, gzip.compress(json.dumps(visit_request()).encode()), 200),
        ({"content-encoding": "identity"}, json.dumps(visit_request()).encode(), 200),
    ],
)
def test_encodings_are_read_or_refused(place: Place, headers: dict[str, str], body: bytes, status: int) -> None:
    """Compressed bodies are unpacked up to a cap; a bomb is refused."""
    answer = place.post("/v2/models/stay/infer", body, **headers)
    assert answer.status_code == status, answer.text


def test_a_body_without_a_length_is_capped_too(place: Place) -> None:
    """Chunked: small ones are read, endless ones refused."""

    def chunks(count: int) -> Iterator[bytes]:
        yield json.dumps(visit_request()).encode()
        for _ in range(count):
            yield b" " * (1 << 20)

    url = f"{place.predictor.url}/v2/models/stay/infer"
    assert httpx.post(url, content=chunks(1), headers=AUTH, timeout=60).status_code == 200
    # The door does not wait for the rest, and the client may notice that before it reads the answer.
    with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError):
        assert httpx.post(url, content=chunks(50), headers=AUTH, timeout=60).status_code == 413
    assert place.post("/v2/models/stay/infer", visit_request()).status_code == 200


def test_keys_and_tenants(place: Place) -> None:
    """No key, a wrong key, another tenant's key, a platform key with and without a tenant; refused before the body counts."""
    url = f"{place.predictor.url}/v2/models/stay/infer"

    def ask(**headers: str) -> httpx.Response:
        return httpx.post(url, json=visit_request(), headers=headers, timeout=60)

    assert ask().status_code == 401
    assert ask().headers["www-authenticate"] == "Bearer"
    assert ask(authorization="Bearer nonsense").status_code == 401
    assert ask(authorization=f"Basic {KEYS['acme']}").status_code == 401
    assert ask(**{"x-api-key": KEYS["acme"]}).status_code == 200
    stranger = ask(authorization=f"Bearer {KEYS['globex']}")
    absent = httpx.post(
        url.replace("stay", "void"),
        json=visit_request(),
        headers={"authorization": f"Bearer {KEYS['globex']}"},
        timeout=60,
    )
    assert (stranger.status_code, absent.status_code) == (404, 404)
    assert stranger.json()["error"].replace("stay", "void") == absent.json()["error"]
    assert stranger.json().keys() == absent.json().keys()
    assert "acme" not in stranger.text
    assert ask(authorization=f"Bearer {KEYS['globex']}", **{"x-tenon-tenant": "acme"}).status_code == 404
    assert ask(authorization=f"Bearer {ADMIN_KEY}").json()["reason"] == "TENANT_MISSING"
    assert ask(authorization=f"Bearer {ADMIN_KEY}", **{"x-tenon-tenant": "acme"}).status_code == 200
    assert ask(authorization=f"Bearer {ADMIN_KEY}", **{"x-tenon-tenant": "AC ME"}).status_code == 400


def test_versions_by_path(place: Place) -> None:
    """Served ones answer; others are not found and the refusal says which are served."""
    assert place.post("/v2/models/split/versions/2/infer", visit_request()).json()["parameters"]["role"] == "canary"
    for version in ("3", "x", "1.0"):
        refusal = place.post(f"/v2/models/split/versions/{version}/infer", visit_request())
        assert refusal.status_code == 404
        assert "1 (stable), 2 (canary)" in refusal.json()["error"]
    get = httpx.get(f"{place.predictor.url}/v2/models/split/versions/2", headers=AUTH, timeout=60)
    assert get.json()["versions"] == ["1", "2"]
    assert (
        httpx.get(f"{place.predictor.url}/v2/models/split/versions/9/ready", headers=AUTH, timeout=60).status_code
        == 404
    )


def test_health_and_index(place: Place) -> None:
    """Both keys for readiness, no key needed; the list of models and the index need one; an empty body will do."""
    url = place.predictor.url
    assert httpx.get(f"{url}/v2/health/live", timeout=60).json() == {"live": True}
    assert httpx.get(f"{url}/v2/health/ready", timeout=60).json() == {"ready": True, "live": True}
    assert httpx.get(f"{url}/v2/models", timeout=60).status_code == 401
    assert httpx.get(f"{url}/v2/models", headers=AUTH, timeout=60).json() == {
        "models": ["price", "split", "stay", "visit"]
    }
    assert httpx.post(f"{url}/v2/repository/index", headers=AUTH, timeout=60).status_code == 200
    assert httpx.post(f"{url}/v2/repository/index", headers=AUTH, content=b"[", timeout=60).status_code == 400
    assert httpx.get(f"{url}/v2/models/stay/infer", headers=AUTH, timeout=60).status_code == 405
    assert httpx.get(f"{url}/v2/nothing", headers=AUTH, timeout=60).status_code == 404


def test_by_entity_over_both_doors(place: Place) -> None:
    """History is fetched once for all rows; both doors give the same values; each row says version and age."""
    instances = [
        {"entity": {"patient_id": name}, "features": {"age": 50, "count": 2, "urgent": True, "ward": "west"}}
        for name in ("p1", "p2", "nobody")
    ]
    before = len(place.features.calls)
    rest = place.post("/v1/models/visit:predict", {"instances": instances})
    assert rest.status_code == 200, rest.text
    assert len(place.features.calls) == before + 1
    lines = rest.json()["predictions"]
    assert [(line["model_version"], line["role"], line["fallback"]) for line in lines] == [(1, "stable", [])] * 3
    assert all(line["feature_age_seconds"] == pytest.approx(60, abs=1) for line in lines)
    assert len({line["value"] for line in lines}) == 3
    request = ParseDict({"model": "visit", "instances": instances}, predictor_pb2.PredictRequest())
    with place.channel() as channel:
        stub = predictor_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, metadata=list(AUTH.items()), timeout=60)
    assert [item.value for item in answer.predictions] == [line["value"] for line in lines]
    assert (answer.tenant, answer.model) == ("acme", "visit")


def test_wrong_instances_are_refused_by_row(place: Place) -> None:
    """Over both doors."""
    good = {"entity": {"patient_id": "p1"}, "features": {"count": 2}}
    for bad in (
        {"entity": {"patient_id": 17}, "features": {"count": 1}},
        {"entity": {"patient_id": "p"}, "features": {"count": "many"}},
        {"entity": {"patient_id": "p"}, "features": {"count": {}}},
        {"entity": {"patient_id": "p"}, "features": {}},
        {"entity": {"patient_id": "p"}, "features": {"count": 1, "agee": 3}},
        {"entity": {"patient_id": "p"}, "features": {"count": 1, "arrived_at": "tomorrow"}},
    ):
        refusal = place.post("/v1/models/visit:predict", {"instances": [good, bad]})
        assert refusal.status_code == 400, refusal.text
        request = ParseDict({"model": "visit", "instances": [good, bad]}, predictor_pb2.PredictRequest())
        with place.channel() as channel, pytest.raises(grpc.RpcError) as caught:
            predictor_pb2_grpc.PredictionServiceStub(channel).Predict(request, metadata=list(AUTH.items()), timeout=60)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == refusal.json()["error"]
    bodies: list[Any] = [{}, {"instances": []}, {"instances": [1]}, {"instances": [good], "extra": 1}, []]
    for body in bodies:
        assert place.post("/v1/models/visit:predict", body).status_code == 400


def typed(name: str, datatype: str, field: str, values: list[Any]) -> pb.ModelInferRequest.InferInputTensor:
    """An input with typed contents."""
    contents = pb.InferTensorContents(**{field: values})
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=[len(values)], contents=contents)


def infer(place: Place, request: pb.ModelInferRequest, *, key: str = KEYS["acme"]) -> pb.ModelInferResponse:
    """Ask over gRPC by hand."""
    with place.channel() as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        response: pb.ModelInferResponse = stub.ModelInfer(
            request, metadata=[("authorization", f"Bearer {key}")], timeout=60
        )
        return response


def test_typed_contents_are_answered_typed(place: Place) -> None:
    """The request's encoding is mirrored, the id comes back, and the bits are those of the raw form."""
    request = pb.ModelInferRequest(
        model_name="stay",
        id="x-1",
        inputs=[
            typed("age", "FP64", "fp64_contents", COLUMNS["age"][1].tolist()),
            typed("count", "INT64", "int64_contents", COLUMNS["count"][1].tolist()),
            typed("urgent", "BOOL", "bool_contents", COLUMNS["urgent"][1].tolist()),
            typed("ward", "BYTES", "bytes_contents", [word.encode() for word in COLUMNS["ward"][1]]),
        ],
    )
    answer = infer(place, request)
    assert (answer.id, answer.model_version) == ("x-1", "1")
    assert list(answer.outputs[0].contents.fp64_contents) == expected()
    assert not answer.raw_output_contents


def test_wrong_tensors_over_grpc_are_invalid_arguments(place: Place) -> None:
    """Never INTERNAL or UNKNOWN."""
    count = typed("count", "INT64", "int64_contents", [3])
    shaped = pb.ModelInferRequest.InferInputTensor(name="count", datatype="INT64", shape=[1])
    bad = [
        [],
        [typed("", "INT64", "int64_contents", [3])],
        [typed("count", "INT63", "int64_contents", [3])],
        [typed("count", "INT64", "fp64_contents", [3.0])],
        [typed("count", "INT8", "int_contents", [300])],
        [typed("count", "FP16", "fp32_contents", [1.0])],
        [count, count],
        [count, typed("xx", "INT64", "int64_contents", [3])],
        [shaped],
        [count, typed("ward", "BYTES", "bytes_contents", [b"\xff"])],
        [count, typed("age", "FP64", "fp64_contents", [float("inf")])],
        [count, typed("age", "FP64", "fp64_contents", [1.0, 2.0])],
    ]
    requests = [pb.ModelInferRequest(model_name="stay", inputs=inputs) for inputs in bad]
    requests += [
        pb.ModelInferRequest(model_name="stay", inputs=[shaped], raw_input_contents=[b"1234567"]),
        pb.ModelInferRequest(model_name="stay", inputs=[shaped], raw_input_contents=[b"12345678"] * 2),
        pb.ModelInferRequest(model_name="stay", inputs=[count], raw_input_contents=[b"12345678"]),
        pb.ModelInferRequest(model_name="stay", inputs=[count], outputs=[{"name": "nope"}]),
    ]
    for request in requests:
        with pytest.raises(grpc.RpcError) as caught:
            infer(place, request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, request
    for request, key, code in (
        (pb.ModelInferRequest(model_name="nope", inputs=[count]), KEYS["acme"], grpc.StatusCode.NOT_FOUND),
        (
            pb.ModelInferRequest(model_name="stay", model_version="9", inputs=[count]),
            KEYS["acme"],
            grpc.StatusCode.NOT_FOUND,
        ),
        (pb.ModelInferRequest(model_name="stay", inputs=[count]), KEYS["globex"], grpc.StatusCode.NOT_FOUND),
        (pb.ModelInferRequest(model_name="stay", inputs=[count]), "wrong", grpc.StatusCode.UNAUTHENTICATED),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            infer(place, request, key=key)
        assert caught.value.code() is code


def test_grpc_health(place: Place) -> None:
    """Per service, without a key."""
    with place.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "inference.GRPCInferenceService", "tenon.api.predictor.v1.PredictionService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_split_is_the_same_over_both_doors(place: Place) -> None:
    """By request id where there is no entity: REST and gRPC agree for each id, and the share is about right."""
    roles = []
    for number in range(60):
        rest = place.post("/v2/models/split/infer", visit_request() | {"id": f"id-{number}"}).json()["parameters"][
            "role"
        ]
        request = pb.ModelInferRequest(
            model_name="split", id=f"id-{number}", inputs=[typed("count", "INT64", "int64_contents", [3])]
        )
        assert infer(place, request).parameters["role"].string_param == rest
        roles.append(rest)
    assert 5 < roles.count("canary") < 35


def test_a_slow_features_service_is_not_waited_for(place: Place, tmp_path: Path) -> None:
    """The answer comes long before that of features would, says what is missing, and after some failures without any wait."""
    slow = FakeFeatures().start()
    slow.values, slow.delay = place.features.values, 60.0
    extra = {"TENON_PREDICTOR_HISTORY_TIMEOUT_MS": "200"}
    predictor = PredictorProcess(tmp_path, registry=place.registry.port, features=slow.port, extra=extra)
    hurried = Place(place.registry, slow, predictor)
    body = {"instances": [{"entity": {"patient_id": "p1"}, "features": {"count": 2}}]}

    def missing() -> list[str]:
        found: list[str] = hurried.post("/v1/models/visit:predict", body).json()["predictions"][0]["fallback"]
        return found

    try:
        predictor.start()
        assert missing() == ["visits.cost_mean_30d", "visits.count_30d"]
        skipped = 'tenon_predictor_feature_fetch_duration_seconds_count{outcome="skipped"}'
        wait_until(lambda: missing() and predictor.metric(skipped) >= 3, "calls that are not even tried")
        slow.delay = 0.0
        assert predictor.metric("tenon_predictor_fallback_rows_total") >= 4
        wait_until(lambda: not missing(), "history after features is well again")
    finally:
        slow.awake.set()
        predictor.stop()
        slow.stop()


def test_a_client_that_goes_away_or_sends_half_a_body_harms_nobody(place: Place) -> None:
    """Half-closed and cut connections; the next request is answered."""
    for cut in (
        b"POST /v2/models/stay/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nauthorization: Bearer x\r\n\r\n{",
        b"POST",
    ):
        with socket.create_connection(("127.0.0.1", place.predictor.http), timeout=60) as sock:
            sock.sendall(cut)
    assert place.post("/v2/models/stay/infer", visit_request()).status_code == 200


def test_reports_say_what_is_loaded(place: Place) -> None:
    """By digest, for each model, from a replica with a name of its own."""
    from tests.support.predictor_bundles import sha256

    served = wait_until(lambda: place.registry.served("acme", "split"), "a report")
    assert [(track.version, track.bundle_sha256) for track in served.tracks] == [
        (version, sha256(place.registry.bundles[("acme", "split", version)])) for version in (1, 2)
    ]
    assert served.problem == ""
    assert place.predictor.metric("tenon_predictor_models") == 4
