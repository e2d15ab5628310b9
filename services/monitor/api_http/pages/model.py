"""One model: what serves, how it fared over time with its releases marked, and what its inputs did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Response
from markupsafe import Markup

from services.monitor.api_http.pages.addresses import model_url, review_url, tenant_url
from services.monitor.api_http.pages.doors import Visit, page_visit
from services.monitor.api_http.pages.fleet import serves
from services.monitor.api_http.pages.history_plots import history_plots
from services.monitor.api_http.pages.html import join, tag
from services.monitor.api_http.pages.incident_list import incidents_section
from services.monitor.api_http.pages.known_at import known_at_form, known_at_from
from services.monitor.api_http.pages.model_tables import (
    canary_table,
    columns_table,
    figures_table,
    mistakes_table,
    releases_table,
    verdicts_table,
    versions_table,
)
from services.monitor.api_http.pages.retraining_list import retraining_section
from services.monitor.api_http.pages.words import facts, marked, minute, verdict_mark, when
from services.monitor.domain.reports.model_view import RANGES, ModelView
from tenon.core.errors import NotFound, Place, did_you_mean
from tenon.core.tenancy import Scope
from tenon.core.timestamps import rfc3339

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.model import Report

_RANGES = {"1d": "day", "7d": "week", "30d": "month", "90d": "quarter", "1y": "year", "all": "everything"}
_MOST_VERDICTS = 30
_MOST_REQUESTS = 10


def add_model_page(pages: APIRouter, use: UseCases) -> None:
    """Put the page on the router."""

    @pages.get("/tenants/{tenant}/models/{model}")
    def one_model(
        visit: Annotated[Visit, Depends(page_visit(Scope.READ))], model: str, last: Annotated[str, Query()] = "",
        by: Annotated[str, Query()] = "", known_at: Annotated[str, Query()] = "",
    ) -> Response:  # fmt: skip
        tenant = visit.tenant
        view = use.view_model(tenant, model, last, by, known_at_from(known_at))
        if view.line is None:
            models = [line.model for line in use.look_over.tenant(tenant).lines]
            near = did_you_mean(model, models)
            raise NotFound(
                "MODEL_NOT_SEEN", f"tenant {tenant} has no model {model[:60]!r} that is released or was asked",
                place=Place(field="model"), hint=f"Did you mean {near}?" if near else None,
            )  # fmt: skip
        now = use.now()
        found = use.incidents.list(tenant, model=model)
        incidents = incidents_section(found, now, tenant=tenant.value, csrf=visit.csrf)
        requests = use.retraining.known(tenant, model, _MOST_REQUESTS)
        retraining = retraining_section(requests, use.retraining.cools_until(tenant, model))
        body = [*_top(view, now), incidents, *([retraining] if retraining is not None else []), *_rest(view, now)]
        if view.report is not None:
            body.append(verdicts_table(use.verdicts.history(tenant, model, _MOST_VERDICTS)))
        trail = [(tenant.value, tenant_url(tenant.value)), (model, model_url(tenant.value, model))]
        return visit.page(f"{model} of {tenant}", *body, trail=trail)


def _top(view: ModelView, now: int) -> list[Markup]:
    """What fills the first screen."""
    line, report = view.line, view.report
    release = line.release if line is not None else None
    todo = join(line.advice, " ", tag("code", line.command) if line.command else None) if line is not None else Markup()
    if report is None:
        return [
            tag("h1", f"{line.model} has not been asked yet" if line is not None else ""),
            _facts(("serves", serves(release)), ("do", todo)),
        ]
    entries = [
        ("serves", serves(release)),
        *(
            [(f"{view.trial['role']} v{view.trial['candidate']}", verdict_mark(view.trial["verdict"]))]
            if view.trial
            else []
        ),
        ("drift", verdict_mark(report.drift)),
        ("quality", verdict_mark(report.quality)),
        ("predictions", tag("span", f"{report.predictions:,}")),
        ("labels", tag("span", f"{report.labels:,} ({report.label_coverage:.0%})")),
        ("last asked", when(line.seen.last_at if line is not None and line.seen is not None else None, now)),
        ("what to do", todo),
    ]
    review = tag("a", "review labels", href=review_url(report.tenant, report.model))
    depth = tag("a", "quality in depth", href=f"{model_url(report.tenant, report.model)}/quality?{_query(view)}")
    entries.append(("more", join(depth, " · ", review)))
    parts = [tag("h1", marked(report.summary), class_="long"), _facts(*entries), _range(view, report)]
    if view.history is not None:
        parts.append(history_plots(view.history, view.requests))
    return parts


def _rest(view: ModelView, now: int) -> list[Markup]:
    parts = []
    if view.report is not None:
        report = view.report
        worst = mistakes_table(view.mistakes, [column.column for column in report.columns])
        parts += [columns_table(report), worst, figures_table(report), versions_table(report)]
        if report.levels:
            rests = ", ".join(f"{level.replace('_', ' ')} {count:,}" for level, count in report.levels)
            parts.append(facts(f"Answers for which history was looked up, by what they rest on: {rests}."))
    if view.trial is not None:
        parts.insert(0, canary_table(view.trial))
    parts.append(releases_table(view.releases, now))
    return parts


def _facts(*entries: tuple[str, Markup]) -> Markup:
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in entries], class_="strip")


def _range(view: ModelView, report: Report) -> Markup:
    """The window, and links to others."""
    links = [
        tag("a", name, href=f"?{_query(view, last=last)}", aria_current="true" if last == view.last else None)
        for last, name in _RANGES.items()
        if last in RANGES
    ]
    axes = [
        tag("a", name, href=f"?{_query(view, last='', by=by)}", aria_current="true" if by == view.by else None)
        for by, name in (("at", "when answered"), ("event_time", "when it happened"))
    ]
    window = f"{minute(report.window.start)} to {minute(report.window.end)}"
    return tag(
        "nav", tag("span", window, class_="facts"), tag("span", *links, class_="choice"), tag("span", *axes, class_="choice"),
        known_at_form(view.known_at, last=view.last, by=view.by), aria_label="Window", class_="range",
    )  # fmt: skip


def _query(view: ModelView, **others: str) -> str:
    """The page's own question with some of it replaced."""
    asked = {"last": view.last, "by": view.by, "known_at": "" if view.known_at is None else rfc3339(view.known_at)}
    return urlencode({name: value for name, value in (asked | others).items() if value})
