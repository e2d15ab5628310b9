"""The use case behind all doors, on fakes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from services.predictor.domain.instances import columns_of_instances
from services.predictor.domain.logged import PredictionIds, id_texts
from services.predictor.domain.model import Answer, Ask, Entry, ModelKey, Role
from services.predictor.domain.routing import split_bucket
from tenon.core.errors import Invalid, NotFound, TooLarge
from tests.support.predictor_parts import (
    ACME,
    AGE,
    ARRIVED,
    COST,
    PATIENT,
    WITH_HISTORY,
    BrokenEvaluator,
    World,
    served,
)  # fmt: skip


def ask(columns: dict[str, Any], *, rows: int | None = None, version: str | None = None, **more: Any) -> Ask:
    """A request for the model `stay`."""
    count = rows if rows is not None else len(next(iter(columns.values())))
    return Ask("stay", version, "rest", "request-1", count, columns, **more)


def world(entry: Entry, **more: Any) -> World:
    """A world in which `stay` is released so."""
    made = World(**more)
    made.table.put(ModelKey(ACME, "stay"), entry)
    return made


GIVEN = {"age": [1.0, 2.0], "count": [10, 20], "urgent": [True, None], "ward": ["east", None]}


def test_rows_are_answered_and_logged_before_the_answer() -> None:
    """One answer with version and role; the log has inputs, scores and unique ids."""
    here = world(Entry(1, served(1)))
    (answer,) = here.predictor.predict(ACME, ask(GIVEN))
    assert answer.scores.tolist() == [1012.0, 1022.0]
    assert (answer.served.version, answer.role, answer.fallback) == (1, Role.STABLE, ())
    (entry,) = here.log.entries
    assert entry.ids == answer.ids
    assert len(set(id_texts(entry.ids))) == entry.rows == 2
    assert set(entry.columns) == {"age", "count", "urgent", "ward"}
    assert entry.request_id == "request-1"
    assert here.observer.answers == [(1, Role.STABLE, "rest", 2)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"agee": [1.0, 2.0]}, "INPUT_UNKNOWN"),
        ({"count": None}, "INPUT_MISSING"),
        ({"count": [1, None]}, "VALUE_MISSING"),
        ({"age": ["x", 1]}, "VALUE_TYPE"),
    ],
)
def test_a_wrong_request_changes_nothing(change: dict[str, Any], reason: str) -> None:
    """It is refused with its reason, and neither logged nor counted as answered."""
    here = world(Entry(1, served(1)))
    columns = {name: values for name, values in (GIVEN | change).items() if values is not None}
    with pytest.raises(Invalid) as caught:
        here.predictor.predict(ACME, ask(columns))
    assert caught.value.reason == reason
    assert (here.log.entries, here.observer.answers) == ([], [])


def test_a_nullable_input_may_be_left_out() -> None:
    """It is missing then, as if null had been sent."""
    here = world(Entry(1, served(1)))
    (answer,) = here.predictor.predict(ACME, ask({"count": [5]}))
    assert answer.scores.tolist() == [1005.0]
    assert np.isnan(here.log.entries[0].columns["age"]).all()


def test_no_rows_and_too_many_rows_are_refused() -> None:
    """Both have their own reason."""
    here = world(Entry(1, served(1)))
    with pytest.raises(Invalid, match="no rows"):
        here.predictor.predict(ACME, ask({"count": []}))
    with pytest.raises(TooLarge):
        here.predictor.predict(ACME, ask({"count": [1] * 1001}))


def test_a_matrix_stands_for_the_request_columns() -> None:
    """In the signature's order; another width says what is taken; text columns need their own tensor."""
    here = world(Entry(1, served(1, columns=[AGE, COST])))
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]])
    (answer,) = here.predictor.predict(ACME, ask({}, rows=2, matrix=matrix))
    assert answer.scores.tolist() == [1003.0, 1007.0]
    with pytest.raises(Invalid, match="takes 1"):
        here.predictor.predict(ACME, ask({}, rows=2, matrix=np.ones((2, 3))))
    with pytest.raises(Invalid, match="'ward' is text"):
        world(Entry(1, served(1))).predictor.predict(ACME, ask({}, rows=2, matrix=np.ones((2, 4))))


def test_history_is_fetched_in_one_call_for_all_rows() -> None:
    """With each row's entity and event time; the answer says how old it is."""
    here = world(Entry(1, served(1, WITH_HISTORY)))
    here.history.values = {"p1": 5.0, "p2": 7.0}
    columns = {"age": [1.0, 2.0], "patient_id": ["p1", "p2"], "arrived_at": ["1970-01-01T00:00:01Z", None]}
    (answer,) = here.predictor.predict(ACME, ask(columns))
    assert answer.scores.tolist() == [1006.0, 1009.0]
    (query,) = here.history.queries
    assert (query.views, list(query.keys), query.at[0]) == (
        ("visits",),
        [{"patient_id": "p1"}, {"patient_id": "p2"}],
        1_000_000,
    )
    assert abs(query.at[1] / 1e6 - time.time()) < 60
    assert (answer.feature_age_seconds, answer.fallback, here.observer.missing) == (42.0, (), 0)
    # The model does not see whom a row is about; labels by entity, and erasure, find the row by it.
    assert here.log.entries[0].columns["patient_id"].tolist() == ["p1", "p2"]
    assert here.log.entries[0].event_time == list(query.at)


