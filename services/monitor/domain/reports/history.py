"""How a model fared over time: who answered, what drifted, how good it was, bucket by bucket, beside its releases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.monitor.domain.model import ColumnReport, Drift, QualityFigure, Role, Window
from tenon.core.errors import NotFound, Unavailable
from tenon.core.timestamps import MICROS_PER_SECOND

if TYPE_CHECKING:
    from services.monitor.domain.drift.judge import DriftPolicy
    from services.monitor.domain.ports import Versions
    from services.monitor.domain.quality.measure import QualityPolicy
    from services.monitor.domain.releases import Release, Releases
    from services.monitor.domain.reports.build import BuildReport, ByVersion
    from tenon.core.tenancy import TenantId

_HOUR = 3_600 * MICROS_PER_SECOND
_DAY = 24 * _HOUR
STEPS = (
    _HOUR,
    3 * _HOUR,
    6 * _HOUR,
    12 * _HOUR,
    _DAY,
    2 * _DAY,
    7 * _DAY,
    14 * _DAY,
    28 * _DAY,
    56 * _DAY,
    112 * _DAY,
    364 * _DAY,
)
"""How long a bucket may be: stretches that windows are counted in (`kept.buckets`), and whole numbers of them."""
MOST_BUCKETS, FEWEST_BUCKETS = 36, 4
MAIN_METRIC = {"binary": "roc_auc", "regression": "mae"}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A part of the window. `columns` are against the training of `version`, which answered most of it."""

    start: int
    end: int
    traffic: dict[tuple[int, Role], int]
    version: int = 0
    columns: tuple[ColumnReport, ...] = ()
    labels: int = 0
    figures: tuple[QualityFigure, ...] = ()

    @property
    def predictions(self) -> int:
        """Rows of all versions and roles."""
        return sum(self.traffic.values())


@dataclass(frozen=True, slots=True)
class History:
    """The buckets, oldest first, and the releases made meanwhile."""

    window: Window
    buckets: tuple[Bucket, ...]
    metric: str
    releases: tuple[Release, ...] = ()

    def columns(self, most: int) -> list[str]:
        """The columns of which most rows moved in any bucket, the worst first; those that drifted before those that did not."""
        worst: dict[str, tuple[bool, float]] = {}
        for bucket in self.buckets:
            for column in bucket.columns:
                if column.verdict is not Drift.NOT_ENOUGH_EVIDENCE:
                    found = (column.verdict is Drift.DRIFT, column.moved)
                    worst[column.column] = max(worst.get(column.column, found), found)
        return sorted(worst, key=lambda name: (not worst[name][0], -worst[name][1], name))[:most]


def step_for(length: int, rows: int, enough: int) -> int:
    """The shortest bucket that leaves few enough of them, each with enough rows to be judged where there are that many."""
    few = [step for step in STEPS if length / step <= MOST_BUCKETS] or [STEPS[-1]]
    judged = [step for step in few if rows * step >= enough * length and length / step >= FEWEST_BUCKETS]
    return judged[0] if judged else few[0]


class ReadHistory:
    """The use case behind the plots: one judgement a bucket, from one reading."""

    def __init__(
        self, build_report: BuildReport, versions: Versions, releases: Releases, *, drift: DriftPolicy
    ) -> None:
        self._build_report, self._versions, self._releases = build_report, versions, releases
        self._drift = drift

    def __call__(
        self, tenant: TenantId, model: str, window: Window, rows: int, *, known_at: int | None = None,
        labelled: ByVersion | None = None,
    ) -> History:  # fmt: skip
        """The window, which has so many rows, in buckets that begin at round times. `labelled`: see `BuildReport`."""
        # Somewhat more than the least, as traffic is uneven.
        step = step_for(window.end - window.start, rows, self._drift.min_rows * 4 // 3)
        buckets = []
        for report in self._build_report.series(tenant, model, window, step, known_at=known_at, labelled=labelled):
            part = report.window
            traffic: dict[tuple[int, Role], int] = {}
            for one in report.versions:
                traffic[one.version, one.role] = one.predictions
            figures = tuple(one for one in report.figures if one.version == report.drift_version)
            buckets.append(
                Bucket(part.start, part.end, traffic, report.drift_version, report.columns, report.labels, figures)
            )
        task = self._task(tenant, model, max((bucket.version for bucket in buckets), default=0))
        known = self._releases.history(tenant, model)
        made = tuple(one for one in known.releases[::-1] if window.start <= one.made_at < window.end)
        return History(
            window,
            tuple(buckets),
            MAIN_METRIC.get(task, ""),
            made if window.by == "at" else (),
        )

    def _task(self, tenant: TenantId, model: str, version: int) -> str:
        try:
            return self._versions.manifest(tenant, model, version).task if version else ""
        except (NotFound, Unavailable):
            return ""


def coarser(policy: QualityPolicy) -> QualityPolicy:
    """The same policy for points of a plot, whose intervals may be a tenth of their length off."""
    return replace(policy, resamples=100, resampled_rows=1_500)


def on_page(policy: QualityPolicy) -> QualityPolicy:
    """The same policy for a page that somebody waits for: of large windows a smaller part is resampled."""
    return replace(policy, resamples=250, resampled_rows=5_000)
