"""What the HTTP door calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.build_report import BuildReport
    from services.monitor.domain.ports import PredictionLog, Verdicts
    from services.monitor.domain.record_labels import RecordLabels


@dataclass(frozen=True, slots=True)
class UseCases:
    """One of each, made by `main`."""

    build_report: BuildReport
    record_labels: RecordLabels
    log: PredictionLog
    verdicts: Verdicts
    now: Callable[[], int]
    window: int
