"""The predict paths: plain ASGI inside the FastAPI app, because a framework's request costs more than the prediction."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from services.predictor.api_http import codec, entities, json_body
from services.predictor.api_http.admission import Admission
from services.predictor.api_http.callers import authorization_of, tenant_of
from services.predictor.api_http.naming import PREFIX, below_prefix
from services.predictor.api_http.paths import Path, parse_path
from services.predictor.api_http.quick_door import HEAVY_BYTES, QuickDoor
from services.predictor.api_http.waiting import once_loaded
from services.predictor.domain.cold import Cold
from services.predictor.domain.instances import columns_of_instances
from services.predictor.domain.model import Ask
from services.predictor.domain.naming import HostNames
from services.predictor.domain.ports import Observer
from services.predictor.domain.predict import Plan, Predictor
from services.predictor.domain.quotas import Rows
from services.predictor.domain.tensors import check_outputs
from tenon.core.errors import Invalid, Kind, Place, RateLimited, TenonError, TooLarge
from tenon.core.tenancy import Principal, TenantId
from tenon.kit import context
from tenon.kit.auth import Authenticator, RecentCallers
from tenon.kit.http import STATUS, UNKNOWN_ERRORS, JsonResponse, refusal_body
from tenon.kit.memory import GiveBack
from tenon.kit.telemetry import get_logger, incoming_context, tracer

log = get_logger(__name__)

_JSON = (b"content-type", b"application/json")
_DISCARDED_BYTES = 64 << 20
_DISCARD_SECONDS = 2.0


class _Gone(Exception):
    """The caller went away before the request was complete."""


class _Slow(Exception):
    """The caller did not send its request in time."""


class PredictDoor:
    """The outermost app: answers the predict paths itself and hands everything else on."""

    def __init__(
        self,
        app: Any,
        *,
        predictor: Predictor,
        authenticator: Authenticator,
        observer: Observer,
        max_body_bytes: int,
        max_inflated_bytes: int,
        inline_rows: int,
        max_json_bytes: int = json_body.MAX_BYTES,
        admission: Admission | None = None,
        body_seconds: float = 30.0,
        hosts: HostNames | None = None,
    ) -> None:
        self.app = app
        self._predictor = predictor
        self._authenticator = authenticator
        self._observer = observer
        self._max_body = max_body_bytes
        self._max_inflated = max_inflated_bytes
        self._max_json = max_json_bytes
        self._inline_rows = inline_rows
        self._body_seconds = body_seconds
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="predict")
        # One, because parsing keeps all other threads waiting: between two bodies everybody else gets a turn.
        self._parsing = ThreadPoolExecutor(1, thread_name_prefix="parse")
        self._give_back = GiveBack()
        self._tracer = tracer("tenon.predictor.http")
        self._callers = RecentCallers()
        self._hosts = hosts
        self.quick = QuickDoor(predictor, self._callers, admission, inline_rows=inline_rows, hosts=hosts)
        self._admission = self.quick.admission

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path = parse_path(scope["path"])
            if path is not None:
                handle: Any = self._infer if path.kind == "infer" else self._predict
                if scope["query_string"] and path.kind == "predict":
                    handle = functools.partial(self._predict, query=scope["query_string"])
                await self._serve(handle, path, scope, receive, send)
                return
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            scope = below_prefix(scope)
        await self.app(scope, receive, send)

    async def _serve(self, handle: Any, path: Path, scope: Any, receive: Any, send: Any) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = context.accept_request_id(_text(headers, b"x-request-id"))
        context.request_id.set(request_id)
        if b"traceparent" in headers:
            # Only what is traced already is traced here: a span for every request would cost as much as the prediction.
            carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
            with self._tracer.start_as_current_span("predict", context=incoming_context(carrier)):
                await self._answer(handle, path, scope, receive, send, headers, request_id)
        else:
            await self._answer(handle, path, scope, receive, send, headers, request_id)

    async def _answer(
        self,
        handle: Any,
        path: Path,
        scope: Any,
        receive: Any,
        send: Any,
        headers: dict[bytes, bytes],
        request_id: str,
    ) -> None:
        protocol, tenant = "rest", ""
        extra: list[tuple[bytes, bytes]] = []
        try:
            principal = await self._principal(headers)
            asked = tenant_of(principal, path, headers, self._hosts)
            tenant = asked.value
            await self._admission.turn(asked)
            with self._admission.quotas.admitted(asked) as used:
                body = await self._body(headers, receive)
                status = 200
                data, extra = await handle(asked, path, body, headers, request_id, used)
        except _Gone:
            return
        except _Slow:
            self._observer.refused(tenant, protocol, "BODY_TIMEOUT")
            status, data = (
                408,
                JsonResponse(
                    {"error": "the body did not arrive in time", "reason": "BODY_TIMEOUT", "request_id": request_id}
                ).body,
            )
            extra = [(b"connection", b"close")]
        except RateLimited as error:
            # Not logged: there may be very many, and the metric says it all.
            self._observer.refused(tenant, protocol, error.reason)
            extra = await self._admission.hold(error, self._admission.quotas.of(asked))
            status, data = STATUS[error.kind], JsonResponse(refusal_body(error)).body
        except TenonError as error:
            self._observer.refused(tenant, protocol, error.reason)
            log.info("refused", reason=error.reason, kind=error.kind.value, tenant=tenant)
            status, data = STATUS[error.kind], JsonResponse(refusal_body(error)).body
            if error.kind is Kind.UNAUTHENTICATED:
                extra = [(b"www-authenticate", b"Bearer")]
            elif error.kind is Kind.TOO_LARGE:
                # The rest of the body is not read, so the connection cannot be used again.
                extra = [(b"connection", b"close")]
        except Exception:
            # The door: an unforeseen error is logged with its traceback; the caller gets only the request id.
            UNKNOWN_ERRORS.labels("http").inc()
            self._observer.refused(tenant, protocol, "INTERNAL")
            log.exception("prediction failed", path=scope["path"])
            refusal = {
                "error": f"internal error; request id {request_id}",
                "reason": "INTERNAL",
                "request_id": request_id,
            }
            status, data = 500, JsonResponse(refusal).body
        kind = () if any(name == b"content-type" for name, _ in extra) else (_JSON,)
        head = [*kind, (b"content-length", str(len(data)).encode()), (b"x-request-id", request_id.encode()), *extra]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": data})

    async def _infer(
        self, tenant: TenantId, path: Path, body: bytes, headers: dict[bytes, bytes], request_id: str, used: Rows
    ) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        length = _text(headers, b"inference-header-content-length")
        if b"content-encoding" not in headers:
            try:
                reply = self.quick.infer(tenant, path, body, length, request_id)
            except TenonError:
                reply = None
            if reply is not None:
                used.count = reply.rows
                return reply.body, binary_headers(reply.json_bytes)

        def begin() -> tuple[Plan, codec.Wanted]:
            cap = self._max_json if length is None else self._max_inflated
            plain = codec.inflate(body, _text(headers, b"content-encoding") or "", cap)
            ask, wanted = codec.parse_infer(
                plain,
                length,
                max_json=self._max_json,
                model=path.model,
                version=path.version,
                request_id=request_id,
            )
            plan = self._predictor.plan(tenant, ask)
            check_outputs(wanted.names, plan.parts[0].serving.served.output)
            return plan, wanted

        heavy = len(body) > HEAVY_BYTES or b"content-encoding" in headers
        try:
            plan, wanted = await self._heavy(begin, tenant, body) if heavy else begin()
        except Cold as cold:
            plan, wanted = await once_loaded(
                cold, lambda: self._beside(begin, self._parsing), self._predictor.patience.seconds
            )
        used.count = plan.ask.rows
        answers = await self._finish(plan)
        data, json_bytes = codec.render_infer(answers[0], wanted)
        return data, binary_headers(json_bytes)

    async def _predict(
        self,
        tenant: TenantId,
        path: Path,
        body: bytes,
        headers: dict[bytes, bytes],
        request_id: str,
        used: Rows,
        query: bytes = b"",
    ) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        def begin() -> Plan:
            plain = codec.inflate(body, _text(headers, b"content-encoding") or "", self._max_json)
            request = json_body.load(plain, self._max_json)
            for name in request:
                if name not in entities.KEYS:
                    raise Invalid(
                        "REQUEST_INVALID",
                        f"unknown key {name[:80]!r}",
                        place=Place(field=name[:80]),
                        hint=f"keys: {', '.join(entities.KEYS)}",
                    )
            rows, columns, partial = columns_of_instances(request.get("instances"))
            given = request.get("request_id")
            if given is not None and (not isinstance(given, str) or len(given) > codec.MAX_ID):
                raise Invalid("ID_INVALID", "`request_id` must be short text", place=Place(field="request_id"))
            ask = Ask(path.model, None, "rest", given or request_id, rows, columns, split_rows=True, partial=partial)
            ask.explain = entities.wants_explanation(request, query)
            return self._predictor.plan(tenant, ask)

        heavy = len(body) > HEAVY_BYTES or b"content-encoding" in headers
        try:
            plan = await self._heavy(begin, tenant, body) if heavy else begin()
        except Cold as cold:
            plan = await once_loaded(cold, lambda: self._beside(begin, self._parsing), self._predictor.patience.seconds)
        used.count = plan.ask.rows
        answers = await self._finish(plan)
        ask = plan.ask
        return codec.render_entities(ask.model, tenant.value, ask.request_id, ask.rows, answers), []

    async def _finish(self, plan: Plan) -> Any:
        if plan.waits:
            await self._beside(lambda: self._predictor.look_up(plan))
        if plan.ask.rows > self._inline_rows or plan.ask.explain:
            return await self._beside(lambda: self._predictor.answer(plan))
        return self._predictor.answer(plan)

    async def _heavy(self, work: Callable[[], Any], tenant: TenantId, body: bytes) -> Any:
        """Read a large body, one at a time for everybody."""
        with self._admission.large(tenant, len(body)):
            try:
                return await self._beside(work, self._parsing)
            finally:
                self._parsing.submit(self._give_back)

    async def _beside(self, work: Callable[[], Any], pool: ThreadPoolExecutor | None = None) -> Any:
        """Run what may take long on a thread, with the request's context."""
        carried = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(pool or self._pool, carried.run, work)

    async def _principal(self, headers: dict[bytes, bytes]) -> Principal:
        authorization = authorization_of(headers)
        if authorization is None:
            return self._authenticator.authenticate(None)
        known = self._callers.find(authorization)
        if known is not None:
            return known
        # A key nobody knows makes the authenticator ask the registry, which may take its time.
        shown = authorization.decode("latin-1")
        principal: Principal = await self._beside(lambda: self._authenticator.authenticate(shown))
        self._callers.keep(authorization, principal)
        return principal

    async def _body(self, headers: dict[bytes, bytes], receive: Any) -> bytes:
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_body:
            raise self._too_large()
        message = await self._receive(receive, self._body_seconds)
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body
        chunks, size, until = [body], len(body), time.monotonic() + self._body_seconds
        while message.get("more_body"):
            message = await self._receive(receive, until - time.monotonic())
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_body:
                chunks.clear()
                await self._discard(receive)
                raise self._too_large()
        return b"".join(chunks)

    async def _discard(self, receive: Any) -> None:
        """Throw the rest of a body away for a moment: who is hung up on while sending cannot read why it was refused."""
        left, until = _DISCARDED_BYTES, time.monotonic() + _DISCARD_SECONDS
        try:
            while left > 0:
                message = await self._receive(receive, until - time.monotonic())
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
        except _Slow:
            return

    async def _receive(self, receive: Any, seconds: float) -> Any:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                message = await receive()
        except TimeoutError:
            raise _Slow from None
        if message["type"] == "http.disconnect":
            raise _Gone
        return message

    def _too_large(self) -> TooLarge:
        return TooLarge(
            "BODY_TOO_LARGE",
            f"the body is over the cap of {self._max_body >> 20} MiB",
            data={"cap_bytes": self._max_body},
        )


def binary_headers(json_bytes: int | None) -> list[tuple[bytes, bytes]]:
    """What an answer says whose tensors follow its JSON."""
    if json_bytes is None:
        return []
    return [
        (b"content-type", b"application/octet-stream"),
        (b"inference-header-content-length", str(json_bytes).encode()),
    ]


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
