"""What the pages draw: buckets of a window, the overview's order, plots as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Literal

import numpy as np
import pytest

from services.monitor.api_http.pages.depth import depth_body
from services.monitor.api_http.pages.history_plots import history_plots, retraining_marks
from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.pages.incident_history import history_section
from services.monitor.api_http.pages.incident_list import incidents_section
from services.monitor.api_http.pages.known_at import known_at_form, known_at_from
from services.monitor.api_http.pages.model_tables import mistakes_table
from services.monitor.api_http.pages.month import month_html
from services.monitor.api_http.pages.plots import Axis, Level, Line, Mark, Point, line_plot, share_plot
from services.monitor.domain.drift.judge import DriftPolicy
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import Drift, Label, Quality, VerdictRecord, Window
from services.monitor.domain.quality.mistakes import FindMistakes
from services.monitor.domain.quality.words import (
    Basis,
    Calibrated,
    Calibration,
    CalibrationBin,
    Concept,
    ConceptDrift,
    Estimate,
    QualityReport,
    SliceReport,
    Worth,
)
from services.monitor.domain.releases import Known, Release, with_shares
from services.monitor.domain.reports.build import BuildReport
from services.monitor.domain.reports.history import MOST_BUCKETS, ReadHistory, step_for
from services.monitor.domain.reports.model_view import ViewModel
from services.monitor.domain.reports.month import TellMonth
from services.monitor.domain.reports.overview import DRIFTS, FINE, SILENT, UNKNOWN, WORSE, LookOver
from services.monitor.domain.retraining.judge import Request, Sign
from tenon.core.errors import Invalid
from tenon.core.specs.monitor import RetrainReason
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import DAY, batch_document, manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryLog, MemoryVerdicts, MemoryVersions, MemoryWindows
from tests.support.monitor_label_fakes import MemoryAnswered, MemoryLabelLookup

NORTH = TenantId("north")
NOW = 20_000 * DAY
RNG = np.random.default_rng(1)


class FakeReleases:
    """`Releases` in memory."""

    def __init__(self, *releases: Release, fresh: bool = True) -> None:
        self.known = Known(releases, ("north",), NOW if fresh else None, fresh)

    def current(self, tenant: TenantId | None) -> Known:
        """See the port."""
        return self.known

    def history(self, tenant: TenantId, model: str) -> Known:
        """See the port."""
        return self.known


def release(model: str, *weights: tuple[str, int, int], at: int = NOW - 3 * DAY) -> Release:
    """A release of north's."""
    return Release("north", model, 1, with_shares(weights), at, "ada", "set")


def log_with(days: int, shifted_from: int, *, event_shift: int = 0) -> MemoryLog:
    """150 rows a day; from a day on they are shifted."""
    log = MemoryLog()
    for day in range(days):
        x = RNG.normal(loc=1.5 if day >= shifted_from else 0.0, size=150)
        at = NOW - (days - day) * DAY + 3_600_000_000
        document = batch_document(1 / (1 + np.exp(-x)), {"x": x}, at=at, event_time=at - event_shift)
        log.store(NORTH, batch_from_document(document))
    return log


def views(log: MemoryLog, releases: FakeReleases) -> tuple[ViewModel, LookOver]:
    """The use cases on memory."""
    x = RNG.normal(size=5_000)
    versions = MemoryVersions({1: manifest({"x": numeric_baseline(x)}, numeric_baseline(1 / (1 + np.exp(-x))))})
    report = BuildReport(log, MemoryWindows(log, versions), log, versions)
    look_over = LookOver(log, log, MemoryVerdicts(), releases, window=7 * DAY, now=lambda: NOW)
    history = ReadHistory(report, versions, releases, drift=DriftPolicy())
    mistakes = FindMistakes(MemoryAnswered(log), MemoryLabelLookup(log))
    return ViewModel(
        log, look_over, report, history, releases, mistakes, lambda _tenant, _model: None, lambda: NOW
    ), look_over


