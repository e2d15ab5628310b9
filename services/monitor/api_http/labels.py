"""Labels in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

from services.monitor import metrics
from services.monitor.api_http.doors import Writer
from services.monitor.domain.read_labels import labels_from_csv, labels_from_document
from tenon.core.errors import UnsupportedMedia
from tenon.kit.http import parse_json

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases

LABELS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "example": {"labels": [{"prediction_id": "…", "value": 1, "known_at": "2024-03-01T08:30:00Z"}]}
            },
            "text/csv": {"example": "prediction_id,value,known_at\n…,1,2024-03-01T08:30:00Z\n"},
        },
    }
}


def add_label_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes of labels on the app."""

    @app.post(
        "/v1/tenants/{tenant}/models/{model}/labels", summary="Record labels (JSON or CSV)", openapi_extra=LABELS_BODY
    )
    async def record_labels(tenant: Writer, model: str, request: Request) -> dict[str, Any]:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        body = await request.body()
        now = use.now()

        def record() -> dict[str, Any]:
            if kind == "text/csv":
                labels = labels_from_csv(body, now)
            elif kind == "application/json":
                labels = labels_from_document(parse_json(body), now)
            else:
                raise UnsupportedMedia(
                    "LABELS_MEDIA_UNSUPPORTED", f"labels cannot be read from {kind[:80]!r}",
                    hint="send application/json or text/csv",
                )  # fmt: skip
            recorded = use.record_labels(tenant, model, labels)
            metrics.count_labels(tenant.value, model, recorded)
            return {"accepted": recorded.accepted, "matched": recorded.matched, "unmatched": recorded.unmatched}

        return await run_in_threadpool(record)
