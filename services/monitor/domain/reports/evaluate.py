"""Look at every active model again and again, show what is found, and keep the verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.monitor.domain.model import Drift, Report, VerdictRecord, Window
from tenon.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.ports import Fleet, Gauges, Verdicts
    from services.monitor.domain.reports.build import BuildReport
    from tenon.core.tenancy import TenantId

# A model whose evidence does not change is still judged again: rows leave the window.
_REFRESHES_A_WINDOW = 200
# Judging a large model takes a while; it may not take more than one part in so many of the time.
_PATIENCE = 5


@dataclass(slots=True)
class _Known:
    """What the last look at a model found."""

    changes: int
    due: int
    refresh: int
    evidence: tuple[object, ...]


class Evaluate:
    """One round over all models that answered within the window. A verdict is kept when its evidence has changed."""

    def __init__(
        self, fleet: Fleet, build_report: BuildReport, verdicts: Verdicts, gauges: Gauges, *,
        window: int, now: Callable[[], int],
    ) -> None:  # fmt: skip
        self._fleet, self._build_report, self._verdicts, self._gauges = fleet, build_report, verdicts, gauges
        self._window, self._now = window, now
        self._known: dict[tuple[TenantId, str], _Known] = {}

    def __call__(self) -> int:
        """Judge every active model of which there is news; gives how many new verdicts were kept.

        A model that cannot be judged does not keep the others from being judged: what went wrong is raised at the end.
        """
        kept = 0
        failures: list[Exception] = []
        for tenant, model, changes in self._fleet.active(self._now() - self._window):
            known, now = self._known.get((tenant, model)), self._now()
            if known is None or now >= known.refresh or (known.changes != changes and now >= known.due):
                try:
                    kept += self._evaluate(tenant, model, changes, known)
                except Exception as err:  # noqa: BLE001 - part of a background loop; the caller logs and counts
                    failures.append(err)
        if failures:
            raise ExceptionGroup(f"{len(failures)} models could not be judged", failures)
        return kept

    def _evaluate(self, tenant: TenantId, model: str, changes: int, known: _Known | None) -> bool:
        started = self._now()
        try:
            report = self._build_report(tenant, model, Window(started - self._window, started + 1))
        except NotFound:
            return False  # Erased since the list was made.
        self._gauges.show(report)
        record = _record(report, started)
        evidence = (
            record.version, record.drift, record.quality, record.predictions, record.labels, record.drifted_columns
        )  # fmt: skip
        fresh = known is None or known.evidence != evidence
        if fresh:
            self._verdicts.add(tenant, record)
        ended = self._now()
        pause = _PATIENCE * (ended - started)
        # Without the training baseline (the registry is away) the next round tries again.
        unread = bool(report.predictions) and not report.columns
        self._known[tenant, model] = _Known(
            changes=changes,
            due=ended + pause,
            refresh=ended if unread else ended + max(self._window // _REFRESHES_A_WINDOW, pause),
            evidence=evidence,
        )
        return fresh


def _record(report: Report, now: int) -> VerdictRecord:
    return VerdictRecord(
        model=report.model,
        judged_at=now,
        window_start=report.window.start,
        window_end=report.window.end,
        version=report.drift_version,
        drift=report.drift,
        quality=report.quality,
        predictions=report.predictions,
        labels=report.labels,
        drifted_columns=tuple(one.column for one in report.columns if one.verdict is Drift.DRIFT),
        summary=report.summary,
    )


class ShownIn:
    """Several places where reports are shown, as one."""

    def __init__(self, *places: Gauges) -> None:
        self._places = places

    def show(self, report: Report) -> None:
        """See `ports.Gauges`."""
        for place in self._places:
            place.show(report)
