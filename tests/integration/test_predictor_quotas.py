"""Quotas at a real predictor's doors: declared at the registry, kept over its absence, said in each protocol's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tests.support.abuse import ROW
from tests.support.abuse_grpc import calls
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import KEYS, linear_bundle
from tests.support.predictor_process import PredictorProcess, wait_until

MODEL = "price"
# So little that none comes back while a busy machine runs a test.
RATE = 0.001


@dataclass
class Place:
    """A predictor and its registry."""

    registry: FakeRegistry
    predictor: PredictorProcess

    def ask(self, tenant: str, path: str = "/v2/models/price/infer", body: Any = None) -> httpx.Response:
        """One prediction."""
        headers = {"authorization": f"Bearer {KEYS[tenant]}"}
        return httpx.post(self.predictor.url + path, json=body or {"inputs": [ROW]}, headers=headers, timeout=60)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    registry = FakeRegistry().start()
    for tenant in ("acme", "globex"):
        registry.add(tenant, MODEL, 1, linear_bundle(tenant))
        registry.release(tenant, MODEL, 1)
    registry.quotas = {"acme": {"requests_per_second": RATE, "burst": 3}}
    predictor = PredictorProcess(tmp_path, registry=registry.port)
    try:
        predictor.start()
        wait_until((tmp_path / "data" / "quotas.json").exists, "the quotas")
        yield Place(registry, predictor)
    finally:
        predictor.stop()
        registry.stop()


def test_over_the_quota(place: Place) -> None:
    """429 with Retry-After over REST, RESOURCE_EXHAUSTED with its delay over gRPC, at all doors together; others are not
    concerned, and it holds with the registry down after a restart."""
    answers = [place.ask("acme") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refusal = answers[-1]
    assert refusal.json()["reason"] == "QUOTA_REQUESTS"
    assert 0 < refusal.json()["data"]["retry_after_seconds"] <= 1 / RATE
    assert 1 <= int(refusal.headers["retry-after"]) <= 1 / RATE
    entity = place.ask("acme", "/v1/models/price:predict", {"instances": [{"features": {"x0": 1.0, "x1": 2.0}}]})
    assert entity.status_code == 429
    assert place.ask("globex").status_code == 200
    metadata = (("authorization", f"Bearer {KEYS['acme']}"),)
    good = {call.name: call for call in calls(MODEL)}
    with grpc.insecure_channel(f"127.0.0.1:{place.predictor.grpc}") as channel:
        for name in ("raw", "typed FP64", "entity"):
            ask: Any = channel.unary_unary(good[name].method)
            with pytest.raises(grpc.RpcError) as caught:
                ask(good[name].data, timeout=60, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, name
            trailing: Any = caught.value.trailing_metadata()
            assert 0 < int(dict(trailing)["grpc-retry-pushback-ms"]) <= 1000 / RATE
    assert 'outcome="QUOTA_REQUESTS"' in httpx.get(f"{place.predictor.url}/metrics", timeout=60).text
    place.registry.stop()
    place.predictor.stop()
    place.predictor.start()
    assert [place.ask("acme").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_a_changed_quota_is_heard_of(place: Place) -> None:
    """Within seconds, without a restart; none at all is no limit."""
    place.registry.quotas = {}
    wait_until(lambda: all(place.ask("acme").status_code == 200 for _ in range(5)), "a quota that is gone")
    place.registry.quotas = {"acme": {"rows_per_second": 10.0}}
    rows = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [50, 2], "data": [1.0] * 100}]}

    def refused() -> bool:
        return place.ask("acme", body=rows).json().get("reason") == "QUOTA_ROWS"

    wait_until(refused, "a quota of rows")
