"""The fallback ladder: what answers when history cannot be had, row by row, and that the answer and the log say so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from services.predictor.domain.last_known import LastKnown
from services.predictor.domain.model import Answer, Ask, Column, Entry, ModelKey, Served
from services.predictor.domain.ports import History, HistoryQuery
from services.predictor.domain.predict import Predictor
from services.predictor.domain.rungs import (
    Condition,
    Constant,
    Ladder,
    Level,
    Missing,
    Refuse,
    Rule,
    Rung,
    Stale,
    WithoutHistory,
)
from tenon.core.errors import Unavailable
from tenon.core.tenancy import TenantId
from tests.support.predictor_parts import ACME, GLOBEX, WITH_HISTORY, SumEvaluator, World, served

SECOND = 1_000_000
NOON = 1_700_000_000 * SECOND


class RequestOnly(SumEvaluator):
    """Answers from the age alone."""

    nbytes = 7

    def predict(self, columns: Any) -> np.ndarray:
        """The age and a half."""
        return np.asarray(columns["age"] + 0.5)


SECOND_MODEL = WithoutHistory(RequestOnly())
OLD = Rule((((Condition("age", above=80.0),), 7.0),))


@dataclass
class Features:
    """Features by patient, with an end of its data, that can be down."""

    values: dict[str, float] = field(default_factory=dict)
    data_until: int | None = None
    down: bool = False
    without: bool = False
    """Whether it has lost the feature (its definition changed)."""
    untold: list[bool] | None = None
    """Which rows ask for a time that it knows nothing of."""

    def fetch(self, tenant: TenantId, query: HistoryQuery) -> History | None:
        """See `HistorySource`."""
        if self.down:
            return None
        found = np.array([self.values.get(keys.get("patient_id", ""), np.nan) for keys in query.keys])
        known = np.array([at - 10 * SECOND for at in query.at], np.int64)
        return History(
            {} if self.without else {"visits.cost": found},
            np.full(len(found), 10.0),
            {"visits": known},
            {} if self.data_until is None else {"visits": self.data_until},
            {} if self.untold is None else {"visits": np.array(self.untold, np.bool_)},
        )


@dataclass
class Story:
    """A model with a ladder, its features, and a clock that the test moves."""

    rungs: tuple[Rung, ...]
    max_age: dict[str, float] = field(default_factory=dict)
    features: Features = field(default_factory=lambda: Features({"p1": 100.0, "p2": 200.0}))
    clock: float = 0.0
    entities: int = 100

    def __post_init__(self) -> None:
        self.world = World()
        self.last_known = LastKnown(self.entities, clock=lambda: self.clock)
        self.predictor = Predictor(
            self.world.table, self.features, self.world.log, self.world.shadows, self.world.observer,
            last_known=self.last_known,
        )  # fmt: skip
        for tenant in (ACME, GLOBEX):
            self.world.table.put(ModelKey(tenant, "stay"), Entry(1, self.version(tenant)))

    def version(self, tenant: TenantId = ACME) -> Served:
        """Its answers begin at 1000."""
        return replace(served(1, WITH_HISTORY, tenant=tenant), ladder=Ladder(self.rungs, self.max_age))

    def ask(self, *patients: str | None, age: float = 40.0, at: int = NOON, tenant: TenantId = ACME) -> Answer:
        """One row for each patient."""
        columns: dict[str, list[Any]] = {
            "age": [age] * len(patients),
            "patient_id": list(patients),
            "arrived_at": [rfc3339(at)] * len(patients),
        }
        ask = Ask("stay", None, "rest", "r1", len(patients), columns, split_rows=True)
        return self.predictor.predict(tenant, ask)[0]


def rfc3339(at: int) -> str:
    return str(np.datetime64(at, "us")) + "Z"


def levels(answer: Answer) -> list[str]:
    assert answer.footings is not None
    return [answer.footings.at(row).level.value for row in range(len(answer.scores))]


def test_fresh_history_answers_and_says_so() -> None:
    """With features there, the ladder is not stepped on."""
    answer = Story((Stale(60), SECOND_MODEL)).ask("p1", "p2")
    assert answer.scores.tolist() == [1140.0, 1240.0]
    assert levels(answer) == ["fresh", "fresh"]
    assert answer.fallback == ()
    assert answer.feature_age_seconds == 10.0


def test_the_levels_walk_down_and_up_again() -> None:
    """Down: first what was last known, then, as that ages or was never known, the second model; up: fresh at once."""
    story = Story((Stale(60), SECOND_MODEL))
    story.ask("p1")
    story.features.down = True
    story.clock = 30.0
    answer = story.ask("p1", "p2")
    assert levels(answer) == ["stale", "without_history"]
    assert answer.scores.tolist() == [1140.0, 40.5]
    assert answer.footings is not None
    assert "30 s ago" in answer.footings.at(0).reason
    assert answer.footings.at(1).lost == ("visits.cost",)
    assert answer.age_of(0) == 10.0
    assert answer.age_of(1) is None
    assert answer.footings.worst.level is Level.WITHOUT_HISTORY
    story.clock = 61.0
    assert levels(story.ask("p1")) == ["without_history"]
    story.features.down = False
    assert levels(story.ask("p1", "p2")) == ["fresh", "fresh"]
    assert story.world.observer.levels == {"fresh": 3, "stale": 1, "without_history": 2}


def test_what_is_logged_says_the_level_and_nothing_that_was_not_known() -> None:
    """Rows on different rungs are logged apart, with their level; history that nobody knew is not among the columns."""
    story = Story((Stale(60), SECOND_MODEL))
    story.ask("p1")
    story.features.down = True
    story.ask("p2", "p1", "p2")
    stale, without = sorted(story.world.log.entries[1:], key=lambda entry: entry.source.level)
    assert (stale.source.level, without.source.level) == ("stale", "without_history")
    assert (stale.rows, without.rows) == (1, 2)
    assert stale.columns["visits.cost"].tolist() == [100.0]
    assert "visits.cost" not in without.columns
    assert np.asarray(without.scores).tolist() == [40.5, 40.5]
    assert story.world.log.entries[0].source.level == "fresh"
    assert len({stale.ids, without.ids[:16], without.ids[16:]}) == 3


def test_ids_go_with_their_rows() -> None:
    """The id that a row's answer carries is the one that its score is logged under."""
    story = Story((Stale(60), OLD, Constant(5.0)))
    story.ask("p1")
    story.features.down = True
    answer = story.ask("p2", "p1", None)
    logged = {
        entry.ids[16 * row : 16 * row + 16]: float(score)
        for entry in story.world.log.entries[1:]
        for row, score in enumerate(entry.scores)
    }
    given = {answer.ids[16 * row : 16 * row + 16]: float(score) for row, score in enumerate(answer.scores)}
    assert logged == given


