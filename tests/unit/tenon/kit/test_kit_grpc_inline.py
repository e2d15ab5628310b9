"""Calls answered where they are read: the same to a client as all others, and what is not answered goes to the pool."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import grpc
import pytest

from tenon.api.registry.v1 import registry_pb2 as pb
from tenon.api.registry.v1 import registry_pb2_grpc as rpc
from tenon.core.errors import NotFound
from tenon.core.tenancy import ALL_TENANT_SCOPES, Principal, TenantId
from tenon.kit.config import ServiceSettings
from tenon.kit.grpc import Servicer, create_server
from tests.support.ports import free_port

METHOD = "/tenon.api.registry.v1.ReleaseService/GetRelease"


class Anybody:
    """Lets everybody in."""

    def authenticate(self, authorization: str | None) -> Principal:
        """See `Authenticator`."""
        return Principal("k", TenantId("acme"), ALL_TENANT_SCOPES)


class Releases(rpc.ReleaseServiceServicer):
    """Says which thread answered, or refuses."""

    def GetRelease(self, request: Any, call: Any) -> Any:
        """On the pool."""
        if request.model == "missing":
            raise NotFound("MODEL_NOT_FOUND", "there is none")
        return pb.GetReleaseResponse(release=pb.Release(model=f"pool {request.model}"))


def answer(data: bytes, metadata: Sequence[tuple[str, Any]]) -> bytes | None:
    """Knows the models whose name begins with `quick`; breaks over `broken`."""
    model = pb.GetReleaseRequest.FromString(data).model
    if model == "broken":
        raise RuntimeError("on purpose")
    if not model.startswith("quick"):
        return None
    return pb.GetReleaseResponse(
        release=pb.Release(model=f"at once {model}", tenant=dict(metadata).get("x-mark", ""))
    ).SerializeToString()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with one such method."""
    port = free_port()
    settings = ServiceSettings(http_port=0, grpc_port=port, data_dir=tmp_path_factory.mktemp("d"))
    servicer = Servicer(rpc.add_ReleaseServiceServicer_to_server, Releases(), "tenon.api.registry.v1.ReleaseService")
    door = create_server(settings, Anybody(), [servicer], at_once={METHOD: answer})
    door.server.start()
    yield f"127.0.0.1:{port}"
    door.server.stop(0).wait()


def ask(channel: grpc.Channel, model: str, **metadata: str) -> str:
    """The model's name in the answer."""
    request = pb.GetReleaseRequest(tenant="acme", model=model)
    found = rpc.ReleaseServiceStub(channel).GetRelease(
        request, timeout=60, metadata=[(key.replace("_", "-"), value) for key, value in metadata.items()]
    )
    return f"{found.release.model}{found.release.tenant}"


def test_what_is_known_is_answered_at_once_and_the_rest_by_the_pool(target: str) -> None:
    """With the call's metadata in hand; an error there goes on to the pool as well."""
    with grpc.insecure_channel(target) as channel:
        assert ask(channel, "quick", x_mark="!") == "at once quick!"
        assert ask(channel, "slow") == "pool slow"
        assert ask(channel, "broken") == "pool broken"
        assert ask(channel, "quick") == "at once quick"


def raw(channel: grpc.Channel) -> Any:
    """The method as one that takes bytes as they are."""
    return channel.unary_unary(METHOD)


def streaming(channel: grpc.Channel) -> Any:
    """The same, called as if it took a stream."""
    return channel.stream_unary(METHOD)


def test_refusals_keep_their_code(target: str) -> None:
    """Of the method itself, and of bytes that are no message."""
    with grpc.insecure_channel(target) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            ask(channel, "missing")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as caught:
            raw(channel)(b"\xff\xff\xff", timeout=60)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_call_without_a_message_and_calls_that_are_given_up_harm_nobody(target: str) -> None:
    """A stream that ends before its one message, and callers that leave."""
    with grpc.insecure_channel(target) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            streaming(channel)(iter(()), timeout=60)
        assert caught.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL)
        request = pb.GetReleaseRequest(model="quick").SerializeToString()
        for _ in range(50):
            raw(channel).future(request).cancel()
        never = threading.Event()

        def silent() -> Iterator[bytes]:
            never.wait(60)
            yield request

        call = streaming(channel).future(silent())
        call.cancel()
        never.set()
        assert ask(channel, "quick") == "at once quick"


def test_many_callers_at_once_each_get_their_own(target: str) -> None:
    """Answered where they are read and by the pool, mixed."""
    with grpc.insecure_channel(target) as channel, futures.ThreadPoolExecutor(16) as threads:
        names = [f"{'quick' if number % 3 else 'other'}-{number}" for number in range(300)]
        found = list(threads.map(lambda name: ask(channel, name), names))
    assert found == [f"{'at once' if name.startswith('quick') else 'pool'} {name}" for name in names]
