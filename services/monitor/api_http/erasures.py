"""Forgetting a data subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI

from services.monitor.api_http.doors import Writer
from services.monitor.domain.erase_words import Subject
from tenon.core.errors import Invalid, Place
from tenon.kit.http import read_json

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases

MAX_IDS = 10_000
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "key": {"type": "object", "description": "A column of the log and its value."},
                        "prediction_ids": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_IDS},
                    },
                }
            }
        },
    }
}


def add_erasure_routes(app: FastAPI, use: UseCases) -> None:
    """Put the route of erasures on the app."""

    @app.post("/v1/tenants/{tenant}/erasures", summary="Forget a data subject", openapi_extra=_BODY)
    def erase(tenant: Writer, body: Annotated[Any, Depends(read_json)]) -> dict[str, Any]:
        """Takes a subject's rows out of the prediction log, its archive and the labels of all models, for good. The answer
        names the versions that had answered about it."""
        erased = use.erase_subject(tenant, _subject(body))
        return {
            "models": [
                {"model": model, "rows": one.rows, "labels": one.labels, "versions": list(one.versions)}
                for model, one in sorted(erased.items())
            ]
        }


def _subject(body: Any) -> Subject:
    if not isinstance(body, dict):
        raise Invalid("SUBJECT_MISSING", "the body is not an object")
    key, ids = body.get("key", {}), body.get("prediction_ids", [])
    if not isinstance(key, dict) or not all(isinstance(value, str | int | float) for value in key.values()):
        raise Invalid("SUBJECT_MISSING", "key must be an object of one column and its value", place=Place(field="key"))
    if not isinstance(ids, list) or len(ids) > MAX_IDS or not all(isinstance(one, str) for one in ids):
        raise Invalid(
            "SUBJECT_MISSING", f"prediction_ids must be a list of at most {MAX_IDS:,} texts",
            place=Place(field="prediction_ids"),
        )  # fmt: skip
    return Subject(frozenset(ids), {str(name): str(value) for name, value in key.items()})
