"""Where the cells of incidents come from: windows, quality, values served, canaries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from services.monitor.domain.canary.words import CanaryVerdict
from services.monitor.domain.drift.judge import DriftPolicy, judge_drift
from services.monitor.domain.drift.sketch import Layout, Sketch
from services.monitor.domain.incidents.from_canaries import CanaryCells
from services.monitor.domain.incidents.from_reports import ExamineModel, WorseQuality, cell_of
from services.monitor.domain.incidents.words import IncidentKind
from services.monitor.domain.model import Drift, NumericColumn, Quality, QualityFigure, Report, Role, Window
from services.monitor.domain.skew.words import Skew, SkewReport, SkewResult
from tenon.core.errors import Unavailable
from tenon.core.manifest import TrainingBaseline
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import numeric_baseline

if TYPE_CHECKING:
    from collections.abc import Iterable

HOUR = 3_600_000_000
NORTH, WINDOW = TenantId("north"), Window(0, HOUR)


class Counted:
    """`Windows` with what it was given."""

    def __init__(self, *found: tuple[int, Role, Sketch | None, int]) -> None:
        self.found = found

    def counted(self, tenant: TenantId, model: str, window: Window, **_: Any) -> list[Any]:
        """See the port."""
        from services.monitor.domain.kept.counted import Counted as Words

        return [
            Words(window.start, window.end, version, role, rows, {}, sketch)
            for version, role, sketch, rows in self.found
        ]


def sketch(values: np.ndarray) -> Sketch:
    """A window against a standard normal training."""
    trained = np.random.default_rng(0).normal(size=10_000)
    baseline = TrainingBaseline(columns={"x": numeric_baseline(trained)}, score=numeric_baseline(trained))
    made = Sketch(Layout.of(baseline))
    made.add({"x": NumericColumn(values)}, np.random.default_rng(1).normal(size=len(values)))
    return made


def test_cells_carry_unadjusted_p_values_of_the_main_version() -> None:
    """Stable and canary rows of the version that answered most are one window; shadows and other versions are left out."""
    values = np.random.default_rng(2).normal(size=600) + 1
    windows = Counted(
        (3, Role.STABLE, sketch(values[:300]), 300), (3, Role.CANARY, sketch(values[300:]), 300),
        (2, Role.STABLE, sketch(values[:100]), 100), (4, Role.SHADOW, sketch(values), 9_000),
    )  # fmt: skip
    cells = {cell.feature: cell for cell in ExamineModel(windows, DriftPolicy())(NORTH, "cost", WINDOW)}
    moved, score = cells["x"], cells["score"]
    assert (moved.kind, moved.rows, moved.version, moved.change) == (IncidentKind.INPUTS, 600, 3, "higher")
    assert moved.p_value is not None
    assert moved.p_value < 1e-30
    assert moved.effect > 1
    assert (score.kind, score.effect < 1, score.enough) == (IncidentKind.SCORES, True, True)


@pytest.mark.parametrize(
    ("ratio", "name", "hint"),
    [(0.00106, "dose", "the median of dose is about 1/943 of training's: a change of unit, as from mg to g?"),
     (10.2, "dose", "the median of dose is about 10.2 times training's: a change of unit, as from mg to g?"),
     (1.5, "dose", ""), (None, "dose", ""), (0.001, "score", "")],
)  # fmt: skip
def test_a_median_of_another_order_hints_at_the_unit(ratio: float | None, name: str, hint: str) -> None:
    """An incident says that a unit may have changed where the values are ten or a thousand times as large or small."""
    found = judge_drift(sketch(np.random.default_rng(2).normal(size=600) + 5), DriftPolicy())
    moved = replace(next(one for one in found if one.column == "x"), column=name, median_ratio=ratio)
    assert cell_of("north", "cost", 3, WINDOW, moved).hint == hint


def test_a_window_without_baseline_stays_open_for_a_day() -> None:
    """Until the baseline is read nothing is judged; after a day the window is given up."""
    examine = ExamineModel(Counted((3, Role.STABLE, None, 300)), DriftPolicy())
    with pytest.raises(Unavailable, match="baseline of version 3"):
        examine(NORTH, "cost", WINDOW)
    assert examine(NORTH, "cost", Window(0, 25 * HOUR)) == []
    assert ExamineModel(Counted(), DriftPolicy())(NORTH, "cost", WINDOW) == []


@pytest.mark.parametrize(
    ("verdict", "effects"), [(Skew.SKEW, [1.0]), (Skew.NO_SKEW, [0.0]), (Skew.NOT_ENOUGH_EVIDENCE, [])]
)
def test_values_served_are_a_cell_without_chance(verdict: Skew, effects: list[float]) -> None:
    """Skew is certain; no skew is good news; nothing compared is no news."""
    counts = {SkewResult.SAME: 90, SkewResult.SKEW: 10}

    def report(tenant: TenantId, model: str, window: Window) -> SkewReport:
        return SkewReport(
            tenant.value, model, window, verdict, counts, (), 0.1, "history.count differs in 10 of 100 rows"
        )

    cells = ExamineModel(Counted(), DriftPolicy(), report)(NORTH, "cost", WINDOW)
    assert [(cell.kind, cell.p_value, cell.effect) for cell in cells] == [
        (IncidentKind.SKEW, None, one) for one in effects
    ]


def quality_report(quality: Quality, value: float = 0.6) -> Report:
    """A report with one figure, 0.7 expected."""
    figure = QualityFigure("roc_auc", 1, 500, value, value - 0.04, value + 0.04, 0.7, quality)
    return Report(
        "north", "cost", WINDOW, None, 900, 500, 1, Drift.NO_DRIFT, (), quality, (figure,), (), "",
    )  # fmt: skip


def test_quality_is_asked_once_an_hour_and_when_it_turns_worse() -> None:
    """Reports on the same labels follow each other each second; they are one question."""
    now = [0]
    source = WorseQuality(lambda: now[0])
    now[0] = 10 * HOUR
    source.show(quality_report(Quality.AS_EXPECTED, 0.69))
    (fine,) = source()
    assert (fine.effect, fine.enough) == (0.0, True)
    source.show(quality_report(Quality.AS_EXPECTED, 0.69))
    assert source() == []
    source.show(quality_report(Quality.WORSE))
    (worse,) = source()
    assert (worse.kind, worse.effect, worse.feature) == (IncidentKind.QUALITY, 1.0, "roc_auc")
    assert worse.p_value == pytest.approx(9.6e-7, rel=0.1)
    source.show(quality_report(Quality.WORSE))
    assert source() == []
    now[0] += HOUR
    source.show(quality_report(Quality.WORSE))
    assert len(source()) == 1


def test_a_canary_to_be_taken_back_is_told_until_it_is_gone() -> None:
    """While its verdict is roll back it is found; when it is gone, that is told a few times and then no more."""
    from services.monitor.domain.canary.words import CanaryJudgement, Trial

    shown: list[int] = []

    class Gauges:
        def show(self, judgements: Iterable[CanaryJudgement]) -> None:
            shown.append(len(list(judgements)))

    source = CanaryCells(Gauges(), lambda: 5)
    trial = Trial(NORTH, "cost", 1, 1, 2, Role.CANARY, ())
    worse = CanaryJudgement(trial, CanaryVerdict.ROLL_BACK, 5, (), 100, 100, None, None, None, "more errors")
    source.show([replace(worse, verdict=CanaryVerdict.HOLD)])
    assert source() == []
    source.show([worse])
    assert [(cell.kind, cell.feature, cell.effect) for cell in source()] == [(IncidentKind.CANARY, "version 2", 1.0)]
    source.show([])
    told = [source() for _ in range(9)]
    assert [cell.effect for cells in told for cell in cells] == [0.0] * 5
    assert shown == [1, 1, 0]
