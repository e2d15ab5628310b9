"""Open incidents as they stand on other pages: the worst few, each with the way to its own page and a button to say one is at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from services.monitor.api_http.pages.addresses import incident_url, incidents_url
from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.pages.words import when
from tenon.core.timestamps import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 6


def incidents_section(found: Sequence[dict[str, Any]], now: int, *, tenant: str = "", csrf: str = "") -> Markup:
    """The critical ones first: what, of whom, since when, why, what to do. `tenant` is empty for the operator, who sees all.

    Nothing is open: then only the way to those that are over.
    """
    whole = tag("a", "All incidents", href=incidents_url(tenant))
    if not found:
        return tag("p", "No open incident. ", whole, class_="facts")
    more = f"… and {len(found) - _MOST} more: " if len(found) > _MOST else ""
    title = "One open incident" if len(found) == 1 else f"{len(found)} open incidents"
    return tag(
        "section",
        tag("h2", title),
        tag("ul", [_incident(one, now, tenant, csrf) for one in found[:_MOST]], class_="found"),
        tag("p", more, whole, class_="facts"),
    )


def _incident(one: dict[str, Any], now: int, tenant: str, csrf: str) -> Markup:
    note, here = one["note"], incident_url(tenant, one["id"])
    return tag(
        "li",
        severity_mark(one), " ", tag("a", one["title"], href=here), f"{whose(one)}, began ",
        when(parse_rfc3339(one["since"]), now), ". ",
        tag("span", "Common to several tenants. ") if one["common"] else None,
        [f"{cause[:1].upper()}{cause[1:]}. " for cause in one["causes"][:2]],
        f"To do: {one['advice'][0]}. " if one["advice"] else None,
        tag("span", f"{note['who']} has {note['action']} it.", class_="facts") if note else _at_it(here, csrf),
    )  # fmt: skip


def severity_mark(one: dict[str, Any]) -> Markup:
    """How bad, with a sign beside the colour."""
    critical = one["severity"] == "critical" and one["state"] == "open"
    word = one["severity"] if one["state"] == "open" else one["state"]
    sign = tag("span", "▲" if critical else "○", aria_hidden="true")
    return tag("span", sign, f" {word}", class_=f"verdict {'bad' if critical else 'open'}")


def whose(one: dict[str, Any]) -> str:
    """Of which tenant, or of how many."""
    if one.get("tenant"):
        return f" ({one['tenant']})"
    return f" ({len(one['tenants'])} tenants)" if one.get("tenants") else ""


def _at_it(here: str, csrf: str) -> Markup:
    return tag(
        "form", tag("input", type="hidden", name="csrf", value=csrf), tag("input", type="hidden", name="action", value="acknowledge"),
        tag("button", "I am at it", type="submit"), method="post", action=here, class_="inline",
    )  # fmt: skip
