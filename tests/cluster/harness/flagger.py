"""Flagger's controller as a process, with the rights of its own service account and no more."""

from __future__ import annotations

import yaml

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.prometheus import Prometheus
from tests.cluster.tools import manifests, tool
from tests.support.ports import free_port

_NAMESPACE = "flagger-system"


def start_flagger(cluster: Cluster, prometheus: Prometheus) -> None:
    """Start it, as it is started on clusters that have the Gateway API; it looks at canaries every second."""
    command = tool("flagger")
    cluster.create_namespace(_NAMESPACE)
    (account,) = (path for path in manifests("flagger") if path.name == "account.yaml")
    documents = list(yaml.safe_load_all(account.read_text()))
    for document in documents:
        for one in (document["metadata"], *document.get("subjects", ())):
            if "namespace" in one:
                one["namespace"] = _NAMESPACE
    cluster.apply(documents)
    token = cluster.kubectl("create", "token", "flagger", "-n", _NAMESPACE, "--duration=2h").strip()
    plane = cluster.plane
    config = plane.certificates.kubeconfig(plane.server, "flagger", token=token)
    plane.processes.start(
        "flagger",
        [
            command,
            f"-kubeconfig={config}",
            "-mesh-provider=gatewayapi:v1",
            f"-metrics-server={prometheus.url}",
            "-control-loop-interval=1s",
            "-log-level=debug",
            f"-port={free_port()}",
        ],
    )
    plane.processes.wait("flagger", lambda: "Started operator workers" in plane.processes.tail("flagger"), 180)
