"""The twin of Feast's feature server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from services.features.api_http.views import text_of
from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.lookup import STATUSES, Status
from services.features.domain.model import AskedRows, EntityKeys
from services.features.domain.texts import shown
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.core.timestamps import rfc3339
from tenon.kit.http import allow, principal_of
from tenon.windows.program import NOTHING_KNOWN


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
            {name: text_of(value) for name, column in body.entities.items() if (value := column[row]) is not None}, at
        )
        for row in range(count)
    ]
    columns: dict[str, dict[str, Any]] = {}
    for view in online.look_up_columns(tenant, views, AskedRows.of(rows)):
        known = [rfc3339(0 if moment == NOTHING_KNOWN else moment) for moment in view.answer.known.tolist()]
        texts = view.texts.texts
        for place, feature in enumerate(view.plan.features):
            columns[feature.reference] = {
                "values": [
                    shown(value, texts if feature.is_text else None) for value in view.answer.values[place].tolist()
                ],
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
