"""Expert review: what comes into the queue and in which order, decisions, undo, and what the next training is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.monitor.domain.labels.record import RecordLabels
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import Label, Window
from services.monitor.domain.review.decide import Review
from services.monitor.domain.review.rank import Judge
from services.monitor.domain.review_words import Reason, State
from services.monitor.storage.log.answered import SqlAnswered
from services.monitor.storage.review.queue import SqlKnownLabels, SqlReviews
from tenon.core.errors import Conflict, Invalid, NotFound, Precondition
from tenon.core.manifest import Manifest
from tenon.core.specs import MonitorSpec
from tenon.core.specs.monitor import BusinessValue
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import START, batch_document, manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryLog, MemoryVersions
from tests.support.monitor_label_fakes import MemoryAnswered, MemoryReviews
from tests.support.monitor_storage_suite import Store

NORTH = TenantId("north")
SCORES = [0.02, 0.98, 0.51, 0.30, 0.97, 0.49]
IDS = [f"p{row}" for row in range(len(SCORES))]


def model_manifest(**changes: Any) -> Manifest:
    """A binary model that looks history up by patient."""
    made = manifest({"age": numeric_baseline(np.arange(100.0))}, numeric_baseline(np.linspace(0, 1, 100)))
    signature = made.signature.model_copy(update={"views": {"visits": ["patient_id"]}})
    return made.model_copy(update={"signature": signature, **changes})


class Policies:
    """What the answers are worth."""

    def __init__(self, value: BusinessValue | None = None) -> None:
        self.value = value

    def of(self, tenant: TenantId, model: str) -> MonitorSpec:
        """See the port."""
        return MonitorSpec(name=model, value=self.value)


class World:
    """The use case on fake or real storage, with a clock that moves by a second a look."""

    def __init__(self, log: Any, labels: Any, answered: Any, known: Any, reviews: Any) -> None:
        self.log, self.labels, self.reviews = log, labels, reviews
        self.policies, self.moment = Policies(), START + 3_600_000_000
        versions = MemoryVersions({1: model_manifest()})
        record = RecordLabels(labels, log, versions, self.now)
        self.record = record
        self.review = Review(log, answered, known, reviews, versions, self.policies, record, self.now)

    def now(self) -> int:
        """The clock."""
        self.moment += 1_000_000
        return self.moment

    def answer(self, ids: list[str] = IDS, scores: list[float] = SCORES, patient: str = "a", **more: Any) -> None:
        """Log answers."""
        columns: dict[str, Any] = {
            "visits.count": np.ones(len(ids)),
            "age": np.full(len(ids), 50.0),
            "patient_id": [patient] * len(ids),
        }
        self.log.store(NORTH, batch_from_document(batch_document(np.array(scores), columns, ids=ids, **more)))

    def queue(self) -> list[tuple[str, Reason]]:
        """The open items."""
        return [(item.prediction_id, item.reason) for item in self.review.queue(NORTH, "cost").open]

    def value_of(self, one: str, known_at: int | None = None) -> float | None:
        """The label that holds."""
        groups = self.labels.labelled(NORTH, "cost", Window(0, 2**60), known_at).values()
        found = {
            score: value
            for rows in groups
            for score, value in zip(rows.score.tolist(), rows.value.tolist(), strict=True)
        }
        return found.get(SCORES[IDS.index(one)])


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The same suite on fakes and on a database."""
    if request.param == "memory":
        log = MemoryLog()
        reviews = MemoryReviews(log)
        yield World(log, log, MemoryAnswered(log), reviews, reviews)
        return
    store = Store(f"sqlite:///{tmp_path}/monitor.db")
    yield world_on(store)
    store.database.close()


def world_on(store: Store) -> World:
    """The use case on a database."""
    ids = store.log._ids
    known, answered = SqlKnownLabels(store.database, ids), SqlAnswered(store.database, ids)
    return World(store.log, store.labels, answered, known, SqlReviews(store.database, ids))


def label(world: World, values: dict[str, float]) -> None:
    """Labels by a program."""
    world.record(NORTH, "cost", [Label(one, value, START) for one, value in values.items()])


def test_the_queue_takes_reasons_in_turns_and_stays_in_order(world: World) -> None:
    """A sure answer against its label, then the nearest to the threshold; new answers do not change what is begun."""
    world.answer()
    label(world, {"p0": 1.0, "p4": 1.0})
    found = world.queue()
    assert found[0] == ("p0", Reason.LABEL)
    assert {one for one, reason in found[1:3] if reason is Reason.UNCERTAIN} == {"p2", "p5"}
    assert "p4" not in [one for one, _ in found]
    world.answer(["new"], [0.5])
    assert world.queue() == found
    world.review.start(NORTH, "cost")
    assert "new" in [one for one, _ in world.queue()]


