"""The HTTP door's frame: request ids, traces, access log, metrics, body cap, auth, and the one table of errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from opentelemetry import context as otel_context
from opentelemetry import trace
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import tenon
from tenon.core.errors import Invalid, Kind, NotFound, Place, TenonError, TooLarge, did_you_mean
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.kit import context
from tenon.kit.disk import disk_full
from tenon.kit.http_docs import PAGE_POLICY, render_docs
from tenon.kit.openapi import amend, say_what_all_do
from tenon.kit.telemetry import get_logger, incoming_context, tracer

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from tenon.kit.auth import Authenticator
    from tenon.kit.process import Leaving

log = get_logger(__name__)

STATUS: dict[Kind, int] = {
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.PRECONDITION: 412,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED_MEDIA: 415,
    Kind.RATE_LIMITED: 429,
    Kind.UNAVAILABLE: 503,
    Kind.DEADLINE: 504,
}
"""Kind to HTTP status; the only such table."""

KIND_OF_STATUS = {status: kind for kind, status in STATUS.items()} | {405: Kind.INVALID, 422: Kind.INVALID}

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

REQUESTS = Histogram(
    "http_server_request_duration_seconds",
    "Time to answer an HTTP request.",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=BUCKETS,
)
UNKNOWN_ERRORS = Counter("tenon_unknown_errors_total", "Exceptions nobody foresaw, at any door.", ["door"])
BUILD = Gauge("tenon_build_info", "Always 1; the version is in the label.", ["service", "version"])

_PLAIN = {
    "extra_forbidden": "there is no such key here",
    "missing": "it is required",
    "dict_type": "a JSON object is expected",
    "int_parsing": "a whole number is expected",
    "int_type": "a whole number is expected",
}
"""The validator's commonest remarks in the words of a caller, who knows no validator."""

