"""Incidents: all of them, and one with its evidence, its history and what people do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Response
from markupsafe import Markup
from starlette.responses import RedirectResponse

from services.monitor.api_http.pages.addresses import incident_url, incidents_url, model_url, tenant_url
from services.monitor.api_http.pages.doors import Visit, page_visit, posted_form
from services.monitor.api_http.pages.html import join, tag
from services.monitor.api_http.pages.incident_history import history_section
from services.monitor.api_http.pages.incident_list import severity_mark, whose
from services.monitor.api_http.pages.words import facts, marked, minute, named, table, when
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope
from tenon.core.timestamps import parse_duration, parse_rfc3339

if TYPE_CHECKING:
    from services.monitor.api_http.pages.layout import Trail
    from services.monitor.api_http.use_cases import UseCases
    from tenon.core.tenancy import TenantId

SNOOZES = {"2h": "two hours", "12h": "half a day", "1d": "a day", "3d": "three days", "7d": "a week", "30d": "a month"}
_STATES = {"open": "open", "closed": "over", "all": "all"}
_Form = Annotated[dict[str, str], Depends(posted_form)]
_Reading = Annotated[Visit, Depends(page_visit(Scope.READ))]
_Writing = Annotated[Visit, Depends(page_visit(Scope.WRITE))]
_State = Annotated[str, Query()]
_Said = Annotated[str, Query(max_length=300)]


def add_incident_pages(pages: APIRouter, use: UseCases) -> None:
    """Put the pages of incidents on the router: the operator's over all tenants, and each tenant's."""

    @pages.get("/incidents")
    def everybodys(visit: _Reading, state: _State = "open") -> Response:
        if visit.principal.tenant is not None:
            return RedirectResponse(incidents_url(visit.principal.tenant.value), status_code=303)
        return _list(use, visit, None, state)

    @pages.get("/tenants/{tenant}/incidents")
    def a_tenants(visit: _Reading, state: _State = "open") -> Response:
        return _list(use, visit, visit.tenant, state)

    @pages.get("/incidents/{incident}")
    def one_of_all(visit: _Reading, incident: str, said: _Said = "") -> Response:
        if visit.principal.tenant is not None:
            return RedirectResponse(incident_url(visit.principal.tenant.value, incident), status_code=303)
        return _one(use, visit, None, incident, said)

    @pages.get("/tenants/{tenant}/incidents/{incident}")
    def one(visit: _Reading, incident: str, said: _Said = "") -> Response:
        return _one(use, visit, visit.tenant, incident, said)

    @pages.post("/incidents/{incident}")
    def note_as_operator(visit: _Writing, incident: str, form: _Form) -> Response:
        visit.principal.require_admin()
        return _noted(use, visit, None, incident, form)

    @pages.post("/tenants/{tenant}/incidents/{incident}")
    def note(visit: _Writing, incident: str, form: _Form) -> Response:
        return _noted(use, visit, visit.tenant, incident, form)


def _name(tenant: TenantId | None) -> str:
    return "" if tenant is None else tenant.value


def _trail(tenant: TenantId | None) -> Trail:
    name = _name(tenant)
    above = [] if tenant is None else [(name, tenant_url(name))]
    return [*above, ("incidents", incidents_url(name))]


def _list(use: UseCases, visit: Visit, tenant: TenantId | None, state: str) -> Response:
    found = use.incidents.list(tenant, state=state)
    links = [
        tag("a", word, href=f"?state={one}", aria_current="true" if one == state else None)
        for one, word in _STATES.items()
    ]
    body = [
        tag("h1", _headline(len(found), state)),
        tag("nav", tag("span", *links, class_="choice"), aria_label="Which incidents", class_="range"),
    ]
    if found:
        body.append(_table(found, use.now(), _name(tenant)))
    elif state == "open":
        body.append(
            facts("Features, answers, quality and canaries are as they should be, as far as there is evidence.")
        )
    return visit.page("Incidents", *body, trail=_trail(tenant))


def _headline(count: int, state: str) -> str:
    word = {"open": "open incident", "closed": "incident that is over", "all": "incident"}[state]
    plural = {"open": "open incidents", "closed": "incidents that are over", "all": "incidents"}[state]
    return f"One {word}." if count == 1 else f"{count or 'No'} {plural}."


def _table(found: list[dict[str, Any]], now: int, tenant: str) -> Markup:
    rows: list[list[Markup | str]] = [
        [
            tag("a", one["title"], href=incident_url(tenant, one["id"])),
            severity_mark(one),
            *([] if tenant else [one["tenant"] or f"{len(one.get('tenants', []))} tenants"]),
            when(parse_rfc3339(one["since"]), now),
            _handled(one),
        ]
        for one in found
    ]
    head = [("what", "todo"), ("severity", ""), *([] if tenant else [("of", "")]), ("since", "t"), ("who is at it", "")]
    return table("Incidents, the critical ones first", head, rows, class_="overview", hidden=True)


def _handled(one: dict[str, Any]) -> str:
    note = one["note"]
    if note is not None:
        until = f" until {minute(parse_rfc3339(note['until']))}" if note["until"] else ""
        return f"{note['action']} by {note['who']}{until}"
    return "nobody" if one["state"] == "open" else "–"


def _one(use: UseCases, visit: Visit, tenant: TenantId | None, incident: str, said: str) -> Response:
    found, now = use.incidents.show(tenant, incident), use.now()
    here = incident_url(_name(tenant), found["id"])
    body = [
        tag("p", said, id="said", role="status", aria_live="polite") if said else Markup(),
        tag("h1", found["title"], class_="long"),
        facts(severity_mark(found), f"{whose(found)}, began ", when(parse_rfc3339(found["since"]), now), f" · {found['id']}"),
        _listed("What may be behind it", found["causes"]),
        _listed("What to do", found["advice"]),
    ]  # fmt: skip
    if found["merged_into"]:
        body.append(tag("p", "It is part of ", tag("a", found["merged_into"], href=incident_url(_name(tenant), found["merged_into"]))))  # fmt: skip
    if found["state"] == "open":
        body.append(_controls(visit, here, found["note"]))
    body += [_evidence(found), history_section(found), tag("p", "More: ", tag("code", found["docs"]), class_="facts")]
    trail = [*_trail(tenant), (found["id"], here)]
    return visit.page(f"Incident {found['id']}", *body, trail=trail)


def _listed(title: str, texts: list[str]) -> Markup:
    if not texts:
        return Markup()
    items = [tag("li", marked(f"{text[:1].upper()}{text[1:]}.")) for text in texts]
    return tag("section", tag("h2", title), tag("ul", items))


def _controls(visit: Visit, here: str, note: dict[str, Any] | None) -> Markup:
    csrf = tag("input", type="hidden", name="csrf", value=visit.csrf)

    def form(action: str, *inside: Markup | str) -> Markup:
        kind = tag("input", type="hidden", name="action", value=action)
        return tag("form", csrf, kind, *inside, method="post", action=here)

    if note is not None:
        until = f" until {minute(parse_rfc3339(note['until']))}" if note["until"] else ""
        told = f": “{note['text']}”" if note["text"] else ""
        said = tag("p", f"{note['who']} has {note['action']} it{until}{told}.")
        forms = [form("wake", tag("button", "Take that back", type="submit"))]
    else:
        said = tag("p", "Nobody is at it yet.")
        text = tag("input", name="text", size="34", maxlength="2000", aria_label="What you are doing about it", placeholder="what you are doing about it")  # fmt: skip
        choices = [tag("option", word, value=length) for length, word in SNOOZES.items()]
        snooze = tag("select", choices, name="for", aria_label="For how long")
        forms = [
            form("acknowledge", text, " ", tag("button", "I am at it", type="submit", class_="main")),
            form("snooze", tag("button", "Tell me no more of it for", type="submit"), " ", snooze),
        ]
    about = f"It is noted under your name, {visit.person}. Who acknowledges gets no reminders, and hears when it gets worse and when it is over."
    keys = tag("div", *forms, class_="review-keys")
    return tag("section", tag("h2", "Who is at it"), said, keys, facts(about) if note is None else None)


def _evidence(found: dict[str, Any]) -> Markup:
    rows: list[list[Markup | str]] = [
        [
            tag("a", row["tenant"], href=tenant_url(row["tenant"])),
            tag("a", row["model"], href=model_url(row["tenant"], row["model"])),
            f"v{row['version']}",
            tag("a", tag("code", named(row["feature"])), href=f"{model_url(row['tenant'], row['model'])}#column-{row['feature']}"),
            f"{row['effect']:.1f}",
            f"{row['rows']:,}",
            minute(parse_rfc3339(row["since"])),
            join(marked(row["sentence"]), tag("span", " Over.", class_="good") if row["over"] else None),
        ]
        for row in found["evidence"]
    ]  # fmt: skip
    head = [("tenant", ""), ("model", ""), ("version", ""), ("what moved", ""), ("effect", "n"), ("rows", "n"), ("since", "t"), ("evidence", "why")]  # fmt: skip
    left = f" {found['evidence_left_out']:,} more are not shown." if found["evidence_left_out"] else ""
    about = facts(f"Effects are in units of what matters: 1 is the least that is told.{left}")
    return tag(
        "section", tag("h2", "What moved"), about, table("What moved", head, rows, class_="overview", hidden=True)
    )


def _noted(use: UseCases, visit: Visit, tenant: TenantId | None, incident: str, form: dict[str, str]) -> Response:
    action, text = form.get("action", ""), form.get("text", "").strip()
    if action == "acknowledge":
        use.incidents.acknowledge(tenant, incident, visit.person, text)
        said = "Acknowledged."
    elif action == "snooze":
        length = form.get("for", "")
        use.incidents.snooze(tenant, incident, visit.person, use.now() + parse_duration(length, "for"), text)
        said = f"Nothing more of it for {SNOOZES.get(length, length)}."
    elif action == "wake":
        use.incidents.wake(tenant, incident, visit.person)
        said = "Taken back."
    else:
        raise Invalid("FORM_INVALID", f"there is no action {action[:40]!r}", place=Place(field="action"))
    return RedirectResponse(f"{incident_url(_name(tenant), incident)}?{urlencode({'said': said})}", status_code=303)
