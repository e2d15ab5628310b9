"""A window beside the past: December is no alarm where the December before was like it, and what lasts is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.monitor.domain.drift.judge import DriftPolicy, overall
from services.monitor.domain.drift.season import DAY, WEEK, YEAR, Reference, judge_window, pasts_of
from services.monitor.domain.drift.sketch import Layout, Sketch
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import ColumnReport, Drift, NumericColumn, Role, Window
from services.monitor.domain.reports.build import BuildReport
from services.monitor.domain.reports.references import ReadReferences
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import batch_document, manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryLog, MemoryVersions, MemoryWindows

NORTH = TenantId("north")
RNG = np.random.default_rng(20)
TRAINED = {"x": RNG.normal(size=20_000), "y": RNG.normal(size=20_000)}
SCORES = RNG.random(20_000)
VERSIONS = {
    # The second has other bins than the first.
    number: manifest(
        {name: numeric_baseline(values[: 20_000 - number]) for name, values in TRAINED.items()},
        numeric_baseline(SCORES),
    )
    for number in (1, 2)
}  # fmt: skip
LAYOUT = Layout.of(VERSIONS[1].baseline)
WINDOW = Window(1_000 * DAY, 1_000 * DAY + WEEK)
YEARLY, WEEKLY = pasts_of(WINDOW)


def sketch(rows: int, x: float = 0.0, y: float = 0.0) -> Sketch:
    """Rows whose columns are shifted by so much."""
    made = Sketch(LAYOUT)
    values = {"x": RNG.normal(x, size=rows), "y": RNG.normal(y, size=rows)}
    made.add({name: NumericColumn(one) for name, one in values.items()}, RNG.random(rows))
    return made


def judge(now: Sketch, *references: Reference) -> dict[str, ColumnReport]:
    return {one.column: one for one in judge_window(now, DriftPolicy(), lambda: references)}


def test_which_windows_are_like_one() -> None:
    """A week is compared with the same 52 weeks before and with the four before it, a Saturday with four Saturdays, a year with nothing;
    by the time of the answer they are cut at whole days, so that they are read once."""
    assert YEARLY.like == (Window(636 * DAY, 643 * DAY),)
    assert YEARLY.between == Window(636 * DAY, 1_000 * DAY)
    assert [(one.start // DAY, one.end // DAY) for one in WEEKLY.like] == [
        (972, 979),
        (979, 986),
        (986, 993),
        (993, 1_000),
    ]
    saturday = pasts_of(Window(1_000 * DAY, 1_001 * DAY, "event_time"))[1]
    assert [one.start // DAY % 7 for one in saturday.like] == [1_000 % 7] * 4
    assert pasts_of(Window(0, YEAR)) == []
    moved = pasts_of(Window(WINDOW.start + 5 * 10**9, WINDOW.end + 5 * 10**9))[0]
    assert moved.like == YEARLY.like


def test_december_is_no_alarm_where_the_december_before_was_like_it() -> None:
    """A shift that the year before had as well, and the year between had not, is seasonal; without a year before it is drift."""
    now, then, between = sketch(2_000, x=1.0), sketch(2_000, x=1.0), sketch(50_000, x=0.05)
    assert judge(now)["x"].verdict is Drift.DRIFT
    found = judge(now, Reference(YEARLY, then, between, scored=True))
    assert found["x"].verdict is Drift.SEASONAL
    assert "but as a year before (KS" in found["x"].summary
    assert found["y"].verdict is Drift.NO_DRIFT
    assert overall(found.values()) is Drift.NO_DRIFT
    # Whoever judges many reports together is not told of it either.
    assert found["x"].raw_p_value > 0.001


@pytest.mark.parametrize(
    ("then", "between", "why"),
    [
        (sketch(2_000), sketch(50_000), "the year before was like training"),
        (sketch(2_000, x=1.0), sketch(50_000, x=0.9), "it has lasted all year"),
        (sketch(120, x=1.0), sketch(50_000), "the year before is too few rows to know"),
    ],
    ids=["new", "lasting", "unknown"],
)  # fmt: skip
def test_what_the_past_does_not_excuse_is_drift(then: Sketch, between: Sketch, why: str) -> None:
    """New, lasting, or with too little known of the year before: an alarm, and the sentence says what the past was like."""
    found = judge(sketch(2_000, x=0.6), Reference(YEARLY, then, between, scored=True))
    assert found["x"].verdict is Drift.DRIFT, why
    assert "a year before" in found["x"].summary
    assert {one.against for one in found["x"].compared} == {"year"}


def test_a_month_unlike_the_one_before_and_unlike_training_is_told_against_both() -> None:
    """Stronger than the season was: drift, although the year before differed from training as well."""
    found = judge(sketch(2_000, x=1.6), Reference(YEARLY, sketch(2_000, x=0.6), sketch(50_000, x=0.05), scored=True))
    assert found["x"].verdict is Drift.DRIFT
    assert "not as a year before" in found["x"].summary


def test_without_change_the_past_adds_no_alarm() -> None:
    """In seeded windows from the training distribution, beside pasts from it, at most one in twenty has any drifting column."""
    alarms = 0
    for _ in range(40):
        references = [Reference(past, sketch(400), sketch(4_000), scored=True) for past in (YEARLY, WEEKLY)]
        alarms += overall(judge(sketch(400), *references).values()) is Drift.DRIFT
    assert alarms <= 2


def answered(log: MemoryLog, day: float, x: float, *, rows: int = 300, version: int = 1, role: str = "stable") -> None:
    values = RNG.normal(x, size=rows)
    document: dict[str, Any] = batch_document(
        RNG.random(rows), {"x": values, "y": RNG.normal(size=rows)}, at=int(day * DAY), event_time=int(day * DAY)
    )
    log.store(NORTH, batch_from_document(document | {"version": version, "role": role}))


@pytest.mark.parametrize("former", [1, 2], ids=["same bins", "another version's bins"])
def test_a_report_reads_the_past_whoever_answered_then(former: int) -> None:
    """A year of answers, by the same version or another with other bins: the report of this winter says it is the season; another
    version's scores are not compared, and shadows count for nothing."""
    log = MemoryLog()
    for week in range(53):
        winter = week in (0, 52)
        answered(log, 636.5 + 7 * week, 1.0 if winter else 0.0, version=1 if week == 52 else former)
        answered(log, 636.5 + 7 * week, 3.0, version=3, role="shadow", rows=10)
    versions = MemoryVersions(VERSIONS)
    windows = MemoryWindows(log, versions)
    references = ReadReferences(windows, log, min_rows=100)
    plain, seasoned = (
        BuildReport(log, windows, log, versions, references=one)(NORTH, "cost", WINDOW) for one in (None, references)
    )
    assert plain.drift is Drift.DRIFT
    assert seasoned.drift is Drift.NO_DRIFT
    assert "beyond the season" in seasoned.summary
    found = {one.column: one for one in seasoned.columns}
    assert found["x"].verdict is Drift.SEASONAL
    assert ("year" in {one.against for one in found["score"].compared}) == (former == 1)
    yearly = next(one for one in found["x"].compared if one.against == "year")
    assert yearly.rows == 300
    assert all(one.role is not Role.SHADOW for one in seasoned.versions if one.version == 1)


def test_the_past_is_read_once() -> None:
    """The next look at a window that moved by some minutes finds the past in memory; by event time, where rows may still come, it is
    read again."""
    log = MemoryLog()
    for week in range(53):
        answered(log, 636.5 + 7 * week, 0.0)
    windows = MemoryWindows(log, MemoryVersions(VERSIONS))
    references = ReadReferences(windows, log, min_rows=100)
    first = references(NORTH, "cost", WINDOW, 1, LAYOUT)
    answered(log, 640.0, 0.0)
    again = references(NORTH, "cost", Window(WINDOW.start + 10**8, WINDOW.end + 10**8), 1, LAYOUT)
    assert [one.like.rows for one in again] == [one.like.rows for one in first] == [300, 1_200]
    events = references(NORTH, "cost", Window(WINDOW.start, WINDOW.end, "event_time"), 1, LAYOUT)
    assert events[0].like.rows == 600
