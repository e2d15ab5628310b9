"""Feast's own client reads features from Tenon: a Feast store with the online store `remote`, in Feast's own environment.

That environment takes 535 MB, so it is not made for this test alone: `make bench-peers` makes it, and without it this is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tenon.core.specs import DatasetSpec
from tests.bench.peers import installed
from tests.support.environments import ROOT
from tests.support.fake_ingest import lake_frame, running_ingest
from tests.support.platform import eventually
from tests.support.ports import free_port
from tests.support.redis import redis_binary, running_redis
from tests.support.service_process import ADMIN_KEY, running_service

pytestmark = [
    pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine"),
    pytest.mark.skipif(installed("feast") is None, reason="Feast is not installed: make bench-peers"),
]

VISITS = DatasetSpec.model_validate(
    {
        "name": "visits",
        "primaryKey": ["visit_id"],
        "eventTime": "arrived",
        "columns": {
            "visit_id": {"type": "integer"},
            "arrived": {"type": "timestamp"},
            "patient": {"type": "string"},
            "bill": {"type": "decimal", "scale": 2, "nullable": True},
        },
    }
)
VIEW = {
    "name": "patient_history",
    "dataset": "visits",
    "entity": ["patient"],
    "aggregates": [{"column": "bill", "functions": ["count", "sum", "mean"], "windows": ["30d"]}],
}
FEATURES = ["bill_count_30d", "bill_sum_30d", "bill_mean_30d"]


def test_feast_reads_what_tenon_serves(tmp_path: Path) -> None:
    """Values come through to the last bit, what is missing is None, and a wrong key is refused in words that Feast shows."""
    python = installed("feast")
    now = datetime.now(UTC)
    bills: list[tuple[str, str | None]] = [("ann", "10.10"), ("ann", "0.20"), ("ann", "5.03"), ("bob", None)]
    visits: list[dict[str, Any]] = [
        {"visit_id": n, "arrived": now - timedelta(days=n + 1), "patient": who, "bill": bill and Decimal(bill)}
        for n, (who, bill) in enumerate(bills)
    ]
    with running_redis() as redis, running_ingest(tmp_path / "lake") as ingest:
        ingest.define("north", VISITS)
        ingest.commit("north", "visits", lake_frame(VISITS, visits))
        environment = {
            "TENON_REDIS_URL": redis.url,
            "TENON_BLOB_URL": (tmp_path / "blobs").as_uri(),
            "TENON_INGEST_GRPC": ingest.target,
            "TENON_REGISTRY_GRPC": f"127.0.0.1:{free_port()}",
        }
        with running_service("features", tmp_path / "features", environment) as service:
            address = f"{service.http}/v1/tenants/north"
            headers = {"authorization": f"Bearer {ADMIN_KEY}"}
            with httpx.Client(headers=headers, trust_env=False, timeout=60) as http:
                http.put(f"{address}/feature-views/patient_history", json=VIEW).raise_for_status()
                eventually(
                    lambda: http.get(f"{address}/feature-views/patient_history").json()["online"], "the view online"
                )
            facts = {"paths": [address], "key": ADMIN_KEY, "view": "patient_history", "entity": "patient",
                     "features": FEATURES, "rows": ["ann", "bob", "nobody"]}  # fmt: skip
            # Nothing of ours may leak into the foreign environment but the folder that its program is in.
            inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TENON", "VIRTUAL"))}
            done = subprocess.run(
                [str(python), "-m", "tests.conformance.clients.feast_store"],
                input=json.dumps(facts), cwd=ROOT, env=inherited, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert said["answers"] == [
        {
            "patient": ["ann", "bob", "nobody"],
            "bill_count_30d": [3.0, 0.0, 0.0],
            "bill_sum_30d": [15.33, None, None],
            "bill_mean_30d": [5.11, None, None],
        }
    ]
    assert "401" in said["refused"] or "nauthorized" in said["refused"], said["refused"]
