"""Monitor's words as they go over HTTP; the names are those of the proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenon.core.timestamps import rfc3339

if TYPE_CHECKING:
    from services.monitor.domain.model import ColumnReport, Report, SeenModel, VerdictRecord


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
        "jensen_shannon": column.jensen_shannon,
        "wasserstein": column.wasserstein,
        "median_ratio": column.median_ratio,
        "change": column.change,
        "raw_p_value": column.raw_p_value,
        "severity": column.severity,
        "compared": [
            {
                "against": one.against,
                "differs": one.differs,
                "effect": one.effect,
                "p_value": one.p_value,
                "rows": one.rows,
                "explains": one.explains,
                "text": one.text,
            }
            for one in column.compared
        ],
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
