"""Requests for trainings: listed, started, dismissed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request

from services.monitor.api_http.doors import Reader, Writer
from tenon.core.timestamps import rfc3339
from tenon.kit.http import principal_of

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.retraining import judge as retraining


def add_retraining_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes of retraining requests on the app."""

    @app.get("/v1/tenants/{tenant}/retraining", summary="Requests for trainings, newest first")
    def list_requests(
        tenant: Reader, model: str = "", limit: Annotated[int, Query(ge=1, le=500)] = 50
    ) -> dict[str, Any]:
        return {"requests": [request_json(one) for one in use.retraining.known(tenant, model, limit)]}

    @app.post("/v1/tenants/{tenant}/retraining/{request_id}/start", summary="Start the training that was asked for")
    def start(tenant: Writer, request_id: str, request: Request) -> dict[str, Any]:
        return request_json(use.retraining.start(tenant, request_id, principal_of(request).name))

    @app.post("/v1/tenants/{tenant}/retraining/{request_id}/dismiss", summary="Say no; the cool-down goes on")
    def dismiss(
        tenant: Writer, request_id: str, request: Request, why: Annotated[str, Query(max_length=500)] = ""
    ) -> dict[str, Any]:
        return request_json(use.retraining.dismiss(tenant, request_id, principal_of(request).name, why))


def request_json(request: retraining.Request) -> dict[str, Any]:
    """A request as it goes over the wire."""
    return {
        "id": request.id,
        "model": request.model,
        "version": request.version,
        "asked_at": rfc3339(request.asked_at),
        "reasons": [{"reason": sign.reason.value, "text": sign.text} for sign in request.signs],
        "state": request.state.value,
        "run_id": request.run_id or None,
        "new_version": request.new_version or None,
        "note": request.note,
        "changed_at": rfc3339(request.changed_at),
        "changed_by": request.changed_by,
    }
