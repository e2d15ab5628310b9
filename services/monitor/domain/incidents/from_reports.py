"""From what monitor judges of one model to the cells of a round."""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import TYPE_CHECKING

from scipy import special

from services.monitor.domain.drift.judge import judge_drift
from services.monitor.domain.drift.season import judge_window
from services.monitor.domain.incidents.words import Cell, IncidentKind
from services.monitor.domain.model import SCORE, Drift, Quality
from services.monitor.domain.quality.measure import plain
from services.monitor.domain.reports.build import main_version
from services.monitor.domain.skew.words import Skew
from tenon.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.drift.judge import DriftPolicy
    from services.monitor.domain.drift.sketch import Sketch
    from services.monitor.domain.model import ColumnReport, QualityFigure, Report, Role, Window
    from services.monitor.domain.ports import Windows
    from services.monitor.domain.reports.references import ReadReferences
    from services.monitor.domain.skew.words import SkewReport
    from tenon.core.tenancy import TenantId

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
SERVED = "served values"
"""What an incident of skew is about: all values of a model; its sentence names the features."""
_NORMAL_95 = 1.959964
_MOST_MOVED = 0.5
_SAME_ORDER = (1 / 8, 8)


class ExamineModel:
    """See `incident_ports.Examine`: the version that answered most of the window, against its own training baseline."""

    def __init__(
        self, windows: Windows, policy: DriftPolicy, skew: Callable[[TenantId, str, Window], SkewReport] | None = None,
        references: ReadReferences | None = None,
    ) -> None:  # fmt: skip
        self._windows, self._policy, self._skew, self._references = windows, policy, skew, references

    def __call__(self, tenant: TenantId, model: str, window: Window) -> list[Cell]:
        """A cell for each column and the score, and one for the values served, where any were compared."""
        return [*self._columns(tenant, model, window), *self._served(tenant, model, window)]

    def _served(self, tenant: TenantId, model: str, window: Window) -> list[Cell]:
        """Whether values were served that training would not have given: there is no chance in that."""
        report = self._skew(tenant, model, window) if self._skew is not None else None
        if report is None or report.verdict is Skew.NOT_ENOUGH_EVIDENCE:
            return []
        skewed = report.verdict is Skew.SKEW
        return [
            Cell(
                tenant=tenant.value, model=model, version=max((one.version for one in report.features), default=0),
                kind=IncidentKind.SKEW, feature=SERVED,
                window=window, p_value=None, effect=1.0 if skewed else 0.0, change="other", rows=sum(report.counts.values()),
                enough=True, sentence=report.summary,
            )
        ]  # fmt: skip

    def _columns(self, tenant: TenantId, model: str, window: Window) -> list[Cell]:
        counted = self._windows.counted(tenant, model, window)
        rows: dict[tuple[int, Role], int] = {}
        for one in counted:
            rows[one.version, one.role] = rows.get((one.version, one.role), 0) + one.rows
        version = main_version(rows)
        sketch: Sketch | None = None
        for one in counted:
            if one.version != version or one.sketch is None:
                continue
            if sketch is None:
                sketch = one.sketch
            else:
                sketch.merge(one.sketch)
        if sketch is None:
            if version and window.end - window.start < _DAY:
                raise Unavailable(
                    "BASELINE_UNREAD", f"the training baseline of version {version} of {model!r} ({tenant}) was not read yet",
                    hint="the registry is asked again; the window stays open for a day",
                )  # fmt: skip
            return []
        references = self._references
        columns = (
            judge_drift(sketch, self._policy)
            if references is None
            else judge_window(
                sketch,
                self._policy,
                partial(references, tenant, model, window, version, sketch.layout),
                only_drifting=True,
            )
        )
        return [cell_of(tenant.value, model, version, window, column) for column in columns if column.rows]


def cell_of(tenant: str, model: str, version: int, window: Window, column: ColumnReport) -> Cell:
    """One column's cell."""
    return Cell(
        tenant=tenant,
        model=model,
        version=version,
        kind=IncidentKind.SCORES if column.column == SCORE else IncidentKind.INPUTS,
        feature=column.column,
        window=window,
        p_value=column.raw_p_value,
        effect=0.0 if column.verdict is Drift.SEASONAL else column.severity,
        change=column.change,
        rows=column.rows,
        enough=column.verdict is not Drift.NOT_ENOUGH_EVIDENCE,
        sentence=column.summary,
        hint=_unit_hint(column),
    )


def _unit_hint(column: ColumnReport) -> str:
    """What a median an order of magnitude away may be; nothing for the score, which has no unit."""
    ratio = column.median_ratio
    if ratio is None or column.column == SCORE or column.verdict is not Drift.DRIFT or column.effect < _MOST_MOVED:
        return ""
    if _SAME_ORDER[0] < ratio < _SAME_ORDER[1]:
        return ""
    times = f"{plain(ratio)} times" if ratio > 1 else f"1/{plain(1 / ratio)} of"
    return f"the median of {column.column} is about {times} training's: a change of unit, as from mg to g?"


class WorseQuality:
    """Cells on quality from the reports of the evaluator: it shows each report here beside its gauges.

    Reports on the same labels follow each other closely; one an hour is counted, and one that has just become worse.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._waiting: dict[tuple[str, str], Report] = {}
        self._counted: dict[tuple[str, str], tuple[int, Quality]] = {}
        self._lock = threading.Lock()

    def show(self, report: Report) -> None:
        """See `domain.ports.Gauges`."""
        key = (report.tenant, report.model)
        with self._lock:
            at, before = self._counted.get(key, (0, Quality.NOT_ENOUGH_EVIDENCE))
            worse_now = report.quality is Quality.WORSE is not before
            if report.figures and (worse_now or self._now() - at >= _HOUR):
                self._waiting[key] = report

    def __call__(self) -> list[Cell]:
        """What was shown since the last call."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            for key, report in waiting.items():
                self._counted[key] = (self._now(), report.quality)
        return [_quality_cell(report) for report in waiting.values()]


def _quality_cell(report: Report) -> Cell:
    """The worst figure of a report; its p-value is that of the difference, times the number of metrics (Bonferroni)."""
    worst = min(report.figures, key=lambda figure: (figure.verdict is not Quality.WORSE, _p_value(figure)))
    p_value = min(1.0, _p_value(worst) * len({figure.metric for figure in report.figures}))
    return Cell(
        tenant=report.tenant,
        model=report.model,
        version=worst.version,
        kind=IncidentKind.QUALITY,
        feature=worst.metric,
        window=report.window,
        p_value=p_value,
        effect=1.0 if report.quality is Quality.WORSE else 0.0,
        change="worse",
        rows=worst.rows,
        enough=report.quality is not Quality.NOT_ENOUGH_EVIDENCE,
        sentence=(
            f"{worst.metric} {worst.value:.4g} (95 % interval {worst.low:.4g} to {worst.high:.4g}) on {worst.rows:,} labels, "
            f"{worst.expected:.4g} on the test"
        ),
    )


def _p_value(figure: QualityFigure) -> float:
    """Two-sided, by the normal approximation of the interval."""
    error = (figure.high - figure.low) / (2 * _NORMAL_95)
    if error <= 0:
        return 1.0
    return float(special.erfc(abs(figure.value - figure.expected) / error / math.sqrt(2)))
