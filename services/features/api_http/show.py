"""What features look like: statistics, a page of them, lineage, one entity's history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from services.features.api_http.views import text_of
from services.features.domain.describe_features import DescribeFeatures, FeatureStatistics, Lineage
from services.features.domain.html_features import render_features
from services.features.domain.model import TrainingSet
from services.features.domain.ports import TrainingFiles
from tenon.core.tenancy import Scope, TenantId
from tenon.core.timestamps import parse_rfc3339, rfc3339
from tenon.kit.http import allow

Reader = Annotated[TenantId, Depends(allow(Scope.READ))]


class HistoryBody(BaseModel):
    """One entity's key columns by name, and the times: `from` and `to` (left out: the entity's first and last event)."""

    model_config = ConfigDict(extra="forbid")

    keys: dict[str, str | int | bool | None]
    start: str | None = Field(default=None, alias="from")
    end: str | None = Field(default=None, alias="to")
    points: int = 30


def show_routes(describe: DescribeFeatures, now: Callable[[], int]) -> APIRouter:
    """The routes; each but the lineage reads the lake, which may take seconds."""
    routes = APIRouter(prefix="/v1/tenants/{tenant}/feature-views/{name}", tags=["features"])

    @routes.get("/statistics")
    def statistics(tenant: Reader, name: str) -> dict[str, Any]:
        """Each feature at the event times of its data set's rows, or of an even sample: how much is missing, how the
        values lie, and both over time."""
        found = describe.statistics(tenant, name)
        return {
            "view": found.view,
            "revision": found.revision,
            "dataset": found.dataset,
            "table_version": found.table_version,
            "rows": found.rows,
            "sampled": found.sampled,
            "features": [_statistics(one, found.starts) for one in found.features],
        }

    @routes.get("/statistics.html")
    def statistics_page(tenant: Reader, name: str) -> HTMLResponse:
        """The same, as one page for people."""
        page = render_features(describe.statistics(tenant, name), describe.lineage(tenant, name), now())
        return HTMLResponse(page, headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"})

    @routes.get("/lineage")
    def lineage(tenant: Reader, name: str) -> dict[str, Any]:
        """Each feature's columns, their data set, and the files that it was loaded from, newest first."""
        return _lineage(describe.lineage(tenant, name))

    @routes.post("/history")
    def history(
        tenant: Annotated[TenantId, Depends(allow(Scope.PREDICT))], name: str, body: HistoryBody
    ) -> dict[str, Any]:
        """One entity's values at evenly spaced times, as a training set would have them."""
        keys = {key: text_of(value) for key, value in body.keys.items() if value is not None}
        start = None if body.start is None else parse_rfc3339(body.start, "from")
        end = None if body.end is None else parse_rfc3339(body.end, "to")
        found = describe.history(tenant, name, keys, start, end, body.points)
        return {
            "view": name,
            "table_version": found.table_version,
            "features": found.references,
            "points": [
                {"at": rfc3339(at), "values": list(values)}
                for at, values in zip(found.at.tolist(), zip(*found.values, strict=True), strict=True)
            ],
        }

    return routes


def training_set_routes(files: TrainingFiles) -> APIRouter:
    """What training sets there are."""
    routes = APIRouter(prefix="/v1/tenants/{tenant}/training-sets", tags=["features"])

    @routes.get("")
    def training_sets(tenant: Reader) -> dict[str, Any]:
        """What was made from which versions of which data sets, newest first; `erased` says when and why the file of one
        was deleted."""
        found = sorted(files.list(tenant), key=lambda one: (-one.made_at, one.fingerprint))
        return {"training_sets": [_training_set(one) for one in found]}

    return routes


def _training_set(one: TrainingSet) -> dict[str, Any]:
    return asdict(one) | {
        "columns": list(one.columns),
        "made_at": rfc3339(one.made_at) if one.made_at else None,
        "erased": None if one.erased is None else asdict(one.erased) | {"at": rfc3339(one.erased.at)},
    }


def _statistics(one: FeatureStatistics, starts: list[int]) -> dict[str, Any]:
    over_time = [{"from": rfc3339(start)} | asdict(spread) for start, spread in zip(starts, one.over_time, strict=True)]
    return {
        "feature": one.reference,
        "meaning": one.meaning,
        **asdict(one.whole),
        "minimum": one.minimum,
        "maximum": one.maximum,
        "histogram": {"edges": one.edges, "counts": one.counts},
        "most_common": [{"value": text, "rows": rows} for text, rows in one.most_common],
        "over_time": over_time,
    }


def _lineage(found: Lineage) -> dict[str, Any]:
    return {
        "view": found.view.name,
        "revision": found.view.revision,
        "features": [
            {
                "feature": origin.reference,
                "meaning": origin.meaning,
                "columns": origin.columns,
                "known_at": origin.known_at,
                "features": origin.features,
            }
            for origin in found.origins
        ],
        "dataset": {
            "name": found.dataset.name,
            "event_time": found.dataset.event_time,
            "table_uri": None if found.table is None else found.table.uri,
            "table_version": None if found.table is None else found.table.version,
        },
        "files": [
            {
                "name": file.name,
                "batch_id": file.batch_id,
                "sha256": file.sha256,
                "rows": file.rows,
                "table_version": file.table_version,
                "committed_at": rfc3339(file.committed_at),
            }
            for file in found.files
        ],
    }
