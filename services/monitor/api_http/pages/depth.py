"""Quality in depth: estimates before labels come, calibration, changed errors, slices, and what answers were worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Response
from markupsafe import Markup

from services.monitor.api_http.pages.addresses import model_url, tenant_url
from services.monitor.api_http.pages.doors import Visit, page_visit
from services.monitor.api_http.pages.html import join, tag
from services.monitor.api_http.pages.known_at import known_at_form, known_at_from
from services.monitor.api_http.pages.plots import figure_text, round_values
from services.monitor.api_http.pages.words import facts, marked, minute, table, verdict_mark
from services.monitor.domain.quality.measure import plain
from tenon.core.tenancy import Scope

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.quality.words import Calibration, Estimate, QualityReport

_SIZE, _EDGE = 300, 42
_FAR_OFF = 0.05
"""What came true this far outside the interval (of the estimate) was not estimated well."""


def add_depth_page(pages: APIRouter, use: UseCases) -> None:
    """Put the page on the router."""

    @pages.get("/tenants/{tenant}/models/{model}/quality")
    def in_depth(
        visit: Annotated[Visit, Depends(page_visit(Scope.READ))], model: str, last: Annotated[str, Query()] = "",
        by: Annotated[str, Query()] = "", known_at: Annotated[str, Query()] = "",
    ) -> Response:  # fmt: skip
        tenant, moment = visit.tenant.value, known_at_from(known_at)
        window = use.view_model.window(visit.tenant, model, last, by)
        report = use.build_quality(visit.tenant, model, window, known_at=moment)
        here = model_url(tenant, model)
        trail = [(tenant, tenant_url(tenant)), (model, here), ("quality", f"{here}/quality")]
        title, *rest = depth_body(report)
        form = known_at_form(moment, last=last, by=by)
        return visit.page(f"Quality of {model}", title, form, *rest, trail=trail)


def depth_body(report: QualityReport) -> list[Markup]:
    """The sections; one that has nothing to say is left out."""
    sampled = "" if report.examined == report.rows else f" ({report.examined:,} of them looked at)"
    parts = [
        tag("h1", f"Quality of {report.model} in depth"),
        facts(f"{report.rows:,} answers{sampled}, {minute(report.window.start)} to {minute(report.window.end)}."),
        *[facts(marked(note)) for note in report.notes],
        worth_section(report),
        _estimates(report),
    ]
    if report.calibration:
        drawn = [_calibration(one) for one in report.calibration]
        parts.append(tag("section", tag("h2", "Do answers mean what they say?"), tag("div", drawn, class_="plots")))
    if report.concept:
        told = [
            tag("li", f"Version {one.version}: ", verdict_mark(one.verdict), " ", one.summary) for one in report.concept
        ]
        parts.append(tag("section", tag("h2", "Have the errors changed?"), tag("ul", told)))
    parts.append(_slices(report))
    return parts


def worth_section(report: QualityReport) -> Markup:
    """What the answers were worth in the declared unit."""
    if not report.worth:
        return Markup()
    told = [tag("li", f"Version {one.version}: {one.summary}") for one in report.worth]
    return tag("section", tag("h2", "What the answers were worth"), tag("ul", told))


def _estimates(report: QualityReport) -> Markup:
    if not report.estimates:
        return Markup()
    rows: list[list[Markup | str]] = [
        [
            one.metric, f"v{one.version}", plain(one.value), f"{plain(one.low)} – {plain(one.high)}",
            "–" if one.expected is None else plain(one.expected), verdict_mark(one.verdict), _came_true(one), one.basis.value,
        ]
        for one in report.estimates
    ]  # fmt: skip
    head = [("metric", ""), ("version", "n"), ("estimated", "n"), ("between", "n"), ("in the test", "n"), ("verdict", ""),
            ("came true", "n"), ("rests on", "")]  # fmt: skip
    title = "Estimated before labels come, beside what came true"
    return tag("section", tag("h2", title), table(title, head, rows, class_="overview", hidden=True))


def _came_true(one: Estimate) -> Markup:
    if one.realised is None:
        return Markup("–")
    said = f"{plain(one.realised)} ({one.realised_rows:,} labels)"
    off = max(one.low - one.realised, one.realised - one.high, 0.0)
    if off <= _FAR_OFF * abs(one.value):
        return tag("span", said)
    return tag(
        "span",
        tag("span", "▲ ", aria_hidden="true"),
        said,
        tag("span", ", not as estimated", class_="unseen"),
        class_="bad",
    )


def _calibration(one: Calibration) -> Markup:
    """Bins of answers against what was true; on the diagonal they mean what they say."""
    title = f"Calibration of version {one.version}"
    words = tag("p", verdict_mark(one.verdict), " ", one.summary)
    if not one.bins:
        return tag("figure", tag("figcaption", tag("h3", title)), words)
    edges = [edge for part in one.bins for edge in (part.answer, part.low, part.high)]
    values = round_values(min(edges), max(edges), around=True)
    low, high = values[0], values[-1]
    room = max(high - low, 1e-12)

    def place(value: float) -> float:
        return (value - low) / room * (_SIZE - 2 * _EDGE)

    def x(value: float) -> str:
        return f"{_EDGE + place(value):.1f}"

    def y(value: float) -> str:
        return f"{_SIZE - _EDGE - place(value):.1f}"

    drawn: list[Markup] = [tag("line", x1=x(low), y1=y(low), x2=x(high), y2=y(high), class_="level")]
    for value in values:
        drawn.append(tag("line", x1=x(low), x2=x(high), y1=y(value), y2=y(value), class_="grid"))
        drawn.append(tag("text", figure_text(value), x=_EDGE - 5, y=y(value), dy="0.35em", text_anchor="end"))
        drawn.append(tag("text", figure_text(value), x=x(value), y=_SIZE - _EDGE + 16, text_anchor="middle"))
    drawn.append(tag("text", "answer", x=_SIZE / 2, y=_SIZE - 6, text_anchor="middle"))
    drawn.append(tag("text", "truth", x=2, y=14))
    for part in one.bins:
        about = f"{part.rows:,} answers of about {figure_text(part.answer)}: truth {figure_text(part.truth)}"
        ends = {"y1": y(part.low), "y2": y(part.high)}
        drawn.append(tag("line", x1=x(part.answer), x2=x(part.answer), **ends, class_="between s1"))
        drawn.append(tag("circle", tag("title", about), cx=x(part.answer), cy=y(part.truth), r=3.4, class_="dot s1"))
    image = tag(
        "svg", *drawn, viewBox=f"0 0 {_SIZE} {_SIZE}", role="img", aria_label=f"{title}; the figures follow as a table"
    )
    rows: list[list[Markup | str]] = [
        [
            figure_text(part.answer),
            figure_text(part.truth),
            f"{figure_text(part.low)} – {figure_text(part.high)}",
            f"{part.rows:,}",
        ]
        for part in one.bins
    ]
    figures = table(
        f"{title}: figures", [("answer", "n"), ("truth", "n"), ("between", "n"), ("rows", "n")], rows, hidden=True
    )
    return tag(
        "figure", tag("figcaption", tag("h3", title)), words, tag("div", image, class_="square"),
        tag("details", tag("summary", "Figures"), figures),
    )  # fmt: skip


def _slices(report: QualityReport) -> Markup:
    if not report.slices:
        return Markup()
    rows: list[list[Markup | str]] = [
        [
            join(tag("code", one.column), f" {one.level}"), f"v{one.version}", f"{one.rows:,}", f"{one.labels:,}",
            "–" if one.value is None else figure_text(one.value),
            "–" if one.low is None or one.high is None else f"{figure_text(one.low)} – {figure_text(one.high)}",
            verdict_mark(one.verdict), ", ".join(one.drifted[:4]),
        ]
        for one in report.slices
    ]  # fmt: skip
    metric = report.slices[0].metric
    head = [("slice", ""), ("version", "n"), ("rows", "n"), ("labels", "n"), (metric, "n"), ("95 % interval", "n"),
            ("beside all others", ""), ("drifted", "")]  # fmt: skip
    return tag("section", tag("h2", "Slices"), table("Slices", head, rows, hidden=True))
