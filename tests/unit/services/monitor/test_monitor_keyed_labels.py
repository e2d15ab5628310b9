"""Labels by entity and time: the rule of the join, what waits, what is ambiguous, and predictions that come late."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.domain.label_words import KeyedLabel
from services.monitor.domain.labels import read_keyed
from services.monitor.domain.labels.read_keyed import (
    is_keyed,
    keyed_from_document,
    labels_from_csv_file,
    labels_from_parquet,
)
from services.monitor.domain.labels.record import RecordLabels
from services.monitor.domain.labels.record_keyed import JoinLatePredictions, RecordKeyedLabels
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import Window
from services.monitor.storage.labels.keyed import SqlBookmarks, SqlKeyedLabels
from services.monitor.storage.log.answered import SqlAnswered
from tenon.core.errors import Invalid, TooLarge
from tenon.core.matching import key_text
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import START, batch_document
from tests.support.monitor_fakes import MemoryLog, MemoryVersions
from tests.support.monitor_label_fakes import MemoryAnswered, MemoryKeyedLabels
from tests.support.monitor_storage_suite import Store

NORTH, SOUTH = TenantId("north"), TenantId("south")
MINUTE = 60_000_000


class World:
    """The use cases on fake or real storage."""

    def __init__(self, log: Any, labels: Any, answered: Any, keyed: Any, bookmarks: Any) -> None:
        self.log, self.labels, self.answered, self.keyed = log, labels, answered, keyed
        record = RecordLabels(labels, log, MemoryVersions(), lambda: START + 10**12)
        self.record = RecordKeyedLabels(log, answered, keyed, MemoryVersions(), record)
        self.join_late = JoinLatePredictions(answered, keyed, bookmarks, record)

    def answer(self, ids: list[str], patients: list[str], at: int = START, **more: Any) -> None:
        """Log answers; event times are a millisecond apart."""
        columns: dict[str, Any] = {
            "patient_id": patients,
            "age": np.full(len(ids), more.pop("age", 50.0)),
            "visits.cost": np.ones(len(ids)),
        }
        document = batch_document(np.full(len(ids), 0.5), columns, ids=ids, event_time=at, **more)
        self.log.store(NORTH, batch_from_document(document))

    def values(self) -> list[float]:
        """Labels that the joined predictions have."""
        return sorted(
            value
            for rows in self.labels.labelled(NORTH, "cost", Window(0, 2**60), None).values()
            for value in rows.value.tolist()
        )


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The same suite on fakes and on a database."""
    if request.param == "memory":
        log, kept = MemoryLog(), MemoryKeyedLabels()
        yield World(log, log, MemoryAnswered(log), kept, kept)
        return
    store = Store(f"sqlite:///{tmp_path}/monitor.db")
    yield world_on(store)
    store.database.close()


def world_on(store: Store) -> World:
    """The use cases on a database."""
    ids = store.log._ids
    keyed, bookmarks = SqlKeyedLabels(store.database, ids), SqlBookmarks(store.database, ids)
    return World(store.log, store.labels, SqlAnswered(store.database, ids), keyed, bookmarks)


def label(patient: str, value: float = 1.0, at: int = START, known_at: int = START + MINUTE, **more: Any) -> KeyedLabel:
    """A label of a patient's event."""
    return KeyedLabel({"patient_id": patient}, at, value, known_at, **more)


def test_every_answer_about_the_event_gets_the_label(world: World) -> None:
    """Asked twice, by two versions: the truth is the event's; another patient and another time get nothing."""
    world.answer(["a", "b"], ["p1", "p2"])
    world.answer(["c"], ["p1"], version=2, role="canary")
    world.answer(["d"], ["p1"], at=START + MINUTE)
    found = world.record(NORTH, "cost", [label("p1")])
    assert (found.accepted, found.matched, found.predictions) == (1, 1, 2)
    assert world.values() == [1.0, 1.0]


