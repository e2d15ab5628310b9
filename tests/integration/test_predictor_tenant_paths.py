"""A tenant's own path and host on a real predictor: they name whose models are meant, and open nothing by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.http

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc
from tenon.api.predictor.v1 import predictor_pb2, predictor_pb2_grpc
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import ADMIN_KEY, KEYS, linear_bundle, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess

SUFFIX = "predict.example.org"
INSTANCES = {"instances": [{"features": {"x0": 1.0, "x1": 2.0}}]}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PredictorProcess]:
    """Two models of acme, one of globex."""
    registry = FakeRegistry().start()
    registry.add("acme", "stay", 1, visit_bundle())
    registry.release("acme", "stay", 1)
    registry.add("acme", "price", 1, linear_bundle())
    registry.release("acme", "price", 1)
    registry.add("globex", "price", 2, linear_bundle("globex", weights=(5.0, 5.0)))
    registry.release("globex", "price", 2)
    process = PredictorProcess(
        tmp_path_factory.mktemp("paths"), registry=registry.port, extra={"TENON_PREDICTOR_HOST_SUFFIX": SUFFIX}
    )
    try:
        yield process.start()
    finally:
        code = process.stop()
        registry.stop()
    assert code == 0


def ask(
    predictor: PredictorProcess, method: str, path: str, key: str, body: object = None, **headers: str
) -> httpx.Response:
    """One request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(
        method, predictor.url + path, json=body, headers={"authorization": f"Bearer {key}"} | named, timeout=60
    )


def error_of(answer: httpx.Response) -> tuple[int, dict[str, object]]:
    """Status and body, but for the request's own id."""
    return answer.status_code, {name: value for name, value in answer.json().items() if name != "request_id"}


PATHS = [
    ("POST", "/v2/models/stay/infer", visit_request()),
    ("POST", "/v2/models/stay/versions/1/infer", visit_request()),
    ("POST", "/v1/models/price:predict", INSTANCES),
    ("GET", "/v2", None),
    ("GET", "/v2/models", None),
    ("GET", "/v2/models/stay", None),
    ("GET", "/v2/models/stay/versions/1/ready", None),
    ("POST", "/v2/repository/index", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), PATHS)
def test_every_path_may_stand_below_a_tenants(
    predictor: PredictorProcess, method: str, path: str, body: object
) -> None:
    """With the tenant's key or a platform key it answers as without; other tenants' look like tenants that are not.

    Asked twice: what is answered at once the second time must be held to the same.
    """
    for _ in range(2):
        plain = ask(predictor, method, path, KEYS["acme"], body)
        for key in (KEYS["acme"], ADMIN_KEY):
            answer = ask(predictor, method, "/tenants/acme" + path, key, body)
            assert answer.status_code == plain.status_code == 200, answer.text
            assert (
                answer.json().keys() == plain.json().keys()
                if isinstance(plain.json(), dict)
                else answer.json() == plain.json()
            )
        foreign = error_of(ask(predictor, method, "/tenants/acme" + path, KEYS["globex"], body))
        missing = error_of(ask(predictor, method, "/tenants/nobody" + path, KEYS["globex"], body))
        assert foreign[0] == missing[0] == 404
        assert {**foreign[1], "error": ""} == {**missing[1], "error": ""}
        assert ask(predictor, method, "/tenants/acme" + path, "wrong", body).status_code == 401


def test_the_path_decides_for_a_platform_key(predictor: PredictorProcess) -> None:
    """Two tenants have a model of one name; a header that says something else is refused."""
    found = {
        tenant: ask(predictor, "POST", f"/tenants/{tenant}/v1/models/price:predict", ADMIN_KEY, INSTANCES).json()
        for tenant in ("acme", "globex")
    }
    assert {tenant: answer["tenant"] for tenant, answer in found.items()} == {"acme": "acme", "globex": "globex"}
    assert [found[t]["predictions"][0]["value"] for t in ("acme", "globex")] == [9.0, 16.0]
    both = ask(
        predictor, "POST", "/tenants/acme/v1/models/price:predict", ADMIN_KEY, INSTANCES, x_tenon_tenant="globex"
    )
    assert (both.status_code, both.json()["reason"]) == (400, "TENANT_AMBIGUOUS")


