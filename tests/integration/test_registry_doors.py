"""Every route and every RPC of the registry: without a key, with a wrong one, with another tenant's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message_factory import GetMessageClass

from tenon.api.registry.v1 import registry_pb2
from tests.support.registry_process import GrpcClient, RegistryProcess, refusal

OPEN_PATHS = {"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"}
PLATFORM_RPCS = {"ListCredentials", "ListQuotas", "ListTrials", "ReportServing", "ReportVerdict"}
OWN_VIEW = {"/v1/tenants", "ListTenants", "WatchReleases"}
"""These answer a tenant's key too, with what is its own."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A registry with two tenants; `clinic` has a released model."""
    process = RegistryProcess(tmp_path_factory.mktemp("registry")).start()
    process.make_tenant("clinic")
    client = GrpcClient(process)
    client.register("clinic", "cost", "run-1")
    client.set_release("clinic", "cost", 1)
    client.close()
    yield process
    process.kill()


@pytest.fixture(scope="module")
def stranger(registry: RegistryProcess) -> str:
    """A good key of another tenant."""
    return registry.make_tenant("airline")


def routes(registry: RegistryProcess) -> list[tuple[str, str]]:
    """Method and path of everything the door documents, with clinic's names filled in."""
    paths = registry.http().get("/openapi.json").json()["paths"]
    values = {"{tenant}": "clinic", "{model}": "cost", "{number}": "1", "{key_id}": "abc"}
    found = []
    for template, methods in paths.items():
        path = template
        for name, value in values.items():
            path = path.replace(name, value)
        assert "{" not in path, f"{template} has a parameter this test does not know"
        found += [(method.upper(), path) for method in methods]
    assert len(found) >= 18
    return found


def rpcs() -> list[tuple[str, Any]]:
    """Every method of every service, as its path and descriptor."""
    services = registry_pb2.DESCRIPTOR.services_by_name.values()
    return [(f"/{service.full_name}/{method.name}", method) for service in services for method in service.methods]


def call(channel: grpc.Channel, path: str, method: Any, tenant: str, key: str | None) -> Any:
    """Call any method with only the tenant filled in; the first answer."""
    request: Any = GetMessageClass(method.input_type)()
    if method.name == "RegisterVersion":
        request.header.tenant = tenant
        request.header.size_bytes = 1
    elif method.name == "WatchReleases":
        request.tenants.append(tenant)
    elif "tenant" in method.input_type.fields_by_name:
        request.tenant = tenant
    kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
    answer = GetMessageClass(method.output_type)
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    made = getattr(channel, kind)(path, request.SerializeToString, answer.FromString)
    result = made(iter([request]) if method.client_streaming else request, metadata=metadata, timeout=60)
    return next(result) if method.server_streaming else result


def test_every_route_needs_a_key(registry: RegistryProcess) -> None:
    """No key and a wrong key are 401 on every documented route, before anything else is looked at."""
    for key in (None, "tnk_abc_def"):
        with registry.http(key) as http:
            for method, path in routes(registry):
                answer = http.request(method, path)
                assert (answer.status_code, answer.json()["reason"]) == (
                    401,
                    "KEY_INVALID" if key else "KEY_MISSING",
                ), f"{method} {path}"
                assert answer.headers["www-authenticate"] == "Bearer"


def test_the_open_paths_are_exactly_these(registry: RegistryProcess) -> None:
    """Health, readiness, metrics and the documentation answer without a key."""
    with registry.http(None) as http:
        assert {path for path in OPEN_PATHS if http.get(path).status_code == 200} == OPEN_PATHS


def test_another_tenants_key_finds_nothing_over_http(registry: RegistryProcess, stranger: str) -> None:
    """Each route of a tenant answers a stranger as it answers for a tenant that does not exist."""
    with registry.http(stranger) as http:
        for method, path in routes(registry):
            if path in OWN_VIEW:
                assert [item["tenant"] for item in http.get(path).json()["tenants"]] == ["airline"]
                continue
            answers = [http.request(method, path.replace("clinic", name)) for name in ("clinic", "nobody")]
            assert {answer.status_code for answer in answers} == {
                403 if method == "PUT" and path.endswith("c") else 404
            }
            assert plain(answers[0], "clinic") == plain(answers[1], "nobody"), f"{method} {path}"


def plain(answer: httpx.Response, name: str) -> str:
    """An answer without its tenant's name and its request id."""
    body = answer.json()
    body.pop("request_id")
    return str(body).replace(name, "X")


def test_every_rpc_needs_a_key(registry: RegistryProcess) -> None:
    """No key and a wrong key are UNAUTHENTICATED on every method, streams included."""
    client = GrpcClient(registry)
    for path, method in rpcs():
        for key in (None, "tnk_abc_def"):
            code, _ = refusal(partial(call, client.channel, path, method, "clinic", key))
            assert code == "UNAUTHENTICATED", path
    client.close()


def test_another_tenants_key_finds_nothing_over_grpc(registry: RegistryProcess, stranger: str) -> None:
    """Each method answers a stranger as for a tenant that does not exist; the platform's own are refused."""
    client = GrpcClient(registry)
    for path, method in rpcs():
        if method.name == "ListTenants":
            found = call(client.channel, path, method, "clinic", stranger)
            assert [tenant.name for tenant in found.tenants] == ["airline"]
            continue
        codes = []
        for name in ("clinic", "nobody"):
            code, text = refusal(partial(call, client.channel, path, method, name, stranger))
            codes.append((code, text.replace(name, "X")))
        assert codes[0] == codes[1], path
        assert codes[0][0] == ("PERMISSION_DENIED" if method.name in PLATFORM_RPCS else "NOT_FOUND"), path
    client.close()


def test_too_few_scopes_are_forbidden(registry: RegistryProcess) -> None:
    """A key that may only predict reads and writes nothing here; one that may read writes nothing."""
    with registry.http() as admin:
        keys = {
            scope: admin.post("/v1/tenants/clinic/keys", json={"scopes": [scope]}).json()["key"]
            for scope in ("predict", "read")
        }
    with registry.http(keys["predict"]) as http:
        for method, path in routes(registry):
            assert http.request(method, path).status_code == 403, f"{method} {path}"
    with registry.http(keys["read"]) as http:
        for method, path in routes(registry):
            if method != "GET":
                assert http.request(method, path).status_code == 403, f"{method} {path}"
