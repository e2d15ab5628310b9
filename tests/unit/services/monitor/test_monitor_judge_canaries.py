"""From what is stored to a verdict that is kept, shown and reported."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.monitor.domain.canary.judge_all import JudgeCanaries, deciles, not_above
from services.monitor.domain.canary.words import CanaryJudgement, CanaryVerdict, Finding, Question, Stage, Trial
from services.monitor.domain.log.operations import Operated
from services.monitor.domain.model import Label, PredictionBatch, Role
from services.monitor.metrics import CanaryGauges
from services.monitor.worker import operations_handler
from tenon.core.errors import Invalid, Unavailable
from tenon.core.manifest import NumericBaseline
from tenon.core.operations import LATENCY_BOUNDS, Operations, OperationsRecord, pack_operations
from tenon.core.specs import MonitorSpec
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryLog, MemoryVersions, MemoryWindows

if TYPE_CHECKING:
    from collections.abc import Iterable

NORTH = TenantId("north")
START = 1_700_000_000_000_000
HOUR = 3_600 * 10**6
UNIFORM = manifest({}, numeric_baseline(np.linspace(0, 1, 1000)))


@dataclass
class MemoryTrials:
    """`Trials` in memory."""

    trials: list[Trial]
    reported: list[CanaryJudgement] = field(default_factory=list)

    def running(self) -> list[Trial]:
        """See the port."""
        return self.trials

    def report(self, judgement: CanaryJudgement) -> str:
        """See the port."""
        self.reported.append(judgement)
        return ""


@dataclass
class MemoryOperations:
    """`OperationsLog` in memory: what is counted is set."""

    counts: dict[tuple[int, Role], Operated] = field(default_factory=dict)

    def take(self, record: OperationsRecord, now: int) -> bool:
        """See the port."""
        raise NotImplementedError

    def totals(self, tenant: TenantId, model: str, start: int, end: int) -> dict[tuple[int, Role], Operated]:
        """See the port."""
        return self.counts

    def forget(self, before: int) -> int:
        """See the port."""
        return 0


@dataclass
class MemoryCanaryVerdicts:
    """`CanaryVerdicts` and `CanaryGauges` in memory."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    shown: list[CanaryJudgement] = field(default_factory=list)

    def add(self, tenant: TenantId, model: str, judgement: dict[str, Any], judged_at: int) -> None:
        """See the port."""
        self.kept.append(judgement)

    def history(self, tenant: TenantId, model: str, limit: int) -> list[dict[str, Any]]:
        """See the port."""
        return self.kept[::-1][:limit]

    def show(self, judgements: Iterable[CanaryJudgement]) -> None:
        """See the port."""
        self.shown = list(judgements)


class Defaults:
    """Nobody declared anything."""

    def of(self, tenant: TenantId, model: str) -> MonitorSpec:
        """See `Policies`."""
        return MonitorSpec(name=model)


def did(answers: int, *, broken: int = 0, slow: int = 0) -> Operated:
    """Answers within 200 microseconds, except the slow ones."""
    latency = [0] * (len(LATENCY_BOUNDS) + 1)
    latency[2], latency[-3] = answers - slow, slow
    return Operated(answers, (0, 0, broken), tuple(latency))


class World:
    """A canary of `stay` with half of the requests."""

    def __init__(self, *, automatic: bool = True) -> None:
        trial = Trial(NORTH, "stay", 4, 1, 2, Role.CANARY, (Stage(START, None, 0.5),), automatic=automatic)
        self.trials = MemoryTrials([trial])
        self.operations, self.log = MemoryOperations(), MemoryLog()
        self.versions, self.verdicts = MemoryVersions({1: UNIFORM, 2: UNIFORM}), MemoryCanaryVerdicts()
        self.clock = START + HOUR
        self.judge = JudgeCanaries(
            self.trials, self.operations, MemoryWindows(self.log, self.versions), self.log, self.versions, Defaults(),
            self.verdicts, self.verdicts, self.log, lambda: self.clock,
        )  # fmt: skip

    def answer(
        self, version: int, role: Role, scores: np.ndarray, *, at: int = START + 60, ids: tuple[str, ...] = ()
    ) -> None:  # fmt: skip
        """Rows in the log; `ids` are those of the answers that a shadow was asked beside."""
        rows = len(scores)
        name = f"{version}-{role}-{len(self.log.batches)}"
        ids = ids or tuple(f"{name}-{row}" for row in range(rows))
        moments = np.full(rows, at, dtype=np.int64)
        self.log.store(
            NORTH,
            PredictionBatch(name, "r", NORTH, "stay", version, role, "rest", ids, ids, moments, moments, scores, {}),
        )

    @property
    def last(self) -> dict[str, Any]:
        """The latest verdict."""
        return self.verdicts.kept[-1]


def findings(document: dict[str, Any]) -> dict[str, str]:
    """By question."""
    return {one["question"]: one["finding"] for one in document["questions"]}


