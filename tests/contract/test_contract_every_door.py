"""Every route and every RPC, asked without a key, with a wrong key, and with another tenant's key.

The routes come from the services' own OpenAPI documents and the RPCs from the protos, so a new one cannot be forgotten.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import httpx
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from tests.support.platform import Platform

SERVICES = ("registry", "ingest", "features", "trainer", "predictor", "monitor")
PROTOS = {
    "registry": ["registry.v1.registry_pb2"],
    "ingest": ["ingest.v1.ingest_pb2"],
    "features": ["features.v1.features_pb2"],
    "trainer": ["trainer.v1.trainer_pb2"],
    "predictor": ["predictor.v1.predictor_pb2", "inference.v2.inference_pb2"],
    "monitor": ["monitor.v1.monitor_pb2"],
}
# Probes and metadata of the server itself carry nothing of a tenant and must work without a key.
OPEN_ROUTES = {"/v2", "/v2/", "/v2/health/live", "/v2/health/ready"}
OPEN_RPCS = {"ServerLive", "ServerReady", "ServerMetadata"}


@dataclass(frozen=True)
class Route:
    service: str
    method: str
    template: str

    def path(self, tenant: str) -> str:
        return re.sub(r"\{(\w+)[^}]*\}", lambda found: tenant if found[1] == "tenant" else "thing", self.template)


@dataclass(frozen=True)
class World:
    """A running platform with two tenants."""

    platform: Platform
    mine: str
    other: str
    my_key: str
    other_key: str

    def http(self, service: str) -> str:
        return self.platform.urls[service]

    def grpc(self, service: str) -> str:
        return self.platform.targets[service]


@pytest.fixture(scope="module")
def world(platform: Platform) -> World:
    for tenant in ("contract-one", "contract-two"):
        platform.create_tenant(tenant)
    return World(
        platform,
        "contract-one",
        "contract-two",
        platform.create_key("contract-one"),
        platform.create_key("contract-two"),
    )


def routes(world: World) -> Iterator[Route]:
    for service in SERVICES:
        document = httpx.get(f"{world.http(service)}/openapi.json", timeout=60).json()
        for template, methods in document["paths"].items():
            for method in methods:
                yield Route(service, method.upper(), template)


def ask(world: World, route: Route, tenant: str, key: str | None) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = None if route.method in ("GET", "DELETE", "HEAD") else b"{}"
    return httpx.request(
        route.method, world.http(route.service) + route.path(tenant), headers=headers, content=body, timeout=60
    )


def test_each_service_documents_its_routes(world: World) -> None:
    """The list that the other tests go through is not empty for any service."""
    found = {route.service for route in routes(world)}
    assert found == set(SERVICES)


def test_no_route_answers_without_a_valid_key(world: World) -> None:
    """Without a key and with a wrong one, every route but the probes is 401 with an error text."""
    wrong = []
    for route in routes(world):
        if route.template in OPEN_ROUTES:
            continue
        for key in (None, "tnk_nobody_" + "0" * 64):
            answer = ask(world, route, world.mine, key)
            if answer.status_code != 401 or not answer.json().get("error"):
                wrong.append((route, key and "wrong key", answer.status_code))
    assert not wrong


def test_another_tenants_routes_look_like_missing_ones(world: World) -> None:
    """With another tenant's key, a tenant that exists and one that does not give the very same answer."""
    wrong = []
    for route in routes(world):
        if "{tenant}" not in route.template:
            continue
        answers = []
        for tenant in (world.mine, "nobody-at-all"):
            answer = ask(world, route, tenant, world.other_key)
            body = {key: value for key, value in answer.json().items() if key != "request_id"}
            answers.append((answer.status_code, str(body).replace(tenant, "?")))
        if answers[0] != answers[1] or answers[0][0] not in (403, 404):
            wrong.append((route, answers))
    assert not wrong


def test_no_route_falls_over(world: World) -> None:
    """An empty or nonsensical request with a valid key is never a 5xx."""
    wrong = []
    for route in routes(world):
        answer = ask(world, route, world.mine, world.my_key)
        if answer.status_code >= 500:
            wrong.append((route, answer.status_code, answer.text[:200]))
    assert not wrong


def rpcs(service: str) -> Iterator[MethodDescriptor]:
    for module in PROTOS[service]:
        for found in importlib.import_module(f"tenon.api.{module}").DESCRIPTOR.services_by_name.values():
            yield from found.methods


def call(target: str, method: MethodDescriptor, key: str | None, tenant: str | None) -> grpc.StatusCode:
    """The code of a call with an otherwise empty request."""
    request = GetMessageClass(method.input_type)()
    if tenant is not None:
        _name_tenant(request, tenant)
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {key}"),) if key else ()
    decode = GetMessageClass(method.output_type).FromString
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        encode = type(request).SerializeToString
        try:
            if method.client_streaming:
                channel.stream_unary(path, encode, decode)(iter([request]), timeout=60, metadata=metadata)
            elif method.server_streaming:
                stream = channel.unary_stream(path, encode, decode)(request, timeout=60, metadata=metadata)
                next(stream, None)
                stream.cancel()
            else:
                channel.unary_unary(path, encode, decode)(request, timeout=60, metadata=metadata)
        except grpc.RpcError as err:
            return err.code()
    return grpc.StatusCode.OK


def _name_tenant(request, tenant: str) -> None:
    """Set `tenant` where the request has it, also in the header of an upload and in a list of tenants."""
    fields = request.DESCRIPTOR.fields_by_name
    if "tenant" in fields:
        request.tenant = tenant
    elif "tenants" in fields:
        request.tenants.append(tenant)
    elif "header" in fields:
        request.header.tenant = tenant


@pytest.mark.parametrize("service", SERVICES)
def test_no_rpc_answers_without_a_valid_key(world: World, service: str) -> None:
    """Without a key and with a wrong one every RPC but the probes is UNAUTHENTICATED."""
    wrong = [
        (method.full_name, key and "wrong key", code)
        for method in rpcs(service)
        if method.name not in OPEN_RPCS
        for key in (None, "tnk_nobody_" + "0" * 64)
        if (code := call(world.grpc(service), method, key, world.mine)) is not grpc.StatusCode.UNAUTHENTICATED
    ]
    assert not wrong


@pytest.mark.parametrize("service", SERVICES)
def test_another_tenants_rpcs_look_like_missing_ones(world: World, service: str) -> None:
    """With another tenant's key, naming a tenant that exists and one that does not gives the same refusal."""
    wrong = []
    refusals = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)
    for method in rpcs(service):
        names = set(method.input_type.fields_by_name)
        if not names & {"tenant", "tenants", "header"}:
            continue
        codes = [call(world.grpc(service), method, world.other_key, tenant) for tenant in (world.mine, "nobody-at-all")]
        if codes[0] is not codes[1] or codes[0] not in refusals:
            wrong.append((method.full_name, codes))
    assert not wrong


@pytest.mark.parametrize("service", SERVICES)
def test_no_rpc_falls_over(world: World, service: str) -> None:
    """An empty request with a valid key is refused or answered, never INTERNAL or UNKNOWN."""
    bad = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED)
    wrong = [
        (method.full_name, code)
        for method in rpcs(service)
        if (code := call(world.grpc(service), method, world.my_key, world.mine)) in bad
    ]
    assert not wrong
