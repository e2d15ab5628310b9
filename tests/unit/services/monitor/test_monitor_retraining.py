"""Retraining: asked for with reasons that held, once in a cool-down, started once, and told whether it would have helped."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.monitor.domain.model import Drift, LabelledRows, Quality, Role, VerdictRecord, Window
from services.monitor.domain.quality.measure import QualityPolicy
from services.monitor.domain.quality.words import Basis, Concept, ConceptDrift, Estimate, QualityReport
from services.monitor.domain.retraining.consider import Retraining
from services.monitor.domain.retraining.judge import Request, Sign, State, TrainingRun, backtest, reasons_to_retrain
from services.monitor.domain.retraining.signs import SignsInDepth
from services.monitor.storage.retraining import SqlRetrainingRequests, retraining_requests
from services.monitor.storage.tables import metadata
from tenon.core.errors import Conflict, NotFound, Precondition, Unavailable
from tenon.core.manifest import Evaluation, Manifest
from tenon.core.specs import MonitorSpec
from tenon.core.specs.monitor import Retrain, RetrainReason
from tenon.core.tenancy import TenantId
from tenon.kit.sql import Database
from tests.support.monitor_data import manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryVerdicts, MemoryVersions

DAY = 86_400_000_000
WINDOW = 7 * DAY
NOW = 1_700_000_000_000_000
NORTH = TenantId("north")
IDS = itertools.count()


def verdict(days_ago: float, *, worse: bool = True, drift: bool = False, version: int = 1) -> VerdictRecord:
    """A verdict as it was kept."""
    at = NOW - int(days_ago * DAY)
    return VerdictRecord(
        "cost", at, at - WINDOW, at, version, Drift.DRIFT if drift else Drift.NO_DRIFT,
        Quality.WORSE if worse else Quality.AS_EXPECTED, 1_000, 800, ("ward", "cost") if drift else (),
        "roc_auc 0.61, 0.75 in the version's test",
    )  # fmt: skip


def asked(records: list[VerdictRecord], **policy: Any) -> list[RetrainReason]:
    """The reasons that hold."""
    found = reasons_to_retrain(Retrain(**policy), records, NOW - 100 * DAY, now=NOW, window=WINDOW)
    return [sign.reason for sign in found]


def test_a_reason_must_have_held() -> None:
    """Worse for a day, drift for a whole window; one good look in between, or another version's, and it does not count."""
    assert asked([verdict(0.1), verdict(2)]) == [RetrainReason.QUALITY]
    assert asked([verdict(0.1)]) == []
    assert asked([verdict(0.1), verdict(0.5, worse=False), verdict(2)]) == []
    assert asked([verdict(0.1), verdict(2, version=2)]) == []
    drifting = [verdict(0, worse=False, drift=True), verdict(8, worse=False, drift=True)]
    assert asked(drifting) == [RetrainReason.DRIFT]
    assert asked([*drifting[:1], verdict(3, worse=False, drift=True)]) == []
    assert asked([]) == []


def test_only_declared_reasons_count() -> None:
    """What is not declared asks for nothing; age does when it is declared, and what others found is taken over."""
    assert asked([verdict(0.1), verdict(2)], reasons=["drift"]) == []
    assert asked([], reasons=["age"], maxAge="90d") == [RetrainReason.AGE]
    assert asked([], reasons=["age"], maxAge="120d") == []
    more = [Sign(RetrainReason.CONCEPT, "errors grew"), Sign(RetrainReason.ESTIMATED_QUALITY, "estimated")]
    policy = Retrain.model_validate({"reasons": ["concept"]})
    assert reasons_to_retrain(policy, [], None, now=NOW, window=WINDOW, more=more) == (more[0],)


def labelled(rng: np.random.Generator, rows: int, *, useful: bool) -> LabelledRows:
    """Answers with their labels: useful ones say something about them."""
    value = (rng.random(rows) < 0.3).astype(float)
    score = np.clip(0.3 + (0.25 * (value - 0.3) if useful else 0) + rng.normal(0, 0.15, rows), 0.01, 0.99)
    return LabelledRows(score, value, np.zeros(rows, dtype=np.int64))


def model(auc: float) -> Manifest:
    """A version whose test had this area under the curve."""
    return manifest({}, numeric_baseline(np.random.default_rng(1).random(500)), metrics={"roc_auc": auc})


