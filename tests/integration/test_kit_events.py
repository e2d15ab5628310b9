"""Events over a real Redis: at least once, in groups, over outages, with poison set aside."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from tenon.core.errors import Unavailable
from tenon.kit import context
from tenon.kit.events import Consumer, Fields, publish
from tenon.kit.outbox import HELD, Outbox, outbox_table
from tenon.kit.redis import connect
from tenon.kit.sql import Database
from tests.support.redis import RedisServer, redis_binary, running_redis

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis() as running:
        yield running


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def entries(server: RedisServer, stream: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    found: Any = connect(server.url, timeout_seconds=60).xrange(stream)
    return list(found)


class Seen:
    """A handler that remembers, and can be told to fail."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.requests: list[str] = []
        self.trouble: Exception | None = None
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, _entry: str, fields: Fields) -> None:
        self.calls += 1
        if self.trouble is not None and fields[b"n"] == b"1":
            raise self.trouble
        with self._lock:
            self.values.append(fields[b"n"])
            self.requests.append(context.request_id.get())


def consumer(server: RedisServer, handler: Seen, **options) -> Consumer:
    return Consumer(server.url, "s", "g", handler, **options)


def test_every_entry_reaches_the_group_once_in_order(server: RedisServer) -> None:
    """Entries published before and after the consumer started arrive, in order, with the publisher's request id."""
    client, seen = connect(server.url, timeout_seconds=60), Seen()
    token = context.request_id.set("req-1")
    publish(client, "s", {"n": "0"})
    running = consumer(server, seen)
    running.start()
    until(lambda: len(seen.values) == 1)
    for number in range(1, 50):
        publish(client, "s", {"n": str(number)})
    context.request_id.reset(token)
    until(lambda: len(seen.values) == 50)
    running.stop()
    assert seen.values == [str(number).encode() for number in range(50)]
    assert set(seen.requests) == {"req-1"}


def test_two_replicas_share_the_work(server: RedisServer) -> None:
    """Two members of one group see each entry once between them."""
    client, one, two = connect(server.url, timeout_seconds=60), Seen(), Seen()
    members = [consumer(server, one, batch=1), consumer(server, two, batch=1)]
    for member in members:
        member.start()
    for number in range(2, 102):
        publish(client, "s", {"n": str(number)})
    until(lambda: len(one.values) + len(two.values) == 100)
    for member in members:
        member.stop()
    assert not set(one.values) & set(two.values)


def test_what_a_dead_member_was_given_is_claimed(server: RedisServer) -> None:
    """An entry that was read but not acknowledged comes to another member after the claim time."""
    client, seen = connect(server.url, timeout_seconds=60), Seen()
    publish(client, "s", {"n": "7"})
    client.xgroup_create("s", "g", id="0")
    client.xreadgroup("g", "the-dead", {"s": ">"})
    running = consumer(server, seen, claim_after_seconds=0.2)
    running.start()
    until(lambda: seen.values == [b"7"])
    running.stop()
    assert client.xpending("s", "g")["pending"] == 0


def test_poison_is_set_aside_and_the_rest_goes_on(server: RedisServer) -> None:
    """An entry that always fails is tried a bounded number of times, then kept in the dead stream."""
    client, seen = connect(server.url, timeout_seconds=60), Seen()
    seen.trouble = ValueError("poison")
    for number in (1, 2):
        publish(client, "s", {"n": str(number)})
    running = consumer(server, seen, max_tries=2)
    running.start()
    until(lambda: seen.values == [b"2"])
    running.stop()
    ((_, dead),) = entries(server, "s:dead")
    assert dead[b"n"] == b"1"
    assert b"poison" in dead[b"error"]


def test_an_unavailable_world_is_not_the_entrys_fault(server: RedisServer) -> None:
    """While something the handler needs is away, the entry waits; nothing is set aside."""
    client, seen = connect(server.url, timeout_seconds=60), Seen()
    seen.trouble = Unavailable("DOWN", "the database is away")
    publish(client, "s", {"n": "1"})
    running = consumer(server, seen, max_tries=1)
    running.start()
    until(lambda: seen.calls >= 3)
    seen.trouble = None
    until(lambda: seen.values == [b"1"])
    running.stop()
    assert client.exists("s:dead") == 0


def test_a_consumer_survives_an_outage_of_redis(server: RedisServer) -> None:
    """Redis goes away and comes back empty; the consumer makes its group again and goes on."""
    seen = Seen()
    running = consumer(server, seen)
    running.start()
    publish(connect(server.url, timeout_seconds=60), "s", {"n": "2"})
    until(lambda: seen.values == [b"2"])
    server.stop()
    server.start()
    publish(connect(server.url, timeout_seconds=60), "s", {"n": "3"})
    until(lambda: seen.values == [b"2", b"3"])
    running.stop()


def test_publishing_to_a_dead_redis_is_our_error() -> None:
    """Connection trouble is `Unavailable`, saying what was attempted."""
    with pytest.raises(Unavailable, match="publish to s"):
        publish(connect("redis://127.0.0.1:1", timeout_seconds=0.2), "s", {"n": "1"})


@pytest.fixture
def outbox(server: RedisServer, tmp_path) -> Iterator[tuple[Outbox, Database]]:
    database = Database(f"sqlite:///{tmp_path}/o.db")
    metadata = sa.MetaData()
    table = outbox_table(metadata)
    metadata.create_all(database.engine)
    yield Outbox(database, table, server.url), database
    database.close()


def test_events_of_a_rolled_back_transaction_are_never_published(outbox, server: RedisServer) -> None:
    """Facts and the events that tell them stand or fall together."""
    box, database = outbox
    with database.session() as session:
        box.add(session, "s", {"n": "kept"})
    with contextlib.suppress(RuntimeError), database.session() as session:
        box.add(session, "s", {"n": "lost"})
        raise RuntimeError
    assert box.publish_pending() == 1
    assert [fields[b"n"] for _, fields in entries(server, "s")] == [b"kept"]
    assert box.publish_pending() == 0


def test_events_wait_for_redis(outbox, server: RedisServer) -> None:
    """While Redis is away events stay in the table, in order."""
    box, database = outbox
    server.stop()
    for number in range(3):
        with database.session() as session:
            box.add(session, "s", {"n": str(number)})
    with pytest.raises(Unavailable):
        box.publish_pending()
    server.start()
    assert box.publish_pending() == 3
    assert [fields[b"n"] for _, fields in entries(server, "s")] == [b"0", b"1", b"2"]


def test_a_redis_that_lost_its_last_events_is_given_them_again(outbox, server: RedisServer) -> None:
    """Under the same ids, also by a relay that was started after it; one that keeps them for long enough is not."""
    box, database = outbox
    for number in range(2):
        with database.session() as session:
            box.add(session, "s", {"n": str(number)})
    assert box.publish_pending() == 2
    first = [fields for _, fields in entries(server, "s")]
    box.settle()
    assert box.publish_pending() == 0
    server.stop()
    server.start()  # It comes back empty.
    box.settle()
    assert box.publish_pending() == 2
    assert [fields for _, fields in entries(server, "s")] == first
    with database.session() as session:
        session.execute(box.table.update().values(published_at=datetime.now(UTC) - 2 * HELD))
    box.settle()
    with database.session() as session:
        assert session.execute(sa.select(sa.func.count()).select_from(box.table)).scalar_one() == 0
