"""What the HTTP door calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.api_http.sessions import Sessions
    from services.monitor.domain.canary.judge_all import CanaryVerdicts, JudgeCanaries
    from services.monitor.domain.incidents.handle import HandleIncidents
    from services.monitor.domain.labels.record import RecordLabels
    from services.monitor.domain.labels.record_keyed import RecordKeyedLabels
    from services.monitor.domain.log.erase import EraseSubject
    from services.monitor.domain.ports import PredictionLog, Verdicts
    from services.monitor.domain.quality.build import BuildQuality
    from services.monitor.domain.reports.build import BuildReport
    from services.monitor.domain.reports.model_view import ViewModel
    from services.monitor.domain.reports.month import TellMonth
    from services.monitor.domain.reports.overview import LookOver
    from services.monitor.domain.retraining.consider import Retraining
    from services.monitor.domain.review.decide import Review
    from services.monitor.domain.skew.compare import ReportSkew
    from tenon.core.specs import MonitorSpec
    from tenon.core.tenancy import TenantId
    from tenon.kit.spec_store import Change, StoredSpec


class PolicyDocuments(Protocol):
    """Monitor documents as they were declared."""

    def apply(self, tenant: TenantId, spec: MonitorSpec, *, dry_run: bool) -> tuple[Change, StoredSpec[MonitorSpec]]:
        """Keep a document; an equal one makes no new revision."""
        ...

    def get(self, tenant: TenantId, model: str) -> StoredSpec[MonitorSpec]:
        """A declared document. Raises `NotFound`."""
        ...

    def list(self, tenant: TenantId | None) -> list[StoredSpec[MonitorSpec]]:
        """Every declared document, by tenant and name."""
        ...


@dataclass(frozen=True, slots=True)
class UseCases:
    """One of each, made by `main`."""

    build_report: BuildReport
    build_quality: BuildQuality
    record_labels: RecordLabels
    record_keyed_labels: RecordKeyedLabels
    review: Review
    log: PredictionLog
    verdicts: Verdicts
    policies: PolicyDocuments
    now: Callable[[], int]
    window: int
    incidents: HandleIncidents
    look_over: LookOver
    view_model: ViewModel
    report_skew: ReportSkew
    tell_month: TellMonth
    sessions: Sessions
    judge_canaries: JudgeCanaries
    canary_verdicts: CanaryVerdicts
    retraining: Retraining
    erase_subject: EraseSubject
