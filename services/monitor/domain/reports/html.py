"""A report as one small page: the verdict first, columns worst first, nothing fetched from elsewhere."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from services.monitor.domain.model import ColumnReport, Drift, Quality, Report
from services.monitor.domain.quality.measure import plain
from tenon.core.timestamps import rfc3339

if TYPE_CHECKING:
    from services.monitor.domain.model import Histogram

MAX_DRAWN = 60
_WIDTH, _HEIGHT = 240, 56
_WORDS = {
    "drift": "drift", "no_drift": "no drift", "seasonal": "seasonal", "not_enough_evidence": "not enough evidence",
    "worse": "worse", "as_expected": "as expected", "better": "better",
}  # fmt: skip
_TONES = {
    "drift": "bad", "worse": "bad", "no_drift": "good", "as_expected": "good", "better": "good",
    "not_enough_evidence": "open",
}  # fmt: skip
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6575;--line:#d9dee6;--page:#fff;--then:#9aa7b8;--now:#2166c4;
--bad:#b3261e;--good:#1b6e3c;--open:#7a5b00}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b4;--line:#323a46;--page:#14181f;--then:#5f6c7d;
--now:#6aa6f2;--bad:#f2877f;--good:#6fcf97;--open:#e0bb55}}
body{margin:0 auto;max-width:76rem;padding:1.5rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:1.35rem;line-height:1.35;margin:.2rem 0 .6rem}h2{font-size:1.05rem;margin:1.1rem 0 .3rem}
p.facts{color:var(--soft);margin:.2rem 0}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}th{font-weight:600;color:var(--soft)}
.bad{color:var(--bad)}.good{color:var(--good)}.open{color:var(--open)}b{font-weight:650}
svg{display:block}.then{fill:var(--then)}.now{fill:var(--now)}.key{color:var(--soft);font-size:.85rem}
.pair{display:flex;flex-wrap:wrap;gap:0 2.5rem}.pair>section{flex:1 1 27rem}.name{min-width:9rem;overflow-wrap:anywhere}
.what{min-width:15rem}.gone{opacity:.45}code{font:.95em ui-monospace,monospace}
.key i{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
"""


def render_html(report: Report, now: int) -> str:
    """The page. Everything from the outside is escaped."""
    title = f"{report.tenant} · {report.model}"
    return "".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<style>{_STYLE}</style></head><body><main>",
            f'<p class="facts">{escape(title)}</p><h1>{_marked(report.summary)}</h1>',
            f"<p>Drift: {_verdict(report.drift)} · Quality: {_verdict(report.quality)}</p>",
            f'<p class="facts">{report.predictions:,} predictions, {report.labels:,} with a label '
            f"({report.label_coverage:.0%}). {_window(report)}. Drawn {escape(_minute(now))}.</p>",
            _levels(report),
            f'<div class="pair">{_quality(report)}{_versions(report)}</div>',
            _columns(report),
            '<p class="facts">What the verdicts mean, and which statistics they rest on: docs/concepts/verdicts.md. '
            "“Not enough evidence” is a verdict: the window is too small to say yes or no.</p></main></body></html>",
        ]
    )


def _minute(moment: int) -> str:
    """A time to the minute, which is as exact as a person reads it."""
    return f"{rfc3339(moment)[:16].replace('T', ' ')} UTC"


