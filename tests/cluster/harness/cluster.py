"""The cluster as its users meet it: `kubectl`, `helm`, and what can be read from them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.harness.control_plane import ControlPlane
from tests.cluster.tools import manifests, tool

ROOT = Path(__file__).resolve().parents[3]
CHARTS = Path(os.environ.get("TENON_CHARTS", ROOT / "deploy/helm"))
# What a release of ours may be made of; asked for in one go to see what a change of one tenant does to the others.
KINDS = (
    "deployments,services,configmaps,secrets,serviceaccounts,roles,rolebindings,horizontalpodautoscalers,"
    "poddisruptionbudgets,networkpolicies,resourcequotas,limitranges,jobs,httproutes,canaries.flagger.app,"
    "metrictemplates.flagger.app,scaledobjects.keda.sh,servicemonitors,prometheusrules,persistentvolumeclaims,statefulsets"
)


class CommandFailed(AssertionError):
    """A command ended with an error; what it wrote is the text."""


class Cluster:
    """A running control plane with the definitions that our charts use, and the commands of people."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self._kubectl, self._helm = tool("kubectl"), tool("helm")
        self.home = plane.folder / "home"
        self.home.mkdir(exist_ok=True)
        # Nothing of whoever runs the tests is read or written.
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))},
            "HOME": str(self.home),
            "KUBECONFIG": str(plane.admin),
            "KUBECACHEDIR": str(self.home / "kube"),
            "HELM_CACHE_HOME": str(self.home / "helm/cache"),
            "HELM_CONFIG_HOME": str(self.home / "helm/config"),
            "HELM_DATA_HOME": str(self.home / "helm/data"),
        }

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What kubectl answers; `text` is its standard input. Raises `CommandFailed`."""
        return self._run([self._kubectl, *arguments], text)

    def helm(self, *arguments: str, seconds: float = 400) -> str:
        """The same of helm."""
        return self._run([self._helm, *arguments], "", seconds)

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """An object. Raises `CommandFailed`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def objects(self, kind: str, namespace: str, selector: str = "") -> dict[str, dict[str, Any]]:
        """The objects of one kind or of several (by commas), by name, or by kind and name."""
        answer = self.kubectl("get", kind, "-n", namespace, "-o", "json", *(["-l", selector] if selector else []))
        items = json.loads(answer)["items"]
        if "," in kind:
            return {f"{item['kind']}/{item['metadata']['name']}": item for item in items}
        return {item["metadata"]["name"]: item for item in items}

    def state(self, namespace: str) -> dict[str, str]:
        """What a namespace is made of: each object with its generation, which only a change of what is wanted raises, and
        the sum of everything but its status and its bookkeeping.
        """
        found = {}
        for name, item in self.objects(KINDS, namespace).items():
            metadata = {
                key: value
                for key, value in item["metadata"].items()
                if key not in ("resourceVersion", "managedFields", "generation")
            }
            # Noted on a Deployment by its controller, whenever a pod comes or goes.
            content = {key: value for key, value in item.items() if key not in ("status", "metadata")}
            digest = hashlib.sha256(json.dumps([metadata, content], sort_keys=True).encode()).hexdigest()[:16]
            found[name] = f"{item['metadata']['uid']} {item['metadata'].get('generation', 0)} {digest}"
        return found

    def apply(self, documents: list[dict[str, Any]] | str, *arguments: str) -> str:
        """`kubectl apply` of some documents, by the server."""
        text = documents if isinstance(documents, str) else yaml.safe_dump_all(documents)
        return self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", *arguments, text=text)

    def create_namespace(self, name: str, **labels: str) -> None:
        """A namespace whose pods must be restricted ones, as ours are meant to be."""
        levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": levels | labels}}])

    def install_definitions(self) -> None:
        """The custom resources that our charts know."""
        files = [path for name in ("gateway-api", "flagger", "keda", "prometheus-operator") for path in manifests(name)]
        wanted = [path for path in files if path.name != "account.yaml"]
        self.kubectl("apply", "--server-side", *(argument for path in wanted for argument in ("-f", str(path))))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=180s")

    def offer_volumes(self, count: int = 40) -> None:
        """Volumes for claims to be bound to: there is nobody who would make them."""
        storage = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "tests", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        volumes = [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"volume-{number}"},
                "spec": {
                    "capacity": {"storage": "1Ti"},
                    "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
                    "storageClassName": "tests",
                    "hostPath": {"path": f"/nowhere/{number}"},
                },
            }
            for number in range(count)
        ]
        self.apply([storage, *volumes])

    def wait(self, what: str, true: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something is true, or fail with the events of the cluster."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                events = self.kubectl("get", "events", "-A", "--sort-by=.metadata.creationTimestamp")
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{events[-4000:]}")
            time.sleep(0.2)

    def _run(self, command: list[str], text: str, seconds: float = 400) -> str:
        answer = subprocess.run(
            command,
            input=text,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if answer.returncode:
            shown = " ".join([Path(command[0]).name, *command[1:]])
            raise CommandFailed(f"{shown}\nended with {answer.returncode}:\n{answer.stdout}{answer.stderr}")
        return answer.stdout
