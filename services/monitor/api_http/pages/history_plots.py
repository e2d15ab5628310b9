"""A model's history drawn: quality, drift, who answered, and how much of it is labelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.pages.plots import Axis, Level, Line, Mark, Point, figure_text, line_plot, share_plot
from services.monitor.api_http.pages.words import minute, share
from services.monitor.domain.drift.judge import DriftPolicy
from services.monitor.domain.model import SCORE, Drift, Quality, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from services.monitor.domain.model import QualityFigure
    from services.monitor.domain.releases import Release
    from services.monitor.domain.reports.history import Bucket, History
    from services.monitor.domain.retraining.judge import Request

_MOST_COLUMNS = 5
EFFECT_FLOOR = DriftPolicy().effect_floor
_NAMES = {
    "roc_auc": "area under the ROC curve", "mae": "mean absolute error", "pr_auc": "average precision",
    "log_loss": "log loss", "brier": "Brier score", "rmse": "root mean squared error",
}  # fmt: skip


def history_plots(history: History, requests: Sequence[Request] = ()) -> Markup:
    """Four plots on one axis of time, with the releases and the trainings that were asked for meanwhile."""
    axis = Axis(history.window.start, history.window.end)
    marks = sorted([*release_marks(history), *retraining_marks(history, requests)], key=lambda mark: mark.at)
    return tag(
        "div", quality_plot(history, axis, marks), drift_plot(history, axis, marks), traffic_plot(history, axis, marks),
        coverage_plot(history, axis, marks), class_="plots",
    )  # fmt: skip


def release_marks(history: History) -> list[Mark]:
    """Releases in the window; by event time, where another version begins to answer most."""
    if history.window.by == "at":
        return [_mark(release) for release in history.releases]
    marks: list[Mark] = []
    before = 0
    for bucket in history.buckets:
        if bucket.version and bucket.version != before:
            if before:
                marks.append(Mark(bucket.start, f"v{bucket.version}", f"version {bucket.version} answers from here"))
            before = bucket.version
    return marks


def retraining_marks(history: History, requests: Sequence[Request]) -> list[Mark]:
    """When trainings were asked for; only by the time of answers, which is the time they were asked in."""
    window = history.window
    if window.by != "at":
        return []
    return [
        Mark(
            one.asked_at, "retraining asked",
            f"{minute(one.asked_at)}, retraining {one.state.value.replace('_', ' ')}: {'; '.join(sign.text for sign in one.signs)}",
        )
        for one in requests if window.start <= one.asked_at < window.end
    ]  # fmt: skip


def _mark(release: Release) -> Mark:
    parts = [
        f"v{track.version}"
        if track.role == "stable"
        else f"{track.role} v{track.version}" + (f" {share(track.share)}" if track.share else "")
        for track in release.tracks
    ]
    verb = {"promote": "promoted ", "rollback": "back to "}.get(release.action, "")
    text = verb + (" + ".join(parts) or "nothing")
    why = f": {release.reason}" if release.reason else ""
    return Mark(
        release.made_at,
        text,
        f"{minute(release.made_at)}, release {release.revision} by {release.made_by}: {text}{why}",
    )


def quality_plot(history: History, axis: Axis, marks: list[Mark]) -> Markup:
    """The main metric of each version that answered most of a bucket, with its interval, beside the test's figure."""
    versions = sorted({bucket.version for bucket in history.buckets if _figure(history, bucket)})
    lines = []
    levels: dict[float, str] = {}
    for version in versions:
        points: list[Point | None] = []
        for bucket in history.buckets:
            figure = _figure(history, bucket) if bucket.version == version else None
            if figure is None:
                points.append(None)
                continue
            levels.setdefault(figure.expected, f"v{version} in its test: {figure_text(figure.expected)}")
            points.append(
                Point(bucket.start, bucket.end, figure.value, figure.low, figure.high, figure.verdict is Quality.WORSE)
            )
        lines.append(Line(f"v{version}", points))
    name = _NAMES.get(history.metric, history.metric or "on labels")
    return line_plot(
        f"Quality: {name}", axis, lines, marks=marks, levels=[Level(*item) for item in levels.items()][-2:]
    )


def _figure(history: History, bucket: Bucket) -> QualityFigure | None:
    return next((figure for figure in bucket.figures if figure.metric == history.metric), None)


def drift_plot(history: History, axis: Axis, marks: list[Mark]) -> Markup:
    """Which share of the rows of the worst columns lies elsewhere than in the version's training."""
    lines = []
    for name in history.columns(_MOST_COLUMNS):
        points: list[Point | None] = []
        for bucket in history.buckets:
            column = next((one for one in bucket.columns if one.column == name), None)
            if column is None or column.verdict is Drift.NOT_ENOUGH_EVIDENCE:
                points.append(None)
            else:
                points.append(Point(bucket.start, bucket.end, column.moved, bad=column.verdict is Drift.DRIFT))
        if any(points):
            lines.append(Line("the model's score" if name == SCORE else name, points))
    floor = [Level(EFFECT_FLOOR, f"from {share(EFFECT_FLOOR)} on it matters, if it is sure")]
    title = "Drift: share of rows elsewhere than in training"
    return line_plot(title, axis, lines, marks=marks, levels=floor, bottom=0, top=0.3, write=share)


def traffic_plot(history: History, axis: Axis, marks: list[Mark]) -> Markup:
    """Which version answered how much."""
    buckets = []
    for bucket in history.buckets:
        parts: dict[str, int] = {}
        for (version, role), rows in bucket.traffic.items():
            name = f"v{version}" if role is Role.STABLE else f"v{version} {role.value}"
            parts[name] = parts.get(name, 0) + rows
        buckets.append((bucket.start, bucket.end, parts))
    return share_plot("Who answered: predictions", axis, buckets, marks=marks)


def coverage_plot(history: History, axis: Axis, marks: list[Mark]) -> Markup:
    """How many of the answers are labelled by now."""
    points = [
        Point(bucket.start, bucket.end, bucket.labels / bucket.predictions) if bucket.predictions else None
        for bucket in history.buckets
    ]
    lines = [Line("labelled", points)] if any(points) else []
    return line_plot(
        "Labels: share of answers whose truth is known", axis, lines, marks=marks, bottom=0, top=1, write=share
    )
