"""The use cases over ports in memory."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.features.domain.build_online import BuildOnline
from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.define_views import DefineViews
from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.lookup import Status
from services.features.domain.model import EntityKeys
from services.features.worker import BuildRequests, DatasetCommittedHandler
from tenon.core.errors import Invalid, NotFound, Precondition, TooLarge, Unavailable
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tests.support.fake_ingest import lake_frame
from tests.support.features_fakes import FakeLake, FakeMeter, FakeOnlineStore, FakeTrainingFiles, FakeViews

NORTH, SOUTH = TenantId("north"), TenantId("south")
DAY = 86_400_000_000
START = datetime(2025, 1, 1, tzinfo=UTC)
SALES = DatasetSpec.model_validate(
    {
        "name": "sales",
        "primaryKey": ["id"],
        "eventTime": "at",
        "columns": {
            "id": {"type": "integer"},
            "at": {"type": "timestamp"},
            "known": {"type": "timestamp"},
            "shop": {"type": "string", "nullable": True},
            "day": {"type": "date"},
            "open": {"type": "boolean"},
            "price": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "known"},
            "score": {"type": "float"},
        },
    }
)
VIEW = FeatureViewSpec.model_validate(
    {
        "name": "shop_history",
        "dataset": "sales",
        "entity": ["shop"],
        "aggregates": [
            {"functions": ["count"], "windows": ["3d"]},
            {"column": "price", "functions": ["sum"], "windows": ["3d"]},
        ],
    }
)


def sale(number: int, days: float, shop: str | None, price: str | None, late: float = 0.0) -> dict[str, Any]:
    """One row of the lake."""
    at = START + timedelta(days=days)
    return {
        "id": number, "at": at, "known": at + timedelta(days=late), "shop": shop, "day": date(2025, 1, 1),
        "open": True, "price": price, "score": 0.5,
    }  # fmt: skip


def micros(days: float) -> int:
    """Microseconds of a day of the tests."""
    return int(START.timestamp() * 1e6) + int(days * DAY)


class World:
    """All use cases over one set of fakes."""

    def __init__(self) -> None:
        self.views, self.lake, self.online, self.meter = FakeViews(), FakeLake(), FakeOnlineStore(), FakeMeter()
        self.files, self.requests, self.now = FakeTrainingFiles(), BuildRequests(), micros(100)
        self.lake.specs[NORTH, "sales"] = SALES
        self.builds = BuildOnline(
            self.views, self.lake, self.lake, self.online, self.meter, slack=10 * DAY, now=lambda: self.now
        )
        self.define = DefineViews(self.views, self.lake, self.online, self.requests)
        self.look = LookUpOnline(self.online, self.views, self.meter, self.requests, lambda: self.now)
        self.training = BuildTrainingSet(self.views, self.lake, self.lake, self.files, self.meter)

    def commit(self, *rows: dict[str, Any]) -> None:
        """The table's next version."""
        from decimal import Decimal

        typed = [row | {"price": None if row["price"] is None else Decimal(row["price"])} for row in rows]
        self.lake.commit(NORTH, "sales", lake_frame(SALES, typed))

    def ask(self, shop: str | None, days: float) -> tuple[list[float], list[Status]]:
        """One lookup."""
        keys = {} if shop is None else {"shop": shop}
        answer = self.look.look_up(NORTH, ["shop_history"], [EntityKeys(keys, micros(days))])
        return answer.rows[0].values, answer.rows[0].statuses


@pytest.fixture
def world() -> World:
    """A fresh world with the view applied."""
    made = World()
    made.define.apply(NORTH, VIEW)
    return made


def test_applying_asks_for_a_build(world: World) -> None:
    """Each apply asks for a build, a dry run does not, and asking twice is asking once."""
    assert world.requests.take() == [(NORTH, "shop_history")]
    change, _ = world.define.apply(NORTH, VIEW, dry_run=True)
    assert (change, world.requests.take()) == ("unchanged", [])
    for _ in range(2):
        assert world.define.apply(NORTH, VIEW)[0] == "unchanged"
    assert world.requests.take() == [(NORTH, "shop_history")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dataset": "sale"}, "dataset"),
        ({"entity": ["shp"]}, "entity.0"),
        ({"entity": ["at"]}, "entity.0"),
        ({"aggregates": [{"column": "shop", "functions": ["mean"], "windows": ["1d"]}]}, "aggregates.0.column"),
        ({"aggregates": [{"column": "price", "functions": ["rate"], "windows": ["1d"], "above": float("inf")}]},
         "aggregates.0.above"),
    ],
)  # fmt: skip
def test_a_view_that_does_not_fit_is_refused(world: World, change: dict[str, Any], field: str) -> None:
    """What does not fit the data set names the field, and nothing is stored."""
    spec = FeatureViewSpec.model_validate({**VIEW.canonical(), "name": "other", **change})
    with pytest.raises(Invalid) as refused:
        world.define.apply(NORTH, spec)
    assert refused.value.place is not None
    assert refused.value.place.field == field
    assert len(world.views.list(NORTH)) == 1


