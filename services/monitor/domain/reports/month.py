"""A tenant's month: for each model what changed against the month before, what was released, how it fared."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

from services.monitor.domain.model import Drift, Quality, Window
from tenon.core.errors import Invalid, NotFound, Place
from tenon.core.timestamps import micros_from_datetime, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.monitor.domain.model import Report
    from services.monitor.domain.ports import PredictionLog
    from services.monitor.domain.quality.words import QualityReport
    from services.monitor.domain.releases import Release, Releases
    from services.monitor.domain.reports.build import BuildReport
    from services.monitor.domain.reports.history import History, ReadHistory
    from services.monitor.domain.retraining.judge import Request
    from tenon.core.tenancy import TenantId

_MONTH = re.compile(r"([1-9]\d{3})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class ModelMonth:
    """One model's month. `before` is the month before, None when nobody asked it then."""

    report: Report
    before: Report | None
    history: History
    releases: tuple[Release, ...]
    changes: tuple[str, ...]
    worth: tuple[str, ...] = ()
    """What its answers were worth in the declared unit, in words."""
    retraining: tuple[Request, ...] = ()
    """Trainings that were asked for in it, or of which something came in it, the newest first."""


@dataclass(frozen=True, slots=True)
class Month:
    """All models that answered in it, those in trouble first. `silent` ones are known and were not asked."""

    tenant: str
    month: str
    window: Window
    running: bool
    models: tuple[ModelMonth, ...]
    silent: tuple[str, ...]
    known_at: int | None = None


def month_window(month: str, by: Literal["at", "event_time"] = "at") -> Window:
    """From its first instant to the next month's, in UTC. Raises `Invalid`.

    >>> month_window("1970-01").end // 86_400_000_000
    31
    """
    found = _MONTH.fullmatch(month)
    if found is None:
        raise Invalid(
            "TIME_INVALID", f"{month[:20]!r} is not a month", place=Place(field="month"), hint="write it as 2026-10"
        )
    year, number = int(found[1]), int(found[2])
    following = (year + 1, 1) if number == 12 else (year, number + 1)
    start, end = (micros_from_datetime(datetime(*first, 1, tzinfo=UTC)) for first in ((year, number), following))
    return Window(start, end, by)


class _BuildQuality(Protocol):
    def __call__(
        self, tenant: TenantId, model: str, window: Window, *, known_at: int | None = None
    ) -> QualityReport: ...  # fmt: skip


class TellMonth:
    """The use case behind the monthly report."""

    def __init__(
        self, log: PredictionLog, build_report: BuildReport, read_history: ReadHistory, releases: Releases,
        build_quality: _BuildQuality, now: Callable[[], int],
        requests: Callable[[TenantId, str], Sequence[Request]] = lambda _tenant, _model: (),
    ) -> None:  # fmt: skip
        self._requests = requests
        self._build_quality = build_quality
        self._log, self._build_report, self._read_history = log, build_report, read_history
        self._releases, self._now = releases, now

    def __call__(self, tenant: TenantId, month: str, known_at: int | None = None) -> Month:
        """The month of every model, with the labels that were known at a time (None: now).

        Where nothing was answered then, events that lie in it count (a replay).
        """
        window, now = month_window(month), self._now()
        if window.start > now:
            newest = f"the newest month is {rfc3339(now)[:7]}"
            raise Invalid("TIME_INVALID", f"{month} has not begun", place=Place(field="month"), hint=newest)
        models, silent = [], []
        for seen in self._log.seen(tenant):
            told = self._of_model(tenant, seen.model, month, known_at)
            if told is None:
                silent.append(seen.model)
            else:
                models.append(told)
        rank = {Quality.WORSE: 0, Quality.NOT_ENOUGH_EVIDENCE: 2}
        models.sort(
            key=lambda one: (rank.get(one.report.quality, 3), one.report.drift is not Drift.DRIFT, one.report.model)
        )
        return Month(tenant.value, month, window, window.end > now, tuple(models), tuple(silent), known_at)

    def _of_model(self, tenant: TenantId, model: str, month: str, known_at: int | None) -> ModelMonth | None:
        for by in ("at", "event_time"):
            window = month_window(month, by)
            if not self._log.traffic(tenant, model, window):
                continue
            report = self._build_report(tenant, model, window, known_at=known_at)
            before = self._before(tenant, model, window, known_at)
            drawn = replace(window, end=min(window.end, self._now() + 1)) if by == "at" else window
            history = self._read_history(tenant, model, drawn, report.predictions, known_at=known_at)
            known = self._releases.history(tenant, model)
            made = tuple(one for one in known.releases[::-1] if window.start <= one.made_at < window.end)
            return ModelMonth(
                report, before, history, made, changes_between(before, report), self._worth(tenant, model, window, known_at),
                self._retraining(tenant, model, window),
            )  # fmt: skip
        return None

    def _retraining(self, tenant: TenantId, model: str, window: Window) -> tuple[Request, ...]:
        # Requests are made by the clock, whatever the events' own time.
        return tuple(
            one
            for one in self._requests(tenant, model)
            if one.asked_at < window.end and max(one.asked_at, one.changed_at) >= window.start
        )

    def _worth(self, tenant: TenantId, model: str, window: Window, known_at: int | None) -> tuple[str, ...]:
        found = self._build_quality(tenant, model, window, known_at=known_at).worth
        return tuple(f"Version {one.version}: {one.summary}" for one in found)

    def _before(self, tenant: TenantId, model: str, window: Window, known_at: int | None) -> Report | None:
        earlier = datetime.fromtimestamp((window.start - 1) / 1e6, UTC)
        previous = month_window(f"{earlier.year:04d}-{earlier.month:02d}", window.by)
        try:
            report = self._build_report(tenant, model, previous, known_at=known_at)
        except NotFound:
            return None
        return report if report.predictions else None


def changes_between(before: Report | None, now: Report) -> tuple[str, ...]:
    """What a person should know who read last month's report."""
    if before is None:
        return ("Nobody asked it the month before: there is nothing to compare with.",)
    told = []
    ratio = now.predictions / before.predictions
    if not 0.8 <= ratio <= 1.25:
        told.append(
            f"It was asked {now.predictions:,} times, the month before {before.predictions:,} times ({ratio - 1:+.0%})."
        )
    if now.drift_version != before.drift_version:
        told.append(f"Version {now.drift_version} answers most, the month before version {before.drift_version} did.")
    then = {one.column for one in before.columns if one.verdict is Drift.DRIFT}
    drifting = {one.column for one in now.columns if one.verdict is Drift.DRIFT}
    if fresh := [one.column for one in now.columns if one.column in drifting - then]:
        told.append(f"New drift: {_listed(fresh)}.")
    if gone := sorted(then - drifting):
        told.append(f"No longer drifting: {_listed(gone)}.")
    told += _figures(before, now)
    if abs(now.label_coverage - before.label_coverage) >= 0.05:
        told.append(
            f"{now.label_coverage:.0%} of the answers are labelled, the month before {before.label_coverage:.0%}."
        )
    return tuple(told) or ("Nothing worth telling changed since the month before.",)


def _figures(before: Report, now: Report) -> list[str]:
    """Metrics of the version that answers most, whose intervals do not overlap."""
    earlier = {one.metric: one for one in before.figures if one.version == before.drift_version}
    told = []
    for one in now.figures:
        was = earlier.get(one.metric)
        if one.version == now.drift_version and was is not None and (one.low > was.high or one.high < was.low):
            told.append(f"{one.metric} is {one.value:.3g}, the month before {was.value:.3g}.")
    return told


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")
