"""Plots over time as inline SVG, all on one axis, with the releases marked; each stands beside a table of its figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from markupsafe import Markup

from services.monitor.api_http.pages.html import join, tag
from services.monitor.api_http.pages.words import table
from tenon.core.timestamps import MICROS_PER_SECOND, micros_from_datetime, rfc3339

WIDTH, HEIGHT = 660, 188
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 20, 22
_DAY = 86_400 * MICROS_PER_SECOND
SERIES = 6
"""So many colours there are."""


def figure_text(value: float) -> str:
    """A figure with three digits, or as a whole number with its thousands set apart."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Axis:
    """The time from left to right."""

    start: int
    end: int

    def x(self, moment: float) -> float:
        """Where a moment is."""
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (moment - self.start) / max(self.end - self.start, 1)

    def ticks(self) -> list[tuple[int, str]]:
        """A few round times and how they are written."""
        length = self.end - self.start
        steps = [3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 86_400, 2 * 86_400, 7 * 86_400, 14 * 86_400]
        for seconds in steps:
            step = seconds * MICROS_PER_SECOND
            if length / step <= 8:
                first = self.start - self.start % step + step
                return [(moment, _written(moment, step)) for moment in range(first, self.end, step)]
        return self._months()

    def _months(self) -> list[tuple[int, str]]:
        from_year, to_year = (int(rfc3339(moment)[:4]) for moment in (self.start, self.end))
        months = (self.end - self.start) / (30.4 * _DAY)
        every = next(number for number in (1, 3, 6, 12, 24, 60, 120, 1200) if months / number <= 9)
        ticks = []
        for year in range(from_year, to_year + 1):
            for month in range(1, 13):
                if (year * 12 + month - 1) % every:
                    continue
                moment = micros_from_datetime(datetime(year, month, 1, tzinfo=UTC))
                if self.start <= moment < self.end:
                    ticks.append((moment, f"{year}" if every >= 12 else f"{year}-{month:02d}"))
        return ticks


