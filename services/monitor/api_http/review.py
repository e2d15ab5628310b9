"""The review queue as an API; the page and the terminal show the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool

from services.monitor import metrics
from services.monitor.api_http.doors import Reader, Writer
from services.monitor.domain.review.decide import DAYS, LARGEST, SIZE
from services.monitor.domain.review_words import State
from tenon.core.errors import Invalid, Place, did_you_mean
from tenon.core.timestamps import rfc3339
from tenon.kit.http import principal_of, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.review_words import ReviewItem, ReviewRound
    from tenon.core.tenancy import TenantId

_PATH = "/v1/tenants/{tenant}/models/{model}/review"


def _body(**example: Any) -> dict[str, Any]:
    return {"requestBody": {"required": False, "content": {"application/json": {"example": example}}}}


def add_review_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes of the review queue on the app."""

    @app.get(_PATH, summary="The queue of answers worth an expert's look, in its fixed order")
    def get_queue(
        tenant: Reader,
        model: str,
        limit: Annotated[int, Query(ge=1, le=LARGEST, description="open items to give")] = 20,
    ) -> dict[str, Any]:
        return queue_json(use, tenant, model, use.review.queue(tenant, model), limit)

    @app.post(_PATH, summary="Put a new round together", openapi_extra=_body(size=SIZE, days=DAYS))
    async def start_round(tenant: Writer, model: str, request: Request) -> dict[str, Any]:
        body = await _read(request, ("size", "days"))
        size, days = (_whole(body, name, default) for name, default in (("size", SIZE), ("days", DAYS)))

        def start() -> dict[str, Any]:
            return queue_json(use, tenant, model, use.review.start(tenant, model, size=size, days=days), 20)

        return await run_in_threadpool(start)

    @app.post(f"{_PATH}/undo", summary="Take back the expert's last decision", openapi_extra=_body(by="Dr Grey"))
    async def undo(tenant: Writer, model: str, request: Request) -> dict[str, Any]:
        expert = _expert(await _read(request, ("by",)), request)
        item = await run_in_threadpool(lambda: use.review.undo(tenant, model, expert))
        metrics.REVIEWED.labels(tenant.value, model, "undone").inc()
        return item_json(item)

    @app.post(
        f"{_PATH}/{{prediction_id}}",
        summary="Decide one: a label under the expert's name, or leave it out",
        openapi_extra=_body(value=1, by="Dr Grey"),
    )
    async def decide(tenant: Writer, model: str, prediction_id: str, request: Request) -> dict[str, Any]:
        body = await _read(request, ("value", "skip", "by"))
        expert, value, skip = _expert(body, request), body.get("value"), body.get("skip", False)
        if not isinstance(skip, bool) or (value is None) != skip:
            raise Invalid(
                "REQUEST_INVALID", "give either `value` or `skip: true`", place=Place(field="value"),
                hint='{"value": 1} or {"skip": true}',
            )  # fmt: skip
        if skip:
            item = await run_in_threadpool(use.review.skip, tenant, model, prediction_id, expert)
        elif isinstance(value, bool | int | float):
            item = await run_in_threadpool(use.review.label, tenant, model, prediction_id, float(value), expert)
        else:
            raise Invalid("REQUEST_INVALID", "value must be a number, or true or false", place=Place(field="value"))
        metrics.REVIEWED.labels(tenant.value, model, item.state.value).inc()
        return item_json(item)


def queue_json(use: UseCases, tenant: TenantId, model: str, found: ReviewRound, limit: int) -> dict[str, Any]:
    """A round as it goes over the wire."""
    judge = use.review.judge(tenant, model)
    return {
        "tenant": tenant.value,
        "model": model,
        "task": judge.manifest.task,
        "threshold": judge.threshold if judge.binary else None,
        "round": found.number,
        "built_at": rfc3339(found.built_at),
        "window_start": rfc3339(found.window_start),
        "window_end": rfc3339(found.window_end),
        "looked_at": found.looked_at,
        "total": len(found.items),
        "open": len(found.open),
        "labelled": found.count(State.LABELLED),
        "skipped": found.count(State.SKIPPED),
        "items": [item_json(item) for item in found.open[:limit]],
    }


def item_json(item: ReviewItem) -> dict[str, Any]:
    """One answer of the queue."""
    return {
        "rank": item.rank,
        "prediction_id": item.prediction_id,
        "state": item.state.value,
        "reason": item.reason.value,
        "why": item.why,
        "score": item.score,
        "label": item.label,
        "version": item.version,
        "at": rfc3339(item.at),
        "event_time": rfc3339(item.event_time),
        "columns": dict(item.columns),
        "value": item.value,
        "decided_at": None if item.decided_at is None else rfc3339(item.decided_at),
        "decided_by": item.decided_by,
    }


async def _read(request: Request, known: tuple[str, ...]) -> Mapping[str, Any]:
    body = await read_json(request) if await request.body() else {}
    if not isinstance(body, dict):
        raise Invalid("REQUEST_INVALID", "the body must be an object")
    for name in body:
        if name not in known:
            near = did_you_mean(str(name), known)
            raise Invalid(
                "FIELD_UNKNOWN", f"unknown field {str(name)[:60]!r}; there are: {', '.join(known)}",
                place=Place(field=str(name)[:60]), hint=f"did you mean {near!r}?" if near else None,
            )  # fmt: skip
    return body


def _whole(body: Mapping[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if type(value) is not int:
        raise Invalid("REQUEST_INVALID", f"{name} must be a whole number", place=Place(field=name))
    return value


def _expert(body: Mapping[str, Any], request: Request) -> str:
    """The name that is given, else that of the key."""
    by = body.get("by")
    if by is not None and not isinstance(by, str):
        raise Invalid("REQUEST_INVALID", "by must be a name", place=Place(field="by"))
    return by if by is not None else principal_of(request).name