def test_late_and_corrected_events_arrive_where_they_belong(world: World) -> None:
    """A correction that moves an event to another entity changes both, and a late bill counts from when it is known."""
    world.commit(sale(1, 50, "a", "1.50"), sale(2, 51, "a", "2.25", late=1))
    world.builds.build(NORTH, "shop_history")
    assert world.ask("a", 51.5) == ([2.0, 1.5], [Status.PRESENT, Status.PRESENT])
    assert world.ask("a", 52.5)[0] == [2.0, 3.75]
    world.commit(sale(1, 50, "b", "1.50"), sale(2, 51, "a", "2.25", late=1), sale(3, 49.9, "b", "10.00", late=2))
    assert not world.builds.build_for(NORTH, "sales")
    assert world.ask("a", 51.5)[0][0] == 1.0
    assert world.ask("b", 51.5)[0] == [2.0, 1.5]
    assert world.ask("b", 52.5)[0] == [2.0, 11.5]
    assert world.meter.builds == [("shop_history", 0), ("shop_history", 1)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a", "b", "c", None]), st.integers(0, 8)), max_size=6),
        min_size=2, max_size=5,
    ),
    st.booleans(),
)  # fmt: skip
def test_added_rows_are_added(batches: list[list[tuple[int, str | None, int]]], corrected: bool) -> None:
    """Commits that only add rows, however late these are, extend what is held: the values are those of a view that was
    built whole. A commit that changes rows builds it whole."""
    one_by_one = World()
    rows: list[dict[str, Any]] = []
    one_by_one.define.apply(NORTH, VIEW)
    for batch in batches:
        rows += [sale(len(rows) + n, 60 + days, shop, f"{days}.25", late) for n, (days, shop, late) in enumerate(batch)]
        one_by_one.commit(*rows)
        one_by_one.builds.build(NORTH, "shop_history")
    assert one_by_one.online.extended == len(batches) - 1
    if corrected and rows:
        rows[0] = rows[0] | {"shop": "c"}
        one_by_one.commit(*rows)
        one_by_one.builds.build(NORTH, "shop_history")
    whole = World()
    whole.define.apply(NORTH, VIEW)
    whole.commit(*rows)
    whole.builds.build(NORTH, "shop_history")
    newest = max((micros(0) + int((row["at"] - START).total_seconds() * 1e6) for row in rows), default=0)
    state = one_by_one.online.states[NORTH, "shop_history"]
    expected = whole.online.states[NORTH, "shop_history"]
    assert (state.newest_event, state.entities) == (expected.newest_event, expected.entities)
    for shop in ("a", "b", "c"):
        for days in (90.0, 95.5, 100.25, 101.0, 104.0, 110.0):
            if micros(days) >= min(newest, one_by_one.now) - 10 * DAY:
                assert str(one_by_one.ask(shop, days)) == str(whole.ask(shop, days))


