"""Requests for trainings as a page shows them: why, what became of them, and whether it would have helped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.api_http.pages.html import join, tag
from services.monitor.api_http.pages.words import facts, minute, table
from services.monitor.domain.retraining.judge import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from services.monitor.domain.retraining.judge import Request

STATES: dict[State, tuple[str, str]] = {
    State.ASKED: ("\u25cb waits for you", "open"),
    State.STARTED: ("\u25cb training", "open"),
    State.BETTER: ("\u25cf the new one is better", "good"),
    State.NOT_BETTER: ("\u25b2 the new one is not better", "bad"),
    State.UNCLEAR: ("\u25cb not clear", "open"),
    State.FAILED: ("\u25b2 failed", "bad"),
    State.DISMISSED: ("\u25cb dismissed", "open"),
}


def retraining_section(requests: Sequence[Request], until: int | None = None) -> Markup | None:
    """Newest first; nothing where none was ever asked for. `until`: the end of the cool-down."""
    if not requests:
        return None
    rows: list[list[Markup | str]] = [
        [
            minute(one.asked_at), f"v{one.version}",
            tag("ul", [tag("li", f"{sign.reason.value.replace('_', ' ')}: {sign.text}") for sign in one.signs], class_="plain"),
            tag("span", STATES[one.state][0], class_=f"verdict {STATES[one.state][1]}"),
            join(one.note, _what_now(one)),
        ]
        for one in requests
    ]  # fmt: skip
    head = [("asked", ""), ("answers", "n"), ("why", "todo"), ("state", ""), ("what came of it", "todo")]
    cooling = facts(f"No other is asked for before {minute(until)} (cool-down).") if until is not None else None
    return tag("section", tag("h2", "Training anew"), cooling, table("Requests for trainings", head, rows, hidden=True))


def _what_now(one: Request) -> Markup:
    if one.state is State.ASKED:
        return join(" ", tag("code", f"tenon retraining start {one.id} --tenant {one.tenant.value}"))
    if one.new_version and one.state is not State.FAILED:
        return join(f" Version {one.new_version} was made; releasing it is another decision.")
    return join("")
