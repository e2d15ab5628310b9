"""Every figure as it was known at a time: the form that asks for it, and how its answer is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.pages.words import minute
from tenon.core.timestamps import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from markupsafe import Markup

_TO_THE_MINUTE = len("2026-11-21T08:30")


def known_at_from(text: str) -> int | None:
    """A time as RFC 3339, or as a browser's field for times sends it (to the minute, taken as UTC); empty is now."""
    if not text:
        return None
    return parse_rfc3339(f"{text}:00Z" if len(text) == _TO_THE_MINUTE else text, "known_at")


def known_at_form(known_at: int | None, **kept: str) -> Markup:
    """A field for the time, and the way back to now."""
    hidden = [tag("input", type="hidden", name=name, value=value) for name, value in kept.items() if value]
    back = "?" + "&".join(f"{name}={value}" for name, value in kept.items() if value)
    said = (
        [tag("b", f"as known at {minute(known_at)}"), " ", tag("a", "as known now", href=back), " · "]
        if known_at is not None
        else []
    )
    value = None if known_at is None else rfc3339(known_at)[:_TO_THE_MINUTE]
    return tag(
        "form", *said, *hidden, tag("label", "labels as known at (UTC) ", tag("input", type="datetime-local", name="known_at", value=value, required=True)),
        " ", tag("button", "Redraw", type="submit"), method="get", class_="known",
    )  # fmt: skip
