"""What lies behind a verdict: served against trained values, feature by feature."""

from __future__ import annotations

import math
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query

from services.monitor.api_http.doors import Reader
from services.monitor.domain.window import role_from, window_from
from tenon.core.timestamps import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.quality.words import QualityReport
    from services.monitor.domain.skew.words import Logged, SkewReport

_MAX_VERSION = 2**31 - 1


def add_in_depth_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes on the app."""

    @app.get("/v1/tenants/{tenant}/models/{model}/skew", summary="Served against trained values, by feature")
    def get_skew(
        tenant: Reader, model: str,
        start: Annotated[str | None, Query(alias="from", description="RFC 3339; default: 7 days before `to`")] = None,
        end: Annotated[str | None, Query(alias="to", description="RFC 3339, exclusive; default: now")] = None,
        version: Annotated[int, Query(ge=0, le=_MAX_VERSION, description="0: all versions")] = 0,
    ) -> dict[str, Any]:  # fmt: skip
        first, last = (
            None if text is None else parse_rfc3339(text, name) for name, text in (("from", start), ("to", end))
        )
        window = window_from(first, last, "at", now=use.now(), length=use.window)
        return skew_json(use.report_skew(tenant, model, window, version=version))

    @app.get(
        "/v1/tenants/{tenant}/models/{model}/quality", summary="Estimates, calibration, changed errors, slices, worth"
    )
    def get_quality(
        tenant: Reader, model: str,
        start: Annotated[str | None, Query(alias="from", description="RFC 3339; default: 7 days before `to`")] = None,
        end: Annotated[str | None, Query(alias="to", description="RFC 3339, exclusive; default: now")] = None,
        version: Annotated[int, Query(ge=0, le=_MAX_VERSION, description="0: all versions")] = 0,
        role: Annotated[str | None, Query(description="stable, canary, shadow or an arm's name; default: all that answer")] = None,
        by: Annotated[str, Query(description="at (answered) or event_time")] = "at",
        known_at: Annotated[str | None, Query(description="labels as known at this time; default: now")] = None,
    ) -> dict[str, Any]:  # fmt: skip
        first, last, moment = (
            None if text is None else parse_rfc3339(text, name)
            for name, text in (("from", start), ("to", end), ("known_at", known_at))
        )
        window = window_from(first, last, by, now=use.now(), length=use.window)
        return quality_json(
            use.build_quality(tenant, model, window, version=version, role=role_from(role), known_at=moment)
        )


def quality_json(report: QualityReport) -> dict[str, Any]:
    """As it goes over the wire; the names are those of the domain and of the proto."""
    return {
        "tenant": report.tenant,
        "model": report.model,
        "window_start": rfc3339(report.window.start),
        "window_end": rfc3339(report.window.end),
        "by": report.window.by,
        "known_at": None if report.known_at is None else rfc3339(report.known_at),
        "rows": report.rows,
        "examined": report.examined,
        "estimates": [_plain(one) for one in report.estimates],
        "calibration": [_plain(one) for one in report.calibration],
        "concept": [_plain(one) for one in report.concept],
        "slices": [_plain(one) | {"coverage": one.coverage} for one in report.slices],
        "worth": [_plain(one) for one in report.worth],
        "notes": list(report.notes),
    }


def _plain(word: Any) -> dict[str, Any]:
    """A word of the domain as JSON takes it: what is no number is null, times are text."""
    found = {}
    for name, value in asdict(word).items():
        found[name] = _plain_value(name, value)
    return found


def _plain_value(name: str, value: Any) -> Any:
    match value:
        case StrEnum():
            return value.value
        case float():
            return value if math.isfinite(value) else None
        case int() if name == "known_at":
            return rfc3339(value)
        case dict():
            return {inner: _plain_value(inner, one) for inner, one in value.items()}
        case list() | tuple():
            return [_plain_value(name, one) for one in value]
        case _:
            return value


def skew_json(report: SkewReport) -> dict[str, Any]:
    """As it goes over the wire; the names are those of the proto."""
    return {
        "tenant": report.tenant,
        "model": report.model,
        "summary": report.summary,
        "skew_verdict": report.verdict.value,
        "window_start": rfc3339(report.window.start),
        "window_end": rfc3339(report.window.end),
        "rows": {result.value: count for result, count in report.counts.items()},
        "highest_share": report.highest_share,
        "features": [
            {
                "feature": one.feature,
                "version": one.version,
                "rows": one.rows,
                "served": _shown(one.served),
                "trained": _shown(one.trained),
                "answered_at": rfc3339(one.at),
            }
            for one in report.features
        ],
    }


def _shown(value: Logged) -> Logged:
    return None if isinstance(value, float) and math.isnan(value) else value
