"""The gRPC frame: one table of errors in both directions, auth, request ids, streams."""

from __future__ import annotations

import socket
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from tenon.api.registry.v1 import registry_pb2 as pb
from tenon.api.registry.v1 import registry_pb2_grpc as rpc
from tenon.core.errors import Conflict, DeadlineExceeded, Invalid, Kind, NotFound, Place, TenonError, Unauthenticated
from tenon.core.tenancy import ALL_TENANT_SCOPES, Principal, Scope, TenantId
from tenon.kit import context
from tenon.kit.auth import bearer
from tenon.kit.config import ServiceSettings
from tenon.kit.grpc import CODE, Servicer, _CallFrame, allowed_tenant, create_server
from tenon.kit.grpc_client import open_channel, retrying

KEYS = {
    "acme-key": Principal("k1", TenantId("acme"), ALL_TENANT_SCOPES),
    "read-key": Principal("k2", TenantId("acme"), frozenset({Scope.READ})),
}


class Keys:
    def authenticate(self, authorization: str | None) -> Principal:
        try:
            return KEYS[bearer(authorization)]
        except KeyError:
            raise Unauthenticated("KEY_INVALID", "the API key is not valid") from None


class Releases(rpc.ReleaseServiceServicer):
    """Answers by the model's name."""

    def GetRelease(self, request, call):
        tenant = allowed_tenant(request.tenant, Scope.READ)
        if request.model == "boom":
            raise RuntimeError("secret detail")
        if request.model == "slow":
            threading.Event().wait(2)
        if request.model == "conflict":
            raise Conflict("STALE", "changed", place=Place("a.yaml", 3, 4, "x"), hint="look again", data={"now": 3})
        return pb.GetReleaseResponse(release=pb.Release(tenant=tenant.value, model=context.request_id.get()))

    def SetRelease(self, request, call):
        allowed_tenant(request.tenant, Scope.WRITE)
        return pb.SetReleaseResponse()

    def WatchReleases(self, request, call):
        yield pb.WatchReleasesResponse(synced=True)
        raise NotFound("GONE", "the stream broke off")


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    settings = ServiceSettings(http_port=0, grpc_port=0, data_dir=tmp_path_factory.mktemp("d"))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    settings = settings.model_copy(update={"grpc_port": port})
    servicer = Servicer(rpc.add_ReleaseServiceServicer_to_server, Releases(), "tenon.api.registry.v1.ReleaseService")
    door = create_server(settings, Keys(), [servicer])
    door.server.start()
    yield settings, f"127.0.0.1:{port}"
    door.server.stop(0).wait()


def stub(door, key: str = "acme-key") -> rpc.ReleaseServiceStub:
    settings, target = door
    return rpc.ReleaseServiceStub(open_channel(settings, target, token=key))


def test_every_kind_has_a_code() -> None:
    """No kind of refusal can reach the door without a gRPC code."""
    assert set(CODE) == set(Kind)


def test_a_refusal_comes_back_whole(door) -> None:
    """The client raises the very error that the servicer raised: class, reason, place, hint and data."""
    with pytest.raises(Conflict) as caught:
        stub(door).GetRelease(pb.GetReleaseRequest(tenant="acme", model="conflict"))
    error = caught.value
    assert (error.reason, error.message, error.hint, error.data) == ("STALE", "changed", "look again", {"now": 3})
    assert str(error.place) == "a.yaml:3:4: x"


def test_an_unknown_error_tells_only_the_request_id(door) -> None:
    """An exception nobody foresaw reaches the client as an id, without its text."""
    with pytest.raises(TenonError) as caught:
        stub(door).GetRelease(pb.GetReleaseRequest(tenant="acme", model="boom"))
    assert "secret" not in caught.value.message
    assert "request id" in caught.value.message


@pytest.mark.parametrize(("key", "error"), [("", Unauthenticated), ("wrong", Unauthenticated)])
def test_no_or_wrong_key_is_unauthenticated(door, key: str, error: type[TenonError]) -> None:
    """Without a valid key nothing is answered."""
    with pytest.raises(error):
        stub(door, key).GetRelease(pb.GetReleaseRequest(tenant="acme", model="m"))


def test_another_tenant_looks_like_a_missing_one(door) -> None:
    """A foreign tenant and one that does not exist give the same answer."""
    answers = []
    for tenant in ("other", "nowhere"):
        with pytest.raises(NotFound) as caught:
            stub(door).GetRelease(pb.GetReleaseRequest(tenant=tenant, model="m"))
        answers.append(caught.value.message.replace(tenant, "?"))
    assert answers[0] == answers[1]


