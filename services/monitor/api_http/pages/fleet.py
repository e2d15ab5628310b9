"""The first page: every model of every tenant, or a tenant's own, the worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Response
from markupsafe import Markup
from starlette.responses import RedirectResponse

from services.monitor.api_http.pages.addresses import model_url, tenant_url
from services.monitor.api_http.pages.doors import Visit, page_visit
from services.monitor.api_http.pages.html import join, tag
from services.monitor.api_http.pages.incident_list import incidents_section
from services.monitor.api_http.pages.words import facts, marked, minute, share, table, verdict_mark, when
from services.monitor.domain.reports.overview import DRIFTS, FINE, UNKNOWN, WORSE, Overview
from tenon.core.errors import NotFound
from tenon.core.tenancy import Scope
from tenon.core.timestamps import rfc3339

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.releases import Release
    from services.monitor.domain.reports.overview import Line

Reading = Annotated[Visit, Depends(page_visit(Scope.READ))]

_MOST_TOLD, _MOST_LINES = 8, 12
_TONES = {WORSE: "bad", DRIFTS: "bad"}


def add_fleet_page(pages: APIRouter, use: UseCases) -> None:
    """Put the pages of the fleet and of a tenant on the router."""

    @pages.get("")
    def fleet(visit: Reading) -> Response:
        if visit.principal.tenant is not None:
            return RedirectResponse(tenant_url(visit.principal.tenant.value), status_code=303)
        found = use.look_over.fleet()
        what = f"{_count(len(found.tenants), 'tenant')}, {_count(len(found.lines), 'model')}"
        open_now = incidents_section(use.incidents.list(None), use.now(), csrf=visit.csrf)
        return visit.page("Fleet", *_overview(found, use.now(), what, open_now, fleet=True))

    @pages.get("/tenants/{tenant}")
    def one_tenant(visit: Reading) -> Response:
        tenant = visit.tenant.value
        found = use.look_over.tenant(visit.tenant)
        if not found.lines and visit.principal.is_platform and tenant not in use.look_over.fleet().tenants:
            raise NotFound("TENANT_NOT_FOUND", f"there is no tenant {tenant!r}")
        month = rfc3339(use.now())[:7]
        link = tag("p", tag("a", f"This month's report ({month})", href=f"{tenant_url(tenant)}/months/{month}"))
        open_now = incidents_section(use.incidents.list(visit.tenant), use.now(), tenant=tenant, csrf=visit.csrf)
        body = _overview(
            found, use.now(), f"Tenant {tenant}, {_count(len(found.lines), 'model')}", open_now, fleet=False
        )
        return visit.page(tenant, *body, link, trail=[(tenant, tenant_url(tenant))])


def serves(release: Release | None) -> Markup:
    """Which versions answer, with which shares."""
    if release is None or not release.tracks:
        return tag("span", "nothing", class_="open")
    parts = []
    for track in release.tracks:
        much = "" if track.role == "shadow" else f" {share(track.share)}"
        name = "" if track.role == "stable" else f"{track.role} "
        kind = track.role if track.role in {"stable", "canary", "shadow"} else "arm"
        parts.append(tag("span", f"{name}v{track.version}{much}", class_=f"track {kind}"))
    return join(*[join(part, " ") for part in parts])


def headline(found: Overview) -> str:
    """The one sentence to read."""
    if not found.lines:
        return "Nothing is released yet."
    urgent = found.urgent
    if not urgent:
        judged = sum(line.verdict is not None for line in found.lines)
        return "No model needs you." if judged else "No verdict yet: there are too few predictions."
    worst = urgent[0]
    number = "One model needs" if len(urgent) == 1 else f"{len(urgent)} models need"
    why = "answers worse than on its test" if worst.rank == WORSE else "gets other inputs than in its training"
    return f"{number} you: {worst.model} of {worst.tenant} {why}" + ("." if len(urgent) == 1 else " most.")


def _overview(found: Overview, now: int, what: str, incidents: Markup, *, fleet: bool) -> list[Markup]:
    parts = [tag("h1", headline(found), class_="bad" if found.urgent else None), facts(what, _asked(found, now))]
    if not found.lines:
        return [*parts, _first_steps(found)]
    columns = [
        *([("tenant", "")] if fleet else []), ("model", ""), ("serves", ""), ("drift", ""), ("quality", ""), ("predictions", "n"),
        ("labels", "n"), ("last asked", "n"), ("what to do", "todo"),
    ]  # fmt: skip
    rows = [_row(line, now, fleet=fleet) for line in found.lines]
    title = "All models, the worst first" if fleet else "Models, the worst first"
    # Of a large fleet the lines that need nobody are folded, so that the first screen holds what matters.
    shown = max(_MOST_LINES, sum(line.rank < UNKNOWN for line in found.lines)) if len(rows) > _MOST_LINES else len(rows)
    models = table(title, columns, rows[:shown], class_="overview", hidden=True)
    rest = Markup()
    if rows[shown:]:
        calm = table("Models that need nobody", columns, rows[shown:], class_="overview", hidden=True)
        rest = tag("details", tag("summary", f"{_count(len(rows) - shown, 'model')} more, none needs you"), calm)
    return [*parts, models, rest, incidents, _found(found)]


def _found(found: Overview) -> Markup:
    """What the verdicts say of those in trouble, and of what could not be judged, in their own words."""
    told = [line for line in found.lines if line.verdict is not None and line.rank != FINE][:_MOST_TOLD]
    if not told:
        return Markup()
    items = [
        tag(
            "li",
            tag("a", f"{line.tenant} · {line.model}", href=model_url(line.tenant, line.model)),
            " ",
            marked(line.verdict.summary),
        )
        for line in told
        if line.verdict is not None
    ]
    return tag("section", tag("h2", "What was found"), tag("ul", items, class_="found"))


def _row(line: Line, now: int, *, fleet: bool) -> list[Markup | str]:
    seen, verdict = line.seen, line.verdict
    nothing = tag("span", "–", class_="facts")
    todo = join(
        tag("span", line.advice, class_=_TONES.get(line.rank)), _command(line.command) if line.command else None
    )
    drifted = nothing
    if verdict is not None:
        more = len(verdict.drifted_columns) - 1
        named = tag("code", verdict.drifted_columns[0]) if verdict.drifted_columns else None
        drifted = join(
            verdict_mark(verdict.drift), tag("br") if named else None, named, f" and {more} more" if more > 0 else None
        )
    return [
        *([tag("a", line.tenant, href=tenant_url(line.tenant))] if fleet else []),
        tag("a", line.model, href=model_url(line.tenant, line.model)),
        serves(line.release),
        drifted,
        verdict_mark(verdict.quality) if verdict is not None else nothing,
        f"{seen.predictions:,}" if seen is not None else "0",
        f"{seen.labels:,}" if seen is not None else "0",
        when(seen.last_at if seen is not None else None, now),
        todo,
    ]


def _command(text: str) -> Markup:
    """A command to paste, broken between its words only."""
    return tag("code", [(tag("span", word, class_="w"), " ") for word in text.split()], class_="command")


def _asked(found: Overview, now: int) -> str:
    if found.known.fresh:
        return f". Drawn {minute(now)}."
    if found.known.asked_at is None:
        return ". The registry does not answer: what is released is not known."
    return f". The registry does not answer: releases as of {minute(found.known.asked_at)}."


def _first_steps(found: Overview) -> Markup:
    whose = f" --tenant {found.tenants[0]}" if len(found.tenants) == 1 else ""
    steps = [
        ("Declare a data set and a model", "tenon init && tenon apply -f ."),
        ("Load data and train", f"tenon train MODEL{whose} --wait"),
        ("Let a version answer", f"tenon release set MODEL --stable 1{whose}"),
        ("Ask it", f"tenon predict MODEL{whose}"),
    ]
    items = [tag("li", what, tag("br"), tag("code", command)) for what, command in steps]
    return join(tag("p", marked("What to do, in another terminal:")), tag("ol", items, class_="steps"))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
