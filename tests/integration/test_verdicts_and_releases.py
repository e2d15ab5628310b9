"""Predictor, monitor, registry and Redis as processes: what a version does decides about its release, and silence decides nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tenon.api.registry.v1 import registry_pb2 as pb
from tests.support.fakes_monitor import MonitorProcess, wait_for
from tests.support.predictor_bundles import linear_bundle, sha256, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess
from tests.support.redis import redis_binary, running_redis
from tests.support.registry_process import ADMIN_KEY, SERVICE_TOKEN, GrpcClient, RegistryProcess

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

STABLE, BROKEN, SHINY = 1, 2, 3
AUTOMATIC = {"steps": [50], "every": "1s", "answers": 20, "needs": ["errors"], "probation": "1d"}


@dataclass
class Platform:
    """Three services, a tenant with a key, and what its client was answered."""

    registry: RegistryProcess
    predictor: PredictorProcess
    monitor: MonitorProcess
    key: str
    answers: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0

    def release(self, canary: int) -> int:
        """Half of the requests to a canary that goes on by itself; gives the revision."""
        body = {"stable": STABLE, "canary": canary, "canary_weight": 50, "automatic": AUTOMATIC}
        with self.registry.http(self.key) as http:
            answer = http.put("/v1/tenants/acme/models/stay/release", json=body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["revision"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """Releases, the current one first."""
        with self.registry.http(self.key) as http:
            found: list[dict[str, Any]] = http.get("/v1/tenants/acme/models/stay/release/history").json()["releases"]
        return found

    def ask(self, requests: int) -> set[int]:
        """Ask about other visits each time; gives the status codes."""
        codes = set()
        chance = np.random.default_rng(self.asked)
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.predictor.url, headers=headers, timeout=60, trust_env=False) as http:
            for _ in range(requests):
                self.asked += 1
                visit = visit_request(
                    age=("FP64", [float(chance.uniform(0, 90))]), count=("INT64", [int(chance.integers(0, 9))]),
                    ward=("BYTES", [str(chance.choice(["east", "north", "west"]))]),
                )  # fmt: skip
                answer = http.post("/v2/models/stay/infer", json=visit | {"id": f"visit-{self.asked}"})
                codes.add(answer.status_code)
                if answer.status_code == 200:
                    found = answer.json()
                    score = next(one["data"][0] for one in found["outputs"] if one["datatype"] == "FP64")
                    self.answers.append(found["parameters"] | {"score": score})
        return codes

    def label(self, *, good: int, bad: int) -> None:
        """What became of the visits: as one version said, and the contrary of what the other said."""
        middle = float(np.median([one["score"] for one in self.answers]))
        labels = [
            {
                "prediction_id": one["prediction_id"],
                "value": float((one["score"] > middle) == (one["version"] == str(good))),
            }
            for one in self.answers
            if one["version"] in (str(good), str(bad))
        ]
        with self.monitor.client(self.key) as http:
            answer = http.post("/v1/tenants/acme/models/stay/labels", json={"labels": labels})
        assert answer.status_code == 200, answer.text


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """All but monitor run; three versions: two alike, and one that takes other columns than clients send."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_redis())
        registry = RegistryProcess(tmp_path / "registry")
        stack.callback(registry.kill)
        registry.start()
        client = GrpcClient(registry)
        key = registry.make_tenant("acme")
        for data in (
            visit_bundle(shift=0.0, key=registry.signing_key),
            linear_bundle(model="stay", key=registry.signing_key),
            visit_bundle(shift=0.05, key=registry.signing_key),
        ):
            header = pb.RegisterVersionHeader(
                tenant="acme", model="stay", run_id="run-1", bundle_sha256=sha256(data), size_bytes=len(data)
            )
            parts = [pb.RegisterVersionRequest(header=header), pb.RegisterVersionRequest(chunk=data)]
            client.versions.RegisterVersion(iter(parts), metadata=client.metadata, timeout=60)
        tokens = {"TENON_SERVICE_TOKEN": SERVICE_TOKEN, "TENON_ADMIN_KEY": ADMIN_KEY}
        verify = {"TENON_VERIFY_KEY_FILE": str(registry.folder / "verify.pem")}
        predictor = PredictorProcess(
            tmp_path / "predictor", registry=registry.grpc_port, redis_url=server.url,
            extra=tokens | verify | {"TENON_PREDICTOR_OPERATIONS_SECONDS": "0.3"},
        )  # fmt: skip
        monitor = MonitorProcess(
            tmp_path / "monitor", server.url, registry.grpc_port, **tokens, TENON_MONITOR_CANARY_SECONDS="0.3"
        )
        with registry.http(key) as http:
            http.put("/v1/tenants/acme/models/stay/release", json={"stable": STABLE}).raise_for_status()
        predictor.start()
        stack.callback(predictor.kill)
        yield Platform(registry, predictor, monitor, key)


def test_what_a_version_does_decides_about_its_release(platform: Platform) -> None:
    """While monitor is silent nothing moves, whatever happens. Then a canary that refuses what clients send goes back by itself; one that fails
    nobody is promoted, and goes back on its probation when the labels come and say that it is worse."""
    first = platform.release(BROKEN)
    wait_for(lambda: 400 in platform.ask(20), "the canary is asked")
    platform.ask(100)
    assert platform.history[0]["revision"] == first
    platform.monitor.start()
    try:
        with platform.monitor.client(platform.key) as http:
            rules = {"name": "stay", "canary": {"worseErrors": 0.2, "slowMs": 5000}}
            answer = http.put("/v1/tenants/acme/monitors/stay", json=rules)
            assert answer.status_code == 200, answer.text
        wait_for(lambda: platform.history[0]["revision"] != first, "the canary goes back", log=platform.monitor.log)
        back = platform.history[0]
        assert (back["stable"], back["canary"], back["action"], back["automatic"]) == (STABLE, None, "rollback", None)
        assert "of requests failed" in back["reason"]

        platform.answers.clear()
        second = platform.release(SHINY)
        wait_for(
            lambda: platform.ask(20) == {200} and any(one["role"] == "canary" for one in platform.answers), "asked"
        )

        def promoted() -> bool:
            assert platform.ask(40) == {200}
            return bool(platform.history[0]["action"] == "promote")

        wait_for(promoted, "the canary is promoted", log=platform.monitor.log)
        assert (platform.history[0]["stable"], platform.history[1]["revision"]) == (SHINY, second)
        platform.label(good=STABLE, bad=SHINY)
        wait_for(
            lambda: platform.history[0]["action"] == "rollback", "it goes back on probation", log=platform.monitor.log
        )
        back = platform.history[0]
        assert (back["stable"], back["canary"]) == (STABLE, None)
        assert "roc_auc" in back["reason"]
    finally:
        platform.monitor.stop()
