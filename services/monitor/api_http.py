"""The HTTP door: labels in; reports, models and verdicts out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from services.monitor import metrics
from services.monitor.domain.html_report import render_html
from services.monitor.domain.model import ColumnReport, Report, SeenModel, VerdictRecord
from services.monitor.domain.read_labels import labels_from_csv, labels_from_document
from services.monitor.domain.window import role_from, window_from
from tenon.core.errors import UnsupportedMedia
from tenon.core.tenancy import Scope, TenantId
from tenon.core.timestamps import parse_rfc3339, rfc3339
from tenon.kit.http import allow, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.build_report import BuildReport
    from services.monitor.domain.ports import PredictionLog, Verdicts
    from services.monitor.domain.record_labels import RecordLabels

_MAX_VERSION = 2**31 - 1

Reader = Annotated[TenantId, Depends(allow(Scope.READ))]
Writer = Annotated[TenantId, Depends(allow(Scope.WRITE))]

LABELS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "example": {"labels": [{"prediction_id": "…", "value": 1, "known_at": "2024-03-01T08:30:00Z"}]}
            },
            "text/csv": {"example": "prediction_id,value,known_at\n…,1,2024-03-01T08:30:00Z\n"},
        },
    }
}


@dataclass(frozen=True, slots=True)
class UseCases:
    """What this door calls."""

    build_report: BuildReport
    record_labels: RecordLabels
    log: PredictionLog
    verdicts: Verdicts
    now: Callable[[], int]
    window: int


def add_routes(app: FastAPI, use: UseCases) -> None:
    """Put monitor's routes on the app."""

    def report_for(tenant: Reader, model: str, query: Annotated[_ReportQuery, Depends()]) -> Report:
        start, end, known_at = (
            None if text is None else parse_rfc3339(text, name)
            for name, text in (("from", query.start), ("to", query.end), ("known_at", query.known_at))
        )
        window = window_from(start, end, query.by, now=use.now(), length=use.window)
        with metrics.REPORTS.time():
            return use.build_report(
                tenant, model, window, version=query.version, role=role_from(query.role), known_at=known_at
            )

    @app.get("/v1/tenants/{tenant}/models", summary="Models that monitor has seen, with their latest verdicts")
    def list_models(tenant: Reader) -> dict[str, Any]:
        latest = use.verdicts.latest(tenant)
        return {"models": [seen_json(seen, latest.get(seen.model)) for seen in use.log.seen(tenant)]}

    @app.post(
        "/v1/tenants/{tenant}/models/{model}/labels", summary="Record labels (JSON or CSV)", openapi_extra=LABELS_BODY
    )
    async def record_labels(tenant: Writer, model: str, request: Request) -> dict[str, Any]:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        body = await request.body()
        now = use.now()

        def record() -> dict[str, Any]:
            if kind == "text/csv":
                labels = labels_from_csv(body, now)
            elif kind == "application/json":
                labels = labels_from_document(parse_json(body), now)
            else:
                raise UnsupportedMedia(
                    "LABELS_MEDIA_UNSUPPORTED", f"labels cannot be read from {kind[:80]!r}",
                    hint="send application/json or text/csv",
                )  # fmt: skip
            recorded = use.record_labels(tenant, model, labels)
            metrics.count_labels(tenant.value, model, recorded)
            return {"accepted": recorded.accepted, "matched": recorded.matched, "unmatched": recorded.unmatched}

        return await run_in_threadpool(record)

    @app.get("/v1/tenants/{tenant}/models/{model}/report", summary="Drift and quality in a window")
    def get_report(report: Report = Depends(report_for)) -> dict[str, Any]:
        return report_json(report)

    @app.get("/v1/tenants/{tenant}/models/{model}/report.html", summary="The same, as one page for people")
    def get_report_page(report: Report = Depends(report_for)) -> HTMLResponse:
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return HTMLResponse(render_html(report, use.now()), headers={"content-security-policy": policy})

    @app.get("/v1/tenants/{tenant}/models/{model}/verdicts", summary="Verdicts as they were given, newest first")
    def list_verdicts(tenant: Reader, model: str, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
        return {"verdicts": [verdict_json(record) for record in use.verdicts.history(tenant, model, limit)]}


class _ReportQuery:
    """The parameters of a report."""

    def __init__(
        self,
        start: Annotated[str | None, Query(alias="from", description="RFC 3339; default: 7 days before `to`")] = None,
        end: Annotated[str | None, Query(alias="to", description="RFC 3339, exclusive; default: now")] = None,
        version: Annotated[int, Query(ge=0, le=_MAX_VERSION, description="0: all versions")] = 0,
        role: Annotated[str | None, Query(description="stable, canary, shadow or an arm's name; default: all")] = None,
        by: Annotated[str, Query(description="at (answered) or event_time")] = "at",
        known_at: Annotated[str | None, Query(description="labels as known at this time; default: now")] = None,
    ) -> None:
        self.start, self.end, self.version = start, end, version
        self.role, self.by, self.known_at = role, by, known_at


def report_json(report: Report) -> dict[str, Any]:
    """A report as it goes over the wire; the names are those of the proto."""
    return {
        "tenant": report.tenant,
        "model": report.model,
        "summary": report.summary,
        "drift_verdict": report.drift.value,
        "quality_verdict": report.quality.value,
        "window_start": rfc3339(report.window.start),
        "window_end": rfc3339(report.window.end),
        "by": report.window.by,
        "known_at": None if report.known_at is None else rfc3339(report.known_at),
        "predictions": report.predictions,
        "labels": report.labels,
        "levels": dict(report.levels),
        "label_coverage": report.label_coverage,
        "drift_version": report.drift_version,
        "columns": [column_json(column) for column in report.columns],
        "quality": [
            {
                "metric": figure.metric,
                "version": figure.version,
                "rows": figure.rows,
                "value": figure.value,
                "low": figure.low,
                "high": figure.high,
                "expected": figure.expected,
                "verdict": figure.verdict.value,
            }
            for figure in report.figures
        ],
        "versions": [
            {
                "version": one.version,
                "role": one.role.value,
                "predictions": one.predictions,
                "labels": one.labels,
                "label_delay_median_seconds": one.label_delay_median_seconds,
                "label_delay_p90_seconds": one.label_delay_p90_seconds,
                "quality_verdict": one.quality.value,
                "summary": one.summary,
            }
            for one in report.versions
        ],
    }


def column_json(column: ColumnReport) -> dict[str, Any]:
    """One column of a report."""
    return {
        "column": column.column,
        "verdict": column.verdict.value,
        "summary": column.summary,
        "test": column.test,
        "statistic": column.statistic,
        "p_value": column.p_value,
        "effect": column.effect,
        "psi": column.psi,
        "rows": column.rows,
        "baseline_rows": column.baseline_rows,
        "missing_ratio": column.missing_ratio,
        "baseline_missing_ratio": column.baseline_missing_ratio,
        "unseen_ratio": column.unseen_ratio,
        "smallest_effect": column.smallest_effect,
    }


def verdict_json(record: VerdictRecord) -> dict[str, Any]:
    """One verdict of the history."""
    return {
        "judged_at": rfc3339(record.judged_at),
        "window_start": rfc3339(record.window_start),
        "window_end": rfc3339(record.window_end),
        "version": record.version,
        "drift_verdict": record.drift.value,
        "quality_verdict": record.quality.value,
        "predictions": record.predictions,
        "labels": record.labels,
        "drifted_columns": list(record.drifted_columns),
        "summary": record.summary,
    }


def seen_json(seen: SeenModel, latest: VerdictRecord | None) -> dict[str, Any]:
    """One model of the list."""
    return {
        "model": seen.model,
        "predictions": seen.predictions,
        "labels": seen.labels,
        "last_prediction_at": None if seen.last_at is None else rfc3339(seen.last_at),
        "versions": [
            {
                "version": one.version,
                "role": one.role.value,
                "predictions": one.predictions,
                "first_prediction_at": rfc3339(one.first_at),
                "last_prediction_at": rfc3339(one.last_at),
            }
            for one in seen.series
        ],
        "latest_verdict": None if latest is None else verdict_json(latest),
    }