@dataclass(frozen=True, slots=True)
class Point:
    """One bucket of a line: where, how much, between what, and whether it says something is wrong."""

    start: int
    end: int
    value: float
    low: float | None = None
    high: float | None = None
    bad: bool = False

    @property
    def middle(self) -> float:
        """Where it is drawn."""
        return (self.start + self.end) / 2


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; buckets without a value are left out and break it."""

    name: str
    points: Sequence[Point | None]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment, such as a release."""

    at: int
    text: str
    about: str


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line to compare with."""

    value: float
    text: str


def line_plot(
    title: str, axis: Axis, lines: Sequence[Line], *, marks: Sequence[Mark] = (), levels: Sequence[Level] = (),
    bottom: float | None = None, top: float | None = None, write: Callable[[float], str] = figure_text,
) -> Markup:  # fmt: skip
    """Lines over time."""
    points = [point for line in lines for point in line.points if point is not None]
    if not points:
        return _empty(title)
    values = [edge for one in points for edge in (one.value, one.low, one.high) if edge is not None]
    values += [level.value for level in levels]
    low = min(values) if bottom is None else bottom
    high = max(values) if top is None else max(top, *values)
    pad = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    scale = _Scale(low - (pad if bottom is None else 0), high + pad)
    drawn = [_grid(axis, scale, write), _levels(scale, levels), _marks(axis, marks)]
    for number, line in enumerate(lines[:SERIES], 1):
        drawn += [_path(axis, scale, line, number), _dots(axis, scale, line, number, write)]
    key = [(f"s{number}", line.name) for number, line in enumerate(lines[:SERIES], 1)] if len(lines) > 1 else []
    key += [("level", level.text) for level in levels]
    rows = [_row(one, line.name, write) for line in lines for one in line.points if one is not None]
    figures = table(
        f"{title}: figures", [("from", "t"), ("what", ""), ("value", "n"), ("between", "n")], rows, hidden=True
    )
    return _figure(title, drawn, key, figures)


def share_plot(
    title: str, axis: Axis, buckets: Sequence[tuple[int, int, dict[str, int]]], *, marks: Sequence[Mark] = ()
) -> Markup:
    """Stacked bars: how many of each name in each bucket."""
    names = sorted({name for _, _, parts in buckets for name in parts})
    if not names:
        return _empty(title)
    scale = _Scale(0, max(sum(parts.values()) for _, _, parts in buckets) * 1.08)
    drawn = [_grid(axis, scale, lambda value: f"{value:,.0f}")]
    for start, end, parts in buckets:
        height = 0
        for name in [one for one in names if one in parts]:
            count = parts[name]
            left, right = axis.x(start) + 0.5, axis.x(end) - 0.5
            bar = tag(
                "rect", tag("title", f"{_moment(start)}: {name} {count:,} of {sum(parts.values()):,}"),
                x=f"{left:.1f}", y=f"{scale.y(height + count):.1f}", width=f"{max(right - left, 1):.1f}",
                height=f"{scale.y(height) - scale.y(height + count):.1f}", class_=f"s{names.index(name) % SERIES + 1}",
            )  # fmt: skip
            drawn.append(bar)
            height += count
    drawn.append(_marks(axis, marks))
    key = [(f"s{place % SERIES + 1}", name) for place, name in enumerate(names)]
    columns = [("from", "t"), *((name, "n") for name in names)]
    rows: list[list[Markup | str]] = [
        [_moment(start), *(f"{parts.get(name, 0):,}" for name in names)] for start, _, parts in buckets if parts
    ]
    return _figure(title, drawn, key, table(f"{title}: figures", columns, rows, hidden=True))


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float

    def y(self, value: float) -> float:
        room = HEIGHT - _TOP - _BOTTOM
        return HEIGHT - _BOTTOM - room * (value - self.low) / max(self.high - self.low, 1e-12)


def _figure(title: str, drawn: Sequence[Markup], key: list[tuple[str, str]], figures: Markup) -> Markup:
    legend = [tag("li", tag("i", class_=kind, aria_hidden="true"), name) for kind, name in key]
    image = tag(
        "svg", *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{title}; the figures follow as a table"
    )
    return tag(
        "figure",
        tag("figcaption", tag("h2", title), tag("ul", legend, class_="key") if legend else None),
        tag("div", image, class_="plot"),
        tag("details", tag("summary", "Figures"), figures),
    )


def _empty(title: str) -> Markup:
    return tag("figure", tag("figcaption", tag("h2", title)), tag("p", "Nothing to draw yet.", class_="facts"))


def _grid(axis: Axis, scale: _Scale, write: Callable[[float], str]) -> Markup:
    parts: list[Markup] = []
    for value in round_values(scale.low, scale.high):
        y = f"{scale.y(value):.1f}"
        parts.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", write(value), x=_LEFT - 5, y=f"{scale.y(value) + 3.5:.1f}", text_anchor="end"))
    for moment, text in axis.ticks():
        x = axis.x(moment)
        if x < WIDTH - 24:
            parts.append(
                tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=HEIGHT - _BOTTOM, y2=HEIGHT - _BOTTOM + 4, class_="tick")
            )
            parts.append(tag("text", text, x=f"{x:.1f}", y=HEIGHT - 5, text_anchor="middle"))
    base = HEIGHT - _BOTTOM
    parts.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=base, y2=base, class_="tick"))
    return join(*parts)


def _levels(scale: _Scale, levels: Sequence[Level]) -> Markup:
    parts = []
    for level in levels:
        y = f"{scale.y(level.value):.1f}"
        parts.append(tag("line", tag("title", level.text), x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="level"))
    return join(*parts)


def _marks(axis: Axis, marks: Sequence[Mark]) -> Markup:
    parts = []
    free = -1.0
    for mark in marks:
        x = axis.x(mark.at)
        wide = 6.2 * len(mark.text) + 6
        side: Literal["start", "end"] = "start" if x + wide < WIDTH else "end"
        begin = x if side == "start" else x - wide
        text = None
        # A name that would lie on the one before is left out; the line and its tooltip stay.
        if begin > free:
            text = tag("text", mark.text, x=f"{x + (4 if side == 'start' else -4):.1f}", y=12, text_anchor=side)
            free = begin + wide
        line = tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=2, y2=HEIGHT - _BOTTOM)
        parts.append(tag("g", tag("title", mark.about), line, text, class_="mark"))
    return join(*parts)


def _path(axis: Axis, scale: _Scale, line: Line, number: int) -> Markup:
    parts, pen = [], "M"
    for point in line.points:
        if point is None:
            pen = "M"
            continue
        parts.append(f"{pen}{axis.x(point.middle):.1f} {scale.y(point.value):.1f}")
        pen = "L"
    return tag("path", d="".join(parts), class_=f"line s{number}")


def _dots(axis: Axis, scale: _Scale, line: Line, number: int, write: Callable[[float], str]) -> Markup:
    parts = []
    for point in line.points:
        if point is None:
            continue
        x, y = axis.x(point.middle), scale.y(point.value)
        between = ""
        if point.low is not None and point.high is not None:
            ends = {"y1": f"{scale.y(point.low):.1f}", "y2": f"{scale.y(point.high):.1f}"}
            parts.append(tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", **ends, class_=f"between s{number}"))
            between = f" ({write(point.low)} to {write(point.high)})"
        about = tag(
            "title",
            f"{_moment(point.start)}: {line.name} {write(point.value)}{between}{', not as it should be' if point.bad else ''}",
        )
        kind = f"dot s{number}{' wrong' if point.bad else ''}"
        parts.append(tag("circle", about, cx=f"{x:.1f}", cy=f"{y:.1f}", r=4.2 if point.bad else 2.6, class_=kind))
    return join(*parts)


def _row(point: Point, name: str, write: Callable[[float], str]) -> list[Markup | str]:
    between = f"{write(point.low)} – {write(point.high)}" if point.low is not None and point.high is not None else "–"
    value = tag("span", write(point.value), class_="bad" if point.bad else None)
    return [_moment(point.start), tag("code", name), value, between]


def round_values(low: float, high: float, *, around: bool = False) -> list[float]:
    """About five round values between two figures; with `around` the first and the last lie at or beyond them."""
    if not high > low:
        return [low, low + 1.0] if around else [low]
    size = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(size))
    step = next(power * number for number in (1, 2, 2.5, 5, 10) if power * number >= size)
    first, last = (
        (math.floor(low / step), math.ceil(high / step)) if around else (math.ceil(low / step), math.floor(high / step))
    )
    return [number * step for number in range(first, last + 1)]


def _moment(moment: int) -> str:
    text = rfc3339(moment)
    return text[:10] if text[11:16] == "00:00" else text[:16].replace("T", " ")


def _written(moment: int, step: int) -> str:
    text = rfc3339(moment)
    return text[5:10] if step >= _DAY or text[11:16] == "00:00" else text[11:16]
