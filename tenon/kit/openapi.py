"""What the OpenAPI document of every service says and FastAPI cannot know: how to sign in, and what a refusal looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

_METHODS = ("get", "post", "put", "patch", "delete")
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key: `Authorization: Bearer KEY`."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}
_REFUSAL = {
    "type": "object",
    "description": "Why a request was refused. `tenon explain REASON` says more; `request_id` stands in the service's log.",
    "required": ["error", "reason", "request_id"],
    "properties": {
        "error": {"type": "string"},
        "reason": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$"},
        "request_id": {"type": "string"},
        "place": {"type": "object"},
        "hint": {"type": "string"},
        "data": {"type": "object"},
    },
}


def amend(app: FastAPI, change: Callable[[dict[str, Any]], None]) -> None:
    """Have `change` work on the app's document once, when it is first asked for."""
    made = app.openapi

    def document() -> dict[str, Any]:
        fresh = app.openapi_schema is None
        found = made()
        if fresh:
            change(found)
        return found

    app.openapi = document  # type: ignore[method-assign]


def say_what_all_do(document: dict[str, Any]) -> None:
    """Keys and refusals. FastAPI's own 422 goes: what it would answer so is refused as everything else is."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Refusal"] = _REFUSAL
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["securitySchemes"] = _SECURITY
    document["security"] = [{name: []} for name in _SECURITY]
    refused = {
        "description": "Refused.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
    }
    for operations in document["paths"].values():
        for method in _METHODS:
            if method in operations:
                responses = operations[method].setdefault("responses", {})
                responses.pop("422", None)
                responses.setdefault("default", refused)