def test_a_model_keeps_the_definition_it_was_trained_on(world: World) -> None:
    """Who asks by digest gets that definition's values before, while and after another takes its place, up to the lake's
    version; nobody waits, and what nobody asks for any more is removed."""
    rows = [sale(1, 90, "a", "1.50"), sale(2, 96, "a", "2.00")]
    world.commit(*rows)
    world.builds.build(NORTH, "shop_history")
    trained_on = world.views.get(NORTH, "shop_history").digest

    def kept(days: float, digest: str = trained_on) -> list[float]:
        asked = [EntityKeys({"shop": "a"}, micros(days))]
        return world.look.look_up(NORTH, ["shop_history"], asked, {"shop_history": digest}).rows[0].values

    assert kept(97) == [1.0, 2.0]
    wider = {**VIEW.canonical(), "aggregates": [{"functions": ["count"], "windows": ["30d"]}]}
    world.define.apply(NORTH, FeatureViewSpec.model_validate(wider))
    assert kept(97) == [1.0, 2.0]
    world.builds.build(NORTH, "shop_history")
    assert (kept(97), world.ask("a", 97)[0]) == ([1.0, 2.0], [2.0])
    world.commit(*rows, sale(3, 96.5, "a", "4.00"))
    world.builds.build_for(NORTH, "sales")
    assert (kept(97), world.ask("a", 97)[0]) == ([2.0, 6.0], [3.0])
    # Other words for the same meaning are the same values, and the older words are still answered.
    newest = world.views.get(NORTH, "shop_history").digest
    assert kept(97, newest) == [3.0]
    world.define.apply(NORTH, FeatureViewSpec.model_validate({**wider, "description": "words only"}))
    world.builds.build(NORTH, "shop_history")
    assert kept(97, newest) == [3.0]
    assert kept(97, world.views.get(NORTH, "shop_history").digest) == [3.0]
    assert {name for _, name in world.online.states} == {"shop_history", f"shop_history@{trained_on[:16]}"}
    # Back to the first definition: it is held once, and up to date.
    world.define.apply(NORTH, VIEW)
    world.builds.build(NORTH, "shop_history")
    world.commit(*rows, sale(3, 96.5, "a", "4.00"), sale(4, 96.6, "a", "8.00"))
    world.builds.build_for(NORTH, "sales")
    assert (kept(97), kept(97, newest)) == ([3.0, 14.0], [4.0])
    assert (NORTH, f"shop_history@{trained_on[:16]}") not in world.online.states
    world.now += 8 * DAY
    world.builds.build(NORTH, "shop_history")
    assert {name for _, name in world.online.states} == {"shop_history"}
    # Asked for again it is built again, and what never was is refused.
    with pytest.raises(Unavailable, match="being built"):
        kept(105, newest)
    for tenant, name in world.requests.take():
        world.builds.build(tenant, name)
    assert kept(105, newest) == [4.0]
    with pytest.raises(NotFound):
        kept(105, "0" * 64)


def test_a_model_that_was_not_asked_lately_keeps_its_definition(world: World) -> None:
    """What is served when another definition takes its place is kept for an hour, and longer for who asks by then."""
    world.commit(sale(1, 90, "a", "1.50"))
    world.builds.build(NORTH, "shop_history")
    trained_on = world.views.get(NORTH, "shop_history").digest
    wider = {**VIEW.canonical(), "aggregates": [{"functions": ["count"], "windows": ["30d"]}]}
    world.define.apply(NORTH, FeatureViewSpec.model_validate(wider))
    world.builds.build(NORTH, "shop_history")
    asked = [EntityKeys({"shop": "a"}, micros(91))]
    found = world.look.look_up(NORTH, ["shop_history"], asked, {"shop_history": trained_on})
    assert found.rows[0].values == [1.0, 1.5]
    world.now += DAY
    world.builds.build(NORTH, "shop_history")
    assert (NORTH, f"shop_history@{trained_on[:16]}") in world.online.states
    world.define.apply(NORTH, FeatureViewSpec.model_validate({**wider, "entity": ["shop"], "static": ["open"]}))
    world.builds.build(NORTH, "shop_history")
    assert len(world.online.states) == 3
    world.now += DAY // 24 + 1
    world.builds.build(NORTH, "shop_history")
    assert {name for _, name in world.online.states} == {"shop_history", f"shop_history@{trained_on[:16]}"}


def test_more_slack_builds_whole(world: World) -> None:
    """When the horizon moves back, events are needed that are not held: added rows are not enough then."""
    world.commit(sale(1, 10, "a", "1.50"), sale(2, 60, "a", "1.50"))
    world.builds.build(NORTH, "shop_history")
    world.builds = BuildOnline(
        world.views, world.lake, world.lake, world.online, world.meter, slack=80 * DAY, now=lambda: world.now
    )
    world.commit(sale(1, 10, "a", "1.50"), sale(2, 60, "a", "1.50"), sale(3, 60.5, "a", "2.00"))
    world.builds.build(NORTH, "shop_history")
    assert world.online.extended == 0
    assert world.ask("a", 11)[0] == [1.0, 1.5]


def test_building_again_does_nothing(world: World) -> None:
    """What is up to date is neither read nor written again, however often an event comes."""
    world.commit(sale(1, 50, "a", "1.50"))
    handle = DatasetCommittedHandler(world.builds)
    fields = {b"tenant": b"north", b"dataset": b"sales"}
    handle("1-0", fields)
    reads = world.lake.reads
    handle("2-0", fields)
    assert not world.builds.build_all()
    assert world.lake.reads == reads
    assert world.meter.lag == {"shop_history": 0}


