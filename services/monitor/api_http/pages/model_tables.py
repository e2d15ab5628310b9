"""The tables of a model's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from services.monitor.api_http.pages.html import join, tag
from services.monitor.api_http.pages.words import facts, marked, minute, named, share, table, verdict_mark, when
from services.monitor.domain.quality.measure import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.monitor.domain.model import ColumnReport, Histogram, Report, VerdictRecord
    from services.monitor.domain.quality.mistakes import Mistakes
    from services.monitor.domain.releases import Known

MAX_DRAWN = 60
_COLUMNS_OF_MISTAKES = 5
_WIDTH, _HEIGHT = 240, 52


def columns_table(report: Report, most: int | None = None) -> Markup:
    """Every column against training, worst first, with its histogram; `most` leaves the quiet rest out."""
    if not report.columns:
        return Markup()
    rows: list[list[Markup | str]] = [
        [
            tag("code", named(one.column), id=f"column-{one.column}"), verdict_mark(one.verdict),
            histogram(one, one.histogram) if one.histogram is not None and place < MAX_DRAWN else "",
            f"{one.effect:.3f}", f"{one.psi:.3f}", "< 0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}", f"{one.rows:,}",
            marked(one.summary),
        ]
        for place, one in enumerate(report.columns[:most])
    ]  # fmt: skip
    head = [("column", ""), ("verdict", ""), ("training and window", ""), ("distance", "n"), ("PSI", "n"),
            ("adjusted p", "n"), ("rows", "n"), ("what", "why")]  # fmt: skip
    key = tag(
        "p",
        "Share of rows: ",
        tag("i", class_="then"),
        "training ",
        tag("i", class_="now"),
        "this window (faint: missing)",
        class_="key",
    )
    title = f"Columns against version {report.drift_version}'s training, worst first"
    return tag("section", tag("h2", title), key, table(title, head, rows, hidden=True))


def histogram(column: ColumnReport, found: Histogram) -> Markup:
    """Paired bars, the last pair faint for missing values; each says in a tooltip what it is."""
    there = (1 - column.baseline_missing_ratio, 1 - column.missing_ratio)
    pairs = [
        (label, found.baseline[place] * there[0], found.window[place] * there[1], "")
        for place, label in enumerate(found.labels)
    ]
    if min(there) < 1:
        pairs.append(("missing", column.baseline_missing_ratio, column.missing_ratio, " gone"))
    top = max([1e-9, *(max(then, now) for _, then, now, _ in pairs)])
    step = _WIDTH / max(len(pairs), 1)

    def bar(kind: str, left: float, part: float) -> Markup:
        height = part / top * (_HEIGHT - 2)
        return tag(
            "rect",
            class_=kind,
            x=f"{left:.1f}",
            y=f"{_HEIGHT - height:.1f}",
            width=f"{step * 0.4:.1f}",
            height=f"{height:.1f}",
        )

    groups = [
        tag(
            "g", tag("title", f"{label}: training {then:.1%}, window {now:.1%}"), bar(f"then{tone}", place * step, then),
            bar(f"now{tone}", place * step + step * 0.42, now),
        )
        for place, (label, then, now, tone) in enumerate(pairs)
    ]  # fmt: skip
    about = f"Histogram of {column.column}: training and window"
    return tag("svg", *groups, width=_WIDTH, height=_HEIGHT, role="img", aria_label=about)


def canary_table(trial: dict[str, Any]) -> Markup:
    """The verdict on what is on trial, question by question."""
    rows: list[list[Markup | str]] = [
        [
            one["question"], verdict_mark(one["finding"]), f"{one['rows']:,}", f"{one['stable_rows']:,}",
            _figure(one["value"]), _figure(one["stable_value"]), one["text"],
        ]
        for one in trial["questions"]
    ]  # fmt: skip
    head = [("question", ""), ("finding", ""), ("its rows", "n"), ("stable's rows", "n"), ("its figure", "n"),
            ("stable's", "n"), ("what", "why")]  # fmt: skip
    title = f"{trial['role'].capitalize()} v{trial['candidate']} beside v{trial['stable']}"
    found = table(title, head, rows, hidden=True)
    return tag("section", tag("h2", title, ": ", verdict_mark(trial["verdict"])), tag("p", trial["summary"]), found)


def mistakes_table(found: Mistakes | None, columns: Sequence[str]) -> Markup:
    """The answers that were most wrong; `columns` are those to show, the most telling first."""
    if found is None or not found.worst:
        return Markup()
    shown = [name for name in columns if any(name in one.columns for one in found.worst)][:_COLUMNS_OF_MISTAKES]
    rows: list[list[Markup | str]] = [
        [
            minute(one.event_time), f"v{one.version}" + ("" if one.role == "stable" else f" {one.role}"), plain(one.score),
            plain(one.value), plain(one.error), *(_cell(one.columns.get(name)) for name in shown), tag("code", one.prediction_id),
        ]
        for one in found.worst
    ]  # fmt: skip
    head = [
        ("event", "t"),
        ("version", ""),
        ("answer", "n"),
        ("truth", "n"),
        ("off by", "n"),
        *((named(name), "name") for name in shown),
        ("prediction", ""),
    ]
    about = facts(
        f"The worst of {found.labelled:,} labelled answers in this window. Shown are the columns that drift most."
    )
    return tag(
        "section",
        tag("h2", "Most wrong"),
        about,
        table("Answers that were most wrong", head, rows, hidden=True),
    )


def _cell(value: float | str | None) -> Markup | str:
    if value is None:
        return tag("span", "missing", class_="facts")
    return value[:60] if isinstance(value, str) else plain(value)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def figures_table(report: Report) -> Markup:
    """Quality on labels."""
    if not report.figures:
        return Markup()
    rows: list[list[Markup | str]] = [
        [
            one.metric, f"v{one.version}", plain(one.value), f"{plain(one.low)} – {plain(one.high)}", plain(one.expected),
            f"{one.rows:,}", verdict_mark(one.verdict),
        ]
        for one in report.figures
    ]  # fmt: skip
    head = [
        ("metric", ""),
        ("version", "n"),
        ("value", "n"),
        ("95 % interval", "n"),
        ("in the test", "n"),
        ("labels", "n"),
        ("verdict", ""),
    ]
    return _section("Quality on labels", head, rows)


def versions_table(report: Report) -> Markup:
    """Who answered."""
    if not report.versions:
        return Markup()
    rows: list[list[Markup | str]] = [
        [
            f"v{one.version}", one.role.value, f"{one.predictions:,}", f"{one.labels:,}",
            duration(one.label_delay_median_seconds), verdict_mark(one.quality), one.summary,
        ]
        for one in report.versions
    ]  # fmt: skip
    head = [
        ("version", ""),
        ("role", ""),
        ("predictions", "n"),
        ("labels", "n"),
        ("median label delay", "n"),
        ("quality", ""),
        ("why", "todo"),
    ]
    return _section("Versions", head, rows)


def releases_table(known: Known, now: int | None) -> Markup:
    """What was released, newest first; with the moments themselves where it is not known when the table is read."""
    if not known.releases:
        said = "Nothing was released yet." if known.fresh else "The registry does not answer: releases are not known."
        return tag("section", tag("h2", "Releases"), facts(said))
    rows: list[list[Markup | str]] = [
        [
            str(one.revision), minute(one.made_at) if now is None else when(one.made_at, now),
            ", ".join(f"{track.role} v{track.version}" + (f" {share(track.share)}" if track.share else "") for track in one.tracks) or "nothing",
            one.action + (f" to revision {one.from_revision}" if one.from_revision else ""), one.made_by, one.reason,
        ]
        for one in known.releases
    ]  # fmt: skip
    head = [("revision", ""), ("made", ""), ("serves", ""), ("how", ""), ("by", ""), ("reason", "")]
    return _section("Releases", head, rows)


def verdicts_table(records: Sequence[VerdictRecord]) -> Markup:
    """Verdicts as they were given, newest first; of equal ones only the first."""
    if not records:
        return Markup()
    told = [
        one
        for one, older in zip(records, [*records[1:], None], strict=True)
        if older is None or (one.drift, one.quality, one.version) != (older.drift, older.quality, older.version)
    ]
    rows: list[list[Markup | str]] = [
        [
            minute(one.judged_at),
            f"v{one.version}",
            verdict_mark(one.drift),
            verdict_mark(one.quality),
            marked(one.summary),
        ]
        for one in told
    ]
    head = [("given", "t"), ("version", ""), ("drift", ""), ("quality", ""), ("why", "why")]
    return _section("Verdicts as they changed", head, rows)


def duration(seconds: float | None) -> str:
    """A length of time in the largest unit that fits."""
    if seconds is None:
        return "–"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _section(title: str, head: list[tuple[str, str]], rows: list[list[Markup | str]]) -> Markup:
    return join(tag("section", tag("h2", title), table(title, head, rows, class_="overview", hidden=True)))
