"""The gRPC door's frame and the client's: auth, traces, deadlines, and the one table of errors for both directions."""

from __future__ import annotations

import functools
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry import context as otel_context
from opentelemetry import trace
from prometheus_client import Histogram

from tenon.core.errors import Invalid, Kind, Place, TenonError, Unauthenticated, error_class
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.kit import context
from tenon.kit.disk import disk_full
from tenon.kit.http import BUCKETS, UNKNOWN_ERRORS
from tenon.kit.telemetry import get_logger, incoming_context, outgoing_headers, tracer

if TYPE_CHECKING:
    from tenon.kit.auth import Authenticator
    from tenon.kit.config import ServiceSettings

log = get_logger(__name__)

CODE: dict[Kind, grpc.StatusCode] = {
    Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.CONFLICT: grpc.StatusCode.ABORTED,
    Kind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNSUPPORTED_MEDIA: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
"""Kind to gRPC code; the only such table."""

_DETAIL = "tenon-error-bin"  # trailing metadata: the refusal as JSON, so that a client can rebuild it exactly
_OPEN_METHODS = ("/grpc.health.v1.Health/", "/grpc.reflection.")
DEFAULT_DEADLINE_SECONDS = 10.0

CALLS = Histogram(
    "rpc_server_call_duration_seconds",
    "Time to answer a gRPC call, streams included.",
    ["rpc_method", "rpc_status_code"],
    buckets=BUCKETS,
)


class Servicer(NamedTuple):
    """One service of a gRPC door."""

    add: Callable[[Any, grpc.Server], None]  # the generated add_XServicer_to_server
    servicer: Any
    full_name: str  # tenon.api.x.v1.XService


class Door(NamedTuple):
    """A server that is not started yet, and its health service (SERVING from the start; set it as you need)."""

    server: grpc.Server
    health: health.HealthServicer


def create_server(
    settings: ServiceSettings,
    authenticator: Authenticator,
    servicers: Sequence[Servicer],
    *,
    open_methods: Sequence[str] = (),
    log_calls: bool = True,
) -> Door:
    """A gRPC server bound to its port, with health and reflection. `open_methods` are prefixes that need no key.

    Where calls are neither logged nor exported, only those that are part of a trace already have a span. A port in use ends
    the process with one line and exit code 3.
    """
    limit = settings.grpc_max_message_mib << 20
    server = grpc.server(
        futures.ThreadPoolExecutor(settings.grpc_workers, thread_name_prefix="grpc"),
        interceptors=[
            _ServerInterceptor(
                authenticator, (*_OPEN_METHODS, *open_methods), log_calls, log_calls or bool(settings.otlp_endpoint)
            )
        ],
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            # Two processes must never share the port by accident; the kernel would spread calls over both.
            ("grpc.so_reuseport", 0),
            # The client pings every 20 s; the default policy would close the connection for that.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ],
    )
    for add, servicer, _ in servicers:
        add(servicer, server)
    checks = health.HealthServicer()
    for name in ("", *(item.full_name for item in servicers)):
        checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection(
        [item.full_name for item in servicers] + [health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    address = f"{settings.grpc_host}:{settings.grpc_port}"
    try:
        if settings.tls_cert_file:
            pair = (Path(settings.tls_key_file).read_bytes(), Path(settings.tls_cert_file).read_bytes())
            bound = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if bound == 0:
        sys.stderr.write(f"error: {address} cannot be listened on; set TENON_GRPC_PORT to a free port\n")
        sys.exit(3)
    return Door(server, checks)


def current_principal() -> Principal:
    """Who makes the call that is being answered. Raises `Unauthenticated`."""
    principal = context.principal.get()
    if principal is None:
        raise Unauthenticated(
            "KEY_MISSING", "no API key was sent", hint="send the metadata `authorization: Bearer KEY`"
        )
    return principal


def allowed_tenant(name: str, scope: Scope) -> TenantId:
    """The tenant of a request when the caller may do `scope` for it; see `tenon.kit.http.allow`."""
    principal = current_principal()
    tenant = TenantId(name)
    principal.require(tenant, scope)
    context.tenant_name.set(tenant.value)
    return tenant


class _Unreadable:
    """Stands for bytes that are no message of the method, until the caller is known and the refusal can be sent."""


def _tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    # The library itself would answer INTERNAL with a traceback in our log, before anybody asked for a key.
    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _Unreadable()

    return read


def _message(request: Any) -> Any:
    if type(request) is _Unreadable:
        raise Invalid("MESSAGE_INVALID", "the request's bytes are not a message of this method")
    return request


def _each_message(requests: Iterator[Any]) -> Iterator[Any]:
    return map(_message, requests)


class _ServerInterceptor(grpc.ServerInterceptor):
    """Wraps every method, streams included: an error raised while a stream is iterated is mapped too."""

    def __init__(
        self, authenticator: Authenticator, open_methods: Sequence[str], log_calls: bool, trace_all: bool
    ) -> None:
        self._authenticator = authenticator
        self._open = tuple(open_methods)
        self._log_calls = log_calls
        self._trace_all = trace_all
        self._tracer = tracer("tenon.grpc")
        self._wrapped: dict[str, Any] = {}

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        method = details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = continuation(details)
            if handler is None:
                return None
            # Only methods that exist are kept, so callers cannot make this grow.
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Any) -> Any:
        read = _tolerant(handler.request_deserializer)
        readable = _each_message if handler.request_streaming else _message
        if handler.unary_unary or handler.stream_unary:
            inner = handler.unary_unary or handler.stream_unary

            def unary(request: Any, call: grpc.ServicerContext) -> Any:
                with self._frame(method, call):
                    return inner(readable(request), call)

            make = grpc.unary_unary_rpc_method_handler if handler.unary_unary else grpc.stream_unary_rpc_method_handler
            return make(unary, read, handler.response_serializer)
        inner = handler.unary_stream or handler.stream_stream

        def stream(request: Any, call: grpc.ServicerContext) -> Iterator[Any]:
            with self._frame(method, call):
                yield from inner(readable(request), call)

        make = grpc.unary_stream_rpc_method_handler if handler.unary_stream else grpc.stream_stream_rpc_method_handler
        return make(stream, read, handler.response_serializer)

    def _frame(self, method: str, call: grpc.ServicerContext) -> _CallFrame:
        open_method = method.startswith(self._open)
        return _CallFrame(
            self._authenticator, self._tracer, method, call, open_method, self._log_calls, self._trace_all
        )


@functools.cache
def _calls_of(method: str, code: grpc.StatusCode) -> Histogram:
    return CALLS.labels(method.lstrip("/"), code.name)


class _CallFrame:
    """Context, auth, trace, log and error mapping around one call."""

    def __init__(
        self, authenticator: Authenticator, otel: trace.Tracer, method: str, call: grpc.ServicerContext,
        open_method: bool, log_calls: bool, trace_all: bool,
    ) -> None:  # fmt: skip
        self._authenticator, self._method, self._call = authenticator, method, call
        self._open, self._log_calls, self._trace_all = open_method, log_calls, trace_all
        self._started = time.perf_counter()
        self._span_manager: Any = None
        self._attached: Any = None
        self._tracer = otel

    def __enter__(self) -> None:
        metadata = {key: value for key, value in self._call.invocation_metadata() if isinstance(value, str)}
        context.request_id.set(context.accept_request_id(metadata.get("x-request-id")))
        context.tenant_name.set("")
        context.principal.set(None)
        if "traceparent" in metadata:
            self._attached = otel_context.attach(incoming_context(metadata))
        if self._trace_all or self._attached is not None:
            name = self._method.lstrip("/")
            self._span_manager = self._tracer.start_as_current_span(
                name, kind=trace.SpanKind.SERVER, attributes={"rpc.system.name": "grpc", "rpc.method": name}
            )
            self._span_manager.__enter__()
        if self._open:
            return
        try:
            authorization = metadata.get("authorization")
            if authorization is None and (key := metadata.get("x-api-key")):
                authorization = f"Bearer {key}"
            principal = self._authenticator.authenticate(authorization)
        except Exception as err:
            self._end(err)
            raise
        context.principal.set(principal)
        if principal.tenant:
            context.tenant_name.set(principal.tenant.value)

    def __exit__(self, _type: Any, error: BaseException | None, _traceback: Any) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        code, abort = grpc.StatusCode.OK, None
        if error is not None:
            error = disk_full(error) or error
        if isinstance(error, TenonError):
            code = CODE[error.kind]
            abort = error.message
            detail = error.as_dict() | {"request_id": context.request_id.get(), "kind": error.kind.value}
            # Metadata is limited to 8 KiB in total by default, and a refusal without its detail still has its text.
            encoded = json.dumps(detail, default=str).encode()
            if len(encoded) < 4096:
                self._call.set_trailing_metadata(((_DETAIL, encoded),))
        elif error is not None and not isinstance(error, GeneratorExit):
            code = self._call.code() if hasattr(self._call, "code") and self._call.code() else grpc.StatusCode.INTERNAL
            if code is grpc.StatusCode.INTERNAL:
                UNKNOWN_ERRORS.labels("grpc").inc()
                log.error("call failed", exc_info=error, **{"rpc.method": self._method.lstrip("/")})
                abort = f"internal error; request id {context.request_id.get()}"
        elapsed = time.perf_counter() - self._started
        _calls_of(self._method, code).observe(elapsed)
        if self._log_calls and not self._open:
            log.info(
                "answered",
                **{
                    "rpc.method": self._method.lstrip("/"),
                    "rpc.status_code": code.name,
                    "event.duration": int(elapsed * 1e9),
                },
            )
        if self._span_manager is not None:
            trace.get_current_span().set_attribute("rpc.status_code", code.name)
            self._span_manager.__exit__(None, None, None)
        if self._attached is not None:
            otel_context.detach(self._attached)
        if abort is not None:
            self._call.abort(code, abort)


# --- client side


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
    return grpc.intercept_channel(channel, _ClientInterceptor(target, token or settings.service_token))


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
        if key == _DETAIL:
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
