"""`make bench-endurance`: load over every door while versions are released, promoted, rolled back and evicted.

A real registry and a real predictor; every second something about the releases changes. Each answer must carry a version
that was in effect between its sending and its receiving, and its numbers must be that version's own single answers.
TENON_ENDURANCE_SECONDS changes the ten minutes, TENON_ENDURANCE_WORKERS=2 puts two predictors behind the ports.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from services.predictor.settings import PredictorSettings
from tenon.api.registry.v1 import registry_pb2 as pb
from tests.bench import frame
from tests.support import endurance_models as made
from tests.support.predictor_asker import Asker, Line
from tests.support.predictor_bundles import sha256
from tests.support.predictor_process import PredictorProcess
from tests.support.registry_process import ADMIN_KEY, SERVICE_TOKEN, GrpcClient, RegistryProcess
from tests.support.release_timeline import Answered, Timeline

MODELS = [f"model_{number}" for number in range(8)]
VERSIONS = 4
ROWS = made.rows(48)
SETTLE_SECONDS = 60.0


@dataclass
class Outcome:
    """What happened."""

    answers: list[Answered] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    wrong_numbers: list[str] = field(default_factory=list)
    wrong_versions: list[Answered] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    settled: list[float] = field(default_factory=list)
    """Seconds from asking for each release to reading it back from the replica."""
    evictions: float = 0
    memory_mb: tuple[float, float] = (0.0, 0.0)
    """Of the predictor, after a quarter of the time and at the end."""

    def doors(self) -> dict[str, list[float]]:
        """Seconds of each answer, by door."""
        found: dict[str, list[float]] = {}
        for answer in self.answers:
            found.setdefault(answer.door, []).append(answer.received - answer.sent)
        return found


class World:
    """Registry, predictor, and what each version must answer."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self.workers = workers
        self.registry = RegistryProcess(folder / "registry").start()
        self.key = self.registry.make_tenant(made.TENANT)
        self.client = GrpcClient(self.registry)
        self.expected: dict[tuple[str, int], list[float]] = {}
        self.versions: dict[str, list[int]] = {model: [] for model in MODELS}
        self.timeline = Timeline()
        self._seed = 0
        extra = {
            "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
            "TENON_ADMIN_KEY": ADMIN_KEY,
            "TENON_VERIFY_KEY_FILE": str(self.registry.folder / "verify.pem"),
            "TENON_PREDICTOR_WORKERS": str(workers),
        }
        if "predictor_model_memory_mib" in PredictorSettings.model_fields:
            # Less than the models need, so that they come and go.
            extra["TENON_PREDICTOR_MODEL_MEMORY_MIB"] = "2"
        self.predictor = PredictorProcess(folder / "predictor", registry=self.registry.grpc_port, extra=extra)

    def register(self, model: str) -> int:
        """A new version, and what it must answer from now on."""
        self._seed += 1
        data = made.bundle(model, self._seed, self.registry.signing_key)
        header = pb.RegisterVersionHeader(
            tenant=made.TENANT,
            model=model,
            run_id=f"run-{self._seed}",
            bundle_sha256=sha256(data),
            size_bytes=len(data),
        )
        pieces = [data[start : start + 60_000] for start in range(0, len(data), 60_000)]
        messages = [pb.RegisterVersionRequest(header=header), *(pb.RegisterVersionRequest(chunk=one) for one in pieces)]
        answer = self.client.versions.RegisterVersion(iter(messages), metadata=self.client.metadata, timeout=60)
        version = int(answer.version.version)
        self.expected[model, version] = made.single_answers(data, self.registry.signing_key, ROWS)
        self.versions[model].append(version)
        return version

    def change(self, model: str, call: Any, request: Any) -> pb.Release:
        """A change of a release, from now on possible."""
        asked = time.monotonic()
        release = call(request, metadata=self.client.metadata, timeout=60).release
        answering = frozenset(int(track.version) for track in release.tracks if track.role != pb.ROLE_SHADOW)
        self.timeline.begin(model, asked, answering)
        return release

    def read_back(self, model: str, revision: int) -> bool:
        """Whether every worker reports a revision."""
        request = pb.GetServingRequest(tenant=made.TENANT, model=model)
        found = self.client.releases.GetServing(request, metadata=self.client.metadata, timeout=60)
        ready = [
            any(
                served.revision == revision and not served.problem for served in replica.models if served.model == model
            )
            for replica in found.replicas
        ]
        return sum(ready) >= self.workers

    def stop(self) -> int:
        """End both; the predictor's exit code."""
        code = self.predictor.stop() if self.predictor.process is not None else 0
        self.client.close()
        self.registry.kill()
        return code


