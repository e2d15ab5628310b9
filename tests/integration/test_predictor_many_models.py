"""A real predictor with more models than memory, told to load and unload, and pinned to versions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import ADMIN_KEY, KEYS, linear_bundle, sha256, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess, wait_until

MODELS = 160
BEARER = {"authorization": f"Bearer {KEYS['acme']}"}
OPERATOR = {"authorization": f"Bearer {ADMIN_KEY}", "x-tenon-tenant": "acme"}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """Linear models of one column with the weights 0, 1, 2 …, so that answers tell them apart."""
    fake = FakeRegistry().start()
    for number in range(MODELS):
        fake.add("acme", f"m{number}", 1, linear_bundle(model=f"m{number}", weights=(float(number),)))
        fake.release("acme", f"m{number}", 1)
    yield fake
    fake.stop()


def ask(predictor: PredictorProcess, number: int) -> float:
    """The answer of a model to 1: its number plus 1."""
    body = {"inputs": [{"name": "x0", "datatype": "FP64", "shape": [1], "data": [1.0]}]}
    answer = predictor.infer(f"m{number}", body)
    assert answer.status_code == 200, answer.text
    value: float = answer.json()["outputs"][0]["data"][0]
    return value


def call(predictor: PredictorProcess, method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
    """One HTTP call."""
    return httpx.request(method, predictor.url + path, headers=headers, timeout=60, **more)


def problems_of(predictor: PredictorProcess) -> list[str]:
    """What keeps it from being ready, once it has stopped loading."""
    text = httpx.get(f"{predictor.url}/readyz", timeout=60).text
    return [] if "loading" in text else [text]


def test_more_models_than_memory(tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]) -> None:
    """All are served, over REST and gRPC, also with the registry down and after a restart; memory stays in its budget; many
    first requests at once are one load."""
    predictor = PredictorProcess(
        tmp_path, registry=registry.port, extra={"TENON_PREDICTOR_MODEL_MEMORY_MIB": "1"}
    ).start()
    started.append(predictor)
    assert registry.downloads == MODELS
    index = call(predictor, "POST", "/v2/repository/index", BEARER).json()
    cold = [int(line["name"][1:]) for line in index if line["state"] == "UNAVAILABLE"]
    assert (len(index), 10 < len(cold) < MODELS - 10) == (MODELS, True)
    assert all("the next request loads it" in line["reason"] for line in index if line["state"] == "UNAVAILABLE")
    # Everything released is reported as in effect.
    wait_until(
        lambda: (
            sum(item.revision == 1 and not item.problem for item in registry.reports[-1].models) == MODELS
            if registry.reports
            else False
        ),
        "the report",
    )
    registry.stop()
    answers: list[float] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(predictor, cold[0]))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [cold[0] + 1.0] * 12
    assert predictor.metric("tenon_predictor_cold_load_duration_seconds_count") == 1
    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc}") as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = pb.ModelInferRequest(model_name=f"m{cold[1]}")
        request.inputs.add(name="x0", datatype="FP64", shape=[1]).contents.fp64_contents.append(1.0)
        bearer = (("authorization", f"Bearer {KEYS['acme']}"),)
        assert (
            stub.ModelInfer(request, metadata=bearer, timeout=60).outputs[0].contents.fp64_contents[0] == cold[1] + 1.0
        )
    assert call(predictor, "GET", f"/v2/models/m{cold[2]}", BEARER).json()["versions"] == ["1"]
    assert [ask(predictor, number) for number in range(MODELS)] == [number + 1.0 for number in range(MODELS)]
    assert predictor.metric("tenon_predictor_loaded_bytes") <= 1 << 20
    assert predictor.metric("tenon_predictor_model_evictions_total") > 10
    predictor.stop()
    predictor.start()
    assert [ask(predictor, number) for number in range(MODELS)] == [number + 1.0 for number in range(MODELS)]


def test_load_unload_index_and_statistics(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """As Triton's clients call them; a key that may only predict may not load or unload."""
    predictor = PredictorProcess(
        tmp_path, registry=registry.port, extra={"TENON_PREDICTOR_ALWAYS_LOADED": '["acme/m1"]'}
    ).start()
    started.append(predictor)
    unload, load = "/v2/repository/models/m7/unload", "/v2/repository/models/m7/load"
    assert call(predictor, "POST", unload, BEARER).status_code == 403
    assert (
        call(predictor, "POST", unload, OPERATOR, json={"parameters": {"unload_dependents": False}}).status_code == 200
    )
    states = {line["name"]: line["state"] for line in call(predictor, "POST", "/v2/repository/index", BEARER).json()}
    assert (states["m7"], states["m8"]) == ("UNAVAILABLE", "READY")
    ready = call(predictor, "POST", "/v2/repository/index", BEARER, json={"ready": True}).json()
    assert len(ready) == MODELS - 1
    assert call(predictor, "GET", "/v2/health/ready", {}).status_code == 200
    assert call(predictor, "POST", load, OPERATOR).status_code == 200
    assert len(call(predictor, "POST", "/v2/repository/index", BEARER, json={"ready": True}).json()) == MODELS
    refused = call(predictor, "POST", "/v2/repository/models/m1/unload", OPERATOR).json()
    assert refused["reason"] == "MODEL_ALWAYS_LOADED"
    assert call(predictor, "POST", "/v2/repository/models/nobody/load", OPERATOR).status_code == 404
    assert call(predictor, "POST", "/v2/repository/models/nobody/unload", OPERATOR).status_code == 404
    assert call(predictor, "POST", load, OPERATOR, json={"parameters": {"config": "{}"}}).status_code == 400

    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc}") as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        operator = (("authorization", f"Bearer {ADMIN_KEY}"), ("x-tenon-tenant", "acme"))
        bearer = (("authorization", f"Bearer {KEYS['acme']}"),)
        with pytest.raises(grpc.RpcError) as caught:
            stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m9"), metadata=bearer)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m9"), metadata=operator)
        found = stub.RepositoryIndex(pb.RepositoryIndexRequest(), metadata=bearer).models
        assert [item.state for item in found if item.name == "m9"] == ["UNAVAILABLE"]
        assert ask(predictor, 9) == 10.0
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m9"), metadata=operator)
        for _ in range(3):
            ask(predictor, 9)
        (stats,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="m9"), metadata=bearer).model_stats
        assert (stats.inference_count, stats.execution_count, stats.inference_stats.success.count) == (4, 4, 4)
        assert stats.inference_stats.success.ns > 0
        assert stats.last_inference > 0
        assert stats.memory_usage[0].byte_size > 0
    (same,) = call(predictor, "GET", "/v2/models/m9/versions/1/stats", BEARER).json()["model_stats"]
    assert (same["name"], same["version"], same["inference_count"]) == ("m9", "1", 4)
    assert len(call(predictor, "GET", "/v2/models/stats", BEARER).json()["model_stats"]) == MODELS
    assert call(predictor, "GET", "/v2/models/m9/versions/8/stats", BEARER).status_code == 404
    assert call(predictor, "GET", "/v2/models/nobody/stats", BEARER).status_code == 404


