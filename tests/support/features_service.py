"""What the tests of the features service as a process share: a data set, two views, and a client."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import httpx

from tenon.api.features.v1 import features_pb2 as pb
from tenon.api.features.v1 import features_pb2_grpc
from tenon.core.specs import DatasetSpec
from tests.support.service_process import ADMIN_KEY, SERVICE_TOKEN, ServiceProcess

DATASET = DatasetSpec.model_validate(
    {
        "name": "visits",
        "primaryKey": ["visit_id"],
        "eventTime": "arrived",
        "columns": {
            "visit_id": {"type": "integer"},
            "arrived": {"type": "timestamp"},
            "billed": {"type": "timestamp", "nullable": True},
            "patient": {"type": "string", "nullable": True},
            "ward": {"type": "integer"},
            "urgent": {"type": "boolean"},
            "fever": {"type": "float", "nullable": True, "knownAt": "billed"},
            "doctor": {"type": "string", "nullable": True, "knownAt": "billed"},
            "building": {"type": "string"},
            "bill": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "billed"},
        },
    }
)
VIEW = {
    "name": "patient_history",
    "dataset": "visits",
    "entity": ["patient"],
    "aggregates": [
        {"functions": ["count"], "windows": ["7d", "30d"]},
        {
            "column": "bill",
            "functions": ["count", "sum", "mean", "min", "max", "rate"],
            "windows": ["30d"],
            "above": 100,
        },
    ],
}
WARD = {
    "name": "ward_history",
    "dataset": "visits",
    "entity": ["ward", "urgent"],
    "aggregates": [
        {"column": "bill", "functions": ["mean", "max", "std", "first", "last", "distinct", "quantile", "since_last"],
         "quantiles": [0.5, 0.9], "windows": ["7d", "all"]},
        {"column": "patient", "functions": ["distinct"], "windows": ["7d"]},
        {"column": "fever", "functions": ["sum", "mean", "std", "max", "quantile"], "quantiles": [0.5], "windows": ["7d", "all"]},
        {"column": "doctor", "functions": ["first"], "windows": ["7d"]},
        {"column": "bill", "functions": ["sum"], "windows": ["30d"], "as": "dear", "where": {"bill": {"above": 99.99}}},
    ],
    "latest": [{"column": "bill", "ttl": "2d"}, {"column": "doctor", "ttl": "5d"}],
    "static": ["ward", "building"],
    "expressions": {"trend": "bill_mean_7d / bill_p50_all"},
}  # fmt: skip
START = datetime(2025, 1, 1, tzinfo=UTC)
HEADERS = {"authorization": f"Bearer {ADMIN_KEY}"}


def visits(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Visits over 60 days with bills that are known up to ten days later."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        arrived = START + timedelta(minutes=rng.randrange(60 * 24 * 60))
        rows.append(
            {
                "visit_id": number,
                "arrived": arrived,
                "billed": None if rng.random() < 0.05 else arrived + timedelta(minutes=rng.randrange(10 * 24 * 60)),
                "patient": None if rng.random() < 0.02 else f"p{rng.randrange(25)}",
                "ward": rng.randrange(4),
                "urgent": rng.random() < 0.3,
                "fever": None if number % 7 == 0 else 35 + (number * 2654435761 % 7919) / 1000,
                "doctor": None if number % 5 == 0 else f"Dr. {'ABÇD'[number % 4]}",
                "building": f"house {number % 2}",
                "bill": None if rng.random() < 0.1 else Decimal(rng.randrange(-500, 30_000)) / 100,
            }
        )
    return rows


def eventually(check: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The check's answer as soon as it is truthy."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class Client:
    """Both doors of the service."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.http = httpx.Client(base_url=service.http, headers=HEADERS, timeout=60, trust_env=False)
        self._channel = grpc.insecure_channel(service.grpc, [("grpc.enable_http_proxy", 0)])
        self.stub = features_pb2_grpc.FeatureServiceStub(self._channel)
        self.metadata = [("authorization", f"Bearer {SERVICE_TOKEN}")]

    def apply(self, view: dict[str, Any], tenant: str = "north", **params: str) -> httpx.Response:
        """Put a view."""
        return self.http.put(f"/v1/tenants/{tenant}/feature-views/{view['name']}", json=view, params=params)

    def online_version(self, view: str, tenant: str = "north") -> int | None:
        """The table version that is online."""
        answer = self.http.get(f"/v1/tenants/{tenant}/feature-views/{view}").json()["online"]
        return answer["table_version"] if answer and answer["serves_this_revision"] else None

    def online(
        self, views: list[str], rows: list[tuple[dict[str, str], datetime]], *, packed: bool = False, digest: str = ""
    ) -> pb.GetOnlineFeaturesResponse:
        """Look up by gRPC; `digest` is the definition wanted of each view."""
        digests = dict.fromkeys(views, digest) if digest else {}
        request = pb.GetOnlineFeaturesRequest(tenant="north", views=views, packed=packed, view_digests=digests)
        for keys, at in rows:
            request.rows.add(keys=keys).at.FromDatetime(at)
        return self.stub.GetOnlineFeatures(request, metadata=self.metadata, timeout=60)

    def historical(
        self, views: list[str], rows: list[tuple[dict[str, str], datetime]]
    ) -> pb.GetHistoricalFeaturesResponse:
        """Compute anew by gRPC."""
        known = {"ward_history": ("ward", "urgent"), "patient_history": ("patient",)}
        names = {name for view in views for name in known[view]}
        request = pb.GetHistoricalFeaturesRequest(tenant="north", views=views)
        for keys, at in rows:
            request.rows.add(keys={name: text for name, text in keys.items() if name in names}).at.FromDatetime(at)
        return self.stub.GetHistoricalFeatures(request, metadata=self.metadata, timeout=60)

    def training_set(self, columns: list[str], views: list[str]) -> pb.BuildTrainingSetResponse:
        """Build by gRPC."""
        request = pb.BuildTrainingSetRequest(tenant="north", spine="visits", columns=columns, views=views)
        return self.stub.BuildTrainingSet(request, metadata=self.metadata, timeout=60)
