"""Whole lives of a table: late rows, corrections, erasures, builds at any moment, a Redis that is lost, a clock that runs on.

After every step the online values, the training set's and the definition's are compared bit for bit.
"""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.features.domain.build_online import BuildOnline, Pushes
from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.known_keys import KnownKeys
from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.lookup import Status
from services.features.domain.model import EntityKeys
from services.features.domain.push_events import PushEvents
from services.features.domain.texts import shown
from tenon.core.specs import ColumnType, DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.core.timestamps import rfc3339
from tenon.windows.pieces import Sizes
from tests.support.feature_oracle import Row, believed_value
from tests.support.features_fakes import (
    FakeLake,
    FakeMeter,
    FakeOnlineStore,
    FakePushedRows,
    FakeTrainingFiles,
    FakeViews,
)
from tests.support.features_in_pieces import CuttingOnlineStore

NORTH = TenantId("north")
SECOND = 1_000_000
SHOPS = ("a", "b|c", "")
EVENTS = DatasetSpec.model_validate(
    {
        "name": "events", "primaryKey": ["id", "part"], "eventTime": "at",
        "columns": {
            "id": {"type": "integer"}, "part": {"type": "string"}, "at": {"type": "timestamp"},
            "known": {"type": "timestamp", "nullable": True}, "shop": {"type": "string", "nullable": True},
            "cost": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "known"},
            "size": {"type": "integer", "nullable": True},
            "load": {"type": "float", "nullable": True, "knownAt": "known"},
            "note": {"type": "string", "nullable": True, "knownAt": "known"},
            "tag": {"type": "string", "nullable": True},
        },
    }
)  # fmt: skip
# What is asked: the spine has a row for each entity and moment that is looked at.
QUESTIONS = DatasetSpec.model_validate(
    {
        "name": "questions", "primaryKey": ["number"], "eventTime": "at",
        "columns": {"number": {"type": "integer"}, "at": {"type": "timestamp"},
                    "shop": {"type": "string", "nullable": True}},
    }
)  # fmt: skip
VIEW = FeatureViewSpec.model_validate(
    {
        "name": "v", "dataset": "events", "entity": ["shop"],
        "aggregates": [
            {"functions": ["count", "since_last"], "windows": ["4s", "all"]},
            {"column": "cost", "functions": ["count", "sum", "mean", "std", "min", "max", "first", "last", "distinct",
                                             "quantile", "rate"], "windows": ["4s", "9s"], "above": 0.01,
             "quantiles": [0.5]},
            {"column": "size", "functions": ["sum", "last"], "windows": ["4s", "all"]},
            {"column": "load", "functions": ["sum", "mean", "std", "max"], "windows": ["4s", "9s"]},
            {"column": "size", "functions": ["sum"], "windows": ["9s"], "as": "dear", "where": {"cost": {"above": 0}}},
        ],
        "latest": [{"column": "cost", "ttl": "5s"}, {"column": "load"}, {"column": "note", "ttl": "9s"}],
        "static": ["size", "tag"],
        "expressions": {"share": "cost_sum_4s / cost_sum_9s + size"},
    }
)  # fmt: skip
# The same without what keeps entities in one piece.
CUTTABLE = FeatureViewSpec.model_validate(
    {
        "name": "v", "dataset": "events", "entity": ["shop"],
        "aggregates": [
            {"functions": ["count", "since_last"], "windows": ["4s", "all"]},
            {"column": "cost", "functions": ["count", "sum", "mean", "std", "min", "max", "first", "last", "rate"],
             "windows": ["4s", "9s"], "above": 0.01},
            {"column": "load", "functions": ["sum", "mean", "std", "min", "max", "last"], "windows": ["4s", "9s"]},
            {"column": "size", "functions": ["sum"], "windows": ["9s"], "as": "dear", "where": {"cost": {"above": 0}}},
        ],
        "latest": [{"column": "cost", "ttl": "5s"}, {"column": "load"}],
        "static": ["size"],
        "expressions": {"share": "cost_sum_4s / cost_sum_9s + size"},
    }
)  # fmt: skip
MOMENTS = st.integers(0, 14).map(lambda n: n * SECOND)
ROW = st.fixed_dictionaries(
    {
        "at": MOMENTS, "known": st.none() | MOMENTS, "shop": st.sampled_from([*SHOPS, None]),
        "cost": st.sampled_from([None, -3, 0, 1, 2, 10**17, -(10**17)]), "size": st.sampled_from([None, -1, 0, 1, 7]),
        "load": st.sampled_from([None, 0.1, 0.2, 0.3, -0.1, 1e16, -1e16, 1e308]),
        "note": st.sampled_from([None, "x", "y", "", "é|"]), "tag": st.sampled_from([None, "round", "square"]),
    }
)  # fmt: skip
KEY = st.tuples(st.integers(1, 5), st.sampled_from(["x", "y"]))
STEPS = st.lists(
    st.one_of(
        st.dictionaries(KEY, ROW, min_size=1, max_size=5).map(lambda rows: ("commit", rows)),
        st.dictionaries(KEY, ROW, min_size=1, max_size=5).map(lambda rows: ("commit", rows)),
        st.sets(KEY, min_size=1, max_size=2).map(lambda keys: ("erase", keys)),
        st.dictionaries(KEY, ROW, min_size=1, max_size=4).map(lambda rows: ("push", rows)),
        st.dictionaries(KEY, ROW, min_size=1, max_size=4).map(lambda rows: ("push", rows)),
        st.sampled_from(["x", "y"]).map(lambda part: ("withdraw", part)),
        st.just(("lose", None)),
        st.integers(1, 6).map(lambda seconds: ("wait", seconds * SECOND)),
        st.just(("build", None)),
    ),
    min_size=2,
    max_size=7,
)