def test_each_row_says_how_old_its_own_history_is() -> None:
    """Not the freshest of its neighbours; a row without history has no age."""
    here = world(Entry(1, served(1, WITH_HISTORY)))
    here.history.ages = {"p1": 3.0, "p2": 500.0, "p3": np.nan, "p4": -1.0}
    patients = ["p1", "p2", "p3", "p4"]
    (answer,) = here.predictor.predict(ACME, ask({"age": [1.0] * 4, "patient_id": patients}))
    assert [answer.age_of(row) for row in range(4)] == [3.0, 500.0, None, 0.0]
    assert answer.feature_age_seconds == 0.0


def test_history_that_is_given_is_not_fetched() -> None:
    """The caller's own values are taken, and no entity is needed."""
    here = world(Entry(1, served(1, WITH_HISTORY)))
    (answer,) = here.predictor.predict(ACME, ask({"age": [1.0], "visits.cost": [3.0]}))
    assert (answer.scores.tolist(), here.history.queries) == ([1004.0], [])


def test_without_features_the_answer_says_what_is_missing() -> None:
    """It is an answer nevertheless, and it is counted."""
    here = world(Entry(1, served(1, WITH_HISTORY)))
    here.history.down = True
    (answer,) = here.predictor.predict(ACME, ask({"age": [1.0], "patient_id": ["p1"]}))
    assert (answer.scores.tolist(), answer.fallback, answer.feature_age_seconds) == ([1001.0], ("visits.cost",), None)
    assert here.observer.missing == 1


def test_history_that_could_not_be_asked_for_is_not_logged_as_missing() -> None:
    """An outage of features must not look like drift of the patients: what is unknown is left out of the log."""
    here = world(Entry(1, served(1, WITH_HISTORY)))
    here.history.down = True
    here.predictor.predict(ACME, ask({"age": [1.0], "patient_id": ["p1"]}))
    here.history.down = False
    here.predictor.predict(ACME, ask({"age": [1.0], "patient_id": ["p1"]}))
    assert [set(entry.columns) for entry in here.log.entries] == [
        {"age", "patient_id"},
        {"age", "visits.cost", "patient_id"},
    ]


def test_without_entity_and_history_the_request_is_refused() -> None:
    """Naming the column that is missing, and both ways out."""
    here = world(Entry(1, served(1, WITH_HISTORY)))
    with pytest.raises(Invalid, match="'patient_id' is missing") as caught:
        here.predictor.predict(ACME, ask({"age": [1.0]}))
    assert "or the history features themselves" in (caught.value.hint or "")


def test_an_entity_that_is_null_has_no_history() -> None:
    """The key is left out for that row only."""
    here = world(Entry(1, served(1, WITH_HISTORY)))
    here.predictor.predict(ACME, ask({"age": [1.0, 2.0], "patient_id": [None, "p1"]}))
    assert list(here.history.queries[0].keys) == [{}, {"patient_id": "p1"}]


def entities(count: int) -> dict[str, Any]:
    """Many patients."""
    return {"age": [1.0] * count, "visits.cost": [0.0] * count, "patient_id": [f"p{number}" for number in range(count)]}


def test_a_canary_answers_its_entities_row_by_row() -> None:
    """By entity, each row goes where the hash says, and comes back in its place."""
    here = world(Entry(1, served(1, WITH_HISTORY), served(2, WITH_HISTORY), 300))
    answers = here.predictor.predict(ACME, ask(entities(200), split_rows=True))
    by_row: dict[int, Answer] = {
        int(row): answer for answer in answers if answer.rows is not None for row in answer.rows
    }
    for row in range(200):
        canary = split_bucket(ACME, "stay", (f"=p{row}",)) < 300
        assert by_row[row].role is (Role.CANARY if canary else Role.STABLE)
    assert sorted(here.log.roles()) == sorted((a.served.version, a.role, len(a.scores)) for a in answers)
    assert {a.scores[0] for a in answers} == {1001.0, 2001.0}


def test_one_row_goes_the_same_way_through_every_door() -> None:
    """Alone as a tensor, alone as an instance, or among others as instances."""
    here = world(Entry(1, served(1, WITH_HISTORY), served(2, WITH_HISTORY), 500))
    for number in range(40):
        columns = {"age": [1.0], "visits.cost": [0.0], "patient_id": [f"p{number}"]}
        (tensor,) = here.predictor.predict(ACME, ask(columns))
        (instance,) = here.predictor.predict(ACME, ask(columns, split_rows=True))
        assert tensor.role is instance.role


def test_a_whole_request_is_answered_by_one_version() -> None:
    """The protocol's response names one version, so tensors of many rows follow their first."""
    here = world(Entry(1, served(1, WITH_HISTORY), served(2, WITH_HISTORY), 500))
    assert len(here.predictor.predict(ACME, ask(entities(50)))) == 1


