"""The gRPC door's frame: auth, traces, and the one table of errors; `grpc_client` is the other end."""

from __future__ import annotations

import functools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry import context as otel_context
from opentelemetry import trace
from prometheus_client import Histogram

from tenon.core.errors import Invalid, Kind, TenonError, Unauthenticated
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.kit import context
from tenon.kit.disk import disk_full
from tenon.kit.grpc_inline import AtOnce, Later, inline_pool
from tenon.kit.http import BUCKETS, UNKNOWN_ERRORS
from tenon.kit.process import starting
from tenon.kit.telemetry import get_logger, incoming_context, tracer
from tenon.kit.tls import Certificate, certificate_of

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

ERROR_DETAIL = "tenon-error-bin"  # trailing metadata: the refusal as JSON, so that a client can rebuild it exactly
_OPEN_METHODS = ("/grpc.health.v1.Health/", "/grpc.reflection.")

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
    listen: Callable[[], None]
    """Take the port; called already unless it is shared."""
    certificate: Certificate | None
    """What it shows, and the HTTP door beside it; None: both speak plaintext."""


def create_server(
    settings: ServiceSettings,
    authenticator: Authenticator,
    servicers: Sequence[Servicer],
    *,
    open_methods: Sequence[str] = (),
    log_calls: bool = True,
    unlogged: Sequence[str] = (),
    at_once: Mapping[str, AtOnce] | None = None,
    keep_hosts: bool = False,
    shared_port: bool = False,
) -> Door:
    """A gRPC server bound to its port, with health and reflection. `open_methods` are prefixes that need no key.

    `at_once` are methods that may answer a message before anything else looks at the call, auth included: see `AtOnce`.
    `unlogged` are methods (`/service/Method`) that are called too often to be logged one by one; their metrics are kept.
    With `keep_hosts` a call knows the host it was sent to (`:authority`), which costs a little.
    Where calls are neither logged nor exported, only those that are part of a trace already have a span. A port in use ends
    the process with one line and exit code 3. A port that several processes share is taken only by `Door.listen`.
    """
    limit = settings.grpc_max_message_mib << 20
    pool = futures.ThreadPoolExecutor(settings.grpc_workers, thread_name_prefix="grpc")
    server = grpc.server(
        pool,
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            # Two processes must never share the port by accident; the kernel would spread calls over both.
            ("grpc.so_reuseport", int(shared_port)),
            # The client pings every 20 s; the default policy would close the connection for that.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ],
    )
    framed: Any = _FramingServer(
        server,
        _Frames(authenticator, (*_OPEN_METHODS, *open_methods), log_calls, bool(settings.otlp_endpoint), unlogged),
        {method: (pool, ask) for method, ask in (at_once or {}).items()},
        register=not keep_hosts,
    )
    for add, servicer, _ in servicers:
        add(servicer, framed)
    checks = health.HealthServicer()
    for name in ("", *(item.full_name for item in servicers)):
        checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, framed)
    reflection.enable_server_reflection(
        [item.full_name for item in servicers] + [health.SERVICE_NAME, reflection.SERVICE_NAME], framed
    )
    with starting():
        certificate = certificate_of(settings)
    if not shared_port:
        _listen(server, settings, certificate)
    return Door(server, checks, lambda: _listen(server, settings, certificate), certificate)


def _listen(server: grpc.Server, settings: ServiceSettings, certificate: Certificate | None) -> None:
    address = f"{settings.grpc_host}:{settings.grpc_port}"
    try:
        if certificate is not None:
            bound = server.add_secure_port(address, certificate.grpc_credentials())
        else:
            bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if bound == 0:
        sys.stderr.write(f"error: {address} cannot be listened on; set TENON_GRPC_PORT to a free port\n")
        sys.exit(3)


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


class _FramingServer:
    """Takes servicers as a server does, and gives each of their methods its frame. (An interceptor would have to find the
    frame again at every call.)"""

    def __init__(
        self, server: grpc.Server, frames: _Frames, at_once: Mapping[str, tuple[Any, AtOnce]], *, register: bool
    ) -> None:
        self._server = server
        self._register = register
        self._frames = frames
        self._at_once = at_once

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Generated code says everything twice; the other call says it by method."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """All methods of a service."""
        wrapped = {}
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            found = self._at_once.get(method)
            pool = None if found is None else inline_pool(found[0], _counted(method, found[1]))
            wrapped[name] = (
                self._frames.wrap(method, handler) if pool is None else self._frames.inline(method, handler, pool)
            )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))
        if self._register:
            # Faster, but of calls to registered methods the library forgets the host.
            self._server.add_registered_method_handlers(service, wrapped)


class _Frames:
    """Wraps every method, streams included: an error raised while a stream is iterated is mapped too."""

    def __init__(
        self, authenticator: Authenticator, open_methods: Sequence[str], log_calls: bool, exported: bool,
        unlogged: Sequence[str],
    ) -> None:  # fmt: skip
        self._authenticator = authenticator
        self._open = tuple(open_methods)
        self._log_calls = log_calls
        self._exported = exported
        self._unlogged = frozenset(unlogged)
        self._tracer = tracer("tenon.grpc")

    def inline(self, method: str, handler: Any, pool: Any) -> Any:
        """A unary method that is asked with bytes where calls are read, and here only when that gave no answer."""
        framed, read, write = (
            self.wrap(method, handler),
            _tolerant(handler.request_deserializer),
            handler.response_serializer,
        )

        def unary(data: bytes, call: grpc.ServicerContext) -> Any:
            return write(framed.unary_unary(read(data), call))

        unary.experimental_thread_pool = pool  # type: ignore[attr-defined]
        return grpc.unary_unary_rpc_method_handler(unary)

    def wrap(self, method: str, handler: Any) -> Any:
        """The method within its frame."""
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
        logged = self._log_calls and method not in self._unlogged
        return _CallFrame(
            self._authenticator, self._tracer, method, call, open_method, logged, logged or self._exported
        )


@functools.cache
def _calls_of(method: str, code: grpc.StatusCode) -> Histogram:
    return CALLS.labels(method.lstrip("/"), code.name)


def _counted(method: str, ask: AtOnce) -> AtOnce:
    """The same, seen in the metrics of all calls."""

    answered = _calls_of(method, grpc.StatusCode.OK)

    def counted(data: bytes, metadata: Sequence[tuple[str, Any]]) -> bytes | Later | None:
        started = time.perf_counter()
        reply = ask(data, metadata)
        if isinstance(reply, bytes):
            answered.observe(time.perf_counter() - started)
        return reply

    return counted


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
            trailing: list[tuple[str, Any]] = [(ERROR_DETAIL, encoded)] if len(encoded) < 4096 else []
            if wait := error.data.get("retry_after_seconds"):
                # The name that gRPC's own retry policies read.
                trailing.append(("grpc-retry-pushback-ms", str(math.ceil(1000 * float(wait)))))
            self._call.set_trailing_metadata(tuple(trailing))
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