def test_the_backtest_compares_on_one_period() -> None:
    """The old version's answers to the events that the new one was tested on: worse, as good, or too few to tell."""
    rng = np.random.default_rng(3)
    found = model(0.85).evidence.model_copy(
        update={"model": Evaluation(rows=3_000, metrics={"roc_auc": 0.85}, positives=900)}
    )
    ahead = found.model_copy(update={"model": found.model.model_copy(update={"metrics": {"roc_auc": 0.91}})})
    behind = found.model_copy(update={"model": found.model.model_copy(update={"metrics": {"roc_auc": 0.80}})})
    cases = (
        (False, 2_000, found, State.BETTER, "surely worse"), (True, 2_000, behind, State.NOT_BETTER, "not ahead"),
        (True, 300, ahead, State.BETTER, "ahead"), (False, 50, found, State.UNCLEAR, "50 labels"),
    )  # fmt: skip
    for useful, rows, evidence, state, words in cases:
        answers = {
            (1, Role.STABLE): labelled(rng, rows, useful=useful),
            (1, Role.SHADOW): labelled(rng, 900, useful=True),
        }
        got, text = backtest(model(0.8), 1, answers, evidence, QualityPolicy())
        assert got is state, text
        assert "events from 2023-02-01 to 2023-05-01" in text
        assert words in text
        assert ("it would have helped by" in text) == (state is not State.UNCLEAR)


class Depth:
    """Quality in depth as somebody found it."""

    def __init__(self) -> None:
        self.looks = 0
        self.worse = True

    def __call__(self, tenant: TenantId, model: str, window: Window, *, version: int) -> QualityReport:
        """See `BuildQuality`."""
        self.looks += 1
        estimate = Estimate(
            "roc_auc", 1, 900, 0.61, 0.58, 0.64, 0.75, Basis.LABELS, 4_000,
            Quality.WORSE if self.worse else Quality.AS_EXPECTED,
        )  # fmt: skip
        concept = ConceptDrift(
            1, 900, "absolute", Concept.WORSE if self.worse else Concept.UNCHANGED, (), "errors grew"
        )
        return QualityReport("north", "cost", window, None, 900, 900, (estimate,), (), (concept,), (), ())


def test_what_is_found_in_depth_must_have_held_too() -> None:
    """Looked at once an hour of a week; a reason counts after a day in which every look found it."""
    depth, now = Depth(), [NOW]
    signs = SignsInDepth(depth, window=WINDOW, now=lambda: now[0])

    def look() -> list[RetrainReason]:
        return [sign.reason for sign in signs(NORTH, "cost", 1)]

    assert (look(), look(), depth.looks) == ([], [], 1)
    now[0] += DAY
    assert look() == [RetrainReason.ESTIMATED_QUALITY, RetrainReason.CONCEPT]
    depth.worse = False
    now[0] += DAY
    assert look() == []
    depth.worse = True
    now[0] += DAY
    assert look() == []


