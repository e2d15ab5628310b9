"""Models, reports and verdicts out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Query
from starlette.responses import HTMLResponse

from services.monitor import metrics
from services.monitor.api_http.doors import Reader
from services.monitor.api_http.shapes import report_json, seen_json, verdict_json
from services.monitor.domain.model import Report
from services.monitor.domain.reports.html import render_html
from services.monitor.domain.window import role_from, window_from
from tenon.core.timestamps import parse_rfc3339

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases

_MAX_VERSION = 2**31 - 1


def add_report_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes of models, reports and verdicts on the app."""

    def report_for(tenant: Reader, model: str, query: Annotated[_ReportQuery, Depends()]) -> Report:
        start, end, known_at = (
            None if text is None else parse_rfc3339(text, name)
            for name, text in (("from", query.start), ("to", query.end), ("known_at", query.known_at))
        )
        window = window_from(start, end, query.by, now=use.now(), length=use.window)
        with metrics.REPORTS.time():
            return use.build_report(
                tenant, model, window, version=query.version, role=role_from(query.role), known_at=known_at
            )

    @app.get("/v1/tenants/{tenant}/models", summary="Models that monitor has seen, with their latest verdicts")
    def list_models(tenant: Reader) -> dict[str, Any]:
        latest = use.verdicts.latest(tenant)
        return {"models": [seen_json(seen, latest.get(seen.model)) for seen in use.log.seen(tenant)]}

    @app.get("/v1/tenants/{tenant}/models/{model}/report", summary="Drift and quality in a window")
    def get_report(report: Report = Depends(report_for)) -> dict[str, Any]:
        return report_json(report)

    @app.get("/v1/tenants/{tenant}/models/{model}/report.html", summary="The same, as one page for people")
    def get_report_page(report: Report = Depends(report_for)) -> HTMLResponse:
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return HTMLResponse(render_html(report, use.now()), headers={"content-security-policy": policy})

    @app.get("/v1/tenants/{tenant}/models/{model}/verdicts", summary="Verdicts as they were given, newest first")
    def list_verdicts(tenant: Reader, model: str, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        return {"verdicts": [verdict_json(record) for record in use.verdicts.history(tenant, model, limit)]}


class _ReportQuery:
    """The parameters of a report."""

    def __init__(
        self,
        start: Annotated[str | None, Query(alias="from", description="RFC 3339; default: 7 days before `to`")] = None,
        end: Annotated[str | None, Query(alias="to", description="RFC 3339, exclusive; default: now")] = None,
        version: Annotated[int, Query(ge=0, le=_MAX_VERSION, description="0: all versions")] = 0,
        role: Annotated[str | None, Query(description="stable, canary, shadow or an arm's name; default: all")] = None,
        by: Annotated[str, Query(description="at (answered) or event_time")] = "at",
        known_at: Annotated[str | None, Query(description="labels as known at this time; default: now")] = None,
    ) -> None:
        self.start, self.end, self.version = start, end, version
        self.role, self.by, self.known_at = role, by, known_at