_FORM = "application/x-www-form-urlencoded"
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class JsonResponse(Response):
    """JSON by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of `content`."""
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def create_app(
    *,
    service: str,
    authenticator: Authenticator,
    ready: Callable[[], dict[str, str]],
    max_body_bytes: int = 16 << 20,
    unlimited_paths: Callable[[str], bool] = lambda _path: False,
    description: str = "",
    expose: Callable[[], bytes] = generate_latest,
) -> FastAPI:
    """A FastAPI app with everything that every door has.

    `ready` gives what is not ready, by name; empty means ready. `unlimited_paths` says which paths watch their body
    size themselves (uploads). `expose` gives the metrics.
    """
    app = FastAPI(
        title=f"Tenon {service}",
        version=tenon.__version__,
        description=description,
        default_response_class=JsonResponse,
        docs_url=None,
        redoc_url=None,
        # _Frame makes the span; FastAPI's own for every request would cost 35 µs more.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    amend(app, say_what_all_do)
    app.state.authenticator = authenticator
    BUILD.labels(service, tenon.__version__).set(1)

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> JsonResponse:
        return JsonResponse({"status": "ok"})

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> JsonResponse:
        leaving: Leaving | None = getattr(app.state, "leaving", None)
        problems = (leaving.problems(ready) if leaving else ready)()
        body: dict[str, Any] = {"ready": not problems, "problems": problems}
        if instance := getattr(app.state, "instance", ""):
            body["instance"] = instance
        return JsonResponse(body, status_code=503 if problems else 200)

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(expose(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        headers = {"content-security-policy": PAGE_POLICY}
        return Response(render_docs(app.openapi()), media_type="text/html", headers=headers)

    app.add_exception_handler(TenonError, _answer_refusal)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _answer_validation)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _answer_http)  # type: ignore[arg-type]
    app.add_middleware(_Frame, service=service, max_body_bytes=max_body_bytes, unlimited_paths=unlimited_paths)
    return app


def principal_of(request: Request) -> Principal:
    """Who asks. Raises `Unauthenticated`."""
    authenticator: Authenticator = request.app.state.authenticator
    return principal_from_headers(authenticator, request.headers)


def principal_from_headers(authenticator: Authenticator, headers: Any) -> Principal:
    """Who asks, from `Authorization: Bearer KEY` or `X-API-Key: KEY`. Raises `Unauthenticated`."""
    authorization = headers.get("authorization")
    if authorization is None and (key := headers.get("x-api-key")):
        authorization = f"Bearer {key}"
    principal = authenticator.authenticate(authorization)
    context.principal.set(principal)
    if principal.tenant:
        context.tenant_name.set(principal.tenant.value)
    return principal


def allow(scope: Scope) -> Callable[[Request], TenantId]:
    """A dependency that gives the path's `tenant` when the caller may do `scope` for it.

    Another tenant's path answers exactly as one that does not exist. The check comes before the name is validated, so
    that the answer tells a stranger nothing.
    """

    def tenant_of_path(request: Request) -> TenantId:
        principal = principal_of(request)
        tenant = TenantId(request.path_params["tenant"])
        principal.require(tenant, scope)
        # Dependencies run on another thread with a copy of the context; the scope is what the access log can read.
        request.scope["tenon.tenant"] = tenant.value
        _refuse_unknown_parameters(request)
        return tenant

    return tenant_of_path


def admin_only(request: Request) -> Principal:
    """A dependency that lets only the platform's operators pass."""
    principal = principal_of(request)
    principal.require_admin()
    _refuse_unknown_parameters(request)
    return principal


def _refuse_unknown_parameters(request: Request) -> None:
    """A misspelt query parameter must not be ignored in silence. Called once the caller is known."""
    if not request.url.query:
        return
    described = request.app.openapi()["paths"].get(request.scope["route"].path, {}).get(request.method.lower(), {})
    known = [item["name"] for item in described.get("parameters", []) if item["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            near = did_you_mean(name, known)
            raise Invalid(
                "PARAMETER_UNKNOWN",
                f"unknown parameter {name[:60]!r}"
                + (f"; there are: {', '.join(known)}" if known else "; there are none"),
                place=Place(field=name[:60]),
                hint=f"did you mean `{near}`?" if near else None,
            )


async def read_json(request: Request) -> Any:
    """The body as JSON. Raises `Invalid` with the line and column of a mistake."""
    return parse_json(await request.body())


def parse_json(body: bytes) -> Any:
    """JSON bytes as data. Raises `Invalid` with the line and column of a mistake."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as err:
        where = Place(line=err.lineno, column=err.colno)
        raise Invalid("JSON_INVALID", f"the body is not valid JSON: {err.msg}", place=where) from None


def refusal_body(error: TenonError) -> dict[str, Any]:
    """What a refusal looks like on the wire."""
    return error.as_dict() | {"request_id": context.request_id.get()}


async def _answer_refusal(_: Request, error: TenonError) -> JsonResponse:
    log.info("refused", reason=error.reason, kind=error.kind.value)
    headers = {"www-authenticate": "Bearer"} if error.kind is Kind.UNAUTHENTICATED else None
    return JsonResponse(refusal_body(error), status_code=STATUS[error.kind], headers=headers)


async def _answer_validation(request: Request, error: RequestValidationError) -> JsonResponse:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        why = first.get("ctx", {}).get("error", "").rstrip(".")
        message = f"the body is not valid JSON: {why.lower()} (character {first['loc'][-1]})"
        return await _answer_refusal(request, Invalid("JSON_INVALID", message, place=None))
    path = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    what = _PLAIN.get(first["type"], first["msg"])
    refusal = Invalid("REQUEST_INVALID", f"{path or 'the body'}: {what}", place=Place(field=path or None))
    return await _answer_refusal(request, refusal)


async def _answer_http(request: Request, error: HTTPException) -> JsonResponse:
    if error.status_code == 404:
        refusal: TenonError = NotFound("PATH_NOT_FOUND", f"there is nothing at {request.url.path}")
        return await _answer_refusal(request, refusal)
    detail = str(error.detail)
    if error.status_code == 405:
        allowed = {key.lower(): value for key, value in (error.headers or {}).items()}.get("allow", "")
        detail = f"{request.method} is not possible at {request.url.path}" + (f", only {allowed}" if allowed else "")
    body = {"error": detail, "reason": f"HTTP_{error.status_code}", "request_id": context.request_id.get()}
    return JsonResponse(body, status_code=error.status_code, headers=error.headers)


class _Frame:
    """Pure ASGI middleware, because Starlette's base class would copy every body and break streaming."""

    def __init__(self, app: Any, *, service: str, max_body_bytes: int, unlimited_paths: Callable[[str], bool]) -> None:
        self._app = app
        self._max_body = max_body_bytes
        self._unlimited = unlimited_paths
        self._tracer = tracer(f"tenon.{service}.http")

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        if headers.get("content-type", _FORM).startswith(_FORM):
            # `curl -d` calls every body a form, other clients say nothing. No door of ours takes forms, so it is JSON.
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
            scope["headers"].append((b"content-type", b"application/json"))
        started = time.perf_counter()
        request = context.accept_request_id(headers.get("x-request-id"))
        status = 500
        begun = False
        seen = 0
        capped = not self._unlimited(scope["path"])

        async def capped_receive() -> Any:
            nonlocal seen
            message = await receive()
            if capped and message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._max_body:
                    raise _too_large(self._max_body)
            return message

        async def marked_send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                begun = True
                status = message["status"]
                message.setdefault("headers", [])
                message["headers"] = [*message["headers"], (b"x-request-id", request.encode())]
            await send(message)

        async def answer(response: Response) -> None:
            if not begun:
                await response(scope, receive, marked_send)

        with _request_context(request, headers):
            with self._tracer.start_as_current_span(
                scope["method"], kind=trace.SpanKind.SERVER, attributes={"http.request.method": scope["method"]}
            ) as span:
                try:
                    length = headers.get("content-length", "0")
                    if capped and length.isdecimal() and int(length) > self._max_body:
                        raise _too_large(self._max_body)
                    await self._app(scope, capped_receive, marked_send)
                except TenonError as error:
                    await answer(JsonResponse(refusal_body(error), status_code=STATUS[error.kind]))
                except ClientDisconnect:
                    # Nobody is left to answer, and nothing of ours went wrong.
                    status = 499
                    log.info("the caller left before its request was complete")
                except Exception as err:
                    if full := disk_full(err):
                        log.warning("the disk is full", path=scope["path"])
                        await answer(JsonResponse(refusal_body(full), status_code=STATUS[full.kind]))
                    else:
                        # The door: an unforeseen error is logged with its traceback; the client gets only the id.
                        UNKNOWN_ERRORS.labels("http").inc()
                        log.exception("request failed", path=scope["path"])
                        body = {
                            "error": f"internal error; request id {request}",
                            "reason": "INTERNAL",
                            "request_id": request,
                        }
                        await answer(JsonResponse(body, status_code=500))
                route = getattr(scope.get("route"), "path", "unmatched")
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
            elapsed = time.perf_counter() - started
            REQUESTS.labels(scope["method"], route, str(status)).observe(elapsed)
            context.tenant_name.set(scope.get("tenon.tenant", ""))
            if scope["path"] not in _OPEN_PATHS:
                log.info(
                    "answered",
                    **{
                        "http.request.method": scope["method"],
                        "http.route": route,
                        "http.response.status_code": status,
                        "event.duration": int(elapsed * 1e9),
                    },
                )


def _too_large(cap: int) -> TooLarge:
    return TooLarge("BODY_TOO_LARGE", f"the body is over the cap of {cap >> 20} MiB", data={"cap_bytes": cap})


@contextmanager
def _request_context(request: str, headers: dict[str, str]) -> Iterator[None]:
    tokens = [context.request_id.set(request), context.tenant_name.set("")]
    attached = otel_context.attach(incoming_context(headers)) if "traceparent" in headers else None
    try:
        yield
    finally:
        if attached is not None:
            otel_context.detach(attached)
        context.request_id.reset(tokens[0])
        context.tenant_name.reset(tokens[1])
