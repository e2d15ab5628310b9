"""The stylesheet's colours: what is written can be read by everybody, in light and dark."""

from __future__ import annotations

import re
from importlib import resources
from itertools import product

import pytest

_CSS = resources.files("services.monitor.api_http.pages").joinpath("static/pages.css").read_text()
_LIGHT, _DARK = (
    dict(re.findall(r"--(\w+):(#[0-9a-f]+)", found)) for found in re.findall(r":root\{([^}]*)\}", _CSS)[:2]
)
TEXTS = ["ink", "soft", "now", "bad", "good", "open", "s2", "s3"]
"""What is written in: s2 and s3 are the colours of a canary's and an arm's label."""
DRAWN = ["then", "now", "bad", "s1", "s2", "s3", "s4", "s5", "s6"]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    digits = colour.lstrip("#")
    full = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = [int(full[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 (the same) to 21 (black on white).

    >>> round(contrast("#000", "#ffffff"))
    21
    """
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [_LIGHT, _DARK], ids=["light", "dark"])
def test_text_stands_out(theme: dict[str, str]) -> None:
    """All text has 4.5:1 on the page and on tinted ground (WCAG AA), the main button's letters on its colour, too."""
    pairs = [*product(TEXTS, ["page", "tint"]), ("page", "now")]
    found = {f"{text} on {ground}": round(contrast(theme[text], theme[ground]), 2) for text, ground in pairs}
    assert not {pair: ratio for pair, ratio in found.items() if ratio < 4.5}


@pytest.mark.parametrize("theme", [_LIGHT, _DARK], ids=["light", "dark"])
def test_what_is_drawn_can_be_seen(theme: dict[str, str]) -> None:
    """Lines, bars and borders of fields have 3:1 on the page (WCAG 1.4.11)."""
    found = {name: round(contrast(theme[name], theme["page"]), 2) for name in DRAWN}
    assert not {name: ratio for name, ratio in found.items() if ratio < 3}


def test_a_theme_leaves_no_colour_out() -> None:
    """Every colour that the light theme names has its dark one, and every one that is used has a name."""
    assert set(_LIGHT) == set(_DARK)
    assert set(re.findall(r"var\(--(\w+)\)", _CSS)) <= set(_LIGHT)
