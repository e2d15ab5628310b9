"""A tenant's month as one file that needs nothing beside it: to be sent, printed and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Response
from markupsafe import Markup

from services.monitor.api_http.doors import Reader
from services.monitor.api_http.pages.doors import Visit, page_visit
from services.monitor.api_http.pages.history_plots import drift_plot, quality_plot, release_marks, traffic_plot
from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.pages.known_at import known_at_from
from services.monitor.api_http.pages.layout import standalone
from services.monitor.api_http.pages.model_tables import columns_table, figures_table, releases_table
from services.monitor.api_http.pages.plots import Axis
from services.monitor.api_http.pages.retraining_list import retraining_section
from services.monitor.api_http.pages.words import facts, marked, minute, table, verdict_mark
from services.monitor.domain.model import Drift, Quality
from services.monitor.domain.releases import Known
from tenon.core.tenancy import Scope
from tenon.core.timestamps import parse_rfc3339

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.reports.month import ModelMonth, Month

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_MOST_COLUMNS = 12


def add_month_page(pages: APIRouter, use: UseCases) -> None:
    """The month for who has a session."""

    @pages.get("/tenants/{tenant}/months/{month}")
    def month_page(
        visit: Annotated[Visit, Depends(page_visit(Scope.READ))], month: str, known_at: Annotated[str, Query()] = ""
    ) -> Response:  # fmt: skip
        return _answer(month_html(use.tell_month(visit.tenant, month, known_at_from(known_at)), use.now()))


def add_month_route(app: FastAPI, use: UseCases) -> None:
    """The month for who has a key."""

    @app.get(
        "/v1/tenants/{tenant}/months/{month}/report.html",
        summary="A tenant's month (2026-10) as one self-contained page",
    )
    def month_report(
        tenant: Reader, month: str,
        known_at: Annotated[str | None, Query(description="labels as known at this time; default: now")] = None,
    ) -> Response:  # fmt: skip
        moment = None if known_at is None else parse_rfc3339(known_at, "known_at")
        return _answer(month_html(use.tell_month(tenant, month, moment), use.now()))


def month_html(month: Month, now: int) -> str:
    """The whole file."""
    title = f"{month.tenant} in {month.month}"
    so_far = " so far" if month.running else ""
    as_known = "" if month.known_at is None else f", labels as known at {minute(month.known_at)}"
    body = [
        tag("h1", f"{_headline(month)}"),
        facts(f"Tenant {month.tenant}, {month.month}{so_far}. Drawn {minute(now)}{as_known}."),
    ]
    if month.models:
        body.append(_overview(month))
    body += [_model(one) for one in month.models]
    if month.silent:
        body.append(facts(f"Not asked in this month: {', '.join(month.silent)}."))
    return standalone(title, *body)


def _headline(month: Month) -> str:
    if not month.models:
        return f"No model of {month.tenant} was asked in {month.month}."
    worse = [one.report.model for one in month.models if one.report.quality is Quality.WORSE]
    drift = [one.report.model for one in month.models if one.report.drift is Drift.DRIFT]
    if worse:
        return (
            f"{', '.join(worse)} answered worse than on its test."
            if len(worse) == 1
            else f"{len(worse)} models answered worse than on their tests: {', '.join(worse)}."
        )
    if drift:
        return f"Inputs of {', '.join(drift)} drifted; no model is known to have answered worse."
    return "No model drifted, and none is known to have answered worse than on its test."


def _overview(month: Month) -> Markup:
    rows: list[list[Markup | str]] = [
        [
            tag("a", one.report.model, href=f"#{one.report.model}"), verdict_mark(one.report.drift), verdict_mark(one.report.quality),
            f"{one.report.predictions:,}", _before(one), f"{one.report.label_coverage:.0%}", f"{len(one.releases):,}",
        ]
        for one in month.models
    ]  # fmt: skip
    head = [
        ("model", ""),
        ("drift", ""),
        ("quality", ""),
        ("predictions", "n"),
        ("month before", "n"),
        ("labelled", "n"),
        ("releases", "n"),
    ]
    return table("Models", head, rows, class_="overview", hidden=True)


def _before(one: ModelMonth) -> str:
    return f"{one.before.predictions:,}" if one.before is not None else "–"


def _model(one: ModelMonth) -> Markup:
    report = one.report
    axis = Axis(one.history.window.start, one.history.window.end)
    marks = release_marks(one.history)
    by = "" if report.window.by == "at" else " Months are those of the events: the answers were given at another time."
    drifting = [column for column in report.columns if column.verdict is Drift.DRIFT]
    return tag(
        "section",
        tag("h2", report.model, class_="model"),
        tag("p", marked(report.summary), tag("span", by, class_="facts")),
        tag("h3", "What its answers were worth") if one.worth else None,
        tag("ul", [tag("li", said) for said in one.worth]) if one.worth else None,
        tag("h3", "What changed"),
        tag("ul", [tag("li", marked(change)) for change in one.changes]),
        tag("div", quality_plot(one.history, axis, marks), drift_plot(one.history, axis, marks),
            traffic_plot(one.history, axis, marks), class_="plots"),
        releases_table(Known(one.releases[::-1], fresh=True), None) if one.releases else facts("Nothing was released in this month."),
        retraining_section(one.retraining),
        figures_table(report),
        columns_table(report, most=max(_MOST_COLUMNS, len(drifting))),
        id=report.model,
    )  # fmt: skip


def _answer(html: str) -> Response:
    headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "cache-control": "no-store"}
    return Response(html, headers=headers, media_type="text/html")