def test_data_older_than_allowed_are_stale_and_then_too_old() -> None:
    """`maxAge` is held against the newest event of the view; up to the limit of `stale` they still answer, and say so."""
    story = Story((Stale(3600), Constant(3.0)), {"visits": 600.0})
    story.features.data_until = NOON - 599 * SECOND
    assert levels(story.ask("p1")) == ["fresh"]
    story.features.data_until = NOON - 1800 * SECOND
    answer = story.ask("p1")
    assert levels(answer) == ["stale"]
    assert answer.scores.tolist() == [1140.0]
    assert answer.footings is not None
    assert "30 min" in answer.footings.worst.reason
    story.features.data_until = NOON - 7200 * SECOND
    answer = story.ask("p1")
    assert levels(answer) == ["constant"]
    assert answer.scores.tolist() == [3.0]
    assert answer.feature_age_seconds is None


def test_old_data_are_taken_away_where_the_model_answers_without() -> None:
    """`missing` after `maxAge` means: as if the entity had no history; the value that came is not used."""
    story = Story((Missing(),), {"visits": 600.0})
    story.features.data_until = NOON - 7200 * SECOND
    answer = story.ask("p1", "p2")
    assert levels(answer) == ["missing", "missing"]
    assert answer.scores.tolist() == [1040.0, 1040.0]
    assert answer.fallback == ("visits.cost",)


