"""Helm, registry and replicas say the same, or it is said where they differ: a real registry, and real predictors pinned as Helm's chart does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.predictor_bundles import sha256, visit_bundle
from tests.support.predictor_process import PredictorProcess, wait_until
from tests.support.registry_process import ADMIN_KEY, SERVICE_TOKEN, GrpcClient, RegistryProcess


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryProcess]:
    """A registry with two versions of acme's `stay`, which compares twice a second."""
    process = RegistryProcess(tmp_path / "registry", extra={"TENON_COMPARE_SECONDS": "0.5"})
    process.start()
    process.make_tenant("acme")
    client = GrpcClient(process)
    for shift in (1.0, 2.0):
        data = visit_bundle(shift=shift, key=process.signing_key)
        client.send("acme", "stay", "run-1", data)
    yield process
    process.kill()


@pytest.fixture
def pods(tmp_path: Path, registry: RegistryProcess) -> Iterator[Any]:
    """Starts predictors that are told what to serve; `pods(name, version, bundle)`."""
    started: list[PredictorProcess] = []

    def start(name: str, version: int, **pin: str) -> PredictorProcess:
        extra = {
            "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
            "TENON_ADMIN_KEY": ADMIN_KEY,
            "TENON_VERIFY_KEY_FILE": str(registry.folder / "verify.pem"),
            "TENON_PREDICTOR_TENANTS": '["acme"]',
            "TENON_PREDICTOR_PINNED": json.dumps([{"model": "stay", "version": version, **pin}]),
        }
        started.append(PredictorProcess(tmp_path / name, registry=registry.grpc_port, extra=extra).start())
        return started[-1]

    yield start
    for process in started:
        if process.process is not None and process.process.poll() is None:
            process.kill()


def status(registry: RegistryProcess) -> tuple[int, dict[str, Any]]:
    """`tenon status`: how it ended, and what it says of the model."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
    address = {"TENON_REGISTRY_URL": f"http://127.0.0.1:{registry.http_port}", "TENON_API_KEY": ADMIN_KEY}
    done = subprocess.run(
        [sys.executable, "-m", "tenon.cli.main", "status", "--json"],
        env=environment | address, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    (model,) = json.loads(done.stdout)["models"]
    return done.returncode, model


def gauges(registry: RegistryProcess) -> dict[str, float]:
    """The metric, by kind."""
    with registry.http() as http:
        lines = http.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("tenon_registry_serving_disagreements{")]
    return {line.split('kind="')[1].split('"')[0]: float(line.split()[-1]) for line in found}


def test_what_helm_pins_is_compared(tmp_path: Path, registry: RegistryProcess, pods: Any) -> None:
    """Pods alone agree; with a release of the same version too; a canary that the registry knows nothing of does not, until it
    does; a pod with other bytes under a version's number is told apart by its digest."""
    stable = pods("stable", 1)

    def agrees() -> bool:
        return status(registry)[1]["pinned"] == {"1": 1} and gauges(registry) == {}

    wait_until(agrees, "the report", 180)
    code, model = status(registry)
    assert (code, model["tracks"], model["problems"]) == (0, [], [])

    with registry.http() as http:
        release = "/v1/tenants/acme/models/stay/release"
        assert http.put(release, json={"stable": 1}).status_code == 200
        assert status(registry)[1]["problems"] == []
        assert http.get("/v1/tenants/acme/models/stay/serving").json()["settled"] is True

        pods("canary", 2)
        wait_until(lambda: gauges(registry) == {"release": 1.0}, "the canary is seen", 180)
        code, model = status(registry)
        assert (code, model["pinned"]) == (3, {"1": 1, "2": 1})
        assert model["problems"] == ["pods are pinned to version 2; revision 1 names version 1"]
        assert http.put(release, json={"stable": 1, "canary": 2, "canary_weight": 10}).status_code == 200
        wait_until(lambda: gauges(registry) == {}, "they agree", 180)
        assert status(registry)[1]["problems"] == []

    other = visit_bundle(shift=9.0, key=registry.signing_key)
    (tmp_path / "stay-1.bundle").write_bytes(other)
    stable.stop()
    pods("stranger", 1, bundle=str(tmp_path))
    wait_until(lambda: gauges(registry) == {"digest": 1.0}, "other bytes are seen", 180)
    code, model = status(registry)
    assert code == 3
    assert f"serves other bytes as version 1 ({sha256(other)[:12]})" in model["problems"][0]
