"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and KWOK,
which says of nodes and pods what kubelets would say.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import yaml

from tests.cluster.harness.certificates import Certificates
from tests.cluster.harness.nodes import NODES, stages
from tests.cluster.harness.processes import Processes
from tests.cluster.tools import tool
from tests.support.ports import free_port


class ControlPlane:
    """Started by `start`, in about ten seconds; what its programs write lies in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = Processes(folder / "logs")
        self.certificates = Certificates(folder / "certificates")
        self.server = f"https://127.0.0.1:{free_port()}"
        self.admin = self.certificates.kubeconfig(self.server, "admin", "system:masters")
        # Asked before anything is started, so that a missing tool skips without leaving something behind.
        self.tools = {
            name: tool(name)
            for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl")
        }

    def start(self) -> None:
        """Return when the API answers and the nodes are ready to take pods."""
        try:
            etcd = self._start_etcd()
            self._start_api_server(etcd)
            self._start_controllers()
            self._start_nodes()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything."""
        self.processes.stop()

    def answers(self, path: str) -> bool:
        """Whether the API server answers a path with 200."""
        try:
            return self.client().get(path).status_code == 200
        except httpx.HTTPError:
            return False

    def client(self) -> httpx.Client:
        """The API over HTTP, as the administrator."""
        context = ssl.create_default_context(cafile=str(self.certificates.authority))
        place = self.certificates.folder / "admin"
        context.load_cert_chain(place.with_suffix(".crt"), place.with_suffix(".key"))
        return httpx.Client(base_url=self.server, verify=context, timeout=60, trust_env=False)

    def _start_etcd(self) -> str:
        url, peers = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self.processes.start(
            "etcd",
            [
                self.tools["etcd"],
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={url}",
                f"--advertise-client-urls={url}",
                f"--listen-peer-urls={peers}",
                f"--initial-advertise-peer-urls={peers}",
                f"--initial-cluster=default={peers}",
                "--unsafe-no-fsync",
            ],
        )
        return url

    def _start_api_server(self, etcd: str) -> None:
        certificate, key = self.certificates.issue("kube-apiserver")
        public, private = self.certificates.key_pair("service-accounts")
        self.processes.start(
            "kube-apiserver",
            [
                self.tools["kube-apiserver"],
                f"--etcd-servers={etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.server.rpartition(':')[2]}",
                f"--tls-cert-file={certificate}",
                f"--tls-private-key-file={key}",
                f"--client-ca-file={self.certificates.authority}",
                "--authorization-mode=Node,RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={public}",
                f"--service-account-signing-key-file={private}",
                "--service-cluster-ip-range=10.96.0.0/16",
                # Nobody reaches the API by its cluster address here, and loopback may not be an endpoint.
                "--endpoint-reconciler-type=none",
                "--profiling=false",
            ],
        )
        self.processes.wait("kube-apiserver", lambda: self.answers("/readyz"), 180)

    def _start_controllers(self) -> None:
        common = ["--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false"]
        for name, user, more in (
            (
                "kube-controller-manager",
                "system:kube-controller-manager",
                [
                    f"--service-account-private-key-file={self.certificates.folder / 'service-accounts.key'}",
                    f"--root-ca-file={self.certificates.authority}",
                    "--use-service-account-credentials",
                    # A busy machine must not make the nodes look dead.
                    "--node-monitor-grace-period=10m",
                    "--horizontal-pod-autoscaler-sync-period=5s",
                ],
            ),
            ("kube-scheduler", "system:kube-scheduler", []),
        ):
            config = self.certificates.kubeconfig(self.server, user)
            login = [f"--{flag}kubeconfig={config}" for flag in ("", "authentication-", "authorization-")]
            port = free_port()
            self.processes.start(name, [self.tools[name], *login, f"--secure-port={port}", *common, *more])

    def _start_nodes(self) -> None:
        config = self.folder / "kwok.yaml"
        config.write_text(yaml.safe_dump_all(stages()))
        self.processes.start(
            "kwok",
            [
                self.tools["kwok"],
                f"--kubeconfig={self.certificates.kubeconfig(self.server, 'kwok', 'system:masters')}",
                f"--config={config}",
                "--manage-all-nodes=true",
                "--node-ip=10.0.0.1",
                "--cidr=10.0.0.0/16",
                "--node-lease-duration-seconds=200",
            ],
        )
        client = self.client()
        for node in NODES:
            client.post("/api/v1/nodes", json=node).raise_for_status()
        self.processes.wait("kwok", self._nodes_ready, 180)
        # Pods need the account that the controller manager makes.
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        self.processes.wait("kube-controller-manager", lambda: self.answers(path), 180)

    def _nodes_ready(self) -> bool:
        nodes = self.client().get("/api/v1/nodes").json()["items"]
        return all(
            not node["spec"].get("taints")
            and any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in node["status"].get("conditions", ())
            )
            for node in nodes
        )