def test_cost_and_history_bring_answers_too(world: World) -> None:
    """With a declared value the most regretted answer comes; one unlike the entity's labels comes with the reason."""
    world.policies.value = BusinessValue(unit="EUR", per_false_negative=-1000, per_true_positive=0)
    world.answer(["a1", "a2", "a3"], [0.1, 0.1, 0.1], patient="frail")
    label(world, {"a1": 0.0, "a2": 0.0, "a3": 0.0})
    world.answer(["b"], [0.9], patient="frail")
    world.answer(["c", "d"], [0.45, 0.10], patient="other")
    reasons = {item.prediction_id: item for item in world.review.queue(NORTH, "cost").items}
    assert reasons["c"].reason is Reason.COSTLY
    assert "450 EUR" in reasons["c"].why
    assert reasons["b"].reason in {Reason.HISTORY, Reason.UNCERTAIN}


def test_history_says_whose_and_how_many() -> None:
    """The judge's figures: uncertainty is 1 at the threshold, regret is what knowing the truth would save."""
    judge = Judge(
        model_manifest(threshold=0.2), BusinessValue(unit="EUR", per_false_positive=-10, per_true_positive=90)
    )
    assert judge.uncertainty(0.2) == 1
    assert judge.uncertainty(0.6) == pytest.approx(0.5)
    assert judge.regret(0.9) == pytest.approx(1.0)
    assert judge.regret(0.1) == pytest.approx(9.0)
    assert judge.disagreement(0.95, 0.0) == pytest.approx(0.95)
    assert judge.disagreement(0.6, 0.0) == 0


def test_a_decision_is_a_label_with_a_name_and_undo_takes_it_back(world: World) -> None:
    """Known from the moment on; what held before holds again, and a training as of then still knows."""
    world.answer()
    label(world, {"p0": 1.0})
    assert world.queue()[0][0] == "p0"
    decided = world.review.label(NORTH, "cost", "p0", 0.0, "Dr Grey")
    assert (decided.state, decided.value, decided.decided_by) == (State.LABELLED, 0.0, "Dr Grey")
    assert world.value_of("p0") == 0.0
    assert world.value_of("p0", START) == 1.0
    then = world.now()
    (correction,) = world.reviews.corrections(NORTH, "cost", then)
    assert (correction.expert, correction.value, dict(correction.key)["patient_id"]) == ("Dr Grey", 0.0, "a")
    undone = world.review.undo(NORTH, "cost", "Dr Grey")
    assert undone.prediction_id == "p0"
    assert world.value_of("p0") == 1.0
    assert world.queue()[0][0] == "p0"
    assert world.reviews.corrections(NORTH, "cost", world.now()) == []
    assert [one.value for one in world.reviews.corrections(NORTH, "cost", then)] == [0.0]


def test_each_undoes_only_the_own_and_nobody_decides_twice(world: World) -> None:
    """Conflicts and nothing-to-undo are told as such; skipped ones may come in the next round, labelled ones do not."""
    world.answer()
    first, second = (one for one, _ in world.queue()[:2])
    world.review.label(NORTH, "cost", first, 1.0, "Dr Grey")
    world.review.skip(NORTH, "cost", second, "Dr House")
    with pytest.raises(Conflict, match="by Dr Grey"):
        world.review.label(NORTH, "cost", first, 0.0, "Dr House")
    assert world.review.undo(NORTH, "cost", "Dr House").prediction_id == second
    with pytest.raises(Precondition, match="Dr House has decided nothing"):
        world.review.undo(NORTH, "cost", "Dr House")
    world.review.skip(NORTH, "cost", second, "Dr House")
    world.review.start(NORTH, "cost")
    again = [one for one, _ in world.queue()]
    assert second in again
    assert first not in again


@pytest.mark.parametrize(
    ("one", "value", "expert", "kind", "message"),
    [
        ("p2", 0.5, "Dr Grey", Invalid, "neither 0 nor 1"),
        ("p2", 1.0, " ", Invalid, "name"),
        ("nobody", 1.0, "Dr Grey", NotFound, "not in the review queue"),
    ],
)
def test_wrong_decisions_change_nothing(
    world: World, one: str, value: float, expert: str, kind: type[Exception], message: str
) -> None:
    """And say why."""
    world.answer()
    before = world.queue()
    with pytest.raises(kind, match=message):
        world.review.label(NORTH, "cost", one, value, expert)
    assert world.queue() == before


def test_erased_predictions_leave_queue_and_corrections(world: World) -> None:
    """What is forgotten is neither shown to experts nor told to the trainer."""
    world.answer()
    first, second = (one for one, _ in world.queue()[:2])
    world.review.label(NORTH, "cost", first, 1.0, "Dr Grey")
    world.reviews.forget(NORTH, "cost", {first, second})
    assert world.reviews.corrections(NORTH, "cost", world.now()) == []
    assert second not in [one for one, _ in world.queue()]