def test_sent_again_it_changes_nothing_and_a_correction_counts(world: World) -> None:
    """Idempotent; the value that was known last holds, and what held before can be asked for."""
    world.answer(["a"], ["p1"])
    for _ in range(2):
        world.record(NORTH, "cost", [label("p1", 0.0)])
    assert world.values() == [0.0]
    world.record(NORTH, "cost", [label("p1", 1.0, known_at=START + 5 * MINUTE)])
    assert world.values() == [1.0]
    (rows,) = world.labels.labelled(NORTH, "cost", Window(0, 2**60), START + MINUTE).values()
    assert rows.value.tolist() == [0.0]


def test_two_events_that_the_key_does_not_tell_apart_are_named(world: World) -> None:
    """Answers that differ in what was asked are about different events; none of them is labelled."""
    world.answer(["a"], ["p1"], age=50.0)
    world.answer(["b"], ["p1"], age=51.0)
    found = world.record(NORTH, "cost", [label("p2"), label("p1")])
    assert [(one.place, one.events) for one in found.ambiguous] == [(1, 2)]
    assert (found.accepted, found.waiting) == (1, [0])
    assert world.values() == []
    clear = KeyedLabel({"patient_id": "p1", "age": 51}, START, 1.0, START + MINUTE)
    assert world.record(NORTH, "cost", [clear]).predictions == 1


def test_a_late_prediction_finds_its_label(world: World) -> None:
    """The label waits; each look joins what came since, once, and never what another tenant logged."""
    assert world.record(NORTH, "cost", [label("p1"), label("p3")]).waiting == [0, 1]
    assert world.join_late() == 0
    world.answer(["a", "b"], ["p1", "p2"])
    assert world.join_late() == 1
    assert world.join_late() == 0
    assert world.values() == [1.0]
    world.answer(["c"], ["p1"], version=2)
    # What came shortly before is looked at again, which changes nothing.
    assert world.join_late() >= 1
    assert world.values() == [1.0, 1.0]


def test_within_takes_the_nearest_event_time(world: World) -> None:
    """As far off as is said, the nearest one; two equally near ones are ambiguous."""
    world.answer(["a"], ["p1"], at=START - 20 * MINUTE)
    world.answer(["b"], ["p1"], at=START + 5 * MINUTE)
    assert world.record(NORTH, "cost", [label("p1", within=4 * MINUTE)]).waiting == [0]
    assert world.record(NORTH, "cost", [label("p1", within=30 * MINUTE)]).predictions == 1
    world.answer(["c"], ["p1"], at=START - 5 * MINUTE)
    assert len(world.record(NORTH, "cost", [label("p1", within=30 * MINUTE)]).ambiguous) == 1


def test_a_shadow_is_found_by_its_answers_id(world: World) -> None:
    """A shadow knows less of the request and would look like another event; it shares the answer's id anyway."""
    world.answer(["a"], ["p1"])
    document = batch_document(np.array([0.7]), {"age": np.array([50.0])}, ids=["a"], role="shadow", version=2)
    world.log.store(NORTH, batch_from_document(document))
    world.record(NORTH, "cost", [label("p1")])
    assert world.values() == [1.0, 1.0]


def test_a_wrong_label_keeps_the_whole_call_out(world: World) -> None:
    """The mistake is named by its place."""
    world.answer(["a"], ["p1"])
    with pytest.raises(Invalid, match=r"labels\[1\].*finite"):
        world.record(NORTH, "cost", [label("p1"), label("p1", float("nan"))])
    with pytest.raises(Invalid, match=r"labels\[0\]: entity"):
        world.record(NORTH, "cost", [KeyedLabel({}, START, 1.0, START)])
    assert world.values() == []


@given(st.one_of(st.integers(-(2**52), 2**52), st.booleans()))
def test_a_number_is_the_same_key_in_every_form(value: int) -> None:
    """As a number, as text and with a point."""
    assert key_text(value) == key_text(float(value)) == key_text(str(int(value))) == key_text(f"{int(value)}.0")