def test_equal_canary_is_promoted_and_reported() -> None:
    """All needed questions passed: kept, shown, reported with how often it answered in this stage."""
    world, rng = World(), np.random.default_rng(1)
    world.operations.counts = {(1, Role.STABLE): did(3000, slow=9), (2, Role.CANARY): did(3000, slow=9)}
    for version, role in ((1, Role.STABLE), (2, Role.CANARY)):
        world.answer(version, role, rng.random(3000))
    assert world.judge() == 1
    assert world.last["verdict"] == "promote"
    assert findings(world.last) == {
        "errors": "passes", "latency": "passes", "scores": "passes", "quality": "not_enough_evidence"
    }  # fmt: skip
    (reported,) = world.trials.reported
    assert (reported.stage_answers, reported.trial.revision) == (3000, 4)
    assert world.verdicts.shown == [reported]
    # Nothing new: nothing is kept again, and the registry hears it again.
    world.clock += HOUR
    assert world.judge() == 0
    assert len(world.trials.reported) == 2


def test_silence_is_kept_open() -> None:
    """Nobody told anything: not enough evidence, nothing reported."""
    world = World()
    world.judge()
    assert world.last["verdict"] == "not_enough_evidence"
    assert world.trials.reported == []
    # The stable version answers, the canary does not.
    world.operations.counts = {(1, Role.STABLE): did(9000)}
    world.answer(1, Role.STABLE, np.random.default_rng(1).random(9000))
    world.clock += HOUR
    world.judge()
    assert world.last["verdict"] == "not_enough_evidence"


def test_broken_canary_is_rolled_back_by_hand_or_automatically() -> None:
    """Reported only where the release goes on by itself."""
    for automatic in (True, False):
        world = World(automatic=automatic)
        world.operations.counts = {(1, Role.STABLE): did(500), (2, Role.CANARY): did(400, broken=60)}
        world.judge()
        assert world.last["verdict"] == "roll_back"
        assert "errors" in world.last["summary"] or "failed" in world.last["summary"]
        assert len(world.trials.reported) == automatic


def test_shadow_is_compared_by_its_own_rows() -> None:
    """A version that is stable and shadow at once is not mixed up."""
    world, rng = World(), np.random.default_rng(1)
    shadow = replace(world.trials.trials[0], role=Role.SHADOW, needs=frozenset({Question.SCORES}), automatic=False)
    world.trials.trials = [replace(shadow, stages=(Stage(START, None, 1.0),))]
    ids = tuple(f"answer-{row}" for row in range(4000))
    world.answer(1, Role.STABLE, rng.random(4000), ids=ids)
    world.answer(2, Role.SHADOW, rng.random(4000) ** 6, ids=ids)
    world.answer(2, Role.STABLE, rng.random(4000))
    world.judge()
    assert world.last["verdict"] == "roll_back"
    assert findings(world.last)["scores"] == "worse"


def test_shadow_that_answers_alike_is_known_after_few_requests() -> None:
    """The same answers but for a little noise: forty requests show that they are not far apart, hours after each other or not, and each
    request counts once however often somebody looks."""
    world, rng = World(), np.random.default_rng(1)
    shadow = replace(world.trials.trials[0], role=Role.SHADOW, needs=frozenset({Question.SCORES}), automatic=False)
    world.trials.trials = [replace(shadow, stages=(Stage(START, None, 1.0),))]
    for hour in range(4):
        ids, score = tuple(f"{hour}-{row}" for row in range(12)), rng.random(12)
        world.answer(1, Role.STABLE, score, at=START + hour * HOUR + 5, ids=ids)
        world.answer(2, Role.SHADOW, score + 0.01 * rng.normal(size=12), at=START + hour * HOUR + 9, ids=ids)
        world.answer(
            2, Role.SHADOW, rng.random(5) ** 9, at=START + hour * HOUR + 9
        )  # Of these the answers are not known.
        world.clock = START + (hour + 1) * HOUR
        for _ in range(3):
            world.judge()
            world.clock += 60 * 10**6
        scores = next(one for one in world.verdicts.shown[0].questions if one.question is Question.SCORES)
        assert (scores.rows, scores.stable_rows) == (12 * (hour + 1), 12 * (hour + 1))
        assert "on the same" in scores.text
    assert scores.finding is Finding.PASSES


