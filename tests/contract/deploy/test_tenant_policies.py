"""Who may reach whom where tenants have predictors of their own: both charts' policies together, against a table."""

from __future__ import annotations

from tests.support.charts import CHARTS, Document, render
from tests.support.policies import Network, Pod

NAMESPACES = {
    "tenon": {"kubernetes.io/metadata.name": "tenon"},
    "gateway": {"kubernetes.io/metadata.name": "gateway"},
    "monitoring": {"kubernetes.io/metadata.name": "monitoring"},
    "kube-system": {"kubernetes.io/metadata.name": "kube-system"},
    "clinics": {"kubernetes.io/metadata.name": "clinics", "tenon.io/tenants": "true"},
    "stranger": {"kubernetes.io/metadata.name": "stranger"},
}
OTHERS = {
    "gateway": Pod("gateway", {"app": "envoy"}),
    "prometheus": Pod("monitoring", {"app": "prometheus"}),
    "names": Pod("kube-system", {"k8s-app": "kube-dns"}),
    "neighbour": Pod("clinics", {"app": "shell"}),
    "stranger": Pod("stranger", {"app": "shell"}),
    "internet": Pod(address="203.0.113.9"),
}
HTTP, GRPC, REDIS, OTLP = 8080, 8081, 6379, 4317
PORTS = (53, 443, OTLP, REDIS, HTTP, GRPC)


def tenant(name: str, strategy: str) -> dict[str, Document]:
    """A tenant's release in the namespace `clinics`, which tenants share."""
    values = {
        "tenant": name,
        "model": "stay",
        "stable": {"version": 6},
        "rollout": {"strategy": strategy},
        "platform": {"otlp": "collector.monitoring:4317"},
    }
    return render("tenant", values=values, name=name, namespace="clinics")


def test_who_may_reach_whom() -> None:
    """A tenant's pods are asked by the gateway, Prometheus and their own test, and ask the platform, the collector and for names:
    no more and no less. Of two tenants in one namespace neither reaches the other; under Flagger it is the same."""
    platform = render("platform", values=CHARTS / "platform/ci/bundled-values.yaml", name="tenon", namespace="tenon")
    acme, birch = tenant("acme", "manual"), tenant("birch", "flagger")
    policies = [
        item | {"metadata": item["metadata"] | {"namespace": space}}
        for space, found in (("tenon", platform), ("clinics", acme), ("clinics", birch))
        for item in found.values()
        if item["kind"] == "NetworkPolicy"
    ]

    def pod(found: dict[str, Document], name: str, space: str = "clinics") -> Pod:
        item = found[name]
        return Pod(space, (item if item["kind"] == "Pod" else item["spec"]["template"])["metadata"]["labels"])

    flagged = pod(birch, "Deployment/birch")
    tracks = {
        "acme stable": pod(acme, "Deployment/acme-stable"),
        "acme canary": pod(acme, "Deployment/acme-canary"),
        # What Flagger makes of it: the same labels but one.
        "birch primary": Pod("clinics", {**flagged.labels, "app": "birch-primary"}),
        "birch canary": flagged,
    }
    tests = {"acme test": pod(acme, "Pod/acme-test"), "birch test": pod(birch, "Pod/birch-test")}
    asked = {
        "registry": pod(platform, "Deployment/tenon-registry", "tenon"),
        "features": pod(platform, "Deployment/tenon-features", "tenon"),
        "trainer": pod(platform, "Deployment/tenon-trainer", "tenon"),
        "redis": pod(platform, "StatefulSet/tenon-redis", "tenon"),
        "postgresql": pod(platform, "StatefulSet/tenon-postgresql", "tenon"),
    }
    network = Network(policies, NAMESPACES, "clinics")
    everybody = tracks | tests | asked | OTHERS
    reached = {
        (one, other, port)
        for one in everybody
        for other in everybody
        for port in PORTS
        if one != other and (one in tracks or other in tracks) and network.lets(everybody[one], everybody[other], port)
    }
    table = {
        *((track, other, GRPC) for track in tracks for other in ("registry", "features")),
        *((track, "redis", REDIS) for track in tracks),
        *((track, "prometheus", OTLP) for track in tracks),
        *((track, "names", 53) for track in tracks),
        *(("gateway", track, port) for track in tracks for port in (HTTP, GRPC)),
        *(("prometheus", track, HTTP) for track in tracks),
        *((f"{name} test", track, port) for name in ("acme", "birch") for track in tracks for port in (HTTP, GRPC)
          if track.startswith(name)),
    }  # fmt: skip
    assert reached == table
