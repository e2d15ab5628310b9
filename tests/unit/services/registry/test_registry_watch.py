"""The release feed: first everything, then each change, then heartbeats; and an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from services.registry.domain.release_rules import Wish
from services.registry.domain.releases import ReleaseDesk
from services.registry.domain.watch import WATCHES_PER_TENANT, Notice, ReleaseFeed
from tenon.core.errors import RateLimited, Unavailable
from tenon.core.tenancy import TenantId
from tests.support.registry_fakes import FakeTransact
from tests.support.registry_storage_suite import AIRLINE, CLINIC, Desk, add_version, desk_on


class SteppingTime:
    """A monotonic clock that goes on by a step at each look: no test has to wait."""

    def __init__(self, step: float = 10.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class World:
    """Two tenants with three versions each, and a feed."""

    def __init__(self, max_watchers: int = 2) -> None:
        self.transact = transact = FakeTransact()
        self.desk: Desk = desk_on(transact)
        for tenant in (CLINIC, AIRLINE):
            for run in ("a", "b", "c"):
                add_version(self.desk, tenant, "cost", run)
        self.feed = ReleaseFeed(transact, SteppingTime(), max_watchers=max_watchers)
        self.releases = ReleaseDesk(transact, self.desk.clock, self.feed.refresh)

    def watch(self, *tenants: object) -> Iterator[Notice]:
        """A watch whose client never leaves."""
        return self.feed.watch(frozenset(tenants) if tenants else None, lambda: True)  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    """See `World`."""
    return World()


def test_the_first_set_ends_with_synced(world: World) -> None:
    """All current releases, and only the last message says that this was all."""
    first = world.releases.set(CLINIC, "cost", Wish(1), "k").release
    second = world.releases.set(AIRLINE, "cost", Wish(2), "k").release
    world.feed.refresh()
    stream = world.watch()
    assert [next(stream), next(stream)] == [Notice(first), Notice(second, synced=True)]
    assert next(stream) == Notice()


def test_an_empty_first_set_is_synced_too(world: World) -> None:
    """A watcher of a fresh platform is not left waiting."""
    world.feed.refresh()
    assert next(world.watch()) == Notice(synced=True)


def test_nothing_is_synced_before_the_first_reading(world: World) -> None:
    """With the database down at the start a watcher gets heartbeats, never a false empty set."""
    stream = world.watch()
    assert [next(stream), next(stream)] == [Notice(), Notice()]
    assert world.feed.problem()
    world.feed.refresh()
    assert next(stream) == Notice(synced=True)
    assert world.feed.problem() is None


def test_changes_follow_in_the_order_of_commits(world: World) -> None:
    """Each change of a watched tenant arrives; another tenant's does not, not even as a heartbeat."""
    world.feed.refresh()
    everyone, clinic = world.watch(), world.watch(CLINIC)
    assert next(everyone).synced
    assert next(clinic).synced
    other = world.releases.set(AIRLINE, "cost", Wish(1), "k").release
    own = world.releases.set(CLINIC, "cost", Wish(2), "k").release
    assert [next(everyone), next(everyone)] == [Notice(other), Notice(own)]
    assert next(clinic) == Notice(own)


def test_a_feed_that_starts_late_misses_and_repeats_nothing(world: World) -> None:
    """A process that starts on an old database knows where the changes stand."""
    for stable in (1, 2, 3):
        old = world.releases.set(CLINIC, "cost", Wish(stable), "k").release
    late = ReleaseFeed(world.transact, SteppingTime(), max_watchers=1)
    late.refresh()
    stream = late.watch(None, lambda: True)
    assert next(stream) == Notice(old, synced=True)
    late.refresh()
    assert next(stream) == Notice()
    new = world.releases.set(CLINIC, "cost", Wish(1), "k").release
    late.refresh()
    assert [next(stream), next(stream)] == [Notice(new), Notice()]


def test_a_slow_watcher_gets_the_latest_only(world: World) -> None:
    """What has been replaced in the meantime is skipped."""
    world.feed.refresh()
    stream = world.watch()
    assert next(stream).synced
    for stable in (1, 2, 3):
        latest = world.releases.set(CLINIC, "cost", Wish(stable), "k").release
    assert next(stream) == Notice(latest)
    assert next(stream) == Notice()


def test_places_are_limited_and_given_back(world: World) -> None:
    """One watcher too many is sent away; when one leaves there is room again."""
    world.feed.refresh()
    streams = [world.watch(), world.watch()]
    for stream in streams:
        next(stream)
    with pytest.raises(Unavailable) as caught:
        next(world.watch())
    assert caught.value.reason == "WATCHERS_FULL"
    streams[0].close()  # type: ignore[attr-defined]
    assert next(world.watch()).synced


def test_a_client_that_left_ends_its_watch(world: World) -> None:
    """The thread is free again as soon as the watch looks."""
    world.feed.refresh()
    answers = iter([True, True, False])
    stream = world.feed.watch(None, lambda: next(answers, False))
    assert list(stream) == [Notice(synced=True)] or world.feed.watchers == 0
    assert world.feed.watchers == 0


def test_a_waiting_watcher_wakes_for_news_and_for_the_end() -> None:
    """A real thread: a release and the end of the process arrive without waiting for the heartbeat."""
    world = World()
    feed = ReleaseFeed(world.transact, SteppingTime(step=0.0), max_watchers=1)
    releases = ReleaseDesk(world.transact, world.desk.clock, feed.refresh)
    feed.refresh()
    got: list[object] = []
    arrived = threading.Event()

    def run() -> None:
        try:
            for notice in feed.watch(None, lambda: True):
                got.append(notice)
                if notice.release:
                    arrived.set()
        except Unavailable as err:
            got.append(err.reason)

    thread = threading.Thread(target=run)
    thread.start()
    release = releases.set(CLINIC, "cost", Wish(1), "k").release
    assert arrived.wait(60)
    feed.close()
    thread.join(60)
    assert not thread.is_alive()
    assert got[-2:] == [Notice(release, synced=len(got) == 2), "REGISTRY_STOPPING"]


def test_no_tenant_can_take_the_predictors_places() -> None:
    """A tenant's keys hold a few watches, all tenants together at most half; the platform's own always find a place."""
    feed = World(max_watchers=4 * WATCHES_PER_TENANT).feed
    held = []

    def hold(guest: TenantId | None) -> None:
        stream = feed.watch(None if guest is None else frozenset({guest}), lambda: True, guest=guest)
        feed.refresh()
        next(stream)
        held.append(stream)

    for guest in (CLINIC, AIRLINE):
        for _ in range(WATCHES_PER_TENANT):
            hold(guest)
        with pytest.raises(RateLimited):
            hold(guest)
    with pytest.raises(RateLimited):
        hold(TenantId("third"))
    for _ in range(2 * WATCHES_PER_TENANT):
        hold(None)
    held[0].close()  # type: ignore[attr-defined]
    hold(CLINIC)