KINDS: dict[ColumnType, Any] = {ColumnType.STRING: pl.String, ColumnType.FLOAT: pl.Float64}


def frame_of(spec: DatasetSpec, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as the lake has them; moments are microseconds."""
    kinds = KINDS | {ColumnType.TIMESTAMP: pl.Datetime("us", "UTC")}
    return pl.DataFrame(
        [
            pl.Series(name, [row[name] for row in rows], KINDS.get(column.type, pl.Int64))
            .cast(kinds.get(column.type, pl.Int64))
            for name, column in spec.columns.items()
        ]
    )  # fmt: skip


class Life:
    """A table and everything that was ever said about its rows."""

    def __init__(self, view: FeatureViewSpec = VIEW, online: FakeOnlineStore | None = None) -> None:
        self.views, self.lake, self.meter, self.view = FakeViews(), FakeLake(), FakeMeter(), view
        self.online = FakeOnlineStore() if online is None else online
        self.lake.specs[NORTH, "events"], self.lake.specs[NORTH, "questions"] = EVENTS, QUESTIONS
        self.now, self.present = 0, dict[Any, list[tuple[Row, int]]]()
        self.views.apply(NORTH, view, dry_run=False)
        # Rows that were pushed and did not come with a commit yet.
        self.pending = dict[Any, Row]()
        rows, known = FakePushedRows(), KnownKeys(self.lake)
        self.pushed = rows
        self.pushes = PushEvents(
            self.views, self.lake, self.online, rows, known, self.meter, lambda: self.now, keep=10**12
        )
        self.builds = BuildOnline(
            self.views, self.lake, self.lake, self.online, self.meter, slack=8 * SECOND, now=lambda: self.now,
            pushes=Pushes(rows, known, self.pushes),
        )  # fmt: skip
        self.built = False

    def step(self, kind: str, what: Any) -> None:
        """One thing happens."""
        if kind == "wait":
            self.now += what
        elif kind == "lose":
            self.online.states.clear()
            self.online.blobs.clear()
            self.pushed.rows.clear()
            self.pushed.changed += 1
            self.pending.clear()
            self.built = False
        elif kind == "build":
            assert not self.builds.build_for(NORTH, "events")
            self.built = True
        elif kind == "push":
            rows = {
                key: row if row["known"] is not None else row | {"cost": None, "load": None, "note": None}
                for key, row in what.items()
            }
            taken = self.pushes.push(NORTH, "events", [as_json(key, row) for key, row in rows.items()])
            assert taken.accepted == len(rows.keys() - self.present.keys())
            self.pending |= {key: row for key, row in rows.items() if key not in self.present}
        elif kind == "withdraw":
            self.pushes.withdraw(NORTH, "events", "part", what)
            self.pending = {key: row for key, row in self.pending.items() if key[1] != what}
        else:
            self.built = False
            if kind == "erase":
                self.present = {key: rows for key, rows in self.present.items() if key not in what}
            else:
                for key, row in what.items():
                    self.pending.pop(key, None)
                    history = self.present.setdefault(key, [])
                    whole = {"id": key[0], "part": key[1], **row}
                    if not history or history[-1][0] != whole:
                        history.append((whole, self.now))
            self.lake.commit(NORTH, "events", frame_of(EVENTS, [dict(rows[-1][0]) for rows in self.present.values()]))
            uri = "fake://north/events"
            self.lake.times[uri, len(self.lake.commits[uri]) - 1] = self.now

    def check(self, moments: list[int]) -> None:
        """Online, offline and by the definition."""
        committed = "fake://north/events" in self.lake.commits
        asked = [(shop, at) for shop in (*SHOPS, "never", None) for at in moments]
        questions = [{"number": n, "at": at, "shop": shop} for n, (shop, at) in enumerate(asked)]
        self.lake.commit(NORTH, "questions", frame_of(QUESTIONS, questions))
        offline = self.training_set() if committed else None
        if offline is not None and len(self.lake.commits["fake://north/events"]) % 3 == 0:
            # Through files, a few rows at a time, it is the same.
            assert self.training_set(memory=10_000).equals(offline)
        if not self.built:
            assert not self.builds.build_for(NORTH, "events")
        rows = [EntityKeys({} if shop is None else {"shop": shop}, at) for shop, at in asked]
        online = LookUpOnline(self.online, self.views, self.meter).look_up(NORTH, ["v"], rows)
        # What was pushed counts online as if the last commit had brought it.
        fresh: dict[Any, list[tuple[Row, int]]] = {
            key: [({"id": key[0], "part": key[1], **row}, self.now)] for key, row in self.pending.items()
        }
        for row, (shop, at) in enumerate(asked):
            for place, feature in enumerate(self.view.features()):
                expected = bits(believed_value(self.view, EVENTS, self.present, (shop,), feature, at))
                if offline is not None:
                    assert bits(offline[feature.reference][row]) == expected, (feature.name, shop, at)
                if fresh:
                    expected = bits(believed_value(self.view, EVENTS, self.present | fresh, (shop,), feature, at))
                if online.rows[row].statuses[place] is not Status.BEFORE_HORIZON:
                    found = shown(
                        online.rows[row].values[place], online.texts if place in online.text_features else None
                    )
                    assert bits(found) == expected, (feature.name, shop, at)
        assert len(self.pushed.all(NORTH, "events")) == len(self.pending)

    def training_set(self, memory: int = 1 << 30) -> pl.DataFrame:
        """The values of the questions, offline."""
        files = FakeTrainingFiles()
        training = BuildTrainingSet(self.views, self.lake, self.lake, files, self.meter, memory=memory)
        made = training.build(NORTH, "questions", [], ["v"])
        return files.frames[NORTH, made.fingerprint].sort("number")


def as_json(key: Any, row: Row) -> dict[str, Any]:
    """A row as it is pushed."""
    moments = {name: None if row[name] is None else rfc3339(row[name]) for name in ("at", "known")}
    cost = None if row["cost"] is None else str(Decimal(row["cost"]).scaleb(-2))
    return {"id": key[0], "part": key[1], **row, **moments, "cost": cost}


def bits(value: float | str | None) -> bytes:
    """The float's bytes, all missing values alike; a text's."""
    if isinstance(value, str):
        return b"text " + value.encode()
    return struct.pack("<d", math.nan if value is None or math.isnan(value) else value)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, seed=st.randoms(use_true_random=False))
def test_one_value_through_a_whole_life(steps: list[tuple[str, Any]], seed: Any) -> None:
    """Online, offline and the definition agree after any late rows, corrections, erasures, losses, pushes and builds."""
    life = Life()
    for kind, what in steps:
        life.step(kind, what)
    edges = [at + after for at in range(0, 26 * SECOND, SECOND) for after in (0, 1)]
    life.check(sorted(seed.sample(edges, 5)))


@settings(max_examples=20, deadline=None)
@given(
    first=st.dictionaries(KEY, ROW, min_size=5, max_size=10), steps=STEPS, seed=st.randoms(use_true_random=False),
    sizes=st.builds(Sizes, most=st.integers(1, 3), newest=st.integers(1, 2), chunk=st.integers(1, 2)),
)  # fmt: skip
def test_one_value_of_entities_in_pieces(first: Any, steps: list[tuple[str, Any]], seed: Any, sizes: Sizes) -> None:
    """The same where entities are cut into pieces after a few events: nothing that happens to a table changes a value."""
    life = Life(CUTTABLE, CuttingOnlineStore(sizes=sizes))
    for kind, what in [("commit", first), ("build", None), *steps]:
        # Most of what happens is one entity's.
        crowded = (
            {key: row if row["size"] == 1 else row | {"shop": "a"} for key, row in what.items()}
            if isinstance(what, dict)
            else what
        )
        life.step(kind, crowded)
        if seed.random() < 0.5:
            life.step("build", None)
    edges = [at + after for at in range(0, 26 * SECOND, SECOND) for after in (0, 1)]
    life.check(sorted(seed.sample(edges, 5)))


@pytest.mark.parametrize("between", [[], [("build", None)]])
def test_a_pushed_row_is_over_when_its_commit_was_erased(between: list[tuple[str, Any]]) -> None:
    """Also when nothing was built between the commit and the erasure; pushed once more after that, it waits again."""
    row = {"at": SECOND, "known": None, "shop": "a", "cost": None, "size": None, "load": None, "note": "x", "tag": None}
    life = Life()
    for kind, what in [
        ("commit", {(1, "x"): row}), ("push", {(2, "x"): row}), ("commit", {(2, "x"): row}), *between,
        ("erase", {(2, "x")}),
    ]:  # fmt: skip
        life.step(kind, what)
    life.check([2 * SECOND])
    life.step("push", {(2, "x"): row})
    life.check([2 * SECOND])
    life.step("commit", {(3, "x"): row})
    life.check([2 * SECOND])


@settings(max_examples=20, deadline=None)
@given(
    first=st.dictionaries(KEY, ROW, min_size=1, max_size=6), second=st.dictionaries(KEY, ROW, max_size=4), at=MOMENTS
)
def test_a_correction_changes_nothing_before_it_was_known(first: dict, second: dict, at: int) -> None:
    """Rows and corrections that tell a moment at or after t leave every value at t as it was."""
    later = {
        key: row | {"at": max(row["at"], at), "known": None if row["known"] is None else max(row["known"], at)}
        for key, row in second.items()
    }
    timeless = {"size", "share", "tag"}
    values = []
    for steps in ([first], [first, later]):
        life = Life()
        for rows in steps:
            # What tells no moment of its own is known when it comes in.
            life.now = at
            life.step("commit", rows)
        life.lake.commit(NORTH, "questions", frame_of(QUESTIONS, [{"number": n, "at": at, "shop": shop} for n, shop in enumerate(SHOPS)]))  # fmt: skip
        files = FakeTrainingFiles()
        made = BuildTrainingSet(life.views, life.lake, life.lake, files, life.meter).build(
            NORTH, "questions", [], ["v"]
        )
        frame = files.frames[NORTH, made.fingerprint].sort("number")
        values.append([[bits(v) for v in frame[f.reference]] for f in VIEW.features() if f.name not in timeless])
    assert values[0] == values[1]
