"""Open incidents as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.pages.words import when
from tenon.core.timestamps import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 6


def incidents_section(found: Sequence[dict[str, Any]], now: int) -> Markup:
    """The critical ones first: what, of whom, since when, why, what to do. Nothing when nothing is open."""
    if not found:
        return Markup()
    left = (
        [tag("li", f"… and {len(found) - _MOST} more: ", tag("code", "tenon incidents list"))]
        if len(found) > _MOST
        else []
    )
    title = "One open incident" if len(found) == 1 else f"{len(found)} open incidents"
    return tag(
        "section", tag("h2", title), tag("ul", [_incident(one, now) for one in found[:_MOST]], left, class_="found")
    )


def _incident(one: dict[str, Any], now: int) -> Markup:
    critical = one["severity"] == "critical"
    whose = (
        f" ({one['tenant']})"
        if one.get("tenant")
        else (f" ({len(one['tenants'])} tenants)" if one.get("tenants") else "")
    )
    note = one["note"]
    return tag(
        "li",
        tag("b", "▲ " if critical else "○ ", one["title"], class_="bad" if critical else "open"), whose, ", since ",
        when(parse_rfc3339(one["since"]), now), ". ",
        tag("span", "Common to several tenants. ") if one["common"] else None,
        [f"{cause[:1].upper()}{cause[1:]}. " for cause in one["causes"][:2]],
        f"To do: {one['advice'][0]}. " if one["advice"] else None,
        tag("span", f"{note['who']} has {note['action']} it.", class_="facts") if note else tag("code", f"tenon incidents ack {one['id']}"),
    )  # fmt: skip
