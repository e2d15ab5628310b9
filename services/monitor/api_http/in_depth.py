"""What lies behind a verdict: served against trained values, feature by feature."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query

from services.monitor.api_http.doors import Reader
from services.monitor.domain.window import window_from
from tenon.core.timestamps import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.skew_words import SkewReport

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
                "served": _number(one.served),
                "trained": _number(one.trained),
                "answered_at": rfc3339(one.at),
            }
            for one in report.features
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
