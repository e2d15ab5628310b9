"""Labels in: by prediction id, or by entity and time; as JSON, CSV or Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool

from services.monitor import metrics
from services.monitor.api_http.doors import Writer
from services.monitor.domain.label_words import KeyedLabel
from services.monitor.domain.labels.read import labels_from_document
from services.monitor.domain.labels.read_keyed import (
    Labels,
    is_keyed,
    keyed_from_document,
    labels_from_csv_file,
    labels_from_parquet,
)
from services.monitor.domain.labels.record import MAX_LABELS
from services.monitor.domain.model import Label
from tenon.core.errors import UnsupportedMedia
from tenon.core.timestamps import parse_duration
from tenon.kit.http import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.monitor.api_http.use_cases import UseCases
    from tenon.core.tenancy import TenantId

_NAMED = 100
"""Labels that wait or are ambiguous are named up to so many."""
_BY_ID = {"labels": [{"prediction_id": "…", "value": 1, "known_at": "2024-03-01T08:30:00Z"}]}
_BY_ENTITY = {"labels": [{"entity": {"patient_id": "p17"}, "event_time": "2024-03-01T08:30:00Z", "value": 1}]}
LABELS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "examples": {
                    "by id": {"summary": "by prediction id", "value": _BY_ID},
                    "by entity": {"summary": "by entity and time", "value": _BY_ENTITY},
                }
            },
            "text/csv": {"example": "prediction_id,value,known_at\n…,1,2024-03-01T08:30:00Z\n"},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_PARQUET = ("application/vnd.apache.parquet", "application/parquet")


def add_label_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes of labels on the app."""

    @app.post(
        "/v1/tenants/{tenant}/models/{model}/labels",
        summary="Record labels by prediction id, or by entity and time (JSON, CSV or Parquet)",
        openapi_extra=LABELS_BODY,
    )
    async def record_labels(
        tenant: Writer,
        model: str,
        request: Request,
        within: Annotated[
            str, Query(description="labels by entity and time: how far off the logged event time may be")
        ] = "",
    ) -> dict[str, Any]:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        body = await request.body()

        def record() -> dict[str, Any]:
            now = use.now()
            length = parse_duration(within, "within") if within else 0
            labels: Labels
            if kind == "text/csv":
                labels = labels_from_csv_file(body, now, length)
            elif kind in _PARQUET:
                labels = labels_from_parquet(body, now, length)
            elif kind == "application/json":
                document = parse_json(body)
                keyed = is_keyed(document)
                labels = keyed_from_document(document, now, length) if keyed else labels_from_document(document, now)
                if len(labels) > MAX_LABELS:
                    use.record_labels.check(tenant, model, [Label("-", 0.0, 0)] * len(labels))
            else:
                raise UnsupportedMedia(
                    "LABELS_MEDIA_UNSUPPORTED", f"labels cannot be read from {kind[:80]!r}",
                    hint="send application/json, text/csv or application/vnd.apache.parquet",
                )  # fmt: skip
            return _record(use, tenant, model, labels)

        return await run_in_threadpool(record)


def _record(use: UseCases, tenant: TenantId, model: str, labels: Labels) -> dict[str, Any]:
    if labels and isinstance(labels[0], KeyedLabel):
        return _record_keyed(use, tenant, model, [one for one in labels if isinstance(one, KeyedLabel)])
    direct = [one for one in labels if isinstance(one, Label)]
    parts = [direct[begin : begin + MAX_LABELS] for begin in range(0, len(direct), MAX_LABELS)] or [[]]
    for number, part in enumerate(parts):
        # A file is checked whole before anything of it is kept.
        use.record_labels.check(tenant, model, part, number * MAX_LABELS)
    accepted = matched = 0
    for part in parts:
        recorded = use.record_labels(tenant, model, part)
        metrics.count_labels(tenant.value, model, recorded)
        accepted, matched = accepted + recorded.accepted, matched + recorded.matched
    return {"accepted": accepted, "matched": matched, "unmatched": accepted - matched}


def _record_keyed(use: UseCases, tenant: TenantId, model: str, labels: Sequence[KeyedLabel]) -> dict[str, Any]:
    waiting: list[int] = []
    ambiguous: list[dict[str, int]] = []
    accepted = predictions = 0
    for begin in range(0, len(labels), MAX_LABELS):
        # A file is checked whole before anything of it is kept.
        use.record_keyed_labels.check(tenant, model, labels[begin : begin + MAX_LABELS], begin)
    for begin in range(0, len(labels), MAX_LABELS):
        found = use.record_keyed_labels(tenant, model, labels[begin : begin + MAX_LABELS])
        metrics.count_keyed_labels(tenant.value, model, found)
        accepted, predictions = accepted + found.accepted, predictions + found.predictions
        waiting += [begin + place for place in found.waiting]
        ambiguous += [{"place": begin + one.place, "events": one.events} for one in found.ambiguous]
    return {
        "accepted": accepted,
        "matched": accepted - len(waiting),
        "unmatched": len(waiting),
        "predictions": predictions,
        "waiting": waiting[:_NAMED],
        "ambiguous": ambiguous[:_NAMED],
        "ambiguous_count": len(ambiguous),
    }
