"""Step 6: a second version on a fifth of the traffic, then on all of it, then taken back; no request fails."""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import Any

from examples.hospital.doors import MODEL, Prediction, Row
from examples.hospital.hospitals import CALM
from examples.hospital.steps_data import ingest, wait_for_features
from examples.hospital.steps_models import train
from examples.hospital.story import StepFailed
from examples.hospital.world import TENANTS, World, read_rows

WEIGHT = 20
_MAX_REQUESTS = 800


def canary(world: World) -> None:
    """New data, version 2, canary, promotion, rollback."""
    story = world.story
    story.say("The first quarter of 2025 arrives: new visits, and the bills of old ones.")
    ingest(world, {tenant: [world.files(tenant)[-2]] for tenant in TENANTS})
    train(world, [CALM], 2)
    wait_for_features(world)
    visits = _different_entities(read_rows(world.path(CALM, world.files(CALM)[-2]["name"])))[:_MAX_REQUESTS]

    _release(world, "set", "--canary", "2", "--weight", str(WEIGHT), serves={"stable": 1, "canary": 2})
    _split(world, visits)
    with _Trickle(world, visits) as trickle:
        _release(world, "promote", serves={"stable": 2})
        _expect_version(world, visits[:40], 2)
        _release(world, "rollback", "--to", "1", serves={"stable": 1})
        _expect_version(world, visits[:40], 1)
    if trickle.failure is not None:
        raise StepFailed(f"a request failed while releases changed, after {trickle.asked} good ones: {trickle.failure}")
    story.check(
        trickle.order == [1, 2, 1],
        f"{trickle.asked:,} requests were asked meanwhile, one after the other: none failed "
        f"(versions in the order they answered: {' → '.join(map(str, trickle.order))})",
    )
    history = world.command.run("release", "history", MODEL, "--tenant", CALM)["releases"]
    story.table(
        ["revision", "action", "serves", "at"],
        [[str(r["revision"]), _action(r), _tracks(r), r["created_at"][11:19]] for r in reversed(history)],
        right=("revision",), title=f"release history of {CALM}/{MODEL}",
    )  # fmt: skip
    story.check(
        [r["action"] for r in reversed(history)] == ["set", "set", "promote", "rollback"],
        "four revisions, none rewritten",
    )


def served_versions(world: World, tenant: str) -> dict[str, int]:
    """Role to version, as the one replica itself reports it (not as it was asked for)."""
    serving = world.doors.get("registry", f"/v1/tenants/{tenant}/models/{MODEL}/serving", world.keys[tenant])
    if not serving["settled"]:
        raise StepFailed(f"{tenant}: not every replica serves what is desired")
    tracks = serving["replicas"][0]["models"][0]["tracks"]
    return {track["role"]: track["version"] for track in tracks}


def _release(world: World, action: str, *options: str, serves: dict[str, int]) -> None:
    world.story.command(f"tenon release {action} {MODEL} {' '.join(options)} --tenant {CALM}".replace("  ", " "))
    world.command.run("release", action, MODEL, *options, "--tenant", CALM)
    served = served_versions(world, CALM)
    said = ", ".join(f"{role} {version}" for role, version in served.items())
    world.story.check(
        served == serves, f"the command came back when it was served: {said} (read from the replica's report)"
    )


def _split(world: World, visits: list[Row]) -> None:
    """Every visit once, by REST and gRPC in turn: who answered?"""
    counts: Counter[tuple[str, int]] = Counter()
    chosen: list[int] = []
    with world.story.bars(["requests"]) as bars:
        for number, visit in enumerate(visits):
            answer = _ask(world, visit, by_grpc=bool(number % 2))
            counts["gRPC" if number % 2 else "REST", answer.version] += 1
            chosen.append(answer.version)
            bars.update("requests", (number + 1) / len(visits), f"version {answer.version}")
    world.story.table(
        ["protocol", "version 1 (stable)", "version 2 (canary)", "canary's share"],
        [
            [
                name,
                str(counts[name, 1]),
                str(counts[name, 2]),
                f"{counts[name, 2] / (counts[name, 1] + counts[name, 2]):.1%}",
            ]
            for name in ("REST", "gRPC")
        ],
        right=("version 1 (stable)", "version 2 (canary)", "canary's share"),
    )
    total, share = len(chosen), chosen.count(2) / len(chosen)
    # Four standard deviations: a fair split falls outside once in 16,000 times.
    width = 4 * math.sqrt(WEIGHT / 100 * (1 - WEIGHT / 100) / total)
    world.story.check(
        abs(share - WEIGHT / 100) <= width,
        f"{share:.1%} of {total:,} went to the canary; {WEIGHT}% ± {width:.1%} is what chance allows",
    )
    again = [_ask(world, visit, by_grpc=not number % 2).version for number, visit in enumerate(visits[:60])]
    world.story.check(
        again == chosen[:60], "the same patient and diagnosis meets the same version again, on the other protocol too"
    )


def _ask(world: World, visit: Row, *, by_grpc: bool) -> Prediction:
    if by_grpc:
        return world.doors.infer_grpc(world.keys[CALM], world.columns, visit)
    return world.doors.infer_rest(world.keys[CALM], world.columns, [visit])[0]


def _expect_version(world: World, visits: list[Row], version: int) -> None:
    versions = {_ask(world, visit, by_grpc=bool(number % 2)).version for number, visit in enumerate(visits)}
    world.story.check(
        versions == {version}, f"{len(visits)} visits asked by REST and gRPC: all answered by version {version}"
    )


def _different_entities(visits: list[Row]) -> list[Row]:
    """One visit for each patient and diagnosis: the split is by entity, so repeated ones would say nothing new."""
    found = {(visit["patient_id"], visit["diagnosis_group"]): visit for visit in visits if visit["insurance"]}
    return list(found.values())


def _action(release: dict[str, Any]) -> str:
    return release["action"] + (f" to {release['from_revision']}" if release["from_revision"] else "")


def _tracks(release: dict[str, Any]) -> str:
    canary = f", canary {release['canary']} ({release['canary_weight']} %)" if release["canary"] else ""
    return f"stable {release['stable']}{canary}"


class _Trickle:
    """Asks without a pause in the background; remembers what failed, and which stable versions answered one after another."""

    def __init__(self, world: World, visits: list[Row]) -> None:
        self._world, self._visits = world, visits
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.asked = 0
        self.failure: Exception | None = None
        self.order: list[int] = []

    def __enter__(self) -> _Trickle:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._end.is_set():
            visit = self._visits[self.asked % len(self._visits)]
            try:
                answer = _ask(self._world, visit, by_grpc=bool(self.asked % 2))
            except Exception as error:  # noqa: BLE001 - whatever went wrong is what the story wants to know
                self.failure = error
                return
            self.asked += 1
            if answer.role == "stable" and (not self.order or self.order[-1] != answer.version):
                self.order.append(answer.version)
