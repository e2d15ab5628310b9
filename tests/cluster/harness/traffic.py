"""Requests to a tenant's predictors, spread as its HTTPRoute says at this moment."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.cluster.harness.control_plane import ControlPlane
from tests.cluster.harness.real_pods import RealPods


@dataclass
class Traffic:
    """A client that asks all the time, each time one of some bodies, and what it was answered: by status, and by the version that answered."""

    plane: ControlPlane
    pods: RealPods
    namespace: str
    route: str
    path: str
    bodies: Sequence[dict[str, Any]]
    headers: dict[str, str]
    per_second: float = 40.0
    statuses: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Nothing is asked until `start`."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"traffic-{self.namespace}", daemon=True)
        self._backends: list[tuple[list[str], float]] = []

    def start(self) -> Traffic:
        """Begin to ask."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ask no more."""
        self._ending.set()
        self._thread.join(timeout=180)

    def _loop(self) -> None:
        api, looked = self.plane.client(), 0.0
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not self._ending.wait(1 / self.per_second):
                if time.monotonic() > looked + 0.3:
                    looked = time.monotonic()
                    self._backends = self._look(api)
                addresses, weights = zip(*self._backends, strict=True) if self._backends else ((), ())
                if not sum(weights):
                    self.statuses["no backend"] += 1
                    continue
                (chosen,) = random.choices(addresses, weights)
                self._ask(client, chosen)

    def _look(self, api: httpx.Client) -> list[tuple[list[str], float]]:
        """Where requests by HTTP go, with their weights."""
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{self.namespace}/httproutes/{self.route}"
        answer = api.get(path)
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        # The rule without conditions on headers: neither gRPC's nor a tester's.
        rule = next(
            rule
            for rule in answer.json()["spec"]["rules"]
            if any(not match.get("headers") for match in rule.get("matches", [{}]))
        )
        found = []
        for backend in rule["backendRefs"]:
            port, name = backend["port"], backend["name"]
            service = api.get(f"/api/v1/namespaces/{self.namespace}/services/{name}").json()["spec"]
            target = next(entry["targetPort"] for entry in service["ports"] if entry["port"] == port)
            pods = self.pods.behind(self.namespace, name)
            addresses = [pod.address(_number(pod.pod, target)) for pod in pods]
            found.append((addresses, float(backend.get("weight", 1))))
        return found

    def _ask(self, client: httpx.Client, addresses: list[str]) -> None:
        if not addresses:
            self.statuses["no ready pod"] += 1
            return
        try:
            url = f"http://{random.choice(addresses)}{self.path}"
            answer = client.post(url, json=random.choice(self.bodies), headers=self.headers)
        except httpx.HTTPError as err:
            self.statuses[type(err).__name__] += 1
            return
        self.statuses[str(answer.status_code)] += 1
        if answer.status_code == 200:
            self.versions[answer.json().get("model_version") or answer.json()["parameters"]["version"]] += 1


def _number(pod: dict[str, Any], port: int | str) -> int:
    """The number of a container's port, which may be given by name."""
    if isinstance(port, int):
        return port
    ports = pod["spec"]["containers"][0]["ports"]
    return next(entry["containerPort"] for entry in ports if entry.get("name") == port)