def test_the_history_shows_when_drift_began() -> None:
    """Each bucket has its own verdict, so that the day of the shift can be read off, and the release lies beside it."""
    view, _ = views(log_with(6, shifted_from=3), FakeReleases(release("cost", ("stable", 1, 0))))
    shown = view(NORTH, "cost")
    assert shown.history is not None
    assert (shown.last, shown.by) == ("7d", "at")
    drifted = [
        "x" in [one.column for one in bucket.columns if one.verdict == "drift"] for bucket in shown.history.buckets
    ]
    judged = [flag for flag, bucket in zip(drifted, shown.history.buckets, strict=True) if bucket.predictions]
    assert judged == sorted(judged)
    assert 0 < sum(judged) < len(judged)
    assert [one.revision for one in shown.history.releases] == [1]
    assert set(shown.history.columns(2)) == {"x", "score"}
    signs = (Sign(RetrainReason.DRIFT, "age drifts for a week"),)
    asked = Request("r1", NORTH, "cost", 1, NOW - 2 * DAY, signs)
    earlier = Request("r0", NORTH, "cost", 1, NOW - 90 * DAY, signs)
    [mark] = retraining_marks(shown.history, (asked, earlier))
    assert (mark.at, mark.text) == (NOW - 2 * DAY, "retraining asked")
    assert "age drifts for a week" in mark.about
    assert mark.about in str(history_plots(shown.history, (asked,)))


