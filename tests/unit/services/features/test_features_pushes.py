"""Rows that are pushed: what is taken, what is refused, and how long they wait."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from services.features.domain.build_online import BuildOnline, Pushes
from services.features.domain.known_keys import KnownKeys
from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.lookup import Status
from services.features.domain.model import EntityKeys
from services.features.domain.push_events import PushEvents
from services.features.domain.pushed_lately import HELD
from services.features.domain.read_pushed import read_rows, read_value
from tenon.core.errors import Invalid, RateLimited, TooLarge
from tenon.core.specs import ColumnType, DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.windows.blob import EntityBlob, decode_blob, encode_blob, laid_over, without_pushed
from tenon.windows.events import Column, Events
from tests.support.features_fakes import FakeLake, FakeMeter, FakeOnlineStore, FakePushedRows, FakeViews

NORTH = TenantId("north")
DAY = 86_400_000_000
VISITS = DatasetSpec.model_validate(
    {
        "name": "visits", "primaryKey": ["id"], "eventTime": "at",
        "columns": {
            "id": {"type": "integer", "min": 1}, "at": {"type": "timestamp"}, "sent": {"type": "timestamp", "nullable": True},
            "who": {"type": "string", "maxLength": 5, "pattern": "[a-z]+"}, "day": {"type": "date", "nullable": True},
            "bill": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "sent", "max": 99.5},
            "kind": {"type": "string", "nullable": True, "values": ["in", "out"]},
            "share": {"type": "float", "nullable": True}, "open": {"type": "boolean", "nullable": True},
        },
    }
)  # fmt: skip
VIEW = FeatureViewSpec.model_validate(
    {"name": "v", "dataset": "visits", "entity": ["who"], "aggregates": [{"functions": ["count"], "windows": ["9d"]}]}
)
GOOD: dict[str, Any] = {
    "id": 1, "at": "1970-01-02T00:00:00Z", "sent": "1970-01-03T00:00:00+01:00", "who": "ann", "day": "2024-02-29",
    "bill": 99.5, "kind": "in", "share": 1, "open": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "kind", "scale", "read"),
    [
        (12.1, ColumnType.DECIMAL, 2, 1210), ("12.10", ColumnType.DECIMAL, 2, 1210), (7, ColumnType.DECIMAL, 2, 700),
        ("-0.05", ColumnType.DECIMAL, 2, -5), (0.1, ColumnType.DECIMAL, 1, 1), ("1e2", ColumnType.DECIMAL, 0, 100),
        ("1970-01-01T01:00:00.000001+01:00", ColumnType.TIMESTAMP, 0, 1), ("1970-01-03", ColumnType.DATE, 0, 2),
        (-(2**63), ColumnType.INTEGER, 0, -(2**63)), (False, ColumnType.BOOLEAN, 0, False), (None, ColumnType.DATE, 0, None),
    ],
)  # fmt: skip
def test_values_are_what_json_says(value: Any, kind: ColumnType, scale: int, read: Any) -> None:
    """Decimals are the decimals that were written, instants microseconds, dates days."""
    assert read_value(value, kind, scale) == read


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 0), ("id", 1.0), ("id", "1"), ("id", True), ("id", None), ("id", 2**63), ("at", "1970-01-02T00:00:00"),
        ("at", 7), ("at", "soon"), ("who", "annabel"), ("who", "A"), ("who", 5), ("day", "2023-02-29"), ("day", "20240101"),
        ("bill", 1.005), ("bill", 99.51), ("bill", "NaN"), ("bill", "1e400"), ("bill", float("inf")), ("bill", True),
        ("bill", "ten"), ("kind", "up"), ("share", float("nan")), ("share", "1"), ("open", 1), ("open", "true"),
        ("sent", None), ("typo", 1),
    ],
)  # fmt: skip
def test_what_the_contract_does_not_allow_is_refused(column: str, value: Any) -> None:
    """The place is named and the value, which may be a person's, is not repeated."""
    with pytest.raises(Invalid) as refused:
        read_rows(VISITS, [GOOD, GOOD | {"id": 2} | {column: value}])
    assert refused.value.place is not None
    named = "bill" if column == "sent" else column
    assert refused.value.place.field == f"rows.1.{named}"
    assert not isinstance(value, str) or len(value) < 5 or value not in refused.value.message


class World:
    """One data set and one view over fakes."""

    def __init__(self, *, most: int = 100) -> None:
        self.views, self.lake, self.online, self.meter = FakeViews(), FakeLake(), FakeOnlineStore(), FakeMeter()
        self.lake.specs[NORTH, "visits"] = VISITS
        self.rows, known, self.now = FakePushedRows(), KnownKeys(self.lake), 5 * DAY
        self.pushing = PushEvents(self.views, self.lake, self.online, self.rows, known, self.meter, lambda: self.now,
                                  most=most, keep=2 * DAY)  # fmt: skip
        self.builds = BuildOnline(self.views, self.lake, self.lake, self.online, self.meter, slack=DAY,
                                  now=lambda: self.now, pushes=Pushes(self.rows, known, self.pushing))  # fmt: skip
        self.views.apply(NORTH, VIEW, dry_run=False)

    def count(self, who: str) -> tuple[float, Status]:
        """How many events an entity has now."""
        row = (
            LookUpOnline(self.online, self.views, self.meter)
            .look_up(NORTH, ["v"], [EntityKeys({"who": who}, self.now)])
            .rows[0]
        )
        return row.values[0], row.statuses[0]