def test_an_event_waits_for_ingest(world: World) -> None:
    """While ingest is away the event is given back, and the failure is counted."""
    world.lake.down = True
    with pytest.raises(Unavailable):
        DatasetCommittedHandler(world.builds)("1-0", {b"tenant": b"north", b"dataset": b"sales"})
    assert world.meter.failures == ["SERVICE_UNAVAILABLE"]


def test_horizon_and_old_entities(world: World) -> None:
    """Times before the horizon are not answered, of nobody; an entity that no time after it can see is not held."""
    nothing = [0.0, pytest.approx(float("nan"), nan_ok=True)]
    world.commit(sale(1, 2, "old", "1.00"), sale(2, 50, "a", "1.00"))
    world.builds.build(NORTH, "shop_history")
    for shop in ("old", "nobody"):
        assert world.ask(shop, 50) == (nothing, [Status.UNKNOWN_ENTITY] * 2)
        assert world.ask(shop, 39.9)[1] == [Status.BEFORE_HORIZON] * 2
    assert world.ask("a", 40)[1][0] is Status.PRESENT
    assert world.ask("a", 39.9)[1] == [Status.BEFORE_HORIZON] * 2
    assert world.ask(None, 50)[1] == [Status.MISSING] * 2


def test_an_entity_without_events_leaves(world: World) -> None:
    """With the build after which nobody can see its events any more, and it comes back with the next."""
    rows = [sale(1, 20, "old", "1.00"), sale(2, 21, "a", "1.00"), sale(3, 50, "a", "2.00"), sale(4, 51, "old", "3.00")]
    world.commit(*rows[:2])
    assert world.builds.build(NORTH, "shop_history").entities == 2
    world.commit(*rows[:3])
    state = world.builds.build(NORTH, "shop_history")
    assert (state.entities, world.online.extended) == (1, 1)
    assert 0 < state.median_bytes == state.p99_bytes == state.largest_bytes == state.blob_bytes
    assert world.ask("old", 50)[1] == [Status.UNKNOWN_ENTITY] * 2
    world.commit(*rows)
    assert world.builds.build(NORTH, "shop_history").entities == 2
    assert world.ask("old", 52)[1][0] is Status.PRESENT


def test_a_lookup_says_how_far_the_data_go(world: World) -> None:
    """The newest event of any entity in the table, however old the one that is asked for; nothing without data."""
    world.commit(sale(1, 2, "old", "1.00"), sale(2, 50, "a", "1.00"))
    world.builds.build(NORTH, "shop_history")
    answer = world.look.look_up(NORTH, ["shop_history"], [EntityKeys({"shop": "old"}, micros(60))])
    assert answer.data_until == [micros(50)]


def test_the_age_of_what_is_answered_is_measured(world: World) -> None:
    """Of every 16th lookup, from when the newest value that counts was known to the time asked for; nothing of nobody's."""
    world.commit(sale(1, 50, "a", "1.00", late=1))
    world.builds.build(NORTH, "shop_history")
    for shop in ("a", "nobody"):
        for _ in range(16):
            world.ask(shop, 51.5)
    assert world.meter.ages == [("shop_history", 43_200.0)]


def test_events_ahead_of_the_clock_do_not_move_the_horizon(world: World) -> None:
    """With events scheduled far ahead, values at the present time can still be asked for."""
    world.now = micros(60)
    world.commit(sale(1, 59, "a", "1.00"), sale(2, 400, "a", "1.00"))
    world.builds.build(NORTH, "shop_history")
    assert world.ask("a", 60)[0] == [1.0, 1.0]


def test_lookup_refusals(world: World) -> None:
    """An unknown view, one that is not built, a misspelt key and too many rows each say so."""
    with pytest.raises(NotFound):
        world.look.look_up(NORTH, ["shop_histori"], [])
    with pytest.raises(NotFound):
        world.look.look_up(SOUTH, ["shop_history"], [])
    with pytest.raises(Unavailable, match="being built"):
        world.look.look_up(NORTH, ["shop_history"], [])
    world.builds.build(NORTH, "shop_history")
    with pytest.raises(Invalid, match="identifies no entity") as refused:
        world.look.look_up(NORTH, ["shop_history"], [EntityKeys({"shopp": "a"}, 0)])
    assert refused.value.hint == "did you mean `shop`?"
    with pytest.raises(TooLarge):
        world.look.look_up(NORTH, ["shop_history"], [EntityKeys({}, 0)] * 10_001)
    world.online.down = True
    with pytest.raises(Unavailable):
        world.ask("a", 1)