@pytest.mark.parametrize("by", ["at", "event_time"])
def test_a_series_is_the_reports_of_its_parts(by: Literal["at", "event_time"]) -> None:
    """One reading gives for each part what a report of the part alone gives, ragged ends and corrected labels included."""
    log = log_with(6, shifted_from=3, event_shift=DAY // 3)
    batches = list(log.batches.values())
    for batch in batches[:4]:
        truth = (batch.score > 0.5).astype(float)
        named = zip(batch.prediction_ids, truth, strict=True)
        log.record(NORTH, "cost", [Label(name, value, NOW - DAY) for name, value in named])
    log.record(NORTH, "cost", [Label(name, 0.0, NOW) for name in batches[0].prediction_ids[:70]])
    versions = MemoryVersions(
        {1: manifest({"x": numeric_baseline(RNG.normal(size=5_000))}, numeric_baseline(RNG.random(5_000)))}
    )
    build = BuildReport(log, MemoryWindows(log, versions), log, versions)
    window = Window(NOW - 5 * DAY - DAY // 5, NOW - DAY // 7, by)
    for known_at in (None, NOW - DAY // 2):
        parts = build.series(NORTH, "cost", window, DAY, known_at=known_at)
        assert [parts[0].window.start, parts[-1].window.end] == [window.start, window.end]
        assert sum(one.labels for one in parts) == build(NORTH, "cost", window, known_at=known_at).labels > 0
        for one in parts:
            assert one == build(NORTH, "cost", one.window, known_at=known_at)


def test_a_replay_is_shown_by_the_time_of_its_events() -> None:
    """Rows whose events lie years back are drawn when they happened, all of them, unless somebody asks otherwise."""
    view, _ = views(log_with(6, shifted_from=9, event_shift=2_000 * DAY), FakeReleases())
    shown = view(NORTH, "cost")
    assert (shown.last, shown.by) == ("all", "event_time")
    assert shown.report is not None
    assert shown.report.predictions == 900
    assert view(NORTH, "cost", by="at").by == "at"
    with pytest.raises(Invalid, match="by"):
        view(NORTH, "cost", by="event")


def test_a_page_as_known_at_a_time() -> None:
    """Labels that came later do not count; the field takes what a browser sends, and what is no time is refused."""
    log = log_with(6, shifted_from=9)
    names = [name for batch in log.batches.values() for name in batch.prediction_ids]
    log.record(NORTH, "cost", [Label(name, 1.0, NOW - DAY) for name in names[:300]])
    log.record(NORTH, "cost", [Label(name, 0.0, NOW) for name in names[300:400]])
    view, _ = views(log, FakeReleases())
    for known_at, labels in ((None, 400), (NOW - DAY, 300), (NOW - 2 * DAY, 0)):
        shown = view(NORTH, "cost", known_at=known_at)
        assert shown.report is not None
        assert shown.history is not None
        assert shown.mistakes is not None
        counts = {shown.report.labels, shown.mistakes.labelled, sum(one.labels for one in shown.history.buckets)}
        assert (counts, shown.known_at) == ({labels}, known_at)
    assert known_at_from("1970-01-02T00:00") == known_at_from("1970-01-02T00:00:00Z") == DAY
    assert known_at_from("") is None
    assert 'href="?last=7d"' in str(known_at_form(DAY, last="7d", by=""))
    with pytest.raises(Invalid, match="known_at"):
        known_at_from("yesterday")


def test_a_model_that_nobody_asked_is_there() -> None:
    """A released model has its line and its page before the first prediction, and says what to do."""
    view, look_over = views(MemoryLog(), FakeReleases(release("cost", ("stable", 2, 0), ("canary", 3, 50))))
    [line] = look_over.fleet().lines
    assert (line.rank, line.tenant, line.command) == (SILENT, "north", "tenon predict cost --tenant north")
    assert line.release is not None
    assert [(track.version, track.share) for track in line.release.tracks] == [(2, 0.95), (3, 0.05)]
    shown = view(NORTH, "cost")
    assert shown.report is None
    assert shown.line == line


def test_the_worst_comes_first_and_what_is_not_known_is_not_claimed() -> None:
    """Drift stands before a model without a verdict; without the registry nothing is said of releases."""
    log = log_with(6, shifted_from=0)
    for batch in log_with(2, shifted_from=9).batches.values():
        log.store(
            NORTH, batch_from_document(batch_document(batch.score, {"x": batch.score}, model="aaa", at=NOW - DAY))
        )
    releases = FakeReleases(fresh=False)
    view, look_over = views(log, releases)
    assert [line.rank for line in look_over.tenant(NORTH).lines] == [UNKNOWN, UNKNOWN]
    assert DRIFTS < SILENT < UNKNOWN < FINE
    shown = view(NORTH, "cost")
    assert shown.report is not None
    assert shown.line is not None
    assert shown.line.release is None


def test_buckets_are_few_and_full() -> None:
    """A bucket is as short as the number of buckets and the rows in each allow."""
    assert step_for(7 * DAY, 10_000_000, 200) == DAY // 4
    assert step_for(7 * DAY, 2_000, 200) == DAY
    assert step_for(7 * DAY, 10, 200) == DAY // 4
    assert step_for(3_000 * DAY, 10_000_000, 200) * MOST_BUCKETS >= 3_000 * DAY


def test_plots_are_well_formed_and_have_tables() -> None:
    """Names cannot break out of a plot, every figure stands in a table, too, and a single value can be drawn."""
    axis = Axis(NOW - 7 * DAY, NOW)
    point = Point(NOW - 2 * DAY, NOW - DAY, 0.5, 0.4, 0.6, bad=True)
    drawn = line_plot(
        "Quality <b>", axis, [Line("v1", [None, point]), Line("<script>", [point])],
        marks=[Mark(NOW - DAY, "v2 & more", "release")], levels=[Level(0.7, "test")],
    )  # fmt: skip
    root = ET.fromstring(str(drawn))
    assert len(root.findall(".//tbody/tr")) == 3 - 1
    assert "<script>" not in str(drawn)
    bars = share_plot("Who", axis, [(NOW - DAY, NOW, {"v1": 3, "v2 canary": 1}), (NOW, NOW, {})])
    assert [one.text for one in ET.fromstring(str(bars)).findall(".//tbody/tr/td")] == ["3", "1"]
    assert "Nothing to draw" in str(line_plot("Quality", axis, []))


@pytest.mark.parametrize("days", [0.1, 1, 7, 30, 90, 365, 3_000, 40_000])
def test_an_axis_of_any_length_has_a_few_round_times(days: float) -> None:
    """From hours to a century there are a few ticks, in order, none twice."""
    axis = Axis(
        NOW - 40_000 * DAY if days > 10_000 else NOW - int(days * DAY), NOW - 25_000 * DAY if days > 10_000 else NOW
    )
    ticks = [moment for moment, _ in axis.ticks()]
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 10
    assert days < 1 or len(ticks) >= 3


def quality_of(tenant: TenantId, model: str, window: Window, *, known_at: int | None = None) -> QualityReport:
    """Quality in depth with one figure of worth, two bins of calibration, an estimate and a slice."""
    worth = Worth(1, "EUR", 900, -70.0, -90.0, -50.0, -0.08, None, 0, 0, 0, 0, None, "", "lost 70 EUR <on> 900 answers")
    bins = (CalibrationBin(50, 0.2, 0.3, 0.2, 0.4), CalibrationBin(50, 0.7, 0.6, 0.5, 0.7))
    calibration = Calibration(
        1, 100, Calibrated.TOO_HIGH, bins, 0.1, 0.05, 0.1, 0.0, 0.2, 1.0, 0.0, None, None, "answers are too high"
    )
    estimate = Estimate("roc_auc", 1, 900, 0.7, 0.65, 0.75, 0.8, Basis.PROBABILITIES, 900, Quality.WORSE)
    part = SliceReport(
        "ward", "a&b", 1, 50, 40, 0.1, 0.1, "roc_auc", 0.6, 0.5, 0.7, 0.2, 0.1, 0.01, Quality.WORSE, ("x",)
    )
    concept = ConceptDrift(1, 900, "squared error", Concept.WORSE, (), "the errors grew")
    return QualityReport(
        tenant.value,
        model,
        window,
        None,
        900,
        900,
        (estimate,),
        (calibration,),
        (concept,),
        (part,),
        (worth,),
        ("a note",),
    )


def test_quality_in_depth_is_drawn() -> None:
    """Estimates, calibration with its table, errors, slices and worth stand on one page, well-formed and escaped."""
    body = str(tag("main", *depth_body(quality_of(NORTH, "cost", Window(NOW - DAY, NOW)))))
    root = ET.fromstring(body)
    assert len(root.findall(".//circle")) == 2
    for words in (
        "lost 70 EUR &lt;on&gt; 900",
        "answers are too high",
        "the errors grew",
        "a&amp;b",
        "a note",
        "0.650 – 0.750",
    ):
        assert words in body


def test_incidents_are_told_with_what_to_do() -> None:
    """The title as a link, since when, why and what to do; who is at it, else a button to say so; never more than a few."""
    one = {
        "id": "i1", "state": "open", "title": "age of cost: values are higher", "severity": "critical", "tenant": "north", "common": False,
        "since": "2026-01-01T00:00:00Z", "causes": ["a unit may have changed"], "advice": ["look at the source"], "note": None,
    }  # fmt: skip
    noted = one | {"id": "i2", "note": {"who": "Ada", "action": "acknowledged"}}
    told = str(incidents_section([one, noted, *[one] * 8], NOW, tenant="north", csrf="c<1>"))
    assert "A unit may have changed. To do: look at the source." in told
    assert 'href="/pages/tenants/north/incidents/i1"' in told
    assert 'action="/pages/tenants/north/incidents/i1"' in told
    assert 'value="c&lt;1&gt;"' in told
    assert told.count("<form") == 5  # Six are shown, of one of which Ada has said so.
    assert "Ada has acknowledged it" in told
    assert "and 4 more" in told
    assert 'href="/pages/incidents"' in str(incidents_section([], NOW))


def test_the_course_of_an_incident_is_told_in_order() -> None:
    """What was kept, what was seen, and of an incident of before histories what it knows itself; texts of people are escaped."""
    row = {
        "tenant": "north",
        "model": "cost",
        "feature": "age",
        "since": "2026-01-01T00:00:00Z",
        "seen_until": "2026-01-04T00:00:00Z",
        "over": True,
    }
    kept = [
        {"at": "2026-01-01T01:00:00Z", "event": "opened", "who": "", "text": "age of cost", "until": None},
        {"at": "2026-01-02T00:00:00Z", "event": "snoozed", "who": "Ada", "text": "<b>", "until": "2026-01-03T00:00:00Z", "tenant": "north"},
        {"at": "2026-01-02T00:00:01Z", "event": "not_told", "who": "chat", "text": "opened: answered 410", "until": None},
    ]  # fmt: skip
    shown = {"evidence": [row], "history": kept, "opened_at": "2026-01-01T01:00:00Z", "closed_at": "2026-01-05T00:00:00Z", "close_reason": "as usual", "note": None}  # fmt: skip
    told = str(history_section(shown))
    order = ["begins", "opened", "snoozed", "could not be told", "seen for the last time", "over"]
    assert sorted(order, key=told.index) == order
    assert "Ada of north until 2026-01-03 00:00 UTC: “&lt;b&gt;”" in told
    assert "chat: opened: answered 410" in told
    old = shown | {
        "history": [],
        "note": {"at": "2026-01-02T00:00:00Z", "action": "acknowledged", "who": "Ida", "text": "", "until": None},
    }
    assert all(word in str(history_section(old)) for word in ("opened", "acknowledged</strong> by Ida", "over"))


def months(log: MemoryLog) -> TellMonth:
    """The monthly report on memory; now is the 20,000th day, 2024-10-04."""
    versions = MemoryVersions(
        {1: manifest({"x": numeric_baseline(RNG.normal(size=5_000))}, numeric_baseline(RNG.random(5_000)))}
    )
    report = BuildReport(log, MemoryWindows(log, versions), log, versions)
    releases = FakeReleases(release("cost", ("stable", 1, 0), at=NOW - DAY))
    return TellMonth(
        log, report, ReadHistory(report, versions, releases, drift=DriftPolicy()), releases, quality_of, lambda: NOW
    )


def test_a_month_says_what_changed() -> None:
    """Against the month before: who was asked how much, and what drifts now; the file needs nothing beside it."""
    month = months(log_with(20, shifted_from=17))(NORTH, "2024-10")
    [one] = month.models
    assert month.running
    assert one.before is not None
    assert any("New drift" in change and "`x`" in change for change in one.changes)
    assert any("the month before" in change for change in one.changes)
    assert [made.revision for made in one.releases] == [1]
    page = month_html(month, NOW)
    assert "lost 70 EUR &lt;on&gt; 900 answers" in page
    assert "<link" not in page
    assert "http" not in page
    assert "drifted; no model is known to have answered worse" in page


def test_a_month_as_known_at_a_time() -> None:
    """Labels of its answers and of the month before count as they were known then, in figures and in curves, and the page says so."""
    log = log_with(20, shifted_from=30)
    names = [one for batch in log.batches.values() for one in batch.prediction_ids]
    log.record(NORTH, "cost", [Label(name, 1.0, NOW - DAY) for name in names])
    tell = months(log)
    for known_at, coverage in ((None, 1.0), (NOW - DAY, 1.0), (NOW - 2 * DAY, 0.0)):
        month = tell(NORTH, "2024-10", known_at)
        [one] = month.models
        assert one.before is not None
        assert (one.report.label_coverage, one.before.label_coverage) == (coverage, coverage)
        assert {bucket.labels == bucket.predictions for bucket in one.history.buckets if bucket.predictions} == {
            coverage == 1.0
        }
        assert (month.known_at, "labels as known at" in month_html(month, NOW)) == (known_at, known_at is not None)


def test_a_month_without_answers() -> None:
    """A quiet month names the models that nobody asked; one that has not begun, or is none, is refused."""
    tell = months(log_with(3, shifted_from=9))
    quiet = tell(NORTH, "2023-01")
    assert (quiet.models, quiet.silent) == ((), ("cost",))
    assert "was asked" in month_html(quiet, NOW)
    for wrong in ("2024-11", "2024-13", "october", "2024-1"):
        with pytest.raises(Invalid, match=r"month|begun"):
            tell(NORTH, wrong)


def test_a_replays_months_are_those_of_its_events() -> None:
    """Years of events that were answered today have their months."""
    month = months(log_with(6, shifted_from=9, event_shift=2_000 * DAY))(NORTH, "2019-04")
    [one] = month.models
    assert one.report.window.by == "event_time"
    assert one.report.predictions == 900


def test_the_canarys_verdict_says_what_to_do() -> None:
    """One that is worse stands first with the way back; one that is not is to be promoted; else one is told how long to wait."""
    log = log_with(6, shifted_from=9)
    verdicts = MemoryVerdicts()
    record = VerdictRecord("cost", NOW, NOW - DAY, NOW, 1, Drift.NO_DRIFT, Quality.AS_EXPECTED, 900, 900, (), "calm")
    verdicts.add(NORTH, record)
    releases = FakeReleases(release("cost", ("stable", 1, 0), ("canary", 2, 50)))
    for verdict, more, words in (
        ("roll_back", None, "Take the canary back"), ("promote", None, "Promote the canary"),
        ("not_enough_evidence", 700, "about 700 more requests"), ("hold", None, "Wait until"),
    ):  # fmt: skip
        trial = {"verdict": verdict, "more_requests": more}
        look_over = LookOver(
            log, log, verdicts, releases, window=7 * DAY, now=lambda: NOW, trial=lambda _tenant, _model: trial  # noqa: B023
        )  # fmt: skip
        [line] = look_over.tenant(NORTH).lines
        assert words in line.advice
        assert (line.rank == WORSE) == (verdict == "roll_back")


def test_the_most_wrong_answers_stand_first() -> None:
    """Labelled answers are sorted by how far off they were, with what the model was told; shadows and unlabelled ones are left out."""
    log = log_with(2, shifted_from=9)
    batch = next(iter(log.batches.values()))
    labels = [
        Label(name, float(score < 0.5), NOW)
        for name, score in zip(batch.prediction_ids[:100], batch.score, strict=False)
    ]
    log.record(NORTH, "cost", labels)
    shadow = batch_document(np.array([0.999]), {"x": np.array([1.0])}, at=NOW - DAY, role="shadow", ids=["s"])
    log.store(NORTH, batch_from_document(shadow))
    log.record(NORTH, "cost", [Label("s", 0.0, NOW)])
    window = Window(0, NOW)
    find = FindMistakes(MemoryAnswered(log), MemoryLabelLookup(log))
    found = find(NORTH, "cost", window, log.labelled(NORTH, "cost", window, None), most=5)
    assert found.labelled == 100
    errors = [one.error for one in found.worst]
    assert errors == sorted(np.maximum(batch.score[:100], 1 - batch.score[:100]).tolist(), reverse=True)[:5]
    assert {one.prediction_id for one in found.worst} <= set(batch.prediction_ids[:100])
    assert set(found.worst[0].columns) == {"x"}
    table = str(mistakes_table(found, ["x", "not there"]))
    assert found.worst[0].prediction_id in table
    assert "not there" not in table
