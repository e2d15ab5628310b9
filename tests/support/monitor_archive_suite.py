"""What moving the log into the lake, forgetting and erasing must do."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from services.monitor.domain.erase_words import Subject
from services.monitor.domain.kept.buckets import DAY, HOUR
from services.monitor.domain.kept.segment import segment_of
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import Label, Role, Window
from services.monitor.storage.log.former_batches import FormerBatches
from services.monitor.storage.log.former_payload import pack_rows
from services.monitor.storage.log.former_tables import batch_rows, batches, predictions
from services.monitor.storage.log.tables import forgotten
from services.monitor.storage.models import ModelIds
from services.monitor.storage.segments.tables import segment_rows, segments
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import START, batch_document
from tests.support.monitor_window_suite import know_versions, plain, some_batch

if TYPE_CHECKING:
    from tests.support.monitor_storage_suite import Store

NORTH = TenantId("north")
LATER = 2**60
ALWAYS = Window(0, LATER)
UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def everything(store: Store) -> list[Any]:
    """All that can be read of the log, in an order of its own."""
    windows = [
        plain(store.windows.counted(NORTH, "cost", window))
        for window in (ALWAYS, Window(START + HOUR // 3, START + 4 * HOUR), Window(START - DAY, START, "event_time"))
    ]
    rows = []
    for one in store.answered.answered(NORTH, "cost", ALWAYS):
        columns: dict[str, Any] = dict(one.columns)
        for place, name in enumerate(one.prediction_ids):
            code = columns["kind"].codes[place]
            text = columns["kind"].levels[code] if code >= 0 else None
            values = (one.at[place], one.event_time[place], one.score[place], columns["x"].values[place])
            rows.append((name, one.version, one.role.value, one.level, text, *(float(value) for value in values)))
    return [windows, sorted(rows), store.figures()]


def fill(store: Store) -> int:
    """Batches of five hours with labels; gives the rows."""
    store.clear()
    know_versions(store)
    rng = np.random.default_rng(3)
    batches = [some_batch(rng, number, 5 * HOUR) for number in range(12)]
    for batch in batches:
        store.take([segment_of(batch)])
    store.labels.record(
        NORTH, "cost", [Label(name, 1.0, START) for batch in batches for name in batch.prediction_ids[::3]]
    )
    return sum(len(batch) for batch in batches)


class ArchiveSuite:
    """Subclasses give a fixture `store`."""

    def test_what_was_moved_reads_as_before(self, store: Store) -> None:
        """Rows, windows cut anywhere and joined labels are the same from the lake; the database keeps few segments of them."""
        rows = fill(store)
        before = everything(store)
        assert len(before[1]) == rows
        assert store.archiving.move(0) == 0
        assert store.archiving.move(LATER) == rows
        assert store.archiving.oldest() is None
        assert everything(store) == before
        assert store.archiving.move(LATER) == 0
        more = batch_from_document(batch_document(np.array([0.5]), {"x": [1.0], "kind": ["a"]}, ids=["new"]))
        store.take([segment_of(more)])
        assert len(everything(store)[1]) == rows + 1
        assert store.labels.record(NORTH, "cost", [Label("new", 1.0, START), Label(before[1][0][0], 0.0, START)]) == 2

    def test_killed_after_the_commit_nothing_is_moved_twice(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The lake has the rows and the database does not know yet: the next round only says so."""
        rows = fill(store)
        before = everything(store)
        with monkeypatch.context() as patched:
            patched.setattr(store.archiving, "_say", lambda *_: 0)
            store.archiving.move(LATER)
        assert everything(store) == before
        assert store.archiving.move(LATER) == rows
        assert everything(store) == before

    def test_a_reader_on_its_way_finds_what_is_moved_meanwhile(self, store: Store) -> None:
        """Segments that were found before a move are read from the lake after it, each row once."""
        rows = fill(store)
        reads = store.answered._reads
        found = reads.find(NORTH, "cost", ALWAYS)
        store.archiving.move(LATER)
        assert sum(len(some) for _, some in reads.read(found)) == rows

    @pytest.mark.parametrize("archived", [False, True])
    def test_a_subject_is_forgotten(self, store: Store, archived: bool) -> None:
        """By the value of a column and by id: rows in the database and the lake, and labels; others and the windows stay."""
        store.clear()
        ids = [f"p{row}" for row in range(300)]
        kinds = [None if row % 7 == 0 else f"k{row % 5}" for row in range(300)]
        document = batch_document(np.linspace(0, 1, 300), {"x": np.arange(300.0), "kind": kinds}, ids=ids)
        store.take([segment_of(batch_from_document(document))])
        store.labels.record(NORTH, "cost", [Label(name, 1.0, START) for name in ids])
        store.sketch_later()
        if archived:
            know_versions(store)
            store.clock[0] += 100
            store.sketch_later()
            assert store.archiving.move(LATER) == 300
        theirs = {name for name, kind in zip(ids, kinds, strict=True) if kind == "k3"}
        erased = store.erasure.erase(NORTH, "cost", Subject(key={"kind": "k3"}))
        assert (erased.rows, erased.labels, erased.versions) == (len(theirs), len(theirs), (1,))
        assert store.erasure.erase(NORTH, "cost", Subject(key={"kind": "k3"})).rows == 0
        assert store.erasure.erase(NORTH, "cost", Subject(frozenset({"p0", "p1", "other"}))).rows == 2
        left = {name for one in store.answered.answered(NORTH, "cost", ALWAYS) for name in one.prediction_ids}
        assert left == set(ids) - theirs - {"p0", "p1"}
        assert len(store.figures()[1, Role.STABLE]) == len(left)
        assert store.log.traffic(NORTH, "cost", ALWAYS) == {(1, Role.STABLE): 300}

    def test_rows_about_the_forgotten_that_come_late_are_dropped(self, store: Store) -> None:
        """By the text or the number of a column and by id, up to the instant of the erasure; another tenant's and later rows stay,
        a batch keeps its other rows, and it is counted once however often it comes."""
        store.clear()
        know_versions(store)
        now = time.time_ns() // 1000
        for subject in (Subject(key={"kind": "k3"}), Subject(key={"x": "7"}), Subject(frozenset({"p1", UUID}))):
            store.erasure.remember(NORTH, subject)
        kinds = [None if row % 7 == 0 else f"k{row % 5}" for row in range(30)]
        values: dict[str, list[Any]] = {"x": [float(row) for row in range(30)], "kind": kinds}
        ids = [UUID if row == 5 else f"p{row}" for row in range(30)]
        theirs = {row for row in range(30) if kinds[row] == "k3"} | {1, 5, 7}

        def come(batch: str, at: int, tenant: str = "north") -> None:
            document = batch_document(
                np.linspace(0, 1, 30), values, ids=ids, batch_id=batch, at=at, tenant=tenant, model="cost"
            )
            store.take([segment_of(batch_from_document(document))])

        for _ in range(2):
            come("late", now - DAY)
        left = {name for one in store.answered.answered(NORTH, "cost", ALWAYS) for name in one.prediction_ids}
        assert left == {name for row, name in enumerate(ids) if row not in theirs}
        (total,) = store.windows.counted(NORTH, "cost", ALWAYS)
        assert total.sketch is not None
        assert total.rows == total.sketch.rows == len(left)
        come("new", now + DAY)
        assert store.log.traffic(NORTH, "cost", ALWAYS) == {(1, Role.STABLE): len(left) + 30}
        come("other", now - DAY, "south")
        assert store.log.traffic(TenantId("south"), "cost", ALWAYS) == {(1, Role.STABLE): 30}
        store.archiving.forget(LATER, 0, 0)
        with store.database.session() as session:
            assert session.execute(forgotten.select()).all() == []

    def test_the_lake_says_nothing_of_the_forgotten(self, store: Store) -> None:
        """Neither a file of a former state of the table, nor one that a killed program left, nor the table's own log."""
        store.clear()
        know_versions(store)
        for day, kind in enumerate(["aaron", "mark", "zoe"]):
            document = batch_document(
                np.array([0.5, 0.6]), {"x": [1.0, 2.0], "kind": [kind, "mia"]}, at=START + day * DAY
            )
            store.take([segment_of(batch_from_document(document))])
            assert store.archiving.move(LATER) == 2
        assert store.folder is not None
        folder = Path(store.folder.name) / "predictions" / "north" / "cost"
        (first, *_) = sorted(folder.glob("*.parquet"))
        left_behind = folder / "part-left-behind.parquet"
        shutil.copy(first, left_behind)
        os.utime(left_behind, (0, 0))
        for kind in ("aaron", "zoe"):
            assert store.erasure.erase(NORTH, "cost", Subject(key={"kind": kind})).rows == 1
        assert store.archiving.sweep() == 0
        assert not left_behind.exists()
        for file in folder.rglob("*"):
            if file.suffix == ".parquet" and "_delta_log" not in file.parts:
                assert set(pl.read_parquet(file)["text_kind"]) <= {"mark", "mia"}
            elif file.suffix == ".parquet":
                assert not {"aaron", "zoe"} & set(str(pl.read_parquet(file).to_dicts()).split("'"))
            elif file.is_file():
                assert not {"aaron", "zoe"} & set(file.read_text(errors="replace").split('"'))
        assert sum(len(rows.score) for rows in store.log.rows(NORTH, "cost", ALWAYS, 1, [])) == 4

    def test_rows_of_the_lake_that_the_database_does_not_know_go(self, store: Store) -> None:
        """As a program leaves them that was killed while their segment was erased; what is on its way in stays."""
        rows = fill(store)
        before = everything(store)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(store.archiving, "_say", lambda *_: 0)
            store.archiving.move(LATER)
        assert store.archiving.sweep() == 0
        with store.database.session() as session:
            gone = list(session.execute(segments.select().order_by(segments.c.id)).scalars())[3:]
            session.execute(segment_rows.delete().where(segment_rows.c.segment_id.in_(gone)))
            session.execute(segments.delete().where(segments.c.id.in_(gone)))
        kept = sum(len(some.prediction_ids) for some in store.answered.answered(NORTH, "cost", ALWAYS))
        assert store.archiving.sweep() == rows - kept
        assert store.archiving.move(LATER) == kept
        assert len(everything(store)[1]) == kept < len(before[1])

    def test_rows_of_former_programs_become_segments(self, store: Store) -> None:
        """A batch as programs before segments wrote it is moved once: same rows, ids, labels and windows, and nothing is left."""
        store.clear()
        know_versions(store)
        ids = [f"p{row}" for row in range(40)]
        document = batch_document(np.linspace(0, 1, 40), {"x": np.arange(40.0), "kind": ["a", None] * 20}, ids=ids)
        batch = batch_from_document(document)
        bounds = {
            "at_min": int(batch.at.min()), "at_max": int(batch.at.max()),
            "event_time_min": int(batch.event_time.min()), "event_time_max": int(batch.event_time.max()),
        }  # fmt: skip
        with store.database.session() as session:
            number = ModelIds().need(session, NORTH, "cost")
            session.execute(
                batches.insert().values(
                    id=7, model_id=number, version=1, role="stable", protocol="rest", replica="r", rows=40, **bounds
                )
            )
            session.execute(batch_rows.insert().values(batch_id=7, payload=pack_rows(batch)))
            session.execute(
                predictions.insert(),
                [
                    {"batch_id": 7, "row": row, "model_id": number, "prediction_id": name, "at": 0, "event_time": 0}
                    for row, name in enumerate(ids)
                ],
            )
        store.labels.record(NORTH, "cost", [Label(name, 1.0, START) for name in ids[:9]])
        former = FormerBatches(store.database)
        assert [former.move(), former.move()] == [1, 0]
        assert store.sketch_later() == 1
        (total,) = store.windows.counted(NORTH, "cost", ALWAYS)
        assert total.sketch is not None
        assert (total.rows, total.sketch.rows) == (40, 40)
        (answered,) = store.answered.answered(NORTH, "cost", ALWAYS)
        assert list(answered.prediction_ids) == ids
        assert len(store.figures()[1, Role.STABLE]) == 9

    def test_what_is_older_than_is_kept_goes(self, store: Store) -> None:
        """Rows of the database and of the lake by their answers, and windows by theirs; ids of batches last longest."""
        store.clear()
        know_versions(store)
        for day in range(4):
            document = batch_document(np.array([0.5, 0.6]), {"x": [1.0, 2.0], "kind": ["a", "b"]}, at=START + day * DAY)
            store.take([segment_of(batch_from_document(document))])
            if day == 1:
                store.archiving.move(LATER)
        assert store.archiving.forget(START + 3 * DAY - HOUR, START + DAY, 0) == 6
        (rows,) = store.log.rows(NORTH, "cost", ALWAYS, 1, [])
        assert len(rows.score) == 2
        (total,) = store.windows.counted(NORTH, "cost", ALWAYS)
        assert total.rows == 6
