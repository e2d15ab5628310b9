"""Every model in a line, and one model over time: the JSON of what the pages draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request

from services.monitor.api_http.doors import Reader
from services.monitor.api_http.shapes import verdict_json
from tenon.core.errors import NotFound, Place
from tenon.core.tenancy import Scope
from tenon.core.timestamps import parse_rfc3339, rfc3339
from tenon.kit.http import principal_of

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.releases import Release
    from services.monitor.domain.reports.history import Bucket, History
    from services.monitor.domain.reports.overview import Line, Overview

RANKS = ("worse", "drift", "silent", "unknown", "fine")


def add_overview_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes on the app."""

    @app.get(
        "/v1/overview", summary="Every model the caller may see, the worst first: what serves, how it fares, what to do"
    )
    def overview(request: Request) -> dict[str, Any]:
        principal = principal_of(request)
        if principal.tenant is None:
            if Scope.READ not in principal.scopes:
                principal.require_admin()
            return overview_json(use.look_over.fleet())
        principal.require(principal.tenant, Scope.READ)
        return overview_json(use.look_over.tenant(principal.tenant))

    @app.get("/v1/tenants/{tenant}/overview", summary="Every model of a tenant, the worst first")
    def tenant_overview(tenant: Reader) -> dict[str, Any]:
        return overview_json(use.look_over.tenant(tenant))

    @app.get("/v1/tenants/{tenant}/models/{model}/history", summary="Traffic, drift, quality and labels over time")
    def history(
        tenant: Reader, model: str,
        last: Annotated[str, Query(description="1d, 7d, 30d, 90d, 1y, … or all; default: what suits the log")] = "",
        by: Annotated[str, Query(description="at (answered) or event_time; default: what suits the log")] = "",
        known_at: Annotated[str | None, Query(description="labels as known at this time; default: now")] = None,
    ) -> dict[str, Any]:  # fmt: skip
        moment = None if known_at is None else parse_rfc3339(known_at, "known_at")
        view = use.view_model(tenant, model, last, by, moment)
        if view.history is None:
            raise NotFound(
                "MODEL_NOT_SEEN", f"no predictions of a model {model[:60]!r} have arrived for tenant {tenant}",
                place=Place(field="model"),
            )  # fmt: skip
        known = None if moment is None else rfc3339(moment)
        return {"tenant": tenant.value, "model": model, "last": view.last, "known_at": known} | history_json(
            view.history
        )


def overview_json(found: Overview) -> dict[str, Any]:
    """The lines as they go over the wire."""
    asked = found.known.asked_at
    return {
        "tenants": list(found.tenants),
        "releases_known_at": None if asked is None else rfc3339(asked),
        "registry_answers": found.known.fresh,
        "models": [line_json(line) for line in found.lines],
    }


def line_json(line: Line) -> dict[str, Any]:
    """One model."""
    seen = line.seen
    return {
        "tenant": line.tenant,
        "model": line.model,
        "state": RANKS[line.rank],
        "release": None if line.release is None else release_json(line.release),
        "predictions": seen.predictions if seen is not None else 0,
        "labels": seen.labels if seen is not None else 0,
        "last_prediction_at": None if seen is None or seen.last_at is None else rfc3339(seen.last_at),
        "latest_verdict": None if line.verdict is None else verdict_json(line.verdict),
        "advice": line.advice,
        "command": line.command or None,
    }


def release_json(release: Release) -> dict[str, Any]:
    """One revision of what serves."""
    return {
        "revision": release.revision,
        "tracks": [{"role": one.role, "version": one.version, "share": one.share} for one in release.tracks],
        "made_at": rfc3339(release.made_at),
        "made_by": release.made_by,
        "action": release.action,
        "reason": release.reason,
    }


def history_json(history: History) -> dict[str, Any]:
    """Buckets, oldest first, and releases."""
    return {
        "window_start": rfc3339(history.window.start),
        "window_end": rfc3339(history.window.end),
        "by": history.window.by,
        "metric": history.metric or None,
        "buckets": [_bucket_json(bucket) for bucket in history.buckets],
        "releases": [release_json(release) for release in history.releases],
    }


def _bucket_json(bucket: Bucket) -> dict[str, Any]:
    return {
        "start": rfc3339(bucket.start),
        "end": rfc3339(bucket.end),
        "version": bucket.version,
        "predictions": bucket.predictions,
        "labels": bucket.labels,
        "traffic": [
            {"version": version, "role": role.value, "predictions": rows} for (version, role), rows in bucket.traffic.items()
        ],
        "columns": [
            {"column": one.column, "verdict": one.verdict.value, "severity": one.severity,
             "moved": one.moved, "effect": one.effect, "psi": one.psi, "rows": one.rows}
            for one in bucket.columns
        ],
        "quality": [
            {"metric": one.metric, "version": one.version, "value": one.value, "low": one.low, "high": one.high,
             "expected": one.expected, "rows": one.rows, "verdict": one.verdict.value}
            for one in bucket.figures
        ],
    }  # fmt: skip
