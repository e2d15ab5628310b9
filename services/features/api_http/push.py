"""Fresh events over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.features.domain.push_events import PushEvents
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.http import allow


class PushBody(BaseModel):
    """Rows of the data set, each column by name: numbers as numbers, decimals as numbers or text, instants and dates as
    text."""

    model_config = ConfigDict(extra="forbid")

    rows: list[dict[str, Any]] = Field(min_length=1)


class WithdrawBody(BaseModel):
    """Which pushed rows: those whose column has this value."""

    model_config = ConfigDict(extra="forbid")

    column: str
    value: str | int | bool


def push_routes(pushing: PushEvents) -> APIRouter:
    """Pushing rows, and taking them back."""
    routes = APIRouter(prefix="/v1/tenants/{tenant}/datasets/{dataset}", tags=["features"])

    @routes.post("/events")
    def push_events(
        tenant: Annotated[TenantId, Depends(allow(Scope.WRITE))], dataset: str, body: PushBody
    ) -> dict[str, Any]:
        """Show rows online at once, ahead of the commit that brings them; all of them, or none. Rows whose key the table
        has already change nothing (`known`)."""
        made = pushing.push(tenant, dataset, body.rows)
        return {"accepted": made.accepted, "known": made.known, "views": made.views}

    @routes.post("/events/withdraw")
    def withdraw_events(
        tenant: Annotated[TenantId, Depends(allow(Scope.WRITE))], dataset: str, body: WithdrawBody
    ) -> dict[str, Any]:
        """Take back pushed rows that wait for their commit, as for a person whose data are to be erased."""
        value = str(body.value).lower() if isinstance(body.value, bool) else str(body.value)
        return {"withdrawn": pushing.withdraw(tenant, dataset, body.column, value)}

    return routes
