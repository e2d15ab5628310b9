"""Which tools there are, at which versions, and what each is built from. The versions of Go modules stand in go.mod."""

from __future__ import annotations

from dataclasses import dataclass

KUBERNETES = "v1.36.3"


@dataclass(frozen=True)
class Group:
    """Tools built together: the folder beside this file with their go.mod, and what the linker writes into them."""

    name: str
    ldflags: str = ""


@dataclass(frozen=True)
class Tool:
    """One command. `suits` is what the answer of `ask` begins or goes on with where one on the PATH will do as well."""

    name: str
    group: Group | None = None
    package: str = ""
    ask: tuple[str, ...] = ("--version",)
    suits: str = ""
    debian: str = ""


@dataclass(frozen=True)
class Manifests:
    """Files of a Go module that nothing is compiled from: custom resource definitions."""

    module: str
    version: str
    sum: str
    files: tuple[str, ...]


_CLUSTER = Group(
    "kubernetes",
    f"-X k8s.io/component-base/version.gitVersion={KUBERNETES}"
    f" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
    f" -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}"
    " -X helm.sh/helm/v4/internal/version.version=v4.2.4",
)
_FLAGGER = Group("flagger")

# In the order in which they are built: rendering charts, which most tests want, needs no more than the first.
TOOLS = {
    tool.name: tool
    for tool in (
        Tool("helm", _CLUSTER, "helm.sh/helm/v4/cmd/helm", ("version", "--template={{.Version}}"), r"v4\.\d"),
        Tool(
            "kubectl",
            _CLUSTER,
            "k8s.io/kubernetes/cmd/kubectl",
            ("version", "--client"),
            r"Client Version: v1\.3[567]\.\d+\s",
        ),
        Tool("kwok", _CLUSTER, "sigs.k8s.io/kwok/cmd/kwok", suits=r"kwok version v0\.8\."),
        Tool("etcd", _CLUSTER, "go.etcd.io/etcd/server/v3", suits=r"etcd Version: 3\.(5\.[2-9]\d|[6-9]\.)"),
        Tool("kube-apiserver", _CLUSTER, "k8s.io/kubernetes/cmd/kube-apiserver", suits=r"Kubernetes v1\.36\."),
        Tool(
            "kube-controller-manager",
            _CLUSTER,
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            suits=r"Kubernetes v1\.36\.",
        ),
        Tool("kube-scheduler", _CLUSTER, "k8s.io/kubernetes/cmd/kube-scheduler", suits=r"Kubernetes v1\.36\."),
        Tool("flagger", _FLAGGER, "github.com/fluxcd/flagger/cmd/flagger", ("-version",), r"Flagger version: 1\.4\d"),
        Tool("prometheus", suits=r"prometheus, version [23]\.", debian="prometheus"),
    )
}

MANIFESTS = {
    "gateway-api": Manifests(
        "sigs.k8s.io/gateway-api",
        "v1.6.3",
        "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
        ("config/crd/standard/*.yaml",),
    ),
    "flagger": Manifests(
        "github.com/fluxcd/flagger",
        "v1.43.0",
        "h1:41XqjglD4oSOjheG0dyzRVHAhbHyJnuJpUi1y2etXik=",
        ("artifacts/flagger/crd.yaml", "artifacts/flagger/account.yaml"),
    ),
    "keda": Manifests(
        "github.com/kedacore/keda/v2",
        "v2.21.0",
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        ("config/crd/bases/keda.sh_*.yaml",),
    ),
    "prometheus-operator": Manifests(
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        tuple(
            f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
            for kind in ("podmonitors", "prometheusrules", "servicemonitors")
        ),
    ),
    "kwok": Manifests(
        "sigs.k8s.io/kwok",
        "v0.8.0",
        "h1:OTIOTwgROqPMovcTwxICx2eYQ4AwLpSx5EpjbDKF4SQ=",
        ("kustomize/stage/pod/fast/pod-*.yaml", "kustomize/stage/node/fast/node-*.yaml"),
    ),
}