def test_shadow_is_compared_on_the_requests_that_both_answered() -> None:
    """Labels come under the answer's id; in whatever order rows lie, and though the shadow missed some, the same are compared."""
    world, rng = World(), np.random.default_rng(2)
    shadow = replace(world.trials.trials[0], role=Role.SHADOW, needs=frozenset({Question.QUALITY}), automatic=False)
    world.trials.trials = [replace(shadow, stages=(Stage(START, None, 1.0),))]
    value = rng.random(300) < 0.4
    score = rng.normal(size=300) + 1.2 * value
    ids = tuple(f"answer-{row}" for row in range(300))
    world.answer(1, Role.STABLE, score, ids=ids)
    order = rng.permutation(300)[:250]
    world.answer(2, Role.SHADOW, score[order] + 0.01 * rng.normal(size=250), ids=tuple(ids[row] for row in order))
    labels = [Label(name, float(true), START + 100) for name, true in zip(ids, value, strict=True)]
    world.log.record(NORTH, "stay", labels)
    world.judge()
    quality = next(one for one in world.last["questions"] if one["question"] == "quality")
    assert "on the same 250 requests" in quality["text"]
    assert (quality["finding"], quality["rows"], quality["stable_rows"]) == ("passes", 250, 250)
    assert quality["value"] == pytest.approx(quality["stable_value"], abs=0.01)


def test_without_the_registry_the_answers_stay_open() -> None:
    """Errors and latency are still judged; the question of the answers is not passed."""
    world = World()
    world.versions.down = True
    world.operations.counts = {(1, Role.STABLE): did(9000), (2, Role.CANARY): did(9000)}
    world.judge()
    assert findings(world.last)["errors"] == "passes"
    assert world.last["verdict"] == "not_enough_evidence"


def test_one_canary_that_cannot_be_judged_does_not_stop_the_others() -> None:
    """The failure is raised at the end, and its verdict is no longer shown."""
    world = World()
    broken = replace(world.trials.trials[0], model="other")
    world.judge()
    assert len(world.verdicts.shown) == 1
    world.trials.trials.insert(0, broken)
    totals = world.operations.totals

    def sometimes(tenant: TenantId, model: str, start: int, end: int) -> dict[tuple[int, Role], Operated]:
        if model == "other":
            raise Unavailable("DATABASE_UNAVAILABLE", "the database is away")
        return totals(tenant, model, start, end)

    world.operations.totals = sometimes  # type: ignore[method-assign]
    world.clock += HOUR
    with pytest.raises(ExceptionGroup, match="1 canaries"):
        world.judge()
    assert [one.trial.model for one in world.verdicts.shown] == ["stay"]


def test_verdict_is_told_by_any_replica() -> None:
    """Also by one that has not judged it yet; None without a trial."""
    world = World()
    told = world.judge.current(NORTH, "stay")
    assert told is not None
    assert (told["verdict"], told["candidate"], told["weight"]) == ("not_enough_evidence", 2, 50.0)
    assert world.judge.current(NORTH, "other") is None
    world.trials.trials = []
    world.judge()
    assert world.verdicts.shown == []


def test_deciles_of_a_baseline() -> None:
    """Nine bounds, fewer with ties, none without rows."""
    edges = [float(edge) for edge in range(1, 20)]
    flat = NumericBaseline(rows=2000, missing=0, edges=edges, counts=[100] * 20, mean=None, iqr=None)
    assert deciles(flat).tolist() == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0]
    tied = flat.model_copy(update={"counts": [1900, *([0] * 18), 100]})
    assert deciles(tied).tolist() == [1.0]
    assert len(deciles(flat.model_copy(update={"counts": [0] * 20}))) == 0


def test_counts_between_other_edges() -> None:
    """Exact at an edge, straight in between, and no more than there is beyond."""
    edges, counts = np.array([1.0, 2.0, 4.0]), np.array([10, 20, 40, 30])
    assert not_above(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 9.0]), edges, counts).tolist() == [10, 10, 30, 50, 70, 70]


def test_gauges_go_when_the_trial_is_over() -> None:
    """A verdict that nobody gives any more has no series, which Flagger does not take for a pass."""

    def shown() -> float | None:
        names = {"tenant": "north", "model": "stay", "version": "2", "role": "canary", "verdict": "promote"}
        return REGISTRY.get_sample_value("tenon_monitor_canary_verdict", names)

    world, gauges = World(), CanaryGauges()
    world.judge()
    promoted = replace(world.verdicts.shown[0], verdict=CanaryVerdict.PROMOTE)
    gauges.show([promoted])
    assert shown() == 1
    gauges.show([replace(promoted, verdict=CanaryVerdict.HOLD)])
    assert shown() == 0
    gauges.show([])
    assert shown() is None


def test_entries_that_are_no_record_are_refused() -> None:
    """The consumer sets them aside; whole ones are taken."""
    taken: list[OperationsRecord] = []

    def take(record: OperationsRecord) -> bool:
        taken.append(record)
        return True

    handle = operations_handler(take)
    with pytest.raises(Invalid, match="no operations record"):
        handle("1-0", {b"other": b""})
    one = did(3)
    record = OperationsRecord(
        "r-1", START, (Operations(NORTH, "stay", 2, Role.CANARY, 3, one.failures, one.latency),)
    )  # fmt: skip
    handle("1-1", {key.encode(): value for key, value in pack_operations(record).items()})
    assert taken == [record]
