"""Who may reach whom: the chart's network policies, evaluated as a cluster would, against a table."""

from __future__ import annotations

import pytest

from tests.support.charts import CHARTS, render
from tests.support.policies import Network, Pod

NAMESPACES = {
    "tenon": {"kubernetes.io/metadata.name": "tenon"},
    "gateway": {"kubernetes.io/metadata.name": "gateway"},
    "monitoring": {"kubernetes.io/metadata.name": "monitoring"},
    "keda": {"kubernetes.io/metadata.name": "keda"},
    "kube-system": {"kubernetes.io/metadata.name": "kube-system"},
    "acme": {"kubernetes.io/metadata.name": "acme", "tenon.io/tenants": "true"},
    "stranger": {"kubernetes.io/metadata.name": "stranger"},
}
PREDICTOR = {"app.kubernetes.io/part-of": "tenon", "app.kubernetes.io/component": "predictor"}
OUTSIDE = {
    "gateway": Pod("gateway", {"app": "envoy"}),
    "prometheus": Pod("monitoring", {"app": "prometheus"}),
    "keda": Pod("keda", {"app": "keda-operator"}),
    "names": Pod("kube-system", {"k8s-app": "kube-dns"}),
    "tenant's predictor": Pod("acme", PREDICTOR | {"app.kubernetes.io/instance": "acme"}),
    "tenant's other pod": Pod("acme", {"app": "shell"}),
    "neighbour": Pod("tenon", {"app": "something-else"}),
    "stranger": Pod("stranger", PREDICTOR),
    "stranger as registry": Pod(
        "stranger", {"app.kubernetes.io/name": "tenon-registry", "app.kubernetes.io/instance": "tenon"}
    ),
    "database": Pod(address="10.20.0.10"),
    "redis": Pod(address="10.20.0.11"),
    "objects": Pod(address="10.20.1.7"),
    "tenant's files": Pod(address="10.30.4.4"),
    "internet": Pod(address="203.0.113.9"),
}
PORTS = (53, 443, 4317, 5432, 6379, 7070, 8080, 8081)
HTTP, GRPC = 8080, 8081

CALLS = {
    ("ingest", "registry", GRPC),
    ("features", "registry", GRPC),
    ("features", "ingest", GRPC),
    ("trainer", "registry", GRPC),
    ("trainer", "ingest", GRPC),
    ("trainer", "features", GRPC),
    ("worker", "registry", GRPC),
    ("worker", "ingest", GRPC),
    ("worker", "features", GRPC),
    ("worker", "monitor", GRPC),
    ("monitor", "registry", GRPC),
    ("monitor", "ingest", GRPC),
    ("monitor", "features", GRPC),
    ("monitor", "trainer", GRPC),
    ("predictor", "registry", GRPC),
    ("predictor", "features", GRPC),
    ("tenant's predictor", "registry", GRPC),
    ("tenant's predictor", "features", GRPC),
}
DOORS = {"registry", "ingest", "features", "trainer", "monitor", "predictor"}
COMPONENTS = DOORS | {"worker"}
SEEN = {("prometheus", name, HTTP) for name in COMPONENTS} | {("gateway", name, HTTP) for name in DOORS}
SEEN |= {("gateway", "predictor", GRPC)}
USES_DATABASE = COMPONENTS - {"predictor"}
USES_REDIS = COMPONENTS - {"registry"}
USES_OBJECTS = {"registry", "ingest", "features", "worker", "monitor"}

BUNDLED = CALLS | SEEN
BUNDLED |= {(name, "postgresql", 5432) for name in USES_DATABASE}
BUNDLED |= {(name, "bundled redis", 6379) for name in USES_REDIS | {"tenant's predictor"}}
BUNDLED |= {(name, "bundled objects", 7070) for name in USES_OBJECTS}

PRODUCTION = CALLS | SEEN
PRODUCTION |= {(name, "database", 5432) for name in USES_DATABASE | {"migrate"}}
PRODUCTION |= {(name, "redis", 6379) for name in USES_REDIS}
PRODUCTION |= {(name, "objects", 443) for name in USES_OBJECTS}
PRODUCTION |= {(name, "prometheus", 4317) for name in COMPONENTS}
PRODUCTION |= {("ingest", "tenant's files", 443)}


@pytest.mark.parametrize(("values", "table"), [("bundled", BUNDLED), ("production", PRODUCTION)])
def test_who_may_reach_whom(values: str, table: set[tuple[str, str, int]]) -> None:
    """Every pair of pods, every port: what can be reached is the table, no more and no less. Names can be asked for by all."""
    found = render("platform", values=CHARTS / f"platform/ci/{values}-values.yaml", name="tenon", namespace="tenon")
    ours = {}
    for item in found.values():
        if item["kind"] in ("Deployment", "StatefulSet", "Job", "Pod"):
            labels = (item if item["kind"] == "Pod" else item["spec"]["template"])["metadata"]["labels"]
            name = labels["app.kubernetes.io/component"]
            ours[f"bundled {name}" if name in ("redis", "objects") else name] = Pod("tenon", labels)
    network = Network(found.values(), NAMESPACES, "tenon")
    pods = ours | OUTSIDE
    reached = {
        (asking, asked, port)
        for asking in pods
        for asked in pods
        for port in PORTS
        if asking != asked and (asking in ours or asked in ours) and network.lets(pods[asking], pods[asked], port)
    }
    table = table | {("test", name, HTTP) for name in DOORS}
    # DNS is on TCP as well; it is asked of nobody else.
    assert reached == table | {(name, "names", 53) for name in ours}
    assert all(network.lets(pod, OUTSIDE["names"], 53, "UDP") for pod in ours.values())


def test_without_known_addresses() -> None:
    """Where nobody says where a store is, its port is open to any address, and no other port is."""
    found = render("platform", name="tenon", namespace="tenon")
    labels = found["Deployment/tenon-ingest"]["spec"]["template"]["metadata"]["labels"]
    network = Network(found.values(), NAMESPACES, "tenon")
    internet = OUTSIDE["internet"]
    assert {port for port in PORTS if network.lets(Pod("tenon", labels), internet, port)} == {443, 5432, 6379}


def test_keda_reads_a_bundled_redis() -> None:
    """KEDA may ask the bundled Redis where it scales by the queue, and not otherwise."""
    for values, may in (("keda-bundled", True), ("prometheus-scaling", False)):
        found = render("platform", values=CHARTS / f"platform/ci/{values}-values.yaml", name="tenon", namespace="tenon")
        labels = found["StatefulSet/tenon-redis"]["spec"]["template"]["metadata"]["labels"]
        network = Network(found.values(), NAMESPACES, "tenon")
        assert network.lets(OUTSIDE["keda"], Pod("tenon", labels), 6379) is may


def test_off() -> None:
    """Without policies there are none."""
    found = render("platform", "--set", "networkPolicy.enabled=false")
    assert not [name for name in found if name.startswith("NetworkPolicy/")]
