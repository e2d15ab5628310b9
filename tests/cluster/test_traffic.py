"""Requests through a real Envoy while a tenant's release changes: none fails, shares are as Helm says, testers reach their track."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.harness.callers import Callers, Seen
from tests.cluster.harness.gateway import Gateway, envoy
from tests.cluster.harness.real_world import BETTER, GOOD, MODEL, RealWorld
from tests.cluster.harness.releases import TenantRelease, pinned
from tests.support.predictor_bundles import KEYS, PUBLIC_PEM, SERVICE_TOKEN, visit_bundle

pytestmark = pytest.mark.timeout(4000)

REQUESTS = int(os.environ.get("TENON_TEST_REQUESTS", "12000"))
"""In all, over both protocols; `TENON_TEST_REQUESTS=100000` for the figures in docs/operate/proof.md."""
PAUSE = 0.0 if REQUESTS >= 50_000 else 0.004
"""Seconds between a caller's requests: as fast as they can only for the figures, because this machine has others to serve."""
SIGMAS = 4.0
"""Three would fail one run in two hundred by chance."""
NEWEST = 4
TENANT = "acme"


class RealTenant(TenantRelease):
    """A tenant whose pods are real processes."""

    @property
    def namespace(self) -> str:
        """Where KWOK keeps out of it."""
        return f"real-traffic-{self.name}"


@dataclass
class Drive:
    """A release, what stands before it, and who asks."""

    world: RealWorld
    release: RealTenant
    gateway: Gateway
    callers: list[Callers]
    phases: list[str] = field(default_factory=list)

    def counts(self, phase: str) -> Counter[Seen]:
        """What was counted; requests belong to `phase` from now on."""
        found: Counter[Seen] = Counter()
        for callers in self.callers:
            found.update(callers.phase(phase))
        return found

    def settled(self, phase: str, versions: dict[str, int], weights: dict[str, int]) -> None:
        """When Envoy has heard of everything, ask a share of all requests in that state."""
        assert (self.release.versions(), self.release.weights()) == (versions, weights)
        world, namespace = self.world, self.release.namespace

        def everywhere() -> bool:
            pods = world.pods.running(namespace)
            wanted = set(versions.items())
            seen = {
                (pod.pod["metadata"]["labels"]["tenon.io/track"], pinned(pod.pod["spec"])) for pod in pods if pod.ready
            }
            return seen == wanted and all(pod.ready for pod in pods) and self.gateway.knows()

        world.cluster.wait(f"{phase}: Envoy knows", everywhere, 180)
        assert self.gateway.weights() == {f"{self.release.name}-{track}": share for track, share in weights.items()}
        self.counts(phase)
        self.phases.append(phase)
        share, deadline = REQUESTS / 7, time.monotonic() + 600
        while sum(count for seen, count in self.counts(phase).items() if seen.phase == phase) < share:
            assert time.monotonic() < deadline, "too slow"
            time.sleep(0.2)
        self.counts(f"after {phase}")


@pytest.fixture
def drive(world: RealWorld, tmp_path: Path) -> Iterator[Drive]:
    """Version 1 behind Envoy, and eight callers."""
    envoy()
    world.registry.add("acme", MODEL, NEWEST, visit_bundle(model=MODEL, shift=0.3))
    values = {
        "tenant": TENANT, "model": MODEL, "replicas": 2, "autoscaling": {"enabled": False}, "secrets": {"redis": ""},
    }  # fmt: skip
    release = RealTenant(world.cluster, TENANT, values)
    world.cluster.create_namespace(release.namespace)
    world.cluster.apply(secrets(), "-n", release.namespace)
    release.install(GOOD)
    gateway = Gateway(world.cluster.plane, world.pods, tmp_path, release.namespace, release.name)
    callers: list[Callers] = []
    try:
        gateway.start()
        callers += [
            Callers(protocol, gateway.address, TENANT, MODEL, KEYS["acme"], threads=4, pause=PAUSE)
            for protocol in ("rest", "grpc")
        ]
        yield Drive(world, release, gateway, callers)
    finally:
        for asking in callers:
            asking.stop()
        gateway.stop()
        release.uninstall()
    assert not gateway.problems


def test_no_request_fails_while_releases_change(drive: Drive) -> None:
    """Upgrade, canary at 10 %, at 50 %, promotion, rollback to the canary and to the version before: REST and gRPC are answered
    all the time, in shares within what chance allows, and a tester's header reaches its track."""
    release, started = drive.release, time.monotonic()
    drive.settled("installed", {"stable": GOOD, "canary": GOOD}, {"stable": 100, "canary": 0})
    release.upgrade("--set", f"stable.version={BETTER}")
    drive.settled("upgraded", {"stable": BETTER, "canary": BETTER}, {"stable": 100, "canary": 0})
    release.upgrade("--set", f"canary.version={NEWEST}", "--set", "canary.weight=10")
    drive.settled("canary 10 %", {"stable": BETTER, "canary": NEWEST}, {"stable": 90, "canary": 10})
    release.upgrade("--set", "canary.weight=50")
    drive.settled("canary 50 %", {"stable": BETTER, "canary": NEWEST}, {"stable": 50, "canary": 50})
    release.upgrade("--set", f"stable.version={NEWEST}", "--set", "canary=null")
    drive.settled("promoted", {"stable": NEWEST, "canary": NEWEST}, {"stable": 100, "canary": 0})
    release.rollback()
    drive.settled("rolled back", {"stable": BETTER, "canary": NEWEST}, {"stable": 50, "canary": 50})
    release.rollback("1")
    drive.settled("as installed", {"stable": GOOD, "canary": GOOD}, {"stable": 100, "canary": 0})

    kinds = [callers.phase("end") for callers in drive.callers]
    found = Counter[Seen]()
    for kind in kinds:
        found.update(kind)
    print(
        f"\n{found.total()} requests ({', '.join(str(sum(kind.values())) for kind in kinds)} over REST and gRPC) in {time.monotonic() - started:.0f} s"
    )
    failed = {seen: count for seen, count in found.items() if not seen.outcome.startswith("version ")}
    assert not failed
    assert found.total() >= REQUESTS
    expected = {"canary 10 %": 0.1, "canary 50 %": 0.5, "rolled back": 0.5}
    for phase, share in expected.items():
        asked = {seen.outcome: count for seen, count in found.items() if seen.phase == phase and not seen.track}
        total, canary = sum(asked.values()), asked[f"version {NEWEST}"]
        assert set(asked) == {f"version {BETTER}", f"version {NEWEST}"}
        away = (canary - total * share) / math.sqrt(total * share * (1 - share))
        print(f"{phase}: {canary} of {total} by the canary, {100 * canary / total:.2f} %, {away:+.2f} sigma")
        assert abs(away) <= SIGMAS
        testers = {
            (seen.track, seen.outcome): count for seen, count in found.items() if seen.phase == phase and seen.track
        }
        assert set(testers) == {("canary", f"version {NEWEST}"), ("stable", f"version {BETTER}")}
        print(f"{phase}: {sum(testers.values())} testers' requests, each to its track")
    changes = sum(count for seen, count in found.items() if seen.phase.startswith("after "))
    print(f"{changes} of them while something changed")


def secrets() -> list[dict[str, object]]:
    """What the chart asks for by name."""
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        for name, data in (
            ("tenon-service-token", {"TENON_SERVICE_TOKEN": SERVICE_TOKEN}),
            ("tenon-verify-key", {"verify.pem": PUBLIC_PEM.decode() if isinstance(PUBLIC_PEM, bytes) else PUBLIC_PEM}),
        )
    ]