def test_last_known_data_do_not_get_younger_by_being_remembered() -> None:
    """With `maxAge`, what is remembered is as old as its data were, not as its fetch."""
    story = Story((Stale(3600), Constant(3.0)), {"visits": 600.0})
    story.features.data_until = NOON - 500 * SECOND
    story.ask("p1")
    story.features.down = True
    assert levels(story.ask("p1")) == ["stale"]
    assert levels(story.ask("p1", at=NOON + 3200 * SECOND)) == ["constant"]


def test_history_of_another_time_is_not_taken() -> None:
    """The windows have moved on by as much as the times asked for are apart."""
    story = Story((Stale(60), Constant(3.0)))
    story.ask("p1")
    story.features.down = True
    assert levels(story.ask("p1", at=NOON + 59 * SECOND)) == ["stale"]
    assert levels(story.ask("p1", at=NOON + 61 * SECOND)) == ["constant"]
    assert levels(story.ask("p1", at=NOON - 61 * SECOND)) == ["constant"]


def test_nobody_gets_what_is_known_of_another_tenants_entity() -> None:
    """The same patient id of two tenants are two patients."""
    story = Story((Stale(60), Constant(3.0)))
    story.ask("p1")
    story.features.down = True
    assert levels(story.ask("p1", tenant=GLOBEX)) == ["constant"]


def test_memory_is_bounded_and_kept_only_for_who_wants_it() -> None:
    """The longest unasked go first, and what nobody would take any more; a model without the step remembers nothing."""
    story = Story((Stale(60), Constant(3.0)), entities=2)
    story.ask("p1")
    story.ask("p2", "p3")
    assert len(story.last_known) == 2
    story.features.down = True
    assert levels(story.ask("p1", "p2")) == ["constant", "stale"]
    story.features.down = False
    story.clock = 61.0
    story.ask("p9")
    assert len(story.last_known) == 1
    other = Story((Missing(),))
    other.ask("p1")
    assert len(other.last_known) == 0


def test_a_rule_answers_the_rows_it_fits() -> None:
    """The others go on; a missing value fits no condition."""
    story = Story((OLD, Constant(2.0, Level.PRIOR)))
    story.features.down = True
    assert levels(story.ask("p1", age=90.0)) == ["rule"]
    assert story.ask("p1", age=90.0).scores.tolist() == [7.0]
    assert levels(story.ask("p1", age=80.0)) == ["prior"]
    assert levels(story.ask("p1", age=float("nan"))) == ["prior"]


@pytest.mark.parametrize("rungs", [(Stale(60), Refuse()), (Stale(60),), (OLD,)])
def test_what_no_step_answers_is_refused(rungs: tuple[Rung, ...]) -> None:
    """With a reason and a way out; the whole request, because half an answer is none. Nothing is logged."""
    story = Story(rungs)
    story.features.down = True
    with pytest.raises(Unavailable, match="features could not be asked") as refused:
        story.ask("p1", "p2")
    assert refused.value.reason == "HISTORY_UNAVAILABLE"
    assert story.world.log.entries == []


def test_a_feature_that_is_no_more_is_a_history_that_cannot_be_had() -> None:
    """A changed view definition: the answer names the feature."""
    story = Story((SECOND_MODEL,))
    story.features.without = True
    answer = story.ask("p1")
    assert levels(answer) == ["without_history"]
    assert answer.footings is not None
    assert answer.footings.worst.reason == "features does not give visits.cost"


