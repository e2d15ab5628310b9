"""Reports in depth as messages."""

from __future__ import annotations

import math
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from services.monitor.api_grpc.times import timestamp
from tenon.api.monitor.v1 import monitor_pb2

if TYPE_CHECKING:
    from services.monitor.domain.quality.words import QualityReport
    from services.monitor.domain.skew.words import SkewReport


def quality_message(report: QualityReport) -> monitor_pb2.QualityReport:
    """The fields of the messages have the names of the domain's words."""
    return monitor_pb2.QualityReport(
        tenant=report.tenant,
        model=report.model,
        window_start=timestamp(report.window.start),
        window_end=timestamp(report.window.end),
        rows=report.rows,
        examined=report.examined,
        estimates=[monitor_pb2.QualityEstimate(**_fields(one)) for one in report.estimates],
        calibration=[monitor_pb2.Calibration(**_fields(one)) for one in report.calibration],
        concept=[monitor_pb2.ConceptDrift(**_fields(one)) for one in report.concept],
        slices=[monitor_pb2.SliceQuality(**_fields(one)) for one in report.slices],
        worth=[monitor_pb2.Worth(**_fields(one)) for one in report.worth],
        notes=report.notes,
    )


def skew_message(report: SkewReport) -> monitor_pb2.SkewReport:
    """A report on skew as a message."""
    return monitor_pb2.SkewReport(
        tenant=report.tenant,
        model=report.model,
        window_start=timestamp(report.window.start),
        window_end=timestamp(report.window.end),
        skew_verdict=report.verdict.value,
        rows={result.value: count for result, count in report.counts.items()},
        features=[
            monitor_pb2.SkewedFeature(
                feature=one.feature,
                version=one.version,
                rows=one.rows,
                served=one.served if isinstance(one.served, float) else math.nan,
                trained=one.trained if isinstance(one.trained, float) else math.nan,
                served_text=one.served if isinstance(one.served, str) else "",
                trained_text=one.trained if isinstance(one.trained, str) else "",
                answered_at=timestamp(one.at),
            )
            for one in report.features
        ],
        highest_share=report.highest_share,
        summary=report.summary,
    )


def _fields(word: Any) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in asdict(word).items() if value is not None}


def _value(name: str, value: Any) -> Any:
    match value:
        case StrEnum():
            return value.value
        case int() if name == "known_at":
            return timestamp(value)
        case dict():
            return {inner: _value(inner, one) for inner, one in value.items() if one is not None}
        case list() | tuple():
            return [_value(name, one) for one in value]
        case _:
            return value