def test_a_missing_scope_is_forbidden(door) -> None:
    """A key that may only read cannot write in its own tenant."""
    with pytest.raises(TenonError) as caught:
        stub(door, "read-key").SetRelease(pb.SetReleaseRequest(tenant="acme"))
    assert caught.value.kind is Kind.FORBIDDEN


@pytest.mark.parametrize("method", ["GetRelease", "WatchReleases"])
def test_bytes_that_are_no_message_are_refused_after_the_key(door, method: str) -> None:
    """A stranger learns nothing from sending nonsense, and who has a key is told what is wrong; neither is INTERNAL."""
    with grpc.insecure_channel(door[1]) as channel:
        path = f"/tenon.api.registry.v1.ReleaseService/{method}"

        calls: Any = channel  # without the generated stubs a call takes bytes, which grpc's types do not know

        def send(key: str) -> None:
            metadata = (("authorization", f"Bearer {key}"),)
            if method == "WatchReleases":
                next(iter(calls.unary_stream(path)(b"\xff\xff\xff", metadata=metadata, timeout=60)))
            else:
                calls.unary_unary(path)(b"\xff\xff\xff", metadata=metadata, timeout=60)

        codes = []
        for key in ("nobodys-key", "acme-key"):
            with pytest.raises(grpc.RpcError) as caught:
                send(key)
            codes.append(caught.value.code())
    assert codes == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT]


def test_an_error_in_a_running_stream_is_mapped(door) -> None:
    """What is raised while a stream is iterated reaches the client as the domain error."""
    stream = stub(door).WatchReleases(pb.WatchReleasesRequest())
    assert next(stream).synced
    with pytest.raises(NotFound, match="broke off"):
        next(stream)


def test_a_deadline_is_ours(door) -> None:
    """A call that does not answer in time raises DeadlineExceeded naming the method."""
    with pytest.raises(DeadlineExceeded, match="GetRelease"):
        stub(door).GetRelease(pb.GetReleaseRequest(tenant="acme", model="slow"), timeout=0.1)


def test_the_request_id_follows_the_call(door) -> None:
    """The id of the request being answered goes along to the next service."""
    token = context.request_id.set("abc123")
    try:
        assert stub(door).GetRelease(pb.GetReleaseRequest(tenant="acme", model="m")).release.model == "abc123"
    finally:
        context.request_id.reset(token)


def test_health_needs_no_key(door) -> None:
    """Kubernetes can probe the gRPC door without a credential."""
    channel = grpc.insecure_channel(door[1])
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""), timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_retrying_stops_at_the_last_attempt() -> None:
    """Only unavailability is retried, a bounded number of times."""
    calls = []

    def refuse() -> None:
        calls.append(1)
        raise Invalid("X", "x")

    with pytest.raises(Invalid):
        retrying(refuse)
    assert len(calls) == 1


def test_a_port_in_use_is_one_clear_line(door, capsys, tmp_path: Path) -> None:
    """A second server on the same port ends with one line that names the variable, and exit code 3."""
    with pytest.raises(SystemExit) as ended:
        create_server(door[0], Keys(), [])
    assert ended.value.code == 3
    assert "TENON_GRPC_PORT" in capsys.readouterr().err


class Spans:
    """A tracer that only notes which spans begin."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def start_as_current_span(self, name: str, **_: Any) -> Any:
        """See OpenTelemetry."""
        self.names.append(name)
        return nullcontext()


class Call:
    """The side of a call that the frame sees."""

    def __init__(self, metadata: dict[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> list[tuple[str, str]]:
        """Keys and values."""
        return list(self._metadata.items())


@pytest.mark.parametrize(
    ("trace_all", "metadata", "expected"),
    [
        (True, {}, ["a.B/C"]),
        (False, {}, []),
        (False, {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}, ["a.B/C"]),
    ],
)
def test_a_call_without_a_trace_costs_no_span_where_none_is_wanted(
    trace_all: bool, metadata: dict[str, str], expected: list[str]
) -> None:
    """What is traced already goes on being traced; the time of every call is counted, by method and code."""
    labels = {"rpc_method": "a.B/C", "rpc_status_code": "OK"}
    before = REGISTRY.get_sample_value("rpc_server_call_duration_seconds_count", labels) or 0.0
    spans = Spans()
    frame: Any = _CallFrame(Keys(), spans, "/a.B/C", Call(metadata), True, False, trace_all)  # type: ignore[arg-type]
    with frame:
        pass
    assert spans.names == expected
    assert REGISTRY.get_sample_value("rpc_server_call_duration_seconds_count", labels) == before + 1
