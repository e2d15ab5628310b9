"""Pods that are real processes, for namespaces whose name begins with `real-`.

What a kubelet does, as far as a predictor can tell the difference: its environment is made from the pod's own (values,
secrets, fields), its volumes are folders, its readiness is what its readiness probe answers, and a pod that is deleted
gets SIGTERM and time to drain. There is no container and no network of its own, so it listens on a free port of
loopback, which `addresses` knows, and not on the address that the API shows.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.cluster.harness.control_plane import ControlPlane
from tests.cluster.harness.nodes import REAL, REAL_PLATFORM
from tests.cluster.harness.processes import with_us
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class RealPod:
    """A pod and the process that is it."""

    pod: dict[str, Any]
    process: subprocess.Popen[bytes]
    ports: dict[int, int]
    folder: Path
    ready: bool = False
    ending: float = 0.0
    told: bool = False
    ended: bool = False
    failed: int = 0

    @property
    def name(self) -> str:
        """Its name in the API."""
        return str(self.pod["metadata"]["name"])

    def address(self, port: int) -> str:
        """Where a port of the container is really listened on."""
        return f"127.0.0.1:{self.ports[port]}"


class RealPods:
    """Runs what the scheduler has placed. `environment` wins over what a pod says: where our fakes listen, for example."""

    def __init__(
        self,
        plane: ControlPlane,
        folder: Path,
        environment: Mapping[str, str],
        changed: Callable[[list[RealPod]], None] = lambda pods: None,
    ) -> None:
        self._client = plane.client()
        # One client for all: making one takes longer than the question. A probe has a connection of its own.
        self._probes = httpx.Client(timeout=3, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
        self.folder = folder
        self._environment = dict(environment)
        self._changed = changed
        self._pods: dict[str, RealPod] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="real-pods", daemon=True)
        self.problems: list[str] = []

    def start(self) -> RealPods:
        """Begin to look."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End all processes."""
        self._ending.set()
        self._thread.join(timeout=180)
        for pod in self._pods.values():
            pod.process.terminate()
        for pod in self._pods.values():
            try:
                pod.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                pod.process.kill()

    def running(self, namespace: str) -> list[RealPod]:
        """The pods of a namespace that are not on their way out."""
        return [
            pod for pod in list(self._pods.values()) if pod.pod["metadata"]["namespace"] == namespace and not pod.ending
        ]

    def behind(self, namespace: str, service: str) -> list[RealPod]:
        """The ready pods that a service selects."""
        spec = self._get(f"/api/v1/namespaces/{namespace}/services/{service}")["spec"]
        wanted = spec["selector"].items()
        return [pod for pod in self.running(namespace) if pod.ready and wanted <= pod.pod["metadata"]["labels"].items()]

    def _is_mine(self, namespace: str) -> bool:
        """Whether pods of a namespace are run by this object."""
        return namespace.startswith(REAL) and not namespace.startswith(REAL_PLATFORM)

    def _program(self, container: dict[str, Any]) -> list[str]:
        """What runs where a container names no command: its image's entry point."""
        return ["python", "-m", "services.predictor"]

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._client.get(path)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _loop(self) -> None:
        while not self._ending.wait(0.2):
            try:
                self._look()
            except (httpx.HTTPError, OSError, KeyError) as err:
                self.problems.append(f"{type(err).__name__}: {err}")

    def _look(self) -> None:
        listed = {
            pod["metadata"]["uid"]: pod
            for pod in self._get("/api/v1/pods")["items"]
            if self._is_mine(pod["metadata"]["namespace"]) and pod["spec"].get("nodeName")
        }
        before = {uid: pod.ready and not pod.ending for uid, pod in self._pods.items()}
        for uid, pod in listed.items():
            if uid in self._pods:
                self._pods[uid].pod = pod
            elif pod["metadata"].get("deletionTimestamp"):
                self._forget(pod)
            elif pod["status"].get("phase") == "Pending":
                self._pods[uid] = self._run(pod)
        for uid, running in list(self._pods.items()):
            if uid not in listed or running.pod["metadata"].get("deletionTimestamp"):
                self._drain(uid, running, gone=uid not in listed)
            else:
                self._probe(running)
        if before != {uid: pod.ready and not pod.ending for uid, pod in self._pods.items()}:
            self._changed([pod for pod in self._pods.values() if not pod.ending])

    def _run(self, pod: dict[str, Any]) -> RealPod:
        folder = self.folder / pod["metadata"]["namespace"] / pod["metadata"]["name"]
        container = pod["spec"]["containers"][0]
        places = self._volumes(pod, container, folder)
        values = self._values(pod, container)
        if places:
            paths = re.compile("|".join(re.escape(path) for path in sorted(places, reverse=True)))
            values = {name: paths.sub(lambda at: str(places[at[0]]), value) for name, value in values.items()}
        values = {
            name: re.sub(r"http://([a-z0-9-]+):(\d+)", lambda at: self._service(pod, at), value)
            for name, value in values.items()
        }
        ports = {port["containerPort"]: free_port() for port in container.get("ports", ())}
        http, grpc_port = (
            int(values.get(f"TENON_{door}_PORT", usual)) for door, usual in (("HTTP", 8080), ("GRPC", 8081))
        )
        values |= {
            "TENON_HTTP_HOST": "127.0.0.1",
            "TENON_GRPC_HOST": "127.0.0.1",
            "TENON_HTTP_PORT": str(ports.setdefault(http, free_port())),
            "TENON_GRPC_PORT": str(ports.setdefault(grpc_port, free_port())),
            **self._environment,
        }
        if "TENON_WORKER_METRICS_PORT" in values:
            values["TENON_WORKER_METRICS_PORT"] = str(ports[int(values["TENON_WORKER_METRICS_PORT"])])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
        # The image's entry point, unless the pod has a command of its own.
        command = [*(container.get("command") or self._program(container)), *container.get("args", ())]
        if command[0] == "python":
            command[0] = sys.executable
        with (folder / "log").open("ab") as out:
            process = subprocess.Popen(with_us(command), env={**inherited, **values}, cwd=ROOT, stdout=out, stderr=out)
        running = RealPod(pod, process, ports, folder)
        self._tell(running)
        return running

    def _service(self, pod: dict[str, Any], at: re.Match[str]) -> str:
        """The address of a pod that is ready behind a service of the namespace: what names and proxies do in a cluster."""
        namespace, port = pod["metadata"]["namespace"], int(at[2])
        if self._client.get(f"/api/v1/namespaces/{namespace}/services/{at[1]}").status_code == 404:
            return at[0]
        return next((f"http://{one.address(port)}" for one in self.behind(namespace, at[1])), at[0])

    def _values(self, pod: dict[str, Any], container: dict[str, Any]) -> dict[str, str]:
        namespace, values = pod["metadata"]["namespace"], dict[str, str]()
        for source in container.get("envFrom", ()):
            (kind, ref), *_ = ((key, value) for key, value in source.items() if key.endswith("Ref"))
            values |= self._data(namespace, kind.removesuffix("Ref"), ref["name"])
        for variable in container.get("env", ()):
            given = variable.get("valueFrom", {})
            if "fieldRef" in given:
                found: Any = pod
                for part in given["fieldRef"]["fieldPath"].split("."):
                    found = found.get(part, "")
                values[variable["name"]] = str(found)
            elif ref := given.get("secretKeyRef") or given.get("configMapKeyRef"):
                kind = "secret" if "secretKeyRef" in given else "configMap"
                data = self._data(namespace, kind, ref["name"], optional=ref.get("optional", False))
                if ref["key"] in data:
                    values[variable["name"]] = data[ref["key"]]
            else:
                values[variable["name"]] = variable.get("value", "")
        return values

    def _data(self, namespace: str, kind: str, name: str, *, optional: bool = False) -> dict[str, str]:
        answer = self._client.get(f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}")
        if answer.status_code == 404 and optional:
            return {}
        answer.raise_for_status()
        data = answer.json().get("data") or {}
        if kind == "secret":
            return {key: base64.b64decode(value).decode() for key, value in data.items()}
        return dict(data)

    def _volumes(self, pod: dict[str, Any], container: dict[str, Any], folder: Path) -> dict[str, Path]:
        """The folder of each place where something is mounted."""
        folder.mkdir(parents=True, exist_ok=True)
        volumes, places = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}, {}
        for mount in container.get("volumeMounts", ()):
            volume = volumes[mount["name"]]
            place = folder / "volumes" / mount["name"]
            place.mkdir(parents=True, exist_ok=True)
            for kind, key in (("secret", "secretName"), ("configMap", "name")):
                if kind in volume:
                    data = self._data(
                        pod["metadata"]["namespace"],
                        kind,
                        volume[kind][key],
                        optional=volume[kind].get("optional", False),
                    )
                    for name, text in data.items():
                        (place / name).write_text(text)
            if "projected" not in volume:
                places[mount["mountPath"]] = place
        return places

    def _probe(self, running: RealPod) -> None:
        if running.process.poll() is not None and running.pod["spec"].get("restartPolicy") == "Never":
            if not running.ended:
                running.ended = True
                self._tell(running)
            return
        alive = running.process.poll() is None
        ready = alive and self._answers(running)
        running.failed = 0 if ready else running.failed + 1
        # One slow answer of a busy machine takes nobody out, as it would not with a kubelet.
        threshold = running.pod["spec"]["containers"][0].get("readinessProbe", {}).get("failureThreshold", 3)
        if alive and running.ready and not ready and running.failed < threshold:
            return
        if ready != running.ready:
            running.ready = ready
            self._tell(running)

    def _answers(self, running: RealPod) -> bool:
        container = running.pod["spec"]["containers"][0]
        probe = container.get("readinessProbe", {})
        named = {port.get("name", ""): port["containerPort"] for port in container.get("ports", ())}
        if "httpGet" in probe:
            port = probe["httpGet"]["port"]
            url = f"http://{running.address(named.get(port, port))}{probe['httpGet']['path']}"
            try:
                return self._probes.get(url).status_code == 200
            except httpx.HTTPError:
                return False
        if "grpc" in probe:
            with grpc.insecure_channel(running.address(probe["grpc"]["port"])) as channel:
                asked = health_pb2.HealthCheckRequest(service=probe["grpc"].get("service", ""))
                try:
                    answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=3)
                except grpc.RpcError:
                    return False
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        return True

    def _drain(self, uid: str, running: RealPod, *, gone: bool) -> None:
        if not running.ending:
            running.ending = time.monotonic()
        if not running.told and time.monotonic() >= running.ending + _pre_stop(running.pod):
            running.told = True
            running.process.terminate()
        grace = running.pod["metadata"].get("deletionGracePeriodSeconds") or 30
        if running.process.poll() is None:
            if time.monotonic() < running.ending + grace:
                return
            running.process.kill()
            self.problems.append(f"{running.name} did not end within {grace} s of SIGTERM")
        del self._pods[uid]
        if not gone:
            self._forget(running.pod)

    def _forget(self, pod: dict[str, Any]) -> None:
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        self._client.request("DELETE", path, json={"gracePeriodSeconds": 0})

    def _tell(self, running: RealPod) -> None:
        """Say in the API how the pod is."""
        metadata, now = running.pod["metadata"], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        phase = "Running"
        doing: dict[str, dict[str, Any]] = {"running": {"startedAt": now}}
        if running.ended:
            code = running.process.returncode
            phase = "Failed" if code else "Succeeded"
            doing = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": now}}
        state = {"Initialized": True, "PodScheduled": True, "ContainersReady": running.ready, "Ready": running.ready}
        status = {
            "phase": phase,
            "startTime": running.pod["status"].get("startTime", now),
            "conditions": [
                {"type": kind, "status": str(true), "lastTransitionTime": now} for kind, true in state.items()
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": running.ready,
                    "restartCount": 0,
                    "state": doing,
                }
                for container in running.pod["spec"]["containers"]
            ],
        }
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        headers = {"content-type": "application/merge-patch+json"}
        answer = self._client.patch(path, json={"status": status}, headers=headers)
        if answer.status_code != 404:
            answer.raise_for_status()


def _pre_stop(pod: dict[str, Any]) -> float:
    """How long a pod wants to go on before it is told to end, while others learn that it will be gone."""
    hook = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {})
    if "sleep" in hook:
        return float(hook["sleep"]["seconds"])
    command = hook.get("exec", {}).get("command", [])
    return float(command[-1].split()[-1]) if command and "sleep" in " ".join(command) else 0.0
