"""A view's statistics as one small page: a line a feature, nothing fetched from elsewhere."""

from __future__ import annotations

from html import escape

from services.features.domain.describe_features import FeatureStatistics, Lineage, ViewStatistics
from tenon.core.timestamps import rfc3339

MAX_DRAWN = 120
MAX_FILES = 20
MAX_TEXTS = 5
_WIDTH, _HEIGHT = 220, 48
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6575;--line:#d9dee6;--page:#fff;--bar:#2166c4;--band:#bcd2ee;--gone:#c9772b}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa5b4;--line:#323a46;--page:#14181f;--bar:#6aa6f2;--band:#2b4a70;--gone:#e0a55b}}
body{margin:0 auto;max-width:76rem;padding:1.5rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:1.35rem;line-height:1.35;margin:.2rem 0 .6rem}h2{font-size:1.05rem;margin:1.4rem 0 .3rem}
p.facts{color:var(--soft);margin:.2rem 0}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}th{font-weight:600;color:var(--soft)}
.name{min-width:11rem;overflow-wrap:anywhere}.name small,.soft{color:var(--soft)}b{font-weight:650}
svg{display:block}.bar{fill:var(--bar)}.band{fill:var(--band)}.gone{fill:var(--gone)}
polyline{fill:none;stroke:var(--bar);stroke-width:1.6}.key i{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
code{font:.9em ui-monospace,monospace}
@media (max-width:44rem){body{padding:1rem}.name{min-width:8rem}svg{width:7.5rem}th,td{padding-right:.5rem}}
"""


def render_features(statistics: ViewStatistics, lineage: Lineage, now: int) -> str:
    """The page. Everything from the outside is escaped."""
    title = f"{lineage.view.tenant} · {statistics.view}"
    gone = [one for one in statistics.features if one.whole.rows and one.whole.missing == one.whole.rows]
    summary = f"{len(statistics.features)} features by {', '.join(lineage.view.spec.entity)}"
    if gone:
        summary += f"; {len(gone)} have no value at all"
    of_rows = f"{statistics.rows:,} rows"
    if statistics.sampled < statistics.rows:
        of_rows = f"{statistics.sampled:,} of {of_rows}, evenly spread"
    spell = f", {_day(statistics.starts[0])} on, in {len(statistics.starts)} periods" if statistics.starts else ""
    return "".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<style>{_STYLE}</style></head><body><main>",
            f'<p class="facts">{escape(title)}, revision {statistics.revision}</p><h1>{escape(summary)}</h1>',
            f'<p class="facts">Each value as a training set has it: at the event time of the rows of <b>{escape(statistics.dataset)}</b> '
            f"(version {statistics.table_version}), {of_rows}{spell}. Drawn {rfc3339(now)[:16].replace('T', ' ')} UTC.</p>",
            _features(statistics, lineage),
            _files(lineage),
            "</main></body></html>",
        ]
    )


def _features(statistics: ViewStatistics, lineage: Lineage) -> str:
    columns = {origin.reference: origin.columns for origin in lineage.origins}
    rows = "".join(
        _feature(one, columns.get(one.reference, []), statistics.starts if place < MAX_DRAWN else [], place < MAX_DRAWN)
        for place, one in enumerate(statistics.features)
    )
    key = (
        '<p class="facts key">over time<i style="background:var(--bar)"></i>median<i style="background:var(--band)"></i>'
        '10 % to 90 %<i style="background:var(--gone)"></i>missing (height: share of rows)</p>'
    )
    spell = f"<br><small>from {_day(statistics.starts[0])}</small>" if statistics.starts else ""
    head = (
        f'<th>feature</th><th class="n">missing</th><th>values</th><th>over time{spell}</th><th class="n">mean</th>'
        '<th class="n">10 %</th><th class="n">median</th><th class="n">90 %</th><th class="n">from … to</th>'
    )
    return f'<h2>Features</h2>{key}<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _feature(one: FeatureStatistics, columns: list[str], starts: list[int], drawn: bool) -> str:
    whole = one.whole
    missing = whole.missing / whole.rows if whole.rows else 0.0
    made_of = f" ← <code>{escape(', '.join(columns))}</code>" if columns else ""
    return (
        f'<tr><td class="name"><b>{escape(one.reference.partition(".")[2])}</b><br><small>{escape(one.meaning)}{made_of}</small></td>'
        f'<td class="n">{_share(missing)}</td><td>{_histogram(one) if drawn else ""}</td><td>{_over_time(one, starts) if drawn else ""}</td>'
        f'<td class="n">{_number(whole.mean)}</td><td class="n">{_number(whole.low)}</td><td class="n">{_number(whole.median)}</td>'
        f'<td class="n">{_number(whole.high)}</td><td class="n">{_number(one.minimum)} … {_number(one.maximum)}</td></tr>'
    )


def _histogram(one: FeatureStatistics) -> str:
    if one.most_common:
        top = one.most_common[0][1]
        lines = "".join(
            f'<div class="soft"><svg width="{max(rows / top * 90, 1):.0f}" height="9" style="display:inline"><rect class="bar" width="90" '
            f'height="9"/></svg> {escape(text[:40])} · {rows:,}</div>'
            for text, rows in one.most_common[:MAX_TEXTS]
        )
        more = len(one.most_common) - MAX_TEXTS
        return lines + ('<div class="soft">and others</div>' if more > 0 else "")
    if not one.counts:
        return '<span class="soft">no value</span>'
    top, step = max(*one.counts, 1), _WIDTH / len(one.counts)
    bars = "".join(
        f'<rect class="bar" x="{place * step:.1f}" y="{_HEIGHT - height:.1f}" width="{step * 0.86:.1f}" height="{height:.1f}">'
        f"<title>{_number(one.edges[place])} to {_number(one.edges[place + 1])}: {count:,}</title></rect>"
        for place, count in enumerate(one.counts)
        if (height := max(count / top * (_HEIGHT - 2), 1.0 if count else 0.0))
    )
    return _drawing(f"Histogram of {one.reference}", bars)


def _over_time(one: FeatureStatistics, starts: list[int]) -> str:
    there = [(place, spread) for place, spread in enumerate(one.over_time) if spread.median is not None]
    lows = [spread.low for _, spread in there if spread.low is not None]
    highs = [spread.high for _, spread in there if spread.high is not None]
    step = _WIDTH / max(len(one.over_time), 1)
    base = min(lows, default=0.0)
    span = (max(highs, default=1.0) - base) or 1.0

    def height(value: float | None) -> float:
        return _HEIGHT - 3 - ((value or 0.0) - base) / span * (_HEIGHT - 6)

    parts = []
    for place, spread in enumerate(one.over_time):
        if not spread.rows:
            continue
        share = spread.missing / spread.rows
        told = f"{_day(starts[place])}: {spread.rows:,} rows, {share:.0%} missing, median {_number(spread.median)}"
        shapes = f'<rect fill="transparent" x="{place * step:.1f}" y="0" width="{step:.1f}" height="{_HEIGHT}"/>'
        if spread.median is not None:
            top = height(spread.high)
            tall = max(height(spread.low) - top, 1.0)
            shapes += (
                f'<rect class="band" x="{place * step:.1f}" y="{top:.1f}" width="{step:.1f}" height="{tall:.1f}"/>'
            )
        if share:
            tall = share * _HEIGHT
            shapes += f'<rect class="gone" x="{place * step:.1f}" y="{_HEIGHT - tall:.1f}" width="{step * 0.3:.1f}" height="{tall:.1f}"/>'
        parts.append(f"<g><title>{escape(told)}</title>{shapes}</g>")
    line = " ".join(f"{(place + 0.5) * step:.1f},{height(spread.median):.1f}" for place, spread in there)
    return _drawing(f"{one.reference} over time", "".join(parts) + (f'<polyline points="{line}"/>' if line else ""))


def _files(lineage: Lineage) -> str:
    rows = "".join(
        f'<tr><td class="name">{escape(file.name)}</td><td class="n">{file.rows:,}</td><td class="n">{file.table_version}</td>'
        f"<td><nobr>{_day(file.committed_at)}</nobr></td><td><code>{escape(file.sha256[:12])}</code></td><td><code>{escape(file.batch_id)}</code></td></tr>"
        for file in lineage.files[:MAX_FILES]
    )
    if not rows:
        return ""
    more = len(lineage.files) - MAX_FILES
    rest = f'<p class="facts">and {more} earlier ones</p>' if more > 0 else ""
    return (
        f"<h2>Made from {escape(lineage.dataset.name)}, loaded from</h2>"
        '<div class="wide"><table><thead><tr><th>file</th><th class="n">rows</th><th class="n">version</th><th>loaded</th><th>sha256</th><th>batch</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>{rest}"
    )


def _drawing(about: str, inside: str) -> str:
    label = escape(about, quote=True)
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"'
    return f'<svg {size} role="img" aria-label="{label}">{inside}</svg>'


def _day(moment: int) -> str:
    return rfc3339(moment)[:10]


def _share(share: float) -> str:
    """A few of many are not none of them."""
    return "&lt; 0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}" if abs(value) < 100_000 else f"{value:,.0f}"