def _marked(text: str) -> str:
    """Text with its `names` set apart."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _window(report: Report) -> str:
    what = "answered" if report.window.by == "at" else "with an event time"
    known = "" if report.known_at is None else f", labels as known at {_minute(report.known_at)}"
    return escape(f"Predictions {what} from {_minute(report.window.start)} to {_minute(report.window.end)}{known}")


def _verdict(verdict: Drift | Quality) -> str:
    return f'<b class="{_TONES[verdict.value]}">{_WORDS[verdict.value]}</b>'


def _levels(report: Report) -> str:
    if not report.levels:
        return ""
    parts = ", ".join(f"{escape(level.replace('_', ' '))} {count:,}" for level, count in report.levels)
    return f'<p class="facts">Answers for which history was looked up, by what they rest on: {parts}.</p>'


def _versions(report: Report) -> str:
    if not report.versions:
        return ""
    rows = "".join(
        f'<tr><td class="n">{one.version}</td><td>{one.role.value}</td><td class="n">{one.predictions:,}</td>'
        f'<td class="n">{one.labels:,}</td><td class="n">{_delay(one.label_delay_median_seconds)}</td>'
        f"<td>{_verdict(one.quality)}</td><td>{escape(one.summary)}</td></tr>"
        for one in report.versions
    )
    return _section(
        "Versions",
        '<th class="n">version</th><th>role</th><th class="n">predictions</th><th class="n">labels</th>'
        '<th class="n">median label delay</th><th>quality</th><th>why</th>',
        rows,
    )


def _quality(report: Report) -> str:
    if not report.figures:
        return ""
    rows = "".join(
        f'<tr><td>{escape(one.metric)}</td><td class="n">{one.version}</td><td class="n">{plain(one.value)}</td>'
        f'<td class="n">{plain(one.low)} – {plain(one.high)}</td><td class="n">{plain(one.expected)}</td>'
        f'<td class="n">{one.rows:,}</td><td>{_verdict(one.verdict)}</td></tr>'
        for one in report.figures
    )
    return _section(
        "Quality on labels",
        '<th>metric</th><th class="n">version</th><th class="n">value</th><th class="n">95 % interval</th>'
        '<th class="n">in the test</th><th class="n">labels</th><th>verdict</th>',
        rows,
    )


def _columns(report: Report) -> str:
    if not report.columns:
        return ""
    rows = "".join(_column(column, place < MAX_DRAWN) for place, column in enumerate(report.columns))
    key = '<p class="key">share of rows<i style="background:var(--then)"></i>training<i style="background:var(--now)"></i>this window (faint: missing)</p>'
    return _table(
        f"Columns against version {report.drift_version}'s training, worst first",
        '<th>column</th><th>verdict</th><th>training and window</th><th class="n">effect</th><th class="n">PSI</th>'
        '<th class="n">adjusted p</th><th class="n">rows</th><th>what</th>',
        rows,
        note=key,
    )


def _column(column: ColumnReport, drawn: bool) -> str:
    drawing = _histogram(column, column.histogram) if drawn and column.histogram is not None else ""
    return (
        f'<tr><td class="name"><b>{escape(column.column)}</b></td>'
        f"<td>{_verdict(column.verdict)}</td><td>{drawing}</td>"
        f'<td class="n">{column.effect:.3f}</td><td class="n">{column.psi:.3f}</td><td class="n">{_chance(column.p_value)}</td>'
        f'<td class="n">{column.rows:,}</td><td class="what">{_marked(column.summary)}</td></tr>'
    )


def _chance(p_value: float) -> str:
    return "&lt; 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _histogram(column: ColumnReport, histogram: Histogram) -> str:
    """Paired bars, the last pair faint for missing values; each says in a tooltip what it is."""
    there = (1 - column.baseline_missing_ratio, 1 - column.missing_ratio)
    pairs = [
        (label, histogram.baseline[place] * there[0], histogram.window[place] * there[1], "")
        for place, label in enumerate(histogram.labels)
    ]
    if min(there) < 1:
        pairs.append(("missing", column.baseline_missing_ratio, column.missing_ratio, " gone"))
    top = max(*(max(then, now) for _, then, now, _ in pairs), 1e-9) if pairs else 1
    step = _WIDTH / max(len(pairs), 1)
    bars = []
    for place, (label, then, now, tone) in enumerate(pairs):
        left = place * step
        bars.append(
            f"<g><title>{escape(label)}: training {then:.1%}, window {now:.1%}</title>"
            f"{_bar('then' + tone, left, step, then / top)}{_bar('now' + tone, left + step * 0.42, step, now / top)}</g>"
        )
    about = escape(f"Histogram of {column.column}: training and window", quote=True)
    return f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{about}">{"".join(bars)}</svg>'


def _bar(kind: str, left: float, step: float, share: float) -> str:
    height = share * (_HEIGHT - 2)
    return f'<rect class="{kind}" x="{left:.1f}" y="{_HEIGHT - height:.1f}" width="{step * 0.4:.1f}" height="{height:.1f}"/>'


def _delay(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _section(title: str, head: str, rows: str) -> str:
    return f"<section>{_table(title, head, rows)}</section>"


def _table(title: str, head: str, rows: str, *, note: str = "") -> str:
    return (
        f'<h2>{escape(title)}</h2>{note}<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
