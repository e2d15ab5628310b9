"""Lookups that are answered where they are read say what the servicer says, or leave it to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from services.features.api_grpc import FeatureServicer
from services.features.api_grpc.at_once import LookUpAtOnce
from services.features.domain.build_online import BuildOnline
from services.features.domain.look_up_online import LookUpOnline, NoViews
from tenon.api.features.v1 import features_pb2 as pb
from tenon.core.errors import Invalid
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.kit import context
from tenon.kit.auth import RecentCallers
from tests.support.fake_ingest import lake_frame
from tests.support.features_fakes import FakeLake, FakeMeter, FakeOnlineStore, FakeViews

NORTH = TenantId("north")
START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = int((START + timedelta(hours=5)).timestamp() * 1e6)
KEY = (("authorization", "Bearer north"),)
SPEC = DatasetSpec.model_validate(
    {"name": "d", "primaryKey": ["id"], "eventTime": "at",
     "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string"},
                 "where": {"type": "integer"}, "x": {"type": "decimal", "scale": 2}}}
)  # fmt: skip
VIEWS = [
    FeatureViewSpec.model_validate(
        {"name": name, "dataset": "d", "entity": entity,
         "aggregates": [{"column": "x", "functions": ["count", "sum"], "windows": ["2h", "9h"]}]}
    )
    for name, entity in (("v", ["who"]), ("w", ["who", "where"]), ("u", ["who"]))
]  # fmt: skip


class World:
    """The servicer and the quick answer over the same fakes."""

    def __init__(self) -> None:
        self.views, self.lake, self.online, self.meter = FakeViews(), FakeLake(), FakeOnlineStore(), FakeMeter()
        self.lake.specs[NORTH, "d"] = SPEC
        self.lake.commit(NORTH, "d", lake_frame(SPEC, [
            {"id": n, "at": START + timedelta(hours=n % 5), "who": f"p{n % 3}", "where": n % 2, "x": n} for n in range(30)
        ]))  # fmt: skip
        for view in VIEWS:
            self.views.apply(NORTH, view, dry_run=False)
        builds = BuildOnline(self.views, self.lake, self.lake, self.online, self.meter, slack=10**12, now=lambda: NOW)
        assert not builds.build_for(NORTH, "d")
        callers = RecentCallers()
        callers.keep(b"Bearer north", Principal("n", NORTH, frozenset([Scope.PREDICT])))
        callers.keep(b"Bearer south", Principal("s", TenantId("south"), frozenset([Scope.PREDICT])))
        self.distance = 0.0
        self.quick = LookUpAtOnce(
            LookUpOnline(self.online, NoViews(), self.meter), callers, lambda: NOW, lambda: self.distance
        )
        slow: Any = LookUpOnline(self.online, self.views, self.meter)
        nothing: Any = None
        self.servicer = FeatureServicer(nothing, nothing, slow, nothing, nothing, lambda: NOW)


def request(**more: Any) -> pb.GetOnlineFeaturesRequest:
    """What is asked usually: some rows, one of them of nobody, one without a key, one at another time."""
    asked = pb.GetOnlineFeaturesRequest(tenant="north", views=["v", "w", "u"], packed=True, **more)
    asked.rows.add(keys={"who": "p1", "where": "1"})
    asked.rows.add(keys={"who": "nobody", "where": "0"})
    asked.rows.add(keys={"where": "0"})
    asked.rows.add(keys={"who": "p1", "where": "1"}).at.FromDatetime(START + timedelta(hours=2, microseconds=7))
    return asked


def in_columns(**more: Any) -> pb.GetOnlineFeaturesRequest:
    """The same rows."""
    asked = pb.GetOnlineFeaturesRequest(tenant="north", views=["v", "w", "u"], packed=True, **more)
    asked.keys.add(name="who", texts=["p1", "nobody", "", "p1"], missing=[2])
    asked.keys.add(name="where", texts=["1", "0", "0", "1"])
    then = START + timedelta(hours=2)
    asked.at_micros.extend([NOW, NOW, NOW, int(then.timestamp()) * 1_000_000 + 7])
    return asked


def test_both_forms_of_a_request_mean_the_same() -> None:
    """Rows, and the same rows in columns; one time stands for all rows, none for now."""
    world = World()
    context.principal.set(Principal("n", NORTH, frozenset([Scope.PREDICT])))
    call: Any = SimpleNamespace()
    for packed in (True, False):
        ours, theirs = in_columns(), request()
        ours.packed = theirs.packed = packed
        assert world.servicer.GetOnlineFeatures(ours, call) == world.servicer.GetOnlineFeatures(theirs, call)
    assert world.quick(in_columns().SerializeToString(), KEY) == world.quick(request().SerializeToString(), KEY)
    alike = []
    for at in ([], [NOW], [NOW] * 4):
        asked = in_columns()
        asked.at_micros[:] = at
        alike.append(world.quick(asked.SerializeToString(), KEY))
    assert alike[0] is not None
    assert alike[0] == alike[1] == alike[2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rows": [pb.EntityRow()]}, "ROWS_TWICE"), ({"keys": [pb.KeyColumn(name="who", texts=["a"])]}, "KEY_TWICE"),
        ({"keys": [pb.KeyColumn(name="other", texts=["a"])]}, "ROWS_UNEVEN"), ({"at_micros": [1]}, "ROWS_UNEVEN"),
        ({"keys": [pb.KeyColumn(name="other", missing=[0])]}, "ROWS_UNEVEN"), ({"past": -(2**63)}, "TIME_INVALID"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit_are_refused(change: dict[str, Any], reason: str) -> None:
    """Both forms at once, a column twice, other lengths, a time that is none; and where calls are read they are left alone."""
    world, asked = World(), in_columns()
    context.principal.set(Principal("n", NORTH, frozenset([Scope.PREDICT])))
    for name, items in change.items():
        if name == "past":
            asked.at_micros[0] = items
        else:
            getattr(asked, name).extend(items)
    with pytest.raises(Invalid) as refused:
        world.servicer.GetOnlineFeatures(asked, SimpleNamespace())  # type: ignore[arg-type]
    assert refused.value.reason == reason
    assert world.quick(asked.SerializeToString(), KEY) is None


def test_the_bytes_mean_what_the_servicer_says() -> None:
    """Values, statuses, names and times are the same."""
    world = World()
    context.principal.set(Principal("n", NORTH, frozenset([Scope.PREDICT])))
    for asked in (request(), request(view_digests={"v": world.views.get(NORTH, "v").digest}), pb.GetOnlineFeaturesRequest(
        tenant="north", views=["u"], packed=True
    )):  # fmt: skip
        call: Any = SimpleNamespace()
        theirs = world.servicer.GetOnlineFeatures(asked, call)
        for _ in range(2):
            ours = world.quick(asked.SerializeToString(), KEY)
            assert ours is not None
            assert pb.GetOnlineFeaturesResponse.FromString(ours) == theirs
    assert len(theirs.features) == 4


@pytest.mark.parametrize(
    ("change", "metadata"),
    [
        ({"packed": False}, KEY), ({"views": ["v", "v"]}, KEY), ({"views": ["other"]}, KEY), ({"tenant": "south"}, KEY),
        ({"tenant": "no tenant"}, KEY), ({}, ()), ({}, (("authorization", "Bearer unknown"),)),
        ({}, (("authorization", "Bearer south"),)), ({}, (*KEY, ("traceparent", "00-1-1-01"))),
        ({"view_digests": {"v": "0" * 64}}, KEY), ({"rows": 201}, KEY), ({"key": "whom"}, KEY), ({"nanos": -1}, KEY),
    ],
)  # fmt: skip
def test_what_is_not_usual_is_left_to_the_servicer(change: dict[str, Any], metadata: Any) -> None:
    """Refusals, unknown callers, other tenants, traces, definitions that are not online, very many rows."""
    asked = request()
    for name, value in change.items():
        if name == "rows":
            asked.rows.extend(pb.EntityRow(keys={"who": "p1"}) for _ in range(value))
        elif name == "key":
            asked.rows.add(keys={value: "p1"})
        elif name == "nanos":
            asked.rows[0].at.nanos = value
        elif name == "views":
            asked.views[:] = value
        elif name == "view_digests":
            asked.view_digests.update(value)
        else:
            setattr(asked, name, value)
    assert World().quick(asked.SerializeToString(), metadata) is None


def test_nothing_is_waited_for() -> None:
    """Bytes that are no message, a Redis that is far or does not answer: all of them go to threads of their own."""
    world, data = World(), request().SerializeToString()
    assert world.quick(b"\xff\xff", KEY) is None
    world.distance = 1.0
    answers = [world.quick(data, KEY) for _ in range(200)]
    # Now and then one finds out how far it is.
    assert len([answer for answer in answers if answer]) == 2
    world.distance, world.online.down = 0.0, True
    assert world.quick(data, KEY) is None
    world.online.down = False
    assert world.quick(data, KEY) is None