class Releaser:
    """Changes one model's release after the other."""

    def __init__(self, world: World, outcome: Outcome, seed: int) -> None:
        self._world = world
        self._outcome = outcome
        self._chance = random.Random(seed)
        self._current: dict[str, pb.Release] = {}
        self._last: dict[str, str] = {}

    def first(self, model: str) -> None:
        """The first release of a model."""
        world = self._world
        wish = pb.SetReleaseRequest(
            tenant=made.TENANT, model=model, stable_version=world.versions[model][0], reason="first"
        )
        self._current[model] = world.change(model, world.client.releases.SetRelease, wish)

    def step(self) -> None:
        """One change, until it is read back."""
        model = self._chance.choice(MODELS)
        kind, call, request = self._pick(model)
        asked = time.monotonic()
        try:
            release = self._world.change(model, call, request)
        except grpc.RpcError as err:
            self._outcome.failures.append(f"{kind} of {model}: {err.code()}: {err.details()}")
            return
        while not self._world.read_back(model, release.revision):
            if time.monotonic() - asked > SETTLE_SECONDS:
                self._outcome.failures.append(f"{kind} of {model}: revision {release.revision} was not put into effect")
                return
            time.sleep(0.02)
        now = time.monotonic()
        self._world.timeline.settle(model, now)
        self._current[model], self._last[model] = release, kind
        self._outcome.settled.append(now - asked)
        self._outcome.changes[kind] += 1

    def _pick(self, model: str) -> tuple[str, Any, Any]:
        releases, tracks = self._world.client.releases, self._current[model].tracks
        stable = next(int(track.version) for track in tracks if track.role == pb.ROLE_STABLE)
        canary = any(track.role == pb.ROLE_CANARY for track in tracks)
        others = [version for version in self._world.versions[model] if version != stable]
        common: dict[str, Any] = {"tenant": made.TENANT, "model": model, "reason": "endurance"}
        kinds = ["release", "canary", "register", "arms"]
        kinds += ["promote"] * 3 if canary else ["canary"]
        # A rollback goes to what was before; after it there may be nothing before that.
        kinds += ["rollback"] * 2 if self._last.get(model, "rollback") != "rollback" else []
        kind = self._chance.choice(kinds)
        if kind == "promote":
            return kind, releases.PromoteRelease, pb.PromoteReleaseRequest(**common)
        if kind == "rollback":
            return kind, releases.RollbackRelease, pb.RollbackReleaseRequest(**common)
        if kind == "register" and len(self._world.versions[model]) < 3 * VERSIONS:
            return "register and release", releases.SetRelease, pb.SetReleaseRequest(
                stable_version=self._world.register(model), **common
            )  # fmt: skip
        if kind == "canary":
            version, *rest = self._chance.sample(others, 2)
            return kind, releases.SetRelease, pb.SetReleaseRequest(
                stable_version=stable, canary_version=version, canary_weight_permille=self._chance.randint(1, 999),
                shadow_version=rest[0], **common,
            )  # fmt: skip
        if kind == "arms":
            names, shares = ("a", "b"), (self._chance.randint(1, 499), self._chance.randint(1, 499))
            arms = [
                pb.Arm(name=name, version=version, weight_permille=share)
                for name, version, share in zip(names, self._chance.sample(others, 2), shares, strict=True)
            ]
            return kind, releases.SetRelease, pb.SetReleaseRequest(stable_version=stable, arms=arms, **common)
        return (
            "release",
            releases.SetRelease,
            pb.SetReleaseRequest(stable_version=self._chance.choice(others), **common),
        )


class Caller(threading.Thread):
    """Asks one door without pause, and compares."""

    def __init__(self, world: World, outcome: Outcome, door: str, seed: int, ended: threading.Event) -> None:
        super().__init__(name=f"{door}-{seed}", daemon=True)
        self._world, self._outcome, self._door, self._ended = world, outcome, door, ended
        self._chance = random.Random(seed)
        self._asker = Asker(world.predictor.http, world.predictor.grpc, world.key)

    def run(self) -> None:
        """Until told to end."""
        while not self._ended.is_set():
            model = self._chance.choice(MODELS)
            places = self._chance.sample(range(len(ROWS)), self._chance.choice((1, 1, 1, 3, 20)))
            request_id = f"r-{self._chance.random()}"
            sent = time.monotonic()
            try:
                lines = self._asker.ask(self._door, model, [ROWS[place] for place in places], request_id)
            except Exception as err:
                self._outcome.failures.append(f"{self._door}, {model}: {type(err).__name__}: {err}"[:500])
                continue
            self._compare(model, places, lines, sent, time.monotonic())
        self._asker.close()

    def _compare(self, model: str, places: list[int], lines: list[Line], sent: float, received: float) -> None:
        if len(lines) != len(places):
            self._outcome.wrong_numbers.append(f"{self._door}, {model}: {len(lines)} answers to {len(places)} rows")
        for place, (version, value, _) in zip(places, lines, strict=False):
            right = self._world.expected.get((model, version), [float("nan")] * len(ROWS))[place]
            if value != right:
                self._outcome.wrong_numbers.append(
                    f"{self._door}, {model} {version}, row {place}: {value}, not {right}"
                )
        for version in {line.version for line in lines}:
            self._outcome.answers.append(Answered(model, sent, received, version, self._door))


