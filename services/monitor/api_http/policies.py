"""Monitor documents in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Query

from services.monitor.api_http.doors import Reader, Writer
from services.monitor.domain.declare import monitor_spec
from tenon.core.errors import Invalid, Place
from tenon.kit.http import read_json

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases

_DOCUMENT = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "description": "A Monitor document."}}},
    }
}


def add_policy_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes of Monitor documents on the app."""

    @app.put(
        "/v1/tenants/{tenant}/monitors/{name}", summary="Say how a model is watched", openapi_extra=_DOCUMENT
    )  # fmt: skip
    def apply_monitor(
        tenant: Writer, name: str, body: Annotated[Any, Depends(read_json)], *, dry_run: Annotated[bool, Query()] = False
    ) -> dict[str, Any]:  # fmt: skip
        spec = monitor_spec(body)
        if spec.name != name:
            raise Invalid(
                "NAME_MISMATCH", f"the document is named {spec.name!r}, the path says {name[:80]!r}",
                place=Place(field="name"),
            )  # fmt: skip
        change, stored = use.policies.apply(tenant, spec, dry_run=dry_run)
        return {"change": change} | stored.as_dict()

    @app.get("/v1/tenants/{tenant}/monitors", summary="Every declared Monitor document, by name")
    def list_monitors(tenant: Reader) -> dict[str, Any]:
        return {"monitors": [stored.as_dict() for stored in use.policies.list(tenant)]}

    @app.get("/v1/tenants/{tenant}/monitors/{name}", summary="One Monitor document")
    def get_monitor(tenant: Reader, name: str) -> dict[str, Any]:
        return use.policies.get(tenant, name).as_dict()
