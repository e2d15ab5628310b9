"""Real predictors with real bundles, and what they talk to, for tests whose pods are processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import start_http_server

from services.monitor.domain.canary.words import CanaryJudgement, CanaryVerdict, Trial
from services.monitor.domain.model import Role
from services.monitor.metrics import CanaryGauges
from tenon.core.tenancy import TenantId
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.flagger import start_flagger
from tests.cluster.harness.nodes import BROKEN
from tests.cluster.harness.prometheus import Prometheus
from tests.cluster.harness.real_pods import RealPod, RealPods
from tests.cluster.harness.releases import TenantRelease
from tests.cluster.harness.traffic import Traffic
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import (
    ADMIN_KEY,
    KEYS,
    PUBLIC_PEM,
    SERVICE_TOKEN,
    linear_bundle,
    visit_bundle,
    visit_request,
)

MODEL = "stay"
GOOD, BETTER, OTHER_SIGNATURE, SHIFTED = 1, 2, 3, 5
"""Versions of the model: two that answer alike, one that wants other columns, and one whose answers are far from theirs."""
JUDGED_WORSE, UNJUDGED = 6, 7
"""Two more that answer alike, on which monitor's verdict is another."""

VISITS = [
    visit_request(age=("FP64", [age]), count=("INT64", [count]), ward=("BYTES", [ward]))
    for age in (0.1, 61.5)
    for count in (0, 3)
    for ward in ("east", "north", "west")
]
"""What clients ask; not all is answered alike."""

VALUES: dict[str, Any] = {
    "tenant": "acme",
    "model": MODEL,
    "secrets": {"redis": ""},
    "gateway": {"routing": "host", "hosts": ["acme.example.org"]},
    # Processes cost more than pods of KWOK.
    "autoscaling": {"minReplicas": 1},
    "drain": {"endpointSeconds": 2, "requestSeconds": 5},
    "test": {"keySecret": "acme-key"},
}
"""What a release with real pods is told."""


class Verdicts:
    """What monitor would show: its own gauges, with verdicts that are set."""

    def __init__(self) -> None:
        self._gauges, self._server = CanaryGauges(), start_http_server(0, "127.0.0.1")

    @property
    def address(self) -> str:
        """Where Prometheus reads them."""
        return f"127.0.0.1:{self._server[0].server_port}"

    def say(self, verdicts: dict[int, CanaryVerdict]) -> None:
        """The verdicts on versions of the model that hold from now on."""
        self._gauges.show(
            CanaryJudgement(
                Trial(TenantId("acme"), MODEL, 0, GOOD, version, Role.CANARY, ()), verdict, 0, (), 100, 100, None, None, None, ""
            )
            for version, verdict in verdicts.items()
        )  # fmt: skip

    def stop(self) -> None:
        """Nothing is shown any more."""
        self._gauges.show([])
        self._server[0].shutdown()
        self._server[0].server_close()


@dataclass
class RealWorld:
    """What a test of real pods works with."""

    cluster: Cluster
    pods: RealPods
    prometheus: Prometheus
    registry: FakeRegistry
    verdicts: Verdicts

    def release(self, name: str, **values: Any) -> TenantRelease:
        """A release of the tenant's chart in a namespace `real-NAME` that has the Secrets it needs; not installed yet."""
        release = TenantRelease(self.cluster, name, VALUES | values, kind="real")
        self.cluster.create_namespace(release.namespace)
        texts = {
            "tenon-service-token": {"TENON_SERVICE_TOKEN": SERVICE_TOKEN},
            "tenon-verify-key": {"verify.pem": PUBLIC_PEM.decode()},
            "acme-key": {"TENON_API_KEY": KEYS["acme"]},
        }
        secrets = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}, "stringData": data}
            for secret, data in texts.items()
        ]
        self.cluster.apply(secrets, "-n", release.namespace)
        return release

    def log(self, release: TenantRelease, pod: str) -> str:
        """What a pod wrote, also when it is gone."""
        return (self.pods.folder / release.namespace / pod / "log").read_text()

    def traffic(self, namespace: str, route: str) -> Traffic:
        """A client of the tenant that asks until it is stopped."""
        return Traffic(
            self.cluster.plane,
            self.pods,
            namespace,
            route,
            f"/v2/models/{MODEL}/infer",
            VISITS,
            {"authorization": f"Bearer {KEYS['acme']}"},
        ).start()

    def phase(self, namespace: str, canary: str) -> str:
        """How far Flagger is."""
        return str(self.cluster.get("canary", canary, namespace).get("status", {}).get("phase", ""))

    def pinned(self, namespace: str, deployment: str) -> int:
        """The version that a Deployment is pinned to."""
        spec = self.cluster.get("deployment", deployment, namespace)["spec"]["template"]["spec"]
        values = {variable["name"]: variable.get("value", "") for variable in spec["containers"][0]["env"]}
        return int(json.loads(values["TENON_PREDICTOR_PINNED"])[0]["version"])


@contextmanager
def real_world(cluster: Cluster, folder: Path) -> Iterator[RealWorld]:
    """Prometheus reads the pods that run, under the names they have in the API; Flagger looks at the canaries."""
    prometheus = Prometheus(cluster.plane.processes, folder / "prometheus")
    registry = FakeRegistry()
    registry.add("acme", MODEL, GOOD, visit_bundle(model=MODEL, shift=0.1))
    registry.add("acme", MODEL, BETTER, visit_bundle(model=MODEL, shift=0.2))
    registry.add("acme", MODEL, OTHER_SIGNATURE, linear_bundle(model=MODEL))
    registry.add("acme", MODEL, SHIFTED, visit_bundle(model=MODEL, shift=3.0))
    for version in (JUDGED_WORSE, UNJUDGED):
        registry.add("acme", MODEL, version, visit_bundle(model=MODEL, shift=0.2))
    # Signed by somebody else.
    registry.add("acme", MODEL, BROKEN, visit_bundle(model=MODEL, key=Ed25519PrivateKey.generate()))

    def scrape(pods: list[RealPod]) -> None:
        prometheus.scrape(
            {pod.address(8080): {"namespace": pod.pod["metadata"]["namespace"], "pod": pod.name} for pod in pods}
        )

    verdicts = Verdicts()
    prometheus.beside = {verdicts.address: {}}
    prometheus.start()
    registry.start()
    environment = {
        "TENON_REGISTRY_GRPC": f"127.0.0.1:{registry.port}",
        # Nobody is there: the model has no history.
        "TENON_FEATURES_GRPC": "127.0.0.1:1",
        "TENON_REDIS_URL": "",
        "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
        "TENON_ADMIN_KEY": ADMIN_KEY,
    }
    pods = RealPods(cluster.plane, folder / "pods", environment, scrape).start()
    try:
        start_flagger(cluster, prometheus)
        yield RealWorld(cluster, pods, prometheus, registry, verdicts)
    finally:
        verdicts.stop()
        cluster.plane.processes.stop("flagger", "prometheus")
        pods.stop()
        registry.stop()