def test_a_training_set_has_what_was_asked(world: World) -> None:
    """Primary key, event time, asked columns with their knownAt columns, then features; sorted, typed, missing is null."""
    world.commit(sale(3, 51, "a", "2.00"), sale(1, 50, "a", "1.50", late=2), sale(2, 50, None, None))
    made = world.training.build(NORTH, "sales", ["price", "open", "day"], ["shop_history"])
    frame = world.files.frames[NORTH, made.fingerprint]
    assert frame.schema == {
        "id": pl.Int64, "at": pl.Int64, "known": pl.Int64, "day": pl.Date, "open": pl.Boolean, "price": pl.Float64,
        "shop_history.count_3d": pl.Float64, "shop_history.price_sum_3d": pl.Float64,
    }  # fmt: skip
    assert frame["id"].to_list() == [1, 2, 3]
    assert frame["price"].to_list() == [1.5, None, 2.0]
    assert frame["shop_history.count_3d"].to_list() == [0.0, None, 1.0]
    assert frame["shop_history.price_sum_3d"].to_list() == [None, None, None]
    assert made.dataset_versions == {"sales": 0}
    assert made.view_digests == {"shop_history": world.views.get(NORTH, "shop_history").digest}


def test_decimals_are_rounded_once(world: World) -> None:
    """A carried decimal is the float64 nearest to it, which is what a request's JSON number is read as."""
    world.commit(*[sale(n, 50, "a", f"{n / 100:.2f}") for n in range(1000)])
    made = world.training.build(NORTH, "sales", ["price"], [])
    frame = world.files.frames[NORTH, made.fingerprint].sort("id")
    assert frame["price"].to_list() == [float(f"{n / 100:.2f}") for n in range(1000)]


def test_a_fingerprint_stands_for_data_and_definitions(world: World) -> None:
    """The fingerprint does not depend on how the question is put, and changes with the data and the definitions."""
    world.commit(sale(1, 50, "a", "1.50"))
    first = world.training.build(NORTH, "sales", ["price", "open"], ["shop_history"])
    assert world.training.build(NORTH, "sales", ["open", "price", "id"], ["shop_history"]) == first
    prints = {first.fingerprint, world.training.build(NORTH, "sales", ["open"], ["shop_history"]).fingerprint}
    world.define.apply(NORTH, FeatureViewSpec.model_validate({**VIEW.canonical(), "description": "words only"}))
    assert world.training.build(NORTH, "sales", ["price", "open"], ["shop_history"]).fingerprint == first.fingerprint
    changed = {**VIEW.canonical(), "aggregates": [{"functions": ["count"], "windows": ["4d"]}]}
    world.define.apply(NORTH, FeatureViewSpec.model_validate(changed))
    prints.add(world.training.build(NORTH, "sales", ["price", "open"], ["shop_history"]).fingerprint)
    world.commit(sale(1, 50, "a", "1.50"))
    prints.add(world.training.build(NORTH, "sales", ["price", "open"], ["shop_history"]).fingerprint)
    assert len(prints) == 4


def test_training_set_refusals(world: World) -> None:
    """Nothing ingested, an unknown column, data set or view, and a spine without the entity are refused by name."""
    with pytest.raises(Precondition, match="nothing was ever committed"):
        world.training.build(NORTH, "sales", [], ["shop_history"])
    world.commit(sale(1, 50, "a", "1.50"))
    with pytest.raises(Invalid, match="no column 'prise'") as refused:
        world.training.build(NORTH, "sales", ["prise"], ["shop_history"])
    assert refused.value.hint == "did you mean `price`?"
    with pytest.raises(NotFound):
        world.training.build(NORTH, "sale", [], [])
    with pytest.raises(NotFound):
        world.training.build(NORTH, "sales", [], ["nothing"])
    spine = SALES.canonical() | {"name": "days", "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}}}
    days = world.lake.specs[NORTH, "days"] = DatasetSpec.model_validate(spine)
    world.lake.commit(NORTH, "days", lake_frame(days, [{"id": 1, "at": START}]))
    with pytest.raises(Invalid, match="does not have"):
        world.training.build(NORTH, "days", [], ["shop_history"])
