"""Figures, times and verdicts as people read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from services.monitor.api_http.pages.html import join, tag
from tenon.core.timestamps import MICROS_PER_SECOND, rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = {
    "drift": "drift", "no_drift": "no drift", "seasonal": "seasonal", "not_enough_evidence": "not enough evidence",
    "worse": "worse", "as_expected": "as expected", "better": "better", "promote": "promote", "hold": "hold",
    "roll_back": "roll back", "passes": "passes", "undecided": "undecided",
}  # fmt: skip
_TONES = {
    "drift": "bad", "worse": "bad", "no_drift": "good", "as_expected": "good", "better": "good",
    "not_enough_evidence": "open", "promote": "good", "passes": "good", "roll_back": "bad", "hold": "open", "undecided": "open",
    "calibrated": "good", "unchanged": "good", "miscalibrated": "bad", "too_high": "bad", "too_low": "bad",
}  # fmt: skip
_MARKS = {"bad": "▲", "good": "●", "open": "○"}


def verdict_mark(verdict: str) -> Markup:
    """A verdict with a sign beside the colour, for those who see no colours."""
    tone = _TONES.get(verdict, "open")
    said = WORDS.get(verdict, verdict.replace("_", " "))
    return tag("span", tag("span", _MARKS[tone], aria_hidden="true"), " ", said, class_=f"verdict {tone}")


def marked(text: str) -> Markup:
    """Text with its `names` set apart."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def named(name: str) -> Markup:
    """A name that may be broken behind its dots and underscores, and nowhere else."""
    return join(*[part for piece in re.split(r"(?<=[._])", name) for part in (piece, Markup("<wbr>"))][:-1])


def minute(moment: int) -> str:
    """A time to the minute, which is as exact as a person reads it."""
    return f"{rfc3339(moment)[:16].replace('T', ' ')} UTC"


def ago(moment: int | None, now: int) -> str:
    """How long since, in the largest unit that fits."""
    if moment is None:
        return "never"
    seconds = max(0, (now - moment) // MICROS_PER_SECOND)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return "just now"


def when(moment: int | None, now: int) -> Markup:
    """A time as an element: how long since, the moment in a tooltip."""
    if moment is None:
        return tag("span", "never")
    return tag("time", ago(moment, now), datetime=rfc3339(moment), title=minute(moment))


def share(value: float) -> str:
    """A share of traffic; what is small keeps a digit."""
    return f"{100 * value:.1f} %".replace(".0 %", " %")


def table(
    caption: str,
    columns: Sequence[tuple[Markup | str, str]],
    rows: list[list[Markup | str]],
    *,
    class_: str = "",
    hidden: bool = False,
) -> Markup:
    """A table; `columns` are (heading, class) pairs, and the first cell of a row is its heading."""
    head = tag("tr", [tag("th", name, scope="col", class_=kind or None) for name, kind in columns])
    body = [
        tag("tr", [
            tag("th" if place == 0 else "td", cell, data_label=_bare(columns[place][0]) if class_ else None, class_=columns[place][1] or None, scope="row" if place == 0 else None)
            for place, cell in enumerate(row)
        ])
        for row in rows
    ]  # fmt: skip
    title = tag("caption", caption, class_="unseen" if hidden else None)
    inner = tag("table", title, tag("thead", head), tag("tbody", body), class_=class_ or None)
    return tag("div", inner, class_="wide", role="region", aria_label=caption, tabindex="0")


def _bare(heading: Markup | str) -> str:
    return heading.striptags() if isinstance(heading, Markup) else heading


def facts(*parts: Markup | str) -> Markup:
    """A line of small print."""
    return tag("p", join(*parts), class_="facts")
