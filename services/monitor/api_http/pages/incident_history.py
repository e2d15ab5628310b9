"""What happened to an incident, in the order in which it happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.pages.words import marked, minute
from tenon.core.timestamps import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup

_WORDS = {
    "seen_first": "the first window that shows it begins",
    "seen_last": "seen for the last time",
    "opened": "opened",
    "grew": "more is affected",
    "worsened": "critical now",
    "merged": "merged",
    "reopened": "back again",
    "closed": "over",
    "acknowledged": "acknowledged",
    "snoozed": "snoozed",
    "woken": "taken back",
    "told": "told",
    "not_told": "could not be told",
}
_PEOPLES = ("acknowledged", "snoozed", "woken")


def history_section(found: dict[str, Any]) -> Markup:
    """Its lines, the oldest first."""
    moments = sorted([*_seen(found), *found["history"]], key=lambda one: one["at"])
    items = [
        tag("li", tag("time", minute(parse_rfc3339(one["at"])), datetime=one["at"]), tag("span", *_said(one)))
        for one in moments
    ]
    return tag("section", tag("h2", "What happened"), tag("ol", items, class_="history"))


def _said(one: dict[str, Any]) -> Iterator[Markup | str]:
    yield tag("strong", _WORDS.get(one["event"], one["event"]))
    if one["who"]:
        yield f" by {one['who']}" if one["event"] in _PEOPLES else f" {one['who']}"
    if one.get("tenant"):
        yield f" of {one['tenant']}"
    if one["until"]:
        yield f" until {minute(parse_rfc3339(one['until']))}"
    if one["text"]:
        yield ": "
        yield f"“{one['text']}”" if one["event"] in _PEOPLES else marked(one["text"])


def _seen(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """When it was seen; and what the incident itself knows of its course, if it began before histories were kept."""
    kept = {one["event"] for one in found["history"]}
    joined: dict[tuple[str, str, str], list[str]] = {}
    for row in found["evidence"]:
        joined.setdefault((row["since"], row["tenant"], row["model"]), []).append(row["feature"])
        if row["over"]:
            yield _line(row["seen_until"], "seen_last", f"{row['feature']} of {row['tenant']}/{row['model']}")
    for (since, tenant, model), features in joined.items():
        more = f" and {len(features) - 4} more" if len(features) > 4 else ""
        yield _line(since, "seen_first", f"{', '.join(features[:4])}{more} of {tenant}/{model}")
    if "opened" not in kept:
        yield _line(found["opened_at"], "opened")
    note = found["note"]
    if note is not None and note["action"] not in kept:
        yield _line(note["at"], note["action"], note["text"], note["who"], note["until"])
    if found["closed_at"] and not kept & {"closed", "merged"}:
        yield _line(found["closed_at"], "closed", found["close_reason"])


def _line(at: str, event: str, text: str = "", who: str = "", until: str | None = None) -> dict[str, Any]:
    return {"at": at, "event": event, "who": who, "text": text, "until": until}
