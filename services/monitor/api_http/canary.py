"""What is on trial, and how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query

from services.monitor.api_http.doors import Reader
from tenon.core.errors import NotFound, Place

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases


def add_canary_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes of canary verdicts on the app."""

    @app.get("/v1/tenants/{tenant}/models/{model}/canary", summary="The verdict on a canary or shadow")
    def get_canary(tenant: Reader, model: str) -> dict[str, Any]:
        found = use.judge_canaries.current(tenant, model)
        if found is None:
            raise NotFound(
                "NO_CANARY_ON_TRIAL",
                f"model {model!r} of tenant {tenant.value!r} has no canary, no shadow and none on probation",
                place=Place(field="model"),
                hint="begin one: `tenon release set MODEL --canary VERSION --weight 5 --auto`",
            )
        return found

    @app.get("/v1/tenants/{tenant}/models/{model}/canary/history", summary="Verdicts as they were given, newest first")
    def list_canary_verdicts(
        tenant: Reader, model: str, limit: Annotated[int, Query(ge=1, le=500)] = 50
    ) -> dict[str, Any]:
        return {"verdicts": use.canary_verdicts.history(tenant, model, limit)}
