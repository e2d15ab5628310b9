"""Entities in pieces on a real Redis: the values of the whole, what they take, and lookups while they are written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.model import EntityKeys, OnlineState
from services.features.domain.plan import Plan, compile_view
from services.features.storage import blob_changes
from services.features.storage.online import RedisOnlineStore
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.redis import connect
from tenon.windows.blob import EntityBlob, encode_blob
from tenon.windows.events import Column, Events
from tenon.windows.held import HeldBlobs
from tenon.windows.pieces import Sizes, names_in
from tests.support.features_fakes import FakeMeter, FakeViews
from tests.support.redis import RedisServer, redis_binary, running_redis

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

NORTH = TenantId("north")
SECOND, DAY = 1_000_000, 86_400_000_000
DATASET = DatasetSpec.model_validate(
    {
        "name": "d", "primaryKey": ["id"], "eventTime": "at",
        "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string"},
                    "x": {"type": "integer"}},
    }
)  # fmt: skip
VIEW = FeatureViewSpec.model_validate(
    {"name": "v", "dataset": "d", "entity": ["who"],
     "aggregates": [{"functions": ["count"], "windows": ["all"]},
                    {"column": "x", "functions": ["sum", "std", "max", "last"], "windows": ["1m", "20m", "all"]}]}
)  # fmt: skip
PLAN = compile_view(VIEW, DATASET)
STATE = OnlineState(
    plan_digest=PLAN.digest, view_digest="d", revision=1, table_uri="u", table_version=1, horizon=0, newest_event=1,
    entities=0, blob_bytes=0, built_at=2,
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A real Redis."""
    with running_redis() as running:
        yield running


def cutting(server: RedisServer) -> RedisOnlineStore:
    """A store that cuts after a few events."""
    return RedisOnlineStore(
        connect(server.url, timeout_seconds=60), connect(server.url, timeout_seconds=60), Sizes(60, 20, 20)
    )


