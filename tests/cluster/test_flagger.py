"""Flagger's controller, a real Prometheus and real predictors: a good version is promoted, a bad one rolled back (it
refuses, or its answers are other ones), and without traffic nothing is decided. With `flagger.verdict` monitor has its say as well:
what it calls worse goes back, and what it has not judged waits, however good it looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from services.monitor.domain.canary.words import CanaryVerdict
from tests.cluster.harness.real_world import (
    BETTER,
    GOOD,
    JUDGED_WORSE,
    OTHER_SIGNATURE,
    SHIFTED,
    UNJUDGED,
    RealWorld,
)
from tests.cluster.harness.traffic import Traffic

DECIDED = ("Succeeded", "Failed")
WANTED = {
    "good": BETTER, "bad": OTHER_SIGNATURE, "shifted": SHIFTED, "worse": JUDGED_WORSE, "open": UNJUDGED, "silent": BETTER,
}  # fmt: skip
ASKED = ("good", "bad", "shifted", "worse", "open")
WITH_VERDICT = ("good", "worse", "open")
VERDICTS = {
    BETTER: CanaryVerdict.PROMOTE, JUDGED_WORSE: CanaryVerdict.ROLL_BACK, UNJUDGED: CanaryVerdict.NOT_ENOUGH_EVIDENCE,
}  # fmt: skip


@dataclass
class Outcome:
    """What became of canaries that were started together."""

    world: RealWorld
    asked: dict[str, Traffic]

    def events(self, name: str) -> str:
        """What Flagger said of one of them."""
        return self.world.cluster.kubectl("get", "events", "-n", f"real-{name}", "-o=jsonpath={.items[*].message}")


@pytest.fixture(scope="module")
def outcome(world: RealWorld) -> Iterator[Outcome]:
    """Six tenants' canaries, side by side, each begun by `helm upgrade`; nobody asks the last. Given when they are decided that can be."""
    cluster = world.cluster
    flagger = {
        "prometheus": world.prometheus.url,
        "interval": "10s",
        "window": "10s",
        "threshold": 2,
        "stepWeight": 30,
        "maxWeight": 60,
        "minRequests": 10,
        # Not what is tested, on a machine with other things to do.
        "maxLatencyMs": 5000,
        "maxScoreShift": 1,
    }
    world.verdicts.say(VERDICTS)
    releases = {
        name: world.release(
            name, rollout={"strategy": "flagger"}, flagger=flagger | ({"verdict": True} if name in WITH_VERDICT else {})
        )
        for name in WANTED
    }

    def all_are(phases: tuple[str, ...], names: tuple[str, ...]) -> bool:
        return all(world.phase(f"real-{name}", name) in phases for name in names)

    for release in releases.values():
        release.install(GOOD, wait=False)
    cluster.wait("Flagger has made the primaries", lambda: all_are(("Initialized",), tuple(WANTED)), 180)
    asked = {name: world.traffic(f"real-{name}", name) for name in ASKED}
    for name, version in WANTED.items():
        releases[name].set(f"stable.version={version}")
    cluster.wait(
        "Flagger has decided, or waits for monitor",
        lambda: all_are(DECIDED, tuple(set(ASKED) - {"open"})) and all_are(("WaitingPromotion",), ("open",)), 180,
    )  # fmt: skip
    for traffic in asked.values():
        traffic.stop()
    yield Outcome(world, asked)
    for release in releases.values():
        release.uninstall()


def test_good_version_is_promoted(outcome: Outcome) -> None:
    """It gets its share, and is then what the primary serves; nobody's request fails."""
    assert outcome.world.phase("real-good", "good") == "Succeeded"
    assert outcome.world.pinned("real-good", "good-primary") == BETTER
    asked = outcome.asked["good"]
    assert set(asked.statuses) == {"200"}
    assert set(asked.versions) == {str(GOOD), str(BETTER)}


def test_bad_version_is_rolled_back(outcome: Outcome) -> None:
    """A version that refuses what clients send gets no more requests, and the primary serves what it served."""
    assert outcome.world.phase("real-bad", "bad") == "Failed"
    assert outcome.world.pinned("real-bad", "bad-primary") == GOOD
    (primary, canary) = outcome.world.cluster.get("httproute", "bad", "real-bad")["spec"]["rules"][0]["backendRefs"]
    assert (primary["weight"], canary["weight"]) == (100, 0)
    asked = outcome.asked["bad"]
    assert asked.statuses["400"] > 0
    assert set(asked.versions) == {str(GOOD)}
    assert "advancement errors" in outcome.events("bad")


def test_shifted_answers_are_rolled_back(outcome: Outcome) -> None:
    """A version that answers everybody, quickly, and quite other things than the one before does not pass."""
    assert outcome.world.phase("real-shifted", "shifted") == "Failed"
    assert outcome.world.pinned("real-shifted", "shifted-primary") == GOOD
    asked = outcome.asked["shifted"]
    assert set(asked.statuses) == {"200"}
    assert set(asked.versions) == {str(GOOD), str(SHIFTED)}
    assert "score-shift" in outcome.events("shifted")


def test_what_monitor_calls_worse_is_rolled_back(outcome: Outcome) -> None:
    """A version that nothing else speaks against: it answers everybody as the one before does."""
    assert outcome.world.phase("real-worse", "worse") == "Failed"
    assert outcome.world.pinned("real-worse", "worse-primary") == GOOD
    assert set(outcome.asked["worse"].statuses) == {"200"}
    assert "verdict" in outcome.events("worse")


def test_what_monitor_has_not_judged_waits(outcome: Outcome) -> None:
    """It gets its share and no failed check, and is not promoted while there is not enough evidence."""
    status = outcome.world.cluster.get("canary", "open", "real-open")["status"]
    assert (status["phase"], status["failedChecks"]) == ("WaitingPromotion", 0)
    assert outcome.world.pinned("real-open", "open-primary") == GOOD
    assert str(UNJUDGED) in outcome.asked["open"].versions


def test_without_traffic_nothing_is_decided(outcome: Outcome) -> None:
    """A canary that nobody asks is neither promoted nor rolled back, and no check of it counts as failed."""
    status = outcome.world.cluster.get("canary", "silent", "real-silent")["status"]
    assert (status["phase"], status["failedChecks"]) == ("Progressing", 0)
    assert "waiting for traffic increase approval" in outcome.events("silent")
    assert outcome.world.pinned("real-silent", "silent-primary") == GOOD