def test_a_row_that_never_comes_with_a_commit_is_forgotten() -> None:
    """After its time it counts no more, and an entity that was known only by it is unknown again."""
    world = World()
    world.builds.build_for(NORTH, "visits")
    world.pushing.push(NORTH, "visits", [GOOD, GOOD | {"id": 2}, GOOD | {"id": 2}])
    assert world.count("ann") == (2.0, Status.PRESENT)
    world.builds.build_for(NORTH, "visits")
    assert (world.count("ann"), world.meter.waits) == ((2.0, Status.PRESENT), {"visits": 2})
    world.now += 3 * DAY
    world.builds.build_for(NORTH, "visits")
    assert (world.count("ann"), world.meter.waits) == ((0.0, Status.UNKNOWN_ENTITY), {"visits": 0})


def test_a_pushed_row_moves_with_its_last_push() -> None:
    """The last push of a key stands, also where it names another entity; withdrawn, it is gone."""
    world = World()
    world.builds.build_for(NORTH, "visits")
    world.pushing.push(NORTH, "visits", [GOOD])
    world.pushing.push(NORTH, "visits", [GOOD | {"who": "bob"}])
    assert (world.count("ann")[1], world.count("bob")[0]) == (Status.UNKNOWN_ENTITY, 1.0)
    assert world.pushing.withdraw(NORTH, "visits", "who", "ann") == 0
    assert world.pushing.withdraw(NORTH, "visits", "who", "bob") == 1
    assert world.count("bob")[1] is Status.UNKNOWN_ENTITY
    with pytest.raises(Invalid):
        world.pushing.withdraw(NORTH, "visits", "whom", "bob")


def test_a_definition_takes_up_what_was_pushed_before_it() -> None:
    """A view that is built after the push has the row too."""
    world = World()
    world.pushing.push(NORTH, "visits", [GOOD])
    world.builds.build_for(NORTH, "visits")
    assert world.count("ann") == (1.0, Status.PRESENT)


def test_pushes_are_bounded() -> None:
    """Rows of a call, bytes of a row, rows that wait, and data sets that no view is made of."""
    world = World(most=3)
    with pytest.raises(TooLarge):
        world.pushing.push(NORTH, "visits", [GOOD] * 1001)
    with pytest.raises(RateLimited):
        world.pushing.push(NORTH, "visits", [GOOD | {"id": n} for n in range(1, 5)])
    world.lake.specs[NORTH, "other"] = VISITS.model_copy(update={"name": "other"})
    with pytest.raises(Invalid):
        world.pushing.push(NORTH, "other", [GOOD])
    wide = DatasetSpec.model_validate(
        {"name": "visits", "primaryKey": ["id"], "eventTime": "at",
         "columns": {"id": {"type": "string"}, "at": {"type": "timestamp"}, "who": {"type": "string"}}}
    )  # fmt: skip
    world.lake.specs[NORTH, "visits"] = wide
    with pytest.raises(TooLarge):
        world.pushing.push(NORTH, "visits", [{"id": "x" * 17_000, "at": GOOD["at"], "who": "ann"}])


def test_pushed_events_lie_above_the_tables() -> None:
    """A blob with some of them reads back as it was written, and without them it is the table's again."""
    times = np.array([1, 5, 9], np.int64)
    below = EntityBlob("e", 3, 1, Events(times, (Column(), Column(value=times * 2))))
    above = EntityBlob(
        "e", 0, 0, Events(times[:2], (Column(), Column(value=times[:2]))), np.array([7, -8]), only_pushed=True
    )
    both = laid_over(below, above)
    assert both is not None
    read = decode_blob(encode_blob(both))
    assert (read.table_version, read.horizon, read.only_pushed) == (3, 1, False)
    assert read.pushed is not None
    assert sorted(read.pushed.tolist()) == [-8, 0, 0, 0, 7]
    for keys, left in ((None, [0, 0, 0]), ([7], [-8, 0, 0, 0]), ([99], [-8, 0, 0, 0, 7])):
        fewer = without_pushed(read, keys)
        assert fewer is not None
        assert sorted([0] * len(fewer.events) if fewer.pushed is None else fewer.pushed.tolist()) == left
    bare = without_pushed(read)
    assert bare is not None
    assert encode_blob(bare) == encode_blob(below)
    assert without_pushed(decode_blob(encode_blob(above))) is None


def test_what_redis_lost_of_the_last_pushes_is_given_again() -> None:
    """After another run of Redis answers, rows that it lost are back, newer ones stay, and what was withdrawn is gone again."""
    world = World()

    def push(number: int, who: str, **more: Any) -> None:
        world.pushing.push(NORTH, "visits", [GOOD | {"id": number, "who": who} | more])

    def lose_since(rows: Any, blobs: Any) -> None:
        world.rows.rows, world.online.blobs[NORTH, "v"] = rows, blobs
        world.rows.runs += 1

    world.builds.build_all()
    push(1, "old")
    world.now += HELD + 1
    assert world.pushing.push_again() == 0
    push(2, "taken")
    kept = deepcopy((world.rows.rows, world.online.blobs[NORTH, "v"]))
    push(3, "lost")
    push(4, "moved")
    world.pushing.withdraw(NORTH, "visits", "who", "taken")
    lose_since(*kept)
    assert [world.count(who)[0] for who in ("old", "taken", "lost", "moved")] == [1, 1, 0, 0]
    push(4, "later")  # as another replica, before this one has noticed
    assert world.pushing.push_again() >= 3
    assert [world.count(who)[0] for who in ("old", "taken", "lost", "moved", "later")] == [1, 0, 1, 0, 1]
    assert world.pushing.push_again() == 0
    # Lost once more, and the data set's contract with it.
    lose_since({}, {})
    del world.lake.specs[NORTH, "visits"]
    assert world.pushing.push_again() > 0
    assert world.pushing.push_again() == 0
    # Not more is held than may wait; that the old one is forgotten was said by the time.
    world.lake.specs[NORTH, "visits"] = VISITS
    assert world.count("old")[0] == 0
