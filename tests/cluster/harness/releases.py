"""A tenant's predictor as a Helm release: what people do to it, and what is to be seen of it afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.cluster.harness.cluster import CHARTS, Cluster

TRACKS = ("stable", "canary")


@dataclass
class TenantRelease:
    """One release of the chart `tenant`, in a namespace of its own, `tenant-NAME` or `real-NAME`."""

    cluster: Cluster
    name: str
    values: dict[str, Any]
    kind: str = "tenant"

    @property
    def namespace(self) -> str:
        """Named after the tenant."""
        return f"{self.kind}-{self.name}"

    def install(self, version: int, *, wait: bool = True) -> None:
        """The first revision; returns when its pods are ready, unless somebody else (Flagger) has still to make them."""
        self._helm("install", "--set", f"stable.version={version}", *(["--wait"] if wait else []))

    def set(self, *values: str) -> None:
        """`helm upgrade` with some values, without waiting for anything."""
        self._helm(
            "upgrade", "--reset-then-reuse-values", *(argument for value in values for argument in ("--set", value))
        )

    def upgrade(self, *arguments: str) -> None:
        """`helm upgrade` with what was set before (`--reuse-values` could not take a canary away), returning when the pods are ready."""
        self._helm("upgrade", "--reset-then-reuse-values", "--wait", *arguments)

    def upgrade_or_revert(self, *arguments: str, seconds: int = 25) -> None:
        """The same under `--atomic`: what does not become ready in time is undone. Raises `CommandFailed` then."""
        self._helm("upgrade", "--reset-then-reuse-values", "--atomic", f"--timeout={seconds}s", *arguments)

    def rollback(self, *revision: str) -> None:
        """`helm rollback`, by default to the revision before."""
        self.cluster.helm("rollback", self.name, *revision, "-n", self.namespace, "--wait")

    def test(self) -> str:
        """`helm test`. Raises `CommandFailed`."""
        return self.cluster.helm("test", self.name, "-n", self.namespace, "--timeout=180s")

    def uninstall(self) -> None:
        """Take it away."""
        self.cluster.helm("uninstall", self.name, "-n", self.namespace, "--wait")

    def history(self) -> list[dict[str, Any]]:
        """Helm's revisions, the oldest first."""
        found: list[dict[str, Any]] = json.loads(
            self.cluster.helm("history", self.name, "-n", self.namespace, "-o", "json")
        )
        return found

    def deployments(self) -> dict[str, dict[str, Any]]:
        """The Deployments by track."""
        found = self.cluster.objects("deployments", self.namespace, f"app.kubernetes.io/instance={self.name}")
        return {item["metadata"]["labels"]["tenon.io/track"]: item for item in found.values()}

    def versions(self) -> dict[str, int]:
        """What each track is pinned to."""
        return {track: pinned(item["spec"]["template"]["spec"]) for track, item in self.deployments().items()}

    def weights(self) -> dict[str, int]:
        """The share of each track, by the route's rule for requests without special headers."""
        (route,) = self.cluster.objects(
            "httproutes", self.namespace, f"app.kubernetes.io/instance={self.name}"
        ).values()
        rules = [rule for rule in route["spec"]["rules"] if any(not match.get("headers") for match in rule["matches"])]
        (rule,) = rules
        return {
            next(track for track in TRACKS if track in backend["name"]): backend.get("weight", 1)
            for backend in rule["backendRefs"]
        }

    def serving(self) -> dict[str, int]:
        """How many pods of each track are ready."""
        return {track: item["status"].get("readyReplicas", 0) for track, item in self.deployments().items()}

    def settle(self) -> None:
        """Wait until the autoscaler has its least number of pods, and all are ready."""

        def settled() -> bool:
            scalers = self.cluster.objects("horizontalpodautoscalers", self.namespace).values()
            least = {item["spec"]["scaleTargetRef"]["name"]: item["spec"]["minReplicas"] for item in scalers}
            found = {item["metadata"]["name"]: item for item in self.deployments().values()}
            return all(
                item["status"].get("readyReplicas", 0) == item["spec"]["replicas"] >= least.get(name, 1)
                and item["status"].get("updatedReplicas") == item["status"].get("replicas") == item["spec"]["replicas"]
                for name, item in found.items()
            )

        self.cluster.wait(f"{self.name} settles", settled, 180)

    def _helm(self, verb: str, *arguments: str) -> None:
        values = json.dumps(self.values)
        chart = str(CHARTS / "tenant")
        file = self.cluster.home / f"{self.name}-values.json"
        file.write_text(values)
        self.cluster.helm(verb, self.name, chart, "-n", self.namespace, "-f", str(file), *arguments)


def pinned(pod: dict[str, Any]) -> int:
    """The version that a pod's predictor is pinned to."""
    values = {variable["name"]: variable.get("value", "") for variable in pod["containers"][0]["env"]}
    (pin,) = json.loads(values["TENON_PREDICTOR_PINNED"])
    return int(pin["version"])


@contextmanager
def untouched(*releases: TenantRelease) -> Iterator[None]:
    """Nothing of these releases changes meanwhile: neither what is wanted of an object nor the object itself."""
    before = {release.name: release.cluster.state(release.namespace) for release in releases}
    yield
    for release in releases:
        after = release.cluster.state(release.namespace)
        assert after == before[release.name]


@contextmanager
def never_fewer(release: TenantRelease, pods: int, track: str = "stable") -> Iterator[None]:
    """Whenever somebody looks meanwhile, this many pods of a track are ready."""
    seen, ending = list[int](), threading.Event()

    def look() -> None:
        while not ending.wait(0.2):
            seen.append(release.serving().get(track, 0))

    thread = threading.Thread(target=look, name="ready-pods", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(timeout=180)
    assert seen
    assert min(seen) >= pods, f"ready pods: {seen}"
