"""Definitions and online values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from services.features.domain.define_views import DefineViews
from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.model import EntityKeys, OnlineState, View
from services.features.domain.texts import shown
from tenon.core.errors import Invalid, Place
from tenon.core.specs import FeatureViewSpec, parse_spec
from tenon.core.tenancy import Scope, TenantId
from tenon.core.timestamps import parse_rfc3339, rfc3339
from tenon.kit.http import allow, read_json

_DOCUMENT = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "description": "A FeatureView document."}}},
    }
}


class LookupRow(BaseModel):
    """One row: key columns by name, and the time the values are wanted for (left out: now)."""

    model_config = ConfigDict(extra="forbid")

    keys: dict[str, str | int | bool | None]
    at: str | None = None


class LookupBody(BaseModel):
    """Which views, for which rows; `definitions` names a view's digest where it is not to be the newest."""

    model_config = ConfigDict(extra="forbid")

    views: list[str] = Field(min_length=1)
    rows: list[LookupRow]
    definitions: dict[str, str] = Field(default_factory=dict)


def feature_routes(views: DefineViews, online: LookUpOnline, now: Callable[[], int]) -> APIRouter:
    """The service's own routes."""
    routes = APIRouter(prefix="/v1/tenants/{tenant}", tags=["features"])

    @routes.put("/feature-views/{name}", openapi_extra=_DOCUMENT)
    def apply_view(
        tenant: Annotated[TenantId, Depends(allow(Scope.WRITE))],
        name: str,
        body: Annotated[Any, Depends(read_json)],
        *,
        dry_run: Annotated[bool, Query()] = False,
    ) -> dict[str, Any]:
        """Store a FeatureView document; an equal one makes no new revision."""
        if not isinstance(body, dict):
            raise Invalid("SPEC_INVALID", "the body is not a FeatureView document")
        document = {key: value for key, value in body.items() if key not in ("kind", "tenant")}
        if body.get("kind", FeatureViewSpec.KIND) != FeatureViewSpec.KIND:
            raise Invalid("KIND_WRONG", "this is not a FeatureView document", place=Place(field="kind"))
        spec = parse_spec(FeatureViewSpec, document)
        if spec.name != name:
            raise Invalid(
                "NAME_MISMATCH",
                f"the document is named {spec.name!r}, the path says {name[:80]!r}",
                place=Place(field="name"),
            )
        change, view = views.apply(tenant, spec, dry_run=dry_run)
        return {"change": change} | shown_view(view)

    @routes.get("/feature-views")
    def list_views(tenant: Annotated[TenantId, Depends(allow(Scope.READ))]) -> dict[str, Any]:
        """Every view, by name."""
        return {"feature_views": [shown_view(view) for view in views.list(tenant)]}

    @routes.get("/feature-views/{name}")
    def get_view(tenant: Annotated[TenantId, Depends(allow(Scope.READ))], name: str) -> dict[str, Any]:
        """One view, and what the online store holds of it."""
        view = views.get(tenant, name)
        state = views.online_state(tenant, name)
        return shown_view(view) | {"online": None if state is None else _state(view, state)}

    @routes.post("/online-features")
    def online_features(tenant: Annotated[TenantId, Depends(allow(Scope.PREDICT))], body: LookupBody) -> dict[str, Any]:
        """The values of views for entities at a time; a missing value is null, its status says why."""
        moment = now()
        rows = [
            EntityKeys(
                {key: text_of(value) for key, value in row.keys.items() if value is not None},
                moment if row.at is None else parse_rfc3339(row.at, f"rows.{index}.at"),
            )
            for index, row in enumerate(body.rows)
        ]
        answer = online.look_up(tenant, body.views, rows, body.definitions)
        tables = [answer.texts if place in answer.text_features else None for place in range(len(answer.features))]
        return {
            "features": answer.features,
            "data_until": {
                view: None if until is None else rfc3339(until)
                for view, until in zip(body.views, answer.data_until, strict=True)
            },
            "rows": [
                {
                    "at": rfc3339(asked.at),
                    "values": {
                        name: {"value": shown(value, table), "status": status.name}
                        for name, value, status, table in zip(
                            answer.features, row.values, row.statuses, tables, strict=True
                        )
                    },
                    "known_until": {
                        view: None if known is None else rfc3339(known)
                        for view, known in zip(body.views, row.known_until, strict=True)
                    },
                }
                for asked, row in zip(rows, answer.rows, strict=True)
            ],
        }

    return routes


def text_of(value: str | int | bool) -> str:
    """A key as text in canonical form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def shown_view(view: View) -> dict[str, Any]:
    """A view as it goes over the wire."""
    return {
        "tenant": view.tenant.value,
        "name": view.name,
        "revision": view.revision,
        "digest": view.digest,
        "features": [feature.reference for feature in view.spec.features()],
        "spec": view.spec.canonical(),
    }


def _state(view: View, state: OnlineState) -> dict[str, Any]:
    return {
        "serves_this_revision": state.view_digest == view.digest,
        "revision": state.revision,
        "table_version": state.table_version,
        "entities": state.entities,
        "blob_bytes": state.blob_bytes,
        "entity_bytes": {"p50": state.median_bytes, "p99": state.p99_bytes, "largest": state.largest_bytes},
        "horizon": rfc3339(state.horizon),
        "newest_event": None if state.newest_event is None else rfc3339(state.newest_event),
        "built_at": rfc3339(state.built_at),
    }
