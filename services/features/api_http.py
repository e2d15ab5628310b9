"""The HTTP door: the command line and people."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from services.features.domain.define_views import DefineViews
from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.lookup import STATUSES, Status
from services.features.domain.model import EntityKeys, OnlineState, View
from tenon.core.errors import Invalid, Place
from tenon.core.specs import FeatureViewSpec, parse_spec
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.core.timestamps import parse_rfc3339, rfc3339
from tenon.kit.http import allow, principal_of, read_json
from tenon.windows.program import NOTHING_KNOWN

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
    """Which views, for which rows."""

    model_config = ConfigDict(extra="forbid")

    views: list[str] = Field(min_length=1)
    rows: list[LookupRow]


class FeastBody(BaseModel):
    """What Feast's clients send to `/get-online-features`."""

    model_config = ConfigDict(extra="forbid")

    entities: dict[str, list[str | int | bool | None]]
    features: list[str] | None = None
    feature_service: str | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


_FEAST_STATUS = {
    Status.PRESENT: "PRESENT",
    Status.MISSING: "NULL_VALUE",
    Status.UNKNOWN_ENTITY: "NOT_FOUND",
    Status.BEFORE_HORIZON: "OUTSIDE_MAX_AGE",
}


def feast_routes(online: LookUpOnline, now: Callable[[], int]) -> APIRouter:
    """The twin of Feast's feature server: the tenant is in the path, or it is the key's own."""
    routes = APIRouter(tags=["feast"])

    @routes.post("/v1/tenants/{tenant}/get-online-features")
    def of_path(tenant: Annotated[TenantId, Depends(allow(Scope.PREDICT))], body: FeastBody) -> dict[str, Any]:
        """Values now, as Feast's feature server answers them: a column for each entity key and feature."""
        return _feast_answer(online, tenant, body, now())

    @routes.post("/get-online-features")
    def of_key(
        request: Request, principal: Annotated[Principal, Depends(principal_of)], body: FeastBody
    ) -> dict[str, Any]:
        """The same for a client that knows no tenants: that of its API key, or of the header `x-tenon-tenant`."""
        named = request.headers.get("x-tenon-tenant")
        tenant = TenantId(named) if named else principal.tenant
        if tenant is None:
            raise Invalid(
                "TENANT_MISSING",
                "this key belongs to no tenant",
                hint="name it in the header `x-tenon-tenant`, or ask /v1/tenants/TENANT/get-online-features",
            )
        principal.require(tenant, Scope.PREDICT)
        return _feast_answer(online, tenant, body, now())

    return routes


def _feast_answer(online: LookUpOnline, tenant: TenantId, body: FeastBody, at: int) -> dict[str, Any]:
    if not body.features:
        raise Invalid("FEATURES_MISSING", "name `features` as view:feature; there are no feature services",
                      place=Place(field="features"))  # fmt: skip
    lengths = {len(values) for values in body.entities.values()}
    if len(lengths) != 1:
        raise Invalid("ENTITIES_UNEVEN", "entities: every column has one value for each row",
                      place=Place(field="entities"))  # fmt: skip
    wanted = [tuple(reference.split(":", 1)) for reference in body.features]
    if any(len(parts) != 2 for parts in wanted):
        raise Invalid("FEATURE_INVALID", "features: write each as view:feature", place=Place(field="features"))
    views = list(dict.fromkeys(view for view, _ in wanted))
    count = lengths.pop()
    rows = [
        EntityKeys(
            {name: _text(value) for name, column in body.entities.items() if (value := column[row]) is not None}, at
        )
        for row in range(count)
    ]
    columns: dict[str, dict[str, Any]] = {}
    for view in online.look_up_columns(tenant, views, rows):
        known = [rfc3339(0 if moment == NOTHING_KNOWN else moment) for moment in view.answer.known.tolist()]
        for place, feature in enumerate(view.plan.features):
            columns[feature.reference] = {
                "values": [None if math.isnan(value) else value for value in view.answer.values[place].tolist()],
                "statuses": [_FEAST_STATUS[STATUSES[status]] for status in view.answer.statuses[place].tolist()],
                "event_timestamps": known,
            }
    names = [f"{view}__{feature}" if body.full_feature_names else feature for view, feature in wanted]
    if len({*names, *body.entities}) < len(names) + len(body.entities):
        raise Invalid("FEATURE_TWICE", "two features have the same name", place=Place(field="features"),
                      hint="ask with full_feature_names")  # fmt: skip
    results = [
        {"values": column, "statuses": ["PRESENT" if value is not None else "NULL_VALUE" for value in column],
         "event_timestamps": [rfc3339(0)] * count}
        for column in body.entities.values()
    ]  # fmt: skip
    for view_name, feature_name in wanted:
        found = columns.get(f"{view_name}.{feature_name}")
        if found is None:
            raise Invalid("FEATURE_UNKNOWN", f"view {view_name!r} has no feature {feature_name[:80]!r}",
                          place=Place(field="features"))  # fmt: skip
        results.append(found)
    return {"metadata": {"feature_names": [*body.entities, *names]}, "results": results}


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
        return {"change": change} | _shown(view)

    @routes.get("/feature-views")
    def list_views(tenant: Annotated[TenantId, Depends(allow(Scope.READ))]) -> dict[str, Any]:
        """Every view, by name."""
        return {"feature_views": [_shown(view) for view in views.list(tenant)]}

    @routes.get("/feature-views/{name}")
    def get_view(tenant: Annotated[TenantId, Depends(allow(Scope.READ))], name: str) -> dict[str, Any]:
        """One view, and what the online store holds of it."""
        view = views.get(tenant, name)
        state = views.online_state(tenant, name)
        return _shown(view) | {"online": None if state is None else _state(view, state)}

    @routes.post("/online-features")
    def online_features(tenant: Annotated[TenantId, Depends(allow(Scope.PREDICT))], body: LookupBody) -> dict[str, Any]:
        """The values of views for entities at a time; a missing value is null, its status says why."""
        moment = now()
        rows = [
            EntityKeys(
                {key: _text(value) for key, value in row.keys.items() if value is not None},
                moment if row.at is None else parse_rfc3339(row.at, f"rows.{index}.at"),
            )
            for index, row in enumerate(body.rows)
        ]
        answer = online.look_up(tenant, body.views, rows)
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
                        name: {"value": None if math.isnan(value) else value, "status": status.name}
                        for name, value, status in zip(answer.features, row.values, row.statuses, strict=True)
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


def _text(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _shown(view: View) -> dict[str, Any]:
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
        "horizon": rfc3339(state.horizon),
        "newest_event": None if state.newest_event is None else rfc3339(state.newest_event),
        "built_at": rfc3339(state.built_at),
    }