DOORS = (
    "REST infer",
    "REST infer",
    "REST infer, binary",
    "REST :predict",
    "gRPC infer",
    "gRPC infer, typed",
    "gRPC Predict",
)


def endure(
    folder: Path, seconds: float, *, seed: int = 1, pause: float = 1.0, kinds: Collection[str] = (), at_most: float = 0,
    workers: int = 1,
) -> Outcome:  # fmt: skip
    """Everything, for so long; a change each `pause` seconds. On a busy machine that may be few changes: it goes on, up to
    `at_most` seconds, until there was one of each of these kinds."""
    outcome, ended, world = Outcome(), threading.Event(), World(folder, workers)
    code = 1
    try:
        releaser = Releaser(world, outcome, seed)
        for model in MODELS:
            for _ in range(VERSIONS):
                world.register(model)
            releaser.first(model)
        world.predictor.start()
        process = world.predictor.process
        assert process is not None
        callers = [Caller(world, outcome, door, seed + place, ended) for place, door in enumerate(DOORS)]
        for caller in callers:
            caller.start()
        began = time.monotonic()
        early = 0.0
        while (elapsed := time.monotonic() - began) < seconds or (
            elapsed < at_most and not outcome.changes.keys() >= set(kinds)
        ):
            if not early and elapsed > seconds / 4:
                early = frame.resident_mb(process.pid)
            releaser.step()
            ended.wait(max(0.0, pause - (time.monotonic() - began - elapsed)))
        ended.set()
        for caller in callers:
            caller.join(180)
        outcome.memory_mb = (early, frame.resident_mb(process.pid))
        outcome.evictions = world.predictor.metric("tenon_predictor_model_evictions_total")
        outcome.wrong_versions = [answer for answer in outcome.answers if not world.timeline.allows(answer)]
    finally:
        ended.set()
        code = world.stop()
    if code != 0:
        outcome.failures.append(f"the predictor ended with {code}")
    return outcome


def main() -> None:
    """Run and report."""
    seconds = float(os.environ.get("TENON_ENDURANCE_SECONDS", "600"))
    frame.tell(f"{seconds:.0f} s of load while releases change every second …")
    with tempfile.TemporaryDirectory(prefix="tenon-endurance-") as name:
        outcome = endure(Path(name), seconds, workers=int(os.environ.get("TENON_ENDURANCE_WORKERS", "1")))
    figures = [
        frame.figure("failed requests and changes", len(outcome.failures), "", at_most=0),
        frame.figure("answers of a version not in effect", len(outcome.wrong_versions), "", at_most=0),
        frame.figure("numbers that are not their version's own", len(outcome.wrong_numbers), "", at_most=0),
        frame.figure("answers", len(outcome.answers), ""),
        frame.figure("changes of releases", sum(outcome.changes.values()), ""),
        frame.figure("a change takes effect, median", statistics.median(outcome.settled), "s"),
        frame.figure("a change takes effect, longest", max(outcome.settled), "s"),
        frame.figure("models evicted", outcome.evictions, ""),
        frame.figure("resident memory, after a quarter of the time", outcome.memory_mb[0], "MB"),
        frame.figure("resident memory, at the end", outcome.memory_mb[1], "MB"),
    ]
    for door, times in sorted(outcome.doors().items()):
        figures.append(frame.figure(f"{door}, p50", 1000 * statistics.median(times), "ms"))
        figures.append(frame.figure(f"{door}, p99", 1000 * statistics.quantiles(times, n=100)[98], "ms"))
    changes = ", ".join(f"{kind} {count}" for kind, count in outcome.changes.most_common())
    notes = [f"{len(MODELS)} models; {changes}", "generator, registry and predictor share the machine's cores"]
    notes += [
        f"FAILED: {item}"
        for item in [*outcome.failures, *outcome.wrong_numbers, *map(str, outcome.wrong_versions)][:20]
    ]
    frame.report("endurance", f"{seconds:.0f} s of load while releases change (bench-endurance)", figures, notes)
    sys.exit(bool(outcome.failures or outcome.wrong_numbers or outcome.wrong_versions))


if __name__ == "__main__":
    main()
