"""Everything that a person is shown of one model: its report, its history, its place in the overview."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from services.monitor.domain.model import Window
from tenon.core.errors import Invalid, Place, Unavailable
from tenon.core.timestamps import MICROS_PER_SECOND, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.monitor.domain.model import Report
    from services.monitor.domain.ports import PredictionLog
    from services.monitor.domain.quality.mistakes import FindMistakes, Mistakes
    from services.monitor.domain.releases import Known, Releases
    from services.monitor.domain.reports.build import BuildReport
    from services.monitor.domain.reports.history import History, ReadHistory
    from services.monitor.domain.reports.overview import Line, LookOver
    from services.monitor.domain.retraining.judge import Request
    from tenon.core.tenancy import TenantId

RANGES = ("1d", "7d", "30d", "90d", "1y", "all")
_MOST_MISTAKES = 12
_MOST_REQUESTS = 50
_LATE = 30 * 86_400 * MICROS_PER_SECOND


@dataclass(frozen=True, slots=True)
class ModelView:
    """What is shown. `line` is None for a model that is neither released nor was ever asked."""

    line: Line | None
    report: Report | None
    history: History | None
    releases: Known
    trial: dict[str, Any] | None
    """The verdict on what is on trial, as `judge_canaries` tells it."""
    mistakes: Mistakes | None
    last: str
    by: Literal["at", "event_time"]
    known_at: int | None = None
    """Labels count as they were known then; None: now."""
    requests: tuple[Request, ...] = ()
    """Trainings that were asked for, newest first."""


class ViewModel:
    """The use case behind a model's page."""

    def __init__(
        self, log: PredictionLog, look_over: LookOver, build_report: BuildReport, read_history: ReadHistory,
        releases: Releases, find_mistakes: FindMistakes, trial: Callable[[TenantId, str], dict[str, Any] | None], now: Callable[[], int],
        requests: Callable[[TenantId, str, int], Sequence[Request]] = lambda _tenant, _model, _limit: (),
    ) -> None:  # fmt: skip
        self._log, self._look_over, self._build_report = log, look_over, build_report
        self._find_mistakes, self._requests = find_mistakes, requests
        self._read_history, self._releases, self._trial, self._now = read_history, releases, trial, now

    def __call__(
        self, tenant: TenantId, model: str, last: str = "", by: str = "", known_at: int | None = None
    ) -> ModelView:
        """The last `last` (such as 7d, or all) by `at` or `event_time`; without them, what suits the model's log.

        Labels count as they were known at `known_at` (None: now).
        """
        line = next((one for one in self._look_over.tenant(tenant).lines if one.model == model), None)
        known = self._releases.history(tenant, model)
        trial = self._on_trial(tenant, model)
        answered = self._log.span(tenant, model, "at")
        if answered is None:
            return ModelView(line, None, None, known, trial, None, last or "7d", "at")
        window, last = self._window(tenant, model, last, by, answered)
        labelled = self._build_report.labelled(tenant, model, window, known_at)
        report = self._build_report(tenant, model, window, labelled=labelled, known_at=known_at)
        history = self._read_history(
            tenant, model, window, report.predictions, labelled=labelled, known_at=known_at
        )  # fmt: skip
        mistakes = self._find_mistakes(tenant, model, window, labelled, most=_MOST_MISTAKES, known_at=known_at)
        requests = tuple(self._requests(tenant, model, _MOST_REQUESTS))
        return ModelView(line, report, history, known, trial, mistakes, last, window.by, known_at, requests)

    def window(self, tenant: TenantId, model: str, last: str = "", by: str = "") -> Window:
        """The window that a call with the same words shows; without any answer, the last week."""
        answered = self._log.span(tenant, model, "at")
        if answered is None:
            return Window(self._now() - parse_duration("7d"), self._now() + 1)
        return self._window(tenant, model, last, by, answered)[0]

    def _window(
        self, tenant: TenantId, model: str, last: str, by: str, answered: tuple[int, int]
    ) -> tuple[Window, str]:
        if by not in {"", "at", "event_time"}:
            raise Invalid("VALUE_UNKNOWN", f"by {by[:40]!r} is not one of at, event_time", place=Place(field="by"))
        chosen: Literal["at", "event_time"] = "at" if by == "at" else "event_time"
        span = self._log.span(tenant, model, chosen) or answered
        replayed = span[0] < answered[0] - _LATE
        if not by and not replayed:
            chosen, span = "at", answered
        now = self._now()
        if not last:
            last = "all" if replayed and chosen == "event_time" else self._suitable(answered, now)
        end = now + 1 if chosen == "at" else span[1] + 1
        start = span[0] if last == "all" else end - parse_duration(last, "last")
        return Window(start, end, chosen), last

    def _on_trial(self, tenant: TenantId, model: str) -> dict[str, Any] | None:
        try:
            return self._trial(tenant, model)
        except Unavailable:
            return None

    @staticmethod
    def _suitable(answered: tuple[int, int], now: int) -> str:
        """The shortest range with the log's last rows in it and some history before them."""
        for last in RANGES[:-1]:
            length = parse_duration(last)
            if answered[1] > now - length * 0.9 and (answered[0] > now - length * 2 or length >= parse_duration("7d")):
                return last
        return "all"
