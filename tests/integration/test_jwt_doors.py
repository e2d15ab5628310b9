"""A trusted issuer's tokens on every door of all six real services: taken, refused with the reason, and never crossing tenants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest

from tenon.api.inference.v2 import inference_pb2, inference_pb2_grpc
from tests.support.issuer import AUDIENCE, ISSUER, Issuer
from tests.support.platform import Platform, eventually, running_platform

pytestmark = pytest.mark.slow

DOORS = {
    "registry": "/v1/tenants/{}/models",
    "ingest": "/v1/tenants/{}/datasets",
    "features": "/v1/tenants/{}/feature-views",
    "trainer": "/v1/tenants/{}/models",
    "monitor": "/v1/tenants/{}/models",
}


@dataclass
class World:
    """A platform that trusts an issuer."""

    platform: Platform
    issuer: Issuer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two tenants, no key of theirs: only tokens."""
    issuer = Issuer("ES256").start()
    settings = {"TENON_JWT_ISSUER": ISSUER, "TENON_JWT_AUDIENCE": AUDIENCE, "TENON_JWT_JWKS": issuer.url}
    with running_platform(tmp_path_factory.mktemp("jwt") / "data", settings) as platform:
        platform.create_tenant("acme")
        platform.create_tenant("globex")
        yield World(platform, issuer)
    issuer.stop()


def reason(world: World, token: str, service: str = "registry", tenant: str = "acme") -> tuple[int, str]:
    """Status and reason of a read."""
    answer = world.platform.ask(service, "GET", DOORS[service].format(tenant), key=token)
    return answer.status_code, answer.json().get("reason", "")


@pytest.mark.parametrize("service", sorted(DOORS))
def test_each_service_takes_tokens(world: World, service: str) -> None:
    """The token's tenant is readable, another one looks like none, and wrong tokens are refused with the reason."""
    token = world.issuer.token()
    assert reason(world, token, service) == (200, "")
    assert reason(world, token, service, "globex") == reason(world, token, service, "nobody")
    assert reason(world, token, service, "globex")[0] == 404
    assert reason(world, world.issuer.token(aud="other"), service) == (401, "TOKEN_AUDIENCE")
    assert reason(world, world.issuer.token(exp=1), service) == (401, "TOKEN_EXPIRED")
    assert reason(world, world.issuer.token(scope=""), service) == (403, "SCOPE_MISSING")


def test_the_predictor_takes_tokens_on_both_doors(world: World) -> None:
    """REST and gRPC ask for the token's own tenant; a bad one is UNAUTHENTICATED."""
    platform = world.platform
    token, bad = world.issuer.token(), world.issuer.token(iss="https://login.example.com/")
    assert platform.ask("predictor", "GET", "/v2/models", key=token).json() == {"models": []}
    refused = platform.ask("predictor", "POST", "/v2/models/m/infer", key=bad, body={"inputs": []})
    assert (refused.status_code, refused.json()["reason"]) == (401, "TOKEN_ISSUER")
    assert refused.headers["www-authenticate"] == "Bearer"
    missing = platform.ask("predictor", "POST", "/v2/models/m/infer", key=token, body={"inputs": []})
    assert missing.status_code in (400, 404)
    with grpc.insecure_channel(platform.targets["predictor"], options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        index = stub.RepositoryIndex(
            inference_pb2.RepositoryIndexRequest(), metadata=[("authorization", f"Bearer {token}")], timeout=60
        )
        assert len(index.models) == 0
        with pytest.raises(grpc.RpcError) as error:
            stub.RepositoryIndex(
                inference_pb2.RepositoryIndexRequest(), metadata=[("authorization", f"Bearer {bad}")], timeout=60
            )
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_token_never_is_the_operator(world: World) -> None:
    """Whatever scopes it names, it makes no tenants, and no keys, which would outlive it."""
    token = world.issuer.token(scope="predict read write admin")
    answer = world.platform.ask("registry", "PUT", "/v1/tenants/evil", key=token, body={"name": "evil"})
    assert answer.status_code in (403, 404)
    body = {"name": "mine", "scopes": ["read"]}
    made = world.platform.ask("registry", "POST", "/v1/tenants/acme/keys", key=token, body=body)
    assert (made.status_code, made.json()["reason"]) == (403, "TOKEN_MAKES_NO_KEYS")


def test_keys_rotate_and_the_issuer_may_be_down(world: World) -> None:
    """A new key is taken within seconds; with the issuer away known keys go on, and API keys were never concerned."""
    platform = world.platform
    key = platform.create_key("acme")
    spare = world.issuer.token(sub="spare")
    world.issuer.rotate("two")
    fresh = world.issuer.token()
    eventually(lambda: reason(world, fresh)[0] == 200, "the new key is taken", seconds=180)
    assert reason(world, spare) == (401, "TOKEN_KEY_UNKNOWN")
    world.issuer.stop()
    assert reason(world, world.issuer.token(sub="later"))[0] == 200
    assert reason(world, key)[0] == 200
    logs = platform.logs(100_000)
    assert fresh not in logs
    assert fresh.split(".")[1] not in logs