def events(first: int, count: int) -> Events:
    """One a second, with the second as its value."""
    time = np.arange(first, first + count) * SECOND
    return Events(time, (Column(), *(Column(value=time // SECOND % 1000) for _ in PLAN.columns)))


def values(store: RedisOnlineStore, who: str, at: list[int]) -> bytes:
    """As a lookup gives them."""
    online = LookUpOnline(store, FakeViews(), FakeMeter())
    rows = [EntityKeys({"who": who}, moment) for moment in at]
    return np.array([row.values for row in online.look_up(NORTH, ["v"], rows).rows]).tobytes()


def whole(of: Events, at: list[int]) -> bytes:
    """The same from one blob."""
    data = encode_blob(EntityBlob("w", 1, 0, of))
    answer = PLAN.program.look_up(HeldBlobs.of([data]), np.zeros(len(at), np.int64), np.array(at))
    return np.ascontiguousarray(answer.values.T).tobytes()


def kept(server: RedisServer) -> dict[bytes, int]:
    """The keys that do not expire, and how many bytes they hold."""
    with connect(server.url, timeout_seconds=60) as redis:
        names = [name for name in redis.scan_iter() if redis.ttl(name) == -1]
        return {name: redis.strlen(name) for name in names if redis.type(name) == b"string"}


def test_pieces_in_redis(server: RedisServer) -> None:
    """A hot entity gives the values of the whole and is counted whole, through publishing, extending, pushing and retiring."""
    store, at = cutting(server), [5, 300 * SECOND + 1, 990 * SECOND, 1011 * SECOND, 40 * DAY]
    blobs = [EntityBlob("hot", 1, 0, events(0, 1000)), EntityBlob("cold", 1, 0, events(0, 10))]
    before = store.publish(NORTH, "v", (VIEW, DATASET), STATE, blobs)
    assert values(store, "hot", at) == whole(events(0, 1000), at)
    assert values(store, "cold", at) == whole(events(0, 10), at)
    for number in range(12):
        state = replace(before, table_version=before.table_version + 1)
        fresh = [EntityBlob("hot", state.table_version, 0, events(1000 + 9 * number, 9))]
        made = store.extend(NORTH, "v", before, state, fresh, 0)
        assert made is not None
        before = made
        both = events(0, 1009 + 9 * number)
        assert values(store, "hot", at) == whole(both, at)
        sizes = {name: size for name, size in kept(server).items() if b"=" in name or b"~" in name}
        assert made.blob_bytes == sum(sizes.values())
        assert made.largest_bytes == sum(size for name, size in sizes.items() if not name.endswith(b"=cold"))
        assert sum(b"~" in name for name in sizes) > 40
    pushed = replace(events(200, 1), columns=events(900, 1).columns)

    def rows(_: Plan) -> dict[str, EntityBlob]:
        return {"hot": EntityBlob("hot", -1, 0, pushed, np.array([7]), only_pushed=True)}

    chunks = [name for name in kept(server) if b"~" in name]
    assert store.lay_over(NORTH, "v", before.table_version, frozenset({7}), lambda _: ["hot"], rows)
    with_it = Events(np.append(both.time, pushed.time), (Column(), *(
        Column(value=np.append(a.value, b.value)) for a, b in zip(both.columns[1:], pushed.columns[1:], strict=True)
        if a.value is not None and b.value is not None)))  # fmt: skip
    order = np.argsort(with_it.time, kind="stable")
    assert values(store, "hot", at) == whole(with_it.take(order), at)
    assert {name for name in kept(server) if b"~" in name} == set(chunks)
    # Built whole again, nothing of what was cut before stays.
    store.publish(NORTH, "v", (VIEW, DATASET), replace(STATE, table_version=99), blobs)
    assert values(store, "hot", at) == whole(events(0, 1000), at)
    assert not {name for name in kept(server) if b"~" in name} & set(chunks)
    store.retire(NORTH, "v")
    assert not kept(server)


def test_old_chunks_leave_with_their_time(server: RedisServer) -> None:
    """Chunks that no window sees any more go, and with the last event the entity."""
    store = cutting(server)
    before = store.publish(NORTH, "v", (VIEW, DATASET), STATE, [EntityBlob("hot", 1, 0, events(0, 1000))])
    many = sum(b"~" in name for name in kept(server))
    made = store.extend(NORTH, "v", before, replace(before, table_version=2),
                        [EntityBlob("hot", 2, 0, events(1000, 1))], 500 * SECOND)  # fmt: skip
    assert made is not None
    assert 0 < sum(b"~" in name for name in kept(server)) < many - 20
    assert values(store, "hot", [1010 * SECOND + 1]) != values(store, "hot", [990 * SECOND])
    gone = store.extend(NORTH, "v", made, replace(made, table_version=3), [], 5000 * SECOND)
    assert gone is not None
    assert (gone.entities, gone.blob_bytes, sum(b"~" in name for name in kept(server))) == (0, 0, 0)


@pytest.mark.parametrize("at_once", [False, True])
def test_lookups_see_no_half(server: RedisServer, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    """While a hot entity is written and cut again and again, every lookup sees it as it was at one moment, also where
    chunks that are replaced are gone `at_once`."""
    if at_once:
        monkeypatch.setattr(blob_changes, "_CHUNK_STAYS_SECONDS", 0)
    store, now = cutting(server), 10**6 * SECOND
    ones = Column(value=np.ones(1, np.int64))
    before = store.publish(NORTH, "v", (VIEW, DATASET), STATE, [])
    wrong: list[object] = []
    seen: list[float] = []
    ending = threading.Event()

    def read() -> None:
        online, last = LookUpOnline(cutting(server), FakeViews(), FakeMeter()), 0.0
        while not ending.is_set():
            row = online.look_up(NORTH, ["v"], [EntityKeys({"who": "hot"}, now)]).rows[0]
            named = dict(zip([f.reference for f in PLAN.features], row.values, strict=True))
            count, total = named["v.count_all"], named["v.x_sum_all"]
            if count < last or (count and count != total):
                wrong.append((last, count, total))
            last = count
            seen.append(count)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    random = np.random.default_rng(5)
    for number in range(250):
        # Half of the events are late, so that chunks are made anew all the time.
        time = np.array([number if number % 2 else int(random.integers(0, number + 1))]) * SECOND
        state = replace(before, table_version=number + 2)
        fresh = EntityBlob("hot", number + 2, 0, Events(time, (Column(), *(ones for _ in PLAN.columns))))
        made = store.extend(NORTH, "v", before, state, [fresh], 0)
        assert made is not None
        before = made
    ending.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(set(seen)) > 10
    with connect(server.url, timeout_seconds=60) as redis:
        head = redis.get(next(name for name in redis.scan_iter() if name.endswith(b"=hot")))
        assert isinstance(head, bytes)
        assert len(names_in(head)) > 5