def test_without_an_entity_the_request_id_decides() -> None:
    """So that a repeated request goes the same way, and shares come out right."""
    here = world(Entry(1, served(1), served(2), 250))
    roles = []
    for number in range(400):
        request = Ask("stay", None, "rest", f"r{number}", 1, {"count": [1]})
        roles.append(here.predictor.predict(ACME, request)[0].role)
    assert 60 < roles.count(Role.CANARY) < 140


def test_an_explicit_version_answers_whatever_the_weights() -> None:
    """And one that is not released does not."""
    here = world(Entry(1, served(1), served(2), 1))
    for number in range(20):
        request = Ask("stay", "2", "rest", f"r{number}", 1, {"count": [1]})
        assert here.predictor.predict(ACME, request)[0].role is Role.CANARY
    with pytest.raises(NotFound):
        here.predictor.predict(ACME, ask({"count": [1]}, version="3"))


def drain(here: World) -> None:
    """Let the shadow's worker finish."""
    here.shadows.start()
    here.shadows.stop()


def test_a_shadow_is_logged_and_never_answers() -> None:
    """It gets the same rows later, with ids of its own."""
    here = world(Entry(1, served(1), shadow=served(3)))
    (answer,) = here.predictor.predict(ACME, ask(GIVEN))
    drain(here)
    assert answer.served.version == 1
    assert here.log.roles() == [(1, Role.STABLE, 2), (3, Role.SHADOW, 2)]
    shadow = here.log.entries[1]
    assert isinstance(shadow.scores, np.ndarray)
    assert shadow.scores.tolist() == [3012.0, 3022.0]
    assert shadow.ids == answer.ids, "one label is the truth for both"
    assert here.observer.shadows == ["evaluated"]


def test_a_shadow_that_fails_or_does_not_fit_is_counted_only() -> None:
    """The caller notices nothing."""
    here = world(Entry(1, served(1), shadow=served(3, evaluator=BrokenEvaluator())), shadow_size=2)
    for _ in range(4):
        here.predictor.predict(ACME, ask(GIVEN))
    assert here.observer.shadows == ["dropped", "dropped"]
    here.shadows.start()
    until = time.monotonic() + 60
    while here.observer.shadows.count("failed") < 2 and time.monotonic() < until:
        time.sleep(0.01)
    here.shadows.stop()
    assert here.observer.shadows.count("failed") == 2
    assert len(here.shadow_errors) == 2


def test_ids_are_valid_sortable_and_unique() -> None:
    """UUID version 7."""
    import uuid

    fresh = PredictionIds()
    ids = id_texts(fresh.many(1_700_000_000_000_000, 1000))
    for _ in range(1000):
        raw, text = fresh.one(1_700_000_000_000_000)
        assert [text] == id_texts(raw)
        ids.append(text)
    assert len(set(ids)) == 2000
    parsed = [uuid.UUID(text) for text in ids]
    assert all(item.version == 7 and item.variant == uuid.RFC_4122 for item in parsed)
    assert max(ids) < min(id_texts(fresh.many(1_700_000_001_000_000, 10)))


def test_instances_become_columns() -> None:
    """Missing names are None; what only some gave is known."""
    rows, columns, partial = columns_of_instances(
        [{"entity": {"p": "a"}, "features": {"x": 1}}, {"entity": {"p": "b"}}, {"features": {"p": "c", "x": None}}]
    )
    assert (rows, columns, partial) == (3, {"p": ["a", "b", "c"], "x": [1, None, None]}, frozenset({"x"}))


@pytest.mark.parametrize(
    "instances",
    [
        None,
        [],
        {},
        "x",
        [1],
        [{"entity": []}],
        [{"features": 3}],
        [{"entitty": {}}],
        [{"entity": {"a": 1}, "features": {"a": 2}}],
    ],
)
def test_instances_that_are_none_are_refused(instances: Any) -> None:
    """With the row."""
    with pytest.raises(Invalid):
        columns_of_instances(instances)


def test_a_flat_instance_is_shown_where_its_keys_belong() -> None:
    """The commonest first request names its columns at once; the answer names one and gives the shape."""
    with pytest.raises(Invalid, match=r"instance 1: the key 'age' is not read here") as caught:
        columns_of_instances([{"features": {"age": 1}}, {"age": 61}])
    assert caught.value.hint == 'write {"entity": {…}, "features": {"age": …}}'


def test_history_must_be_given_for_all_rows_or_none() -> None:
    """A mixture would silently be missing for some."""
    here = world(Entry(1, served(1, (AGE, COST, PATIENT, ARRIVED))))
    columns = {"age": [1.0, 1.0], "patient_id": ["a", "b"], "visits.cost": [1.0, None]}
    with pytest.raises(Invalid) as caught:
        here.predictor.predict(ACME, ask(columns, split_rows=True, partial=frozenset({"visits.cost"})))
    assert caught.value.reason == "HISTORY_PARTIAL"