def test_files_give_the_same_labels() -> None:
    """JSON, CSV and Parquet say the same thing in three ways."""
    item = {"entity": {"patient_id": "p1", "ward": 7}, "event_time": "2024-03-01T08:30:00Z", "value": 1}
    document = {"labels": [item | {"known_at": "2024-03-02T08:30:00Z"}]}
    assert is_keyed(document)
    (one,) = keyed_from_document(document, 0)
    text = "ward,patient_id,event_time,value,known_at\n7,p1,2024-03-01T08:30:00Z,true,2024-03-02T08:30:00Z\n"
    (two,) = labels_from_csv_file(text.encode(), 0)
    frame = pl.read_csv(io.StringIO(text)).with_columns(pl.col("event_time").str.to_datetime(time_zone="UTC"))
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    (three,) = labels_from_parquet(buffer.getvalue(), 0)
    said = [
        ({name: key_text(key) for name, key in found.key.items()}, found.event_time, found.value, found.known_at)
        for found in (one, two, three)
        if isinstance(found, KeyedLabel)
    ]
    assert said[0] == said[1] == said[2]


def test_within_of_the_address_holds_for_labels_that_say_none() -> None:
    """And beside `labels` the body has nothing, least of all a `within` that nobody would read."""
    plain = {"entity": {"patient_id": "p1"}, "event_time": "2024-03-01T08:30:00Z", "value": 1}
    document = {"labels": [plain, {**plain, "within": "5m"}]}
    assert [one.within for one in keyed_from_document(document, 0, 30 * MINUTE)] == [30 * MINUTE, 5 * MINUTE]
    with pytest.raises(Invalid, match="unknown field 'within'"):
        keyed_from_document({**document, "within": "1h"}, 0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"patient_id,event_time,value\np1,yesterday,1\n", "line 2"),
        (b"patient_id,event_time,value\n,2024-03-01T08:30:00Z,1\n", "line 2: patient_id is missing"),
        (b"patient_id,event_time,value\np1,2024-03-01T08:30:00Z,much\n", "line 2: value 'much'"),
        (b"patient_id,event_time\np1,2024-03-01T08:30:00Z\n", "lacks the column 'value'"),
    ],
)
def test_mistakes_in_a_file_name_their_line(body: bytes, message: str) -> None:
    """And what is wrong there."""
    with pytest.raises(Invalid, match=message):
        labels_from_csv_file(body, 0)


def test_a_file_has_a_greatest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """By id as by entity and time."""
    monkeypatch.setattr(read_keyed, "MAX_FILE_LABELS", 2)
    for text in ("prediction_id,value\n" + "a,1\n" * 3, "p,event_time,value\n" + "1,2024-03-01T08:30:00Z,1\n" * 3):
        with pytest.raises(TooLarge, match="send at most 2"):
            labels_from_csv_file(text.encode(), 0)


def test_many_labels_of_many_entities_are_matched(world: World) -> None:
    """Each gets its own answer; the time grows with them and not with their square."""
    names = [f"p{number}" for number in range(3_000)]
    world.answer([f"id-{name}" for name in names], names)
    recorded = world.record(NORTH, "cost", [label(one, at=START + 1_000 * place) for place, one in enumerate(names)])
    assert (recorded.accepted, recorded.predictions, recorded.waiting) == (3_000, 3_000, [])


def test_a_forgotten_subject_has_no_labels_waiting(world: World) -> None:
    """Its own labels go, those of others stay, even where a text looks like its key; a late prediction finds none."""
    tricky = KeyedLabel({"patient_id": 'x", "patient_id": "p1'}, START, 1.0, START + MINUTE)
    world.record(NORTH, "cost", [label("p1"), label("p1", at=START + MINUTE), label("p11"), tricky])
    world.record(SOUTH, "cost", [label("p1")])
    assert world.keyed.forget(NORTH, "cost", "patient_id", "p1") == 2
    assert world.keyed.forget(NORTH, "cost", "patient_id", "p1") == 0
    kept = world.keyed.between(NORTH, "cost", 0, 2**60)
    assert {one.key["patient_id"] for one in kept} == {"p11", 'x", "patient_id": "p1'}
    assert len(world.keyed.between(SOUTH, "cost", 0, 2**60)) == 1
    world.answer(["a"], ["p1"])
    assert world.join_late() == 0