def test_pinned_versions(tmp_path: Path, started: list[PredictorProcess]) -> None:
    """It serves what it was told, whatever is released; from the registry, then without it, and from a file; it reports that;
    and it does not become ready with a version that cannot be had or is not signed by us."""
    registry = FakeRegistry().start()
    for version in (1, 2, 3):
        registry.add("acme", "stay", version, visit_bundle(shift=float(version)))
    registry.release("acme", "stay", 1)
    pins = '[{"model": "stay", "version": 2}, {"model": "stay", "version": 3, "role": "b", "weight": 30}]'
    extra = {"TENON_PREDICTOR_TENANTS": '["acme"]', "TENON_PREDICTOR_PINNED": pins}
    predictor = PredictorProcess(tmp_path / "a", registry=registry.port, extra=extra).start()
    started.append(predictor)

    def versions(of: PredictorProcess) -> set[tuple[str, str]]:
        found = [of.infer("stay", {"id": f"r{n}", **visit_request()}).json()["parameters"] for n in range(40)]
        return {(item["role"], item["version"]) for item in found}

    assert versions(predictor) == {("stable", "2"), ("b", "3")}
    wait_until(lambda: registry.served("acme", "stay") is not None, "the report")
    served = registry.served("acme", "stay")
    assert served is not None
    assert [(track.version, track.arm) for track in served.tracks] == [(2, ""), (3, "b")]
    assert list(registry.reports[-1].serves_only) == ["acme/stay@2", "acme/stay@3"]
    registry.release("acme", "stay", 3)
    assert versions(predictor) == {("stable", "2"), ("b", "3")}
    predictor.stop()
    registry.stop()
    predictor.start()
    assert versions(predictor) == {("stable", "2"), ("b", "3")}
    predictor.stop()

    file = tmp_path / "stay-4.bundle"
    file.write_bytes(visit_bundle(shift=4.0))
    local = f'[{{"tenant": "acme", "model": "stay", "version": 4, "bundle": "{tmp_path}"}}]'
    alone = PredictorProcess(tmp_path / "b", registry=1, extra={"TENON_PREDICTOR_PINNED": local}).start()
    started.append(alone)
    metadata = httpx.get(f"{alone.url}/readyz", timeout=60)
    assert metadata.status_code == 200
    alone.stop()

    wrong = f'[{{"tenant": "acme", "model": "stay", "version": 4, "sha256": "{sha256(b"x")}", "bundle": "{tmp_path}"}}]'
    for folder, pin in (("c", wrong), ("d", '[{"tenant": "acme", "model": "stay", "version": 9}]')):
        lame = PredictorProcess(tmp_path / folder, registry=1, extra={"TENON_PREDICTOR_PINNED": pin}).start(ready=False)
        started.append(lame)
        problem = wait_until(
            partial(problems_of, lame),
            "a problem",
        )
        assert (
            "BUNDLE_DIGEST_MISMATCH" in problem[0]
            if folder == "c"
            else "pinned" in problem[0] or "not known" in problem[0]
        )
        lame.stop()
