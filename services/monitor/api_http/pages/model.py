"""One model: what serves, how it fared, and what its inputs did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Response

from services.monitor.api_http.pages.addresses import model_url, tenant_url
from services.monitor.api_http.pages.doors import Visit, page_visit
from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.pages.words import facts, marked, table, verdict_mark
from services.monitor.domain.window import window_from
from tenon.core.tenancy import Scope

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases


def add_model_page(pages: APIRouter, use: UseCases) -> None:
    """Put the page on the router."""

    @pages.get("/tenants/{tenant}/models/{model}")
    def one_model(visit: Annotated[Visit, Depends(page_visit(Scope.READ))], model: str) -> Response:
        now = use.now()
        report = use.build_report(visit.tenant, model, window_from(None, None, "at", now=now, length=use.window))
        rows = [
            [column.column, verdict_mark(column.verdict), f"{column.effect:.3f}", marked(column.summary)]
            for column in report.columns
        ]
        return visit.page(
            model,
            tag("h1", marked(report.summary)),
            facts(f"{report.predictions:,} predictions, {report.labels:,} with a label"),
            table(
                "Columns against training, worst first",
                [("column", ""), ("verdict", ""), ("effect", "n"), ("what", "")],
                rows,
            ),
            trail=[(visit.tenant.value, tenant_url(visit.tenant.value)), (model, model_url(visit.tenant.value, model))],
        )
