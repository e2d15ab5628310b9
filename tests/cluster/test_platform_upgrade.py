"""The platform's chart with real processes: migrated by its Jobs, and upgraded under traffic without a failed request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from tests.cluster.harness.cluster import CHARTS, ROOT, Cluster
from tests.cluster.harness.real_platform import PlatformPods
from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer, running_redis

NAMESPACE = "real-platform-upgrade"
DATASET = {
    "name": "visits",
    "primaryKey": ["visit_id"],
    "eventTime": "admitted_at",
    "columns": {"visit_id": {"type": "string"}, "admitted_at": {"type": "timestamp"}},
}
ASKED = {
    "registry": ("GET", "/v1/tenants/acme", None),
    # Ingest asks the registry, by gRPC, whether there is such a tenant.
    "ingest": ("PUT", "/v1/tenants/acme/datasets/visits?dry_run=true", DATASET),
    "features": ("GET", "/v1/tenants/acme/feature-views", None),
    "trainer": ("GET", "/v1/tenants/acme/models", None),
    "monitor": ("GET", "/v1/tenants/acme/models", None),
}


@dataclass
class Platform:
    """The release and who asks it."""

    cluster: Cluster
    pods: PlatformPods
    admin: str
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    client: httpx.Client = field(
        default_factory=lambda: httpx.Client(
            timeout=60, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
    )

    def helm(self, verb: str, *arguments: str) -> str:
        """Install or upgrade with one pod of each service."""
        small = [f"{name}.replicas=1" for name in ("registry", "ingest", "features", "trainer")]
        small += ["rollout.progressDeadlineSeconds=240"]
        return self.cluster.helm(
            verb, "tenon", str(CHARTS / "platform"), "-n", NAMESPACE, "--wait", "--timeout=250s",
            "--set", ",".join(small), *arguments, seconds=260,
        )  # fmt: skip

    def ask(self, service: str, method: str, path: str, body: Any) -> httpx.Response:
        """On a connection of its own, as one of many callers."""
        url = f"http://{self.pods.services.address(f'tenon-{service}', 8080)}{path}"
        return self.client.request(method, url, headers={"authorization": f"Bearer {self.admin}"}, json=body)

    def keep_asking(self, service: str, until: threading.Event) -> None:
        """Ask until told to stop, and note what is no good answer."""
        while not until.wait(0.2):
            try:
                answer = self.ask(service, *ASKED[service])
                problem = "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:200]}"
            except httpx.HTTPError as err:
                problem = f"{type(err).__name__}: {err}"
            self.answers[service] += 1
            if problem:
                self.failures.append(f"{time.strftime('%X')} {service}: {problem}")


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this module's own."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def platform(
    cluster: Cluster,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """Secrets as `make_secrets.py` makes them, databases as the chart's script makes them, and the platform installed."""
    secrets = _secrets(f"127.0.0.1:{postgres_server.port}", f"127.0.0.1:{redis_server.port}")
    _make_databases(postgres_server, secrets["tenon-postgresql"])
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", secrets["tenon-redis"]["REDIS_PASSWORD"])
    cluster.create_namespace(NAMESPACE)
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
            for name, data in secrets.items()
        ],
        "-n",
        NAMESPACE,
    )
    pods = PlatformPods(cluster.plane, tmp_path_factory.mktemp("platform"), NAMESPACE)
    pods.start()
    try:
        yield Platform(cluster, pods, secrets["tenon-admin-key"]["TENON_ADMIN_KEY"])
        assert not pods.problems
    finally:
        pods.stop()


@pytest.mark.timeout(900)
def test_upgraded_under_traffic(platform: Platform, postgres_server: PostgresServer) -> None:
    """The Jobs make the tables before a service starts; then every pod is replaced while all services are asked, one of
    them asking another, and every request is answered."""
    platform.helm("install", "--set", "image.tag=one")
    with psycopg.connect(f"host=127.0.0.1 port={postgres_server.port} user=monitor dbname=monitor") as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    before = {pod.name for pod in platform.pods.running(NAMESPACE) if pod.ready}
    assert len(before) == 6
    answer = platform.ask("registry", "PUT", "/v1/tenants/acme", {"name": "acme"})
    assert answer.status_code == 200, answer.text
    for service in ASKED:
        _until_good(platform, service)

    assert "Phase:          Succeeded" in platform.cluster.helm("test", "tenon", "-n", NAMESPACE)

    over = threading.Event()
    callers = [threading.Thread(target=platform.keep_asking, args=(service, over)) for service in ASKED]
    for caller in callers:
        caller.start()
    try:
        platform.helm("upgrade", "--set", "image.tag=two")
        platform.cluster.wait(
            "only new pods run",
            lambda: not before & {pod.name for pod in platform.pods.running(NAMESPACE)},
            seconds=60,
        )
        # Whoever was told to end has ended, and requests it still had are answered.
        time.sleep(3)
    finally:
        over.set()
        for caller in callers:
            caller.join()
    print(f"requests: {dict(platform.answers)}, failed: {len(platform.failures)}")
    assert not platform.failures
    assert min(platform.answers.values()) > 20
    assert {
        pod.pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in platform.pods.running(NAMESPACE)
    } == {"two"}


def _until_good(platform: Platform, service: str) -> None:
    """A key may take a moment to be known to a service that has just begun."""
    deadline = time.monotonic() + 120
    while (answer := platform.ask(service, *ASKED[service])).status_code != 200:
        assert time.monotonic() < deadline, f"{service}: {answer.status_code} {answer.text}"
        time.sleep(0.2)


def _secrets(postgresql: str, redis_address: str) -> dict[str, dict[str, str]]:
    command = [
        sys.executable,
        "deploy/helm/make_secrets.py",
        "--bundled",
        "--postgresql",
        postgresql,
        "--redis",
        redis_address,
    ]
    made = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    return {item["metadata"]["name"]: item["stringData"] for item in made["items"]}


def _make_databases(server: PostgresServer, passwords: dict[str, str]) -> None:
    """By the script that the bundled PostgreSQL runs when its volume is empty."""
    place = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "POSTGRES_USER": "tenon", "POSTGRES_DB": "postgres"}
    environment = {**os.environ, **passwords, **place}
    script: Path = CHARTS / "platform/files/10-databases.sh"
    subprocess.run(["bash", str(script)], env=environment, check=True, capture_output=True)