@pytest.mark.parametrize("rungs", [(Stale(60), SECOND_MODEL), None])
def test_a_time_too_far_back_is_not_a_history_without_events(rungs: tuple[Rung, ...] | None) -> None:
    """What features cannot tell for a time is not taken for missing, nor remembered; the answer says so, with a ladder or without."""
    story = Story(rungs or ())
    if rungs is None:
        story.world.table.put(ModelKey(ACME, "stay"), Entry(1, replace(story.version(), ladder=None)))
    story.features.untold = [False, True]
    answer = story.ask("p1", "p2")
    assert levels(answer) == ["fresh", "without_history" if rungs else "missing"]
    assert answer.footings is not None
    assert answer.footings.at(1).reason == "features keeps no history of view 'visits' that far back"
    assert answer.scores.tolist() == [1140.0, 40.5 if rungs else 1040.0]
    assert len(story.last_known) == (1 if rungs else 0)


def test_no_ladder_is_as_it_ever_was() -> None:
    """The model itself with missing history; the level says so. A request that brings its history rests on nothing."""
    story = Story(())
    story.world.table.put(ModelKey(ACME, "stay"), Entry(1, replace(story.version(), ladder=None)))
    assert levels(story.ask("p1")) == ["fresh"]
    story.features.down = True
    answer = story.ask("p1")
    assert (levels(answer), answer.fallback, answer.scores.tolist()) == (["missing"], ("visits.cost",), [1040.0])
    columns = {"age": [40.0], "visits.cost": [1.0]}
    [own] = story.predictor.predict(ACME, Ask("stay", None, "rest", "r2", 1, columns))
    assert own.footings is None
    assert story.world.log.entries[-1].source.level == ""


def test_a_shadow_is_not_asked_about_answers_without_history() -> None:
    """A comparison of a constant with a model would mean nothing."""
    story = Story((Constant(3.0),))
    shadow = served(2, WITH_HISTORY)
    story.world.table.put(ModelKey(ACME, "stay"), Entry(1, story.version(), shadow=shadow))
    story.world.shadows.start()
    story.features.down = True
    story.ask("p1")
    story.features.down = False
    story.ask("p1")
    story.world.shadows.stop()
    assert story.world.observer.shadows == ["evaluated"]


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (Condition("x", above=1.0), [False, True, False]),
        (Condition("x", below=2.0), [True, False, False]),
        (Condition("x", above=0.5, below=2.5), [True, True, False]),
        (Condition("x", one_of=frozenset([2.0])), [False, True, False]),
        (Condition("x", one_of=frozenset([True])), [True, False, False]),
    ],
)
def test_conditions_of_numbers(condition: Condition, wanted: list[bool]) -> None:
    """Strictly above, strictly below, equal to one; nothing holds for a missing value."""
    assert condition.holds(np.array([1.0, 2.0, np.nan])).tolist() == wanted


def test_conditions_of_text() -> None:
    """One of the given, never a missing one."""
    values = np.array(["icu", "er", None], object)
    assert Condition("x", one_of=frozenset(["icu"])).holds(values).tolist() == [True, False, False]


def test_texts_walk_down_the_ladder_too() -> None:
    """A text of history is remembered as a number is; where nothing is known it is None, in the answer's columns and the log."""

    class Words(Features):
        def fetch(self, tenant: TenantId, query: HistoryQuery) -> History | None:
            found = super().fetch(tenant, query)
            if found is None:
                return None
            words = np.array(["surgery" if "patient_id" in keys else None for keys in query.keys], object)
            return replace(found, values={**found.values, "visits.ward_latest": words})

    class Reads(SumEvaluator):
        def predict(self, columns: Any) -> np.ndarray:
            seen.append(columns["visits.ward_latest"].tolist())
            return super().predict(columns)

    seen: list[list[str | None]] = []
    story = Story((Stale(60), Missing()), features=Words({"p1": 100.0}))
    ward = Column("visits.ward_latest", "string", "history", nullable=True)
    version = replace(
        served(1, (*WITH_HISTORY, ward), evaluator=Reads(1000.0)), ladder=Ladder((Stale(60), Missing()), {})
    )
    story.world.table.put(ModelKey(ACME, "stay"), Entry(2, version))
    assert story.ask("p1").scores.tolist() == [1140.0]
    story.features.down = True
    answer = story.ask("p1", "p2")
    assert levels(answer) == ["stale", "missing"]
    assert seen == [["surgery"], ["surgery", None]]
