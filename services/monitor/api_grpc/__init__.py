"""The gRPC door: labels and documents in, reports and incidents out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.monitor import metrics
from services.monitor.api_grpc.documents import DocumentCalls
from services.monitor.api_grpc.in_depth import quality_message, skew_message
from services.monitor.api_grpc.incidents import IncidentCalls
from services.monitor.api_grpc.times import micros_of, timestamp
from services.monitor.domain.model import Label, Report
from services.monitor.domain.window import role_from, window_from
from tenon.api.monitor.v1 import monitor_pb2, monitor_pb2_grpc
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope
from tenon.kit.grpc import allowed_tenant

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from services.monitor.domain.incidents.handle import HandleIncidents
    from services.monitor.domain.labels.record import RecordLabels
    from services.monitor.domain.model import Window
    from services.monitor.domain.quality.build import BuildQuality
    from services.monitor.domain.reports.build import BuildReport
    from services.monitor.domain.review.decide import Review
    from services.monitor.domain.skew.compare import ReportSkew
    from services.monitor.storage.policies import SqlPolicies
    from tenon.core.tenancy import TenantId

_CORRECTIONS = 5_000
FULL_NAME = "tenon.api.monitor.v1.MonitorService"


@dataclass(frozen=True, slots=True)
class MonitorServicer(IncidentCalls, DocumentCalls, monitor_pb2_grpc.MonitorServiceServicer):
    """Translates; the rules are in the domain."""

    build_report: BuildReport
    record_labels: RecordLabels
    now: Callable[[], int]
    window: int
    report_skew: ReportSkew
    review: Review
    build_quality: BuildQuality
    incidents: HandleIncidents
    documents: SqlPolicies

    def RecordLabels(
        self, request: monitor_pb2.RecordLabelsRequest, context: grpc.ServicerContext
    ) -> monitor_pb2.RecordLabelsResponse:  # fmt: skip
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.WRITE)
        now = self.now()
        labels = [
            Label(item.prediction_id, item.value, micros_of(item.known_at) if item.HasField("known_at") else now)
            for item in request.labels
        ]
        recorded = self.record_labels(tenant, request.model, labels)
        metrics.count_labels(tenant.value, request.model, recorded)
        return monitor_pb2.RecordLabelsResponse(accepted=recorded.accepted, matched=recorded.matched)

    def ListCorrections(
        self, request: monitor_pb2.ListCorrectionsRequest, context: grpc.ServicerContext
    ) -> monitor_pb2.ListCorrectionsResponse:  # fmt: skip
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        before = micros_of(request.known_before) if request.HasField("known_before") else self.now()
        found = self.review.corrections(tenant, request.model, before, after=request.after, limit=_CORRECTIONS)
        return monitor_pb2.ListCorrectionsResponse(
            corrections=[
                monitor_pb2.LabelCorrection(
                    prediction_id=one.prediction_id,
                    value=one.value,
                    known_at=timestamp(one.known_at),
                    expert=one.expert,
                    event_time=timestamp(one.event_time),
                    key_json=json.dumps(dict(one.key), ensure_ascii=False).encode(),
                )
                for one in found
            ]
        )

    def GetReport(
        self, request: monitor_pb2.GetReportRequest, context: grpc.ServicerContext
    ) -> monitor_pb2.GetReportResponse:  # fmt: skip
        """See the proto."""
        tenant, window, known_at = self._asked(request)
        with metrics.REPORTS.time():
            report = self.build_report(
                tenant, request.model, window,
                version=request.version, role=role_from(request.role), known_at=known_at,
            )  # fmt: skip
        return monitor_pb2.GetReportResponse(report=report_message(report))

    def _asked(
        self, request: monitor_pb2.GetReportRequest | monitor_pb2.GetQualityRequest
    ) -> tuple[TenantId, Window, int | None]:
        """Whose model is meant, which window, and as known at which time."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        if request.version < 0:
            raise Invalid("REQUEST_INVALID", "version must not be negative", place=Place(field="version"))
        start, end = (
            micros_of(getattr(request, field)) if request.HasField(field) else None
            for field in ("window_start", "window_end")
        )
        known_at = micros_of(request.known_at) if request.HasField("known_at") else None
        return tenant, window_from(start, end, request.by or "at", now=self.now(), length=self.window), known_at

    def GetSkew(
        self, request: monitor_pb2.GetSkewRequest, context: grpc.ServicerContext
    ) -> monitor_pb2.GetSkewResponse:  # fmt: skip
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        start, end = (
            micros_of(getattr(request, field)) if request.HasField(field) else None
            for field in ("window_start", "window_end")
        )
        window = window_from(start, end, "at", now=self.now(), length=self.window)
        report = self.report_skew(tenant, request.model, window, version=request.version)
        return monitor_pb2.GetSkewResponse(report=skew_message(report))

    def GetQuality(
        self, request: monitor_pb2.GetQualityRequest, context: grpc.ServicerContext
    ) -> monitor_pb2.GetQualityResponse:  # fmt: skip
        """See the proto."""
        tenant, window, known_at = self._asked(request)
        report = self.build_quality(
            tenant, request.model, window, version=request.version, role=role_from(request.role), known_at=known_at
        )
        return monitor_pb2.GetQualityResponse(report=quality_message(report))


def report_message(report: Report) -> monitor_pb2.Report:
    """A report as a message."""
    return monitor_pb2.Report(
        tenant=report.tenant,
        model=report.model,
        window_start=timestamp(report.window.start),
        window_end=timestamp(report.window.end),
        predictions=report.predictions,
        labels=report.labels,
        drift_verdict=report.drift.value,
        drift_version=report.drift_version,
        columns=[
            monitor_pb2.ColumnDrift(
                column=column.column,
                verdict=column.verdict.value,
                test=column.test,
                statistic=column.statistic,
                p_value=column.p_value,
                psi=column.psi,
                rows=column.rows,
                missing_ratio=column.missing_ratio,
                baseline_missing_ratio=column.baseline_missing_ratio,
                unseen_ratio=column.unseen_ratio,
                summary=column.summary,
                effect=column.effect,
                baseline_rows=column.baseline_rows,
                smallest_effect=column.smallest_effect,
                jensen_shannon=column.jensen_shannon,
                wasserstein=column.wasserstein,
                median_ratio=column.median_ratio,
                change=column.change,
                raw_p_value=column.raw_p_value,
                severity=column.severity,
                compared=[
                    monitor_pb2.ComparedWithPast(
                        against=one.against,
                        differs=one.differs,
                        effect=one.effect,
                        p_value=one.p_value,
                        rows=one.rows,
                        explains=one.explains,
                        text=one.text,
                    )
                    for one in column.compared
                ],
            )
            for column in report.columns
        ],
        quality_verdict=report.quality.value,
        quality=[
            monitor_pb2.QualityFigure(
                metric=figure.metric,
                version=figure.version,
                rows=figure.rows,
                value=figure.value,
                low=figure.low,
                high=figure.high,
                expected=figure.expected,
                verdict=figure.verdict.value,
            )
            for figure in report.figures
        ],
        versions=[
            monitor_pb2.VersionTraffic(
                version=one.version,
                role=one.role.value,
                predictions=one.predictions,
                labels=one.labels,
                label_delay_median_seconds=one.label_delay_median_seconds,
                label_delay_p90_seconds=one.label_delay_p90_seconds,
                quality_verdict=one.quality.value,
                summary=one.summary,
            )
            for one in report.versions
        ],
        summary=report.summary,
        levels=dict(report.levels),
    )