class Trainer:
    """A trainer that starts a run once for each key."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.away = False
        self.same = ""
        self.result = TrainingRun(finished=False)

    def learns_nothing_new(self, tenant: TenantId, model: str) -> str:
        """See the port."""
        if self.away:
            raise Unavailable("TRAINER_AWAY", "the trainer is away")
        return self.same

    def start(self, tenant: TenantId, model: str, key: str) -> str:
        """See the port."""
        return self.runs.setdefault(key, f"run-{len(self.runs)}")

    def run(self, tenant: TenantId, run_id: str) -> TrainingRun:
        """See the port."""
        return self.result


class Fleet:
    """One active model."""

    def active(self, since: int) -> list[tuple[TenantId, str, int]]:
        """See the port."""
        return [(NORTH, "cost", 1)]


class Labels:
    """Answers of an old version that knew nothing."""

    def labelled(self, tenant: TenantId, model: str, window: Window, known_at: int | None) -> dict[Any, LabelledRows]:
        """See the port."""
        assert window.by == "event_time"
        return {(1, Role.STABLE): labelled(np.random.default_rng(5), 2_000, useful=False)}


class World:
    """A model that has been worse for days, watched by a policy."""

    def __init__(self, folder: Path, **policy: Any) -> None:
        self.now, self.trainer, self.policy = NOW, Trainer(), Retrain(**policy)
        database = Database(f"sqlite:///{folder}/{next(IDS)}.db")
        metadata.create_all(database.engine, tables=[retraining_requests])
        verdicts, versions = MemoryVerdicts(), MemoryVersions()
        for days in (3, 2, 0.1):
            verdicts.add(NORTH, verdict(days))
        versions.manifests[1] = model(0.75)
        made: Any = Retraining(
            SqlRetrainingRequests(database), self.trainer, Fleet(), verdicts, versions, Labels(), self,  # type: ignore[arg-type]
            QualityPolicy(), window=WINDOW, now=lambda: self.now,
        )  # fmt: skip
        self.use: Retraining = made

    def of(self, tenant: TenantId, model: str) -> MonitorSpec:
        """See `Policies`."""
        return MonitorSpec(name=model, retrain=self.policy)

    @property
    def newest(self) -> Request:
        """The newest request."""
        return self.use.known(NORTH)[0]


def test_a_person_is_asked_once_in_a_cool_down(tmp_path: Path) -> None:
    """Without `automatic` the request waits; no second one comes until it was answered and the cool-down is over."""
    world = World(tmp_path, coolDown="3d")
    assert (world.use(), world.use()) == (1, 0)
    assert (world.newest.state, world.trainer.runs) == (State.ASKED, {})
    assert world.newest.signs[0].reason is RetrainReason.QUALITY
    dismissed = world.use.dismiss(NORTH, world.newest.id, "ann", "the ward moves next week")
    assert (dismissed.state, dismissed.changed_by) == (State.DISMISSED, "ann")
    with pytest.raises(Conflict):
        world.use.start(NORTH, dismissed.id, "bob")
    world.now += 2 * DAY
    assert world.use() == 0
    world.now += 2 * DAY
    assert world.use() == 1
    with pytest.raises(NotFound):
        world.use.start(TenantId("south"), world.newest.id, "eve")


def test_an_automatic_training_starts_once_and_is_followed_to_its_verdict(tmp_path: Path) -> None:
    """With a trainer that was away at first: one run, and in the end the backtest's word on the new version."""
    world = World(tmp_path, automatic=True)
    world.trainer.away = True
    with pytest.raises(ExceptionGroup):
        world.use()
    world.trainer.away = False
    world.use()
    world.use()
    assert (len(world.trainer.runs), world.newest.state) == (1, State.STARTED)
    found = model(0.85).evidence.model_copy(
        update={"model": Evaluation(rows=3_000, metrics={"roc_auc": 0.85}, positives=900)}
    )
    world.trainer.result = TrainingRun(True, 2, found)
    world.use()
    assert (world.newest.state, world.newest.new_version) == (State.BETTER, 2)
    assert "0.850 of the new one" in world.newest.note


def test_a_training_that_failed_or_would_learn_nothing_says_so(tmp_path: Path) -> None:
    """The trainer's words are the request's; what cannot learn anything new is not started, by policy or by hand."""
    world = World(tmp_path, automatic=True)
    world.use()
    world.trainer.result = TrainingRun(True, problem="NO_ROWS: nothing to learn from")
    world.use()
    assert (world.newest.state, world.newest.note) == (State.FAILED, "NO_ROWS: nothing to learn from")
    fixed = World(tmp_path, automatic=True)
    fixed.trainer.same = "tests on everything from 2017-01-01 on"
    fixed.use()
    assert (fixed.newest.state, fixed.newest.note, fixed.trainer.runs) == (State.ASKED, fixed.trainer.same, {})
    with pytest.raises(Precondition):
        fixed.use.start(NORTH, fixed.newest.id, "ann")


def test_a_change_counts_only_from_the_state_it_was_made_for(tmp_path: Path) -> None:
    """Of two who answer a request at once one is refused, and of two replicas that ask on one day one asks."""
    world = World(tmp_path)
    world.use()
    store = world.use._requests
    request = world.newest
    assert not store.add(NORTH, request)
    assert store.change(NORTH, replace(request, state=State.DISMISSED), was=State.ASKED)
    assert not store.change(NORTH, replace(request, state=State.STARTED), was=State.ASKED)
    assert store.started() == []
