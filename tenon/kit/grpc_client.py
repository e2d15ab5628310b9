"""The gRPC client's frame: our credential, traces and deadlines go along, and failures come back as domain errors."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from tenon.core.errors import Kind, Place, TenonError, error_class
from tenon.kit.grpc import ERROR_DETAIL
from tenon.kit.telemetry import outgoing_headers

if TYPE_CHECKING:
    from tenon.kit.config import ServiceSettings

DEFAULT_DEADLINE_SECONDS = 10.0


def open_channel(settings: ServiceSettings, target: str, *, token: str | None = None) -> grpc.Channel:
    """A channel to another service: our credential, request id and trace go along, every call has a deadline (10 s
    unless the caller gives `timeout=`), and failures come back as the `TenonError` that was raised over there.

    Calls are not retried here, except that a call which never left (connection refused at once) waits for a short
    while for the connection: see `retrying` for calls that may safely run twice.
    """
    limit = settings.grpc_max_message_mib << 20
    options = [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Loopback and cluster addresses must not go through a proxy that the environment names for the world.
        ("grpc.enable_http_proxy", 0),
    ]
    if settings.tls_ca_file:
        credentials = grpc.ssl_channel_credentials(Path(settings.tls_ca_file).read_bytes())
        channel = grpc.secure_channel(target, credentials, options)
    else:
        channel = grpc.insecure_channel(target, options)
    return grpc.intercept_channel(channel, _ClientInterceptor(target, token or next(iter(settings.service_tokens), "")))


def retrying(call: Callable[[], Any], *, attempts: int = 3, first_pause: float = 0.1) -> Any:
    """Run an idempotent call again after `Unavailable`, at most `attempts` times in all, with growing jittered pauses."""
    for attempt in range(attempts):
        try:
            return call()
        except TenonError as err:
            if err.kind is not Kind.UNAVAILABLE or attempt == attempts - 1:
                raise
        time.sleep(first_pause * 2**attempt * random.uniform(0.5, 1.5))
    raise AssertionError("unreachable")


def error_from_rpc(err: grpc.RpcError, target: str, method: str) -> TenonError:
    """The domain error behind a failed call."""
    # Every error of a call that reached the library is a grpc.Call too, which its types do not say.
    call: Any = err if hasattr(err, "code") else None
    code = call.code() if call else grpc.StatusCode.UNKNOWN
    details = (call.details() if call else "") or ""
    trailing: Iterable[Any] = (call.trailing_metadata() if call else None) or ()
    for key, value in trailing:
        if key == ERROR_DETAIL:
            detail = json.loads(value)
            place = Place(**detail["place"]) if "place" in detail else None
            cls = error_class(Kind(detail.get("kind", "invalid")))
            return cls(detail["reason"], detail["error"], place=place, hint=detail.get("hint"), data=detail.get("data"))
    kind = _KIND_OF_CODE.get(code, Kind.UNAVAILABLE)
    name = method.rsplit("/", 1)[-1]
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return error_class(Kind.DEADLINE)("DEADLINE_EXCEEDED", f"{name} at {target} did not answer in time")
    if kind is Kind.UNAVAILABLE:
        return error_class(kind)(
            "SERVICE_UNAVAILABLE", f"{name} at {target} could not be asked: {details or code.name}"
        )
    return error_class(kind)(code.name, details or code.name)


_KIND_OF_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: Kind.INVALID,
    grpc.StatusCode.UNAUTHENTICATED: Kind.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Kind.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: Kind.NOT_FOUND,
    grpc.StatusCode.ABORTED: Kind.CONFLICT,
    grpc.StatusCode.ALREADY_EXISTS: Kind.CONFLICT,
    grpc.StatusCode.FAILED_PRECONDITION: Kind.PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Kind.RATE_LIMITED,
    grpc.StatusCode.DEADLINE_EXCEEDED: Kind.DEADLINE,
    grpc.StatusCode.UNAVAILABLE: Kind.UNAVAILABLE,
}


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


class _DetailsCall(_Details, grpc.ClientCallDetails):
    pass


class _ClientInterceptor(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor
):
    def __init__(self, target: str, token: str) -> None:
        self._target, self._token = target, token

    def _details(self, details: Any, deadline: float | None) -> _DetailsCall:
        metadata = (
            [*(details.metadata or ()), ("authorization", f"Bearer {self._token}")]
            if self._token
            else list(details.metadata or ())
        )
        metadata += list(outgoing_headers().items())
        timeout = details.timeout if details.timeout is not None else deadline
        return _DetailsCall(
            details.method, timeout, metadata, details.credentials, details.wait_for_ready, details.compression
        )

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        call = continuation(self._details(details, DEFAULT_DEADLINE_SECONDS), request)
        return _Outcome(call, self._target, details.method)

    def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
        call = continuation(self._details(details, DEFAULT_DEADLINE_SECONDS), requests)
        return _Outcome(call, self._target, details.method)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        # A stream has no default deadline: watches are meant to last. Callers of finite streams give `timeout=`.
        call = continuation(self._details(details, None), request)
        return _Stream(call, self._target, details.method)


class _Outcome:
    """A finished or running call whose `result()` raises our errors."""

    def __init__(self, call: Any, target: str, method: str) -> None:
        self._call, self._target, self._method = call, target, method

    def result(self, timeout: float | None = None) -> Any:
        try:
            return self._call.result(timeout)
        except grpc.RpcError as err:
            raise error_from_rpc(err, self._target, self._method) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _Stream:
    """A response stream that raises our errors while it is iterated."""

    def __init__(self, call: Any, target: str, method: str) -> None:
        self._call, self._target, self._method = call, target, method

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as err:
            raise error_from_rpc(err, self._target, self._method) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)