def test_a_host_decides_as_a_path_does(predictor: PredictorProcess) -> None:
    """The first label below the suffix; other hosts name nobody."""
    path = "/v1/models/price:predict"
    for _ in range(2):
        answer = ask(predictor, "POST", path, ADMIN_KEY, INSTANCES, host=f"globex.{SUFFIX}")
        assert answer.json()["tenant"] == "globex"
        assert ask(predictor, "POST", path, KEYS["acme"], INSTANCES, host=f"globex.{SUFFIX}").status_code == 404
        assert ask(predictor, "POST", path, KEYS["acme"], INSTANCES, host="elsewhere.org").status_code == 200
    listed = ask(predictor, "GET", "/v2/models", ADMIN_KEY, host=f"acme.{SUFFIX}:8443")
    assert listed.json() == {"models": ["price", "stay"]}
    both = ask(predictor, "GET", "/tenants/acme/v2/models", ADMIN_KEY, host=f"globex.{SUFFIX}")
    assert (both.status_code, both.json()["reason"]) == (400, "TENANT_AMBIGUOUS")


def test_what_concerns_all_tenants_is_not_below_a_path(predictor: PredictorProcess) -> None:
    """A gateway that forwards /tenants/acme/ gives acme no figures of others; health is open as ever."""
    for path in ("/metrics", "/docs", "/openapi.json", "/healthz", "/readyz"):
        assert ask(predictor, "GET", "/tenants/acme" + path, KEYS["acme"]).status_code == 404
    assert httpx.get(f"{predictor.url}/tenants/acme/v2/health/ready", timeout=60).json()["ready"] is True
    assert httpx.get(f"{predictor.url}/tenants/acme/v2/health/live", timeout=60).status_code == 200


def test_grpc_goes_by_the_authority(predictor: PredictorProcess) -> None:
    """What HTTP calls the host; with the same refusals."""

    def metadata(key: str) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {key}")]

    options = [("grpc.default_authority", f"globex.{SUFFIX}")]
    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc}", options=options) as channel:
        inference = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        entity = predictor_pb2_grpc.PredictionServiceStub(channel)
        index = inference.RepositoryIndex(pb.RepositoryIndexRequest(), metadata=metadata(ADMIN_KEY), timeout=60)
        assert [(model.name, model.version) for model in index.models] == [("price", "2")]
        instance = predictor_pb2.Instance()
        instance.features.update({"x0": 1.0, "x1": 2.0})
        request = predictor_pb2.PredictRequest(model="price", instances=[instance])
        answer = entity.Predict(request, metadata=metadata(KEYS["globex"]), timeout=60)
        assert (answer.tenant, answer.predictions[0].value) == ("globex", 16.0)
        with pytest.raises(grpc.RpcError) as refused:
            entity.Predict(request, metadata=metadata(KEYS["acme"]), timeout=60)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        request.tenant = "acme"
        with pytest.raises(grpc.RpcError) as ambiguous:
            entity.Predict(request, metadata=metadata(ADMIN_KEY), timeout=60)
        assert ambiguous.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_tritonclient_takes_a_base_url_with_a_path(predictor: PredictorProcess) -> None:
    """All of it: health, metadata, index and inference below the tenant's path, by an unmodified client."""
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{predictor.http}/tenants/globex")
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    assert client.is_server_live(headers=headers)
    assert client.is_server_ready(headers=headers)
    assert client.is_model_ready("price", headers=headers)
    assert client.get_server_metadata(headers=headers)["name"] == "tenon"
    assert client.get_model_metadata("price", headers=headers)["versions"] == ["2"]
    assert [model["name"] for model in client.get_model_repository_index(headers=headers)] == ["price"]
    rows = tritonclient.http.InferInput("rows", [1, 2], "FP64")
    rows.set_data_from_numpy(np.array([[1.0, 2.0]]))
    assert client.infer("price", [rows], headers=headers).as_numpy("prediction").tolist() == [16.0]
    client.close()
