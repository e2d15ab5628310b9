"""More models than memory: loaded when they are asked for, once for all who ask; the one unused longest goes first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.api_http.waiting import once_loaded
from services.predictor.domain.cold import Cold, Flights, Patience
from services.predictor.domain.entries import Refused
from services.predictor.domain.model import Entry, ModelKey, Release, Role, Track
from services.predictor.domain.ports import Known
from services.predictor.domain.releases import Follower
from services.predictor.domain.residence import Residence, always_of
from services.predictor.domain.routing import WatchfulTable
from tenon.core.errors import NotFound, Precondition, Unavailable
from tests.support.predictor_parts import ACME, GLOBEX, FakeLoader, FakeObserver, MemoryStore, served

SIZE = served(1).nbytes


def key_of(number: int) -> ModelKey:
    """The key of a model."""
    return ModelKey(ACME, f"m{number}")


def release(number: int, version: int = 1, revision: int = 1) -> Release:
    """Model `m<number>` at a version."""
    return Release(ACME, f"m{number}", revision, (Track(Role.STABLE, version, f"{number:032x}{version:032x}"),))


@dataclass
class Pool:
    """Work that threads would do, done when the test says so."""

    waiting: list[Callable[[], None]] = field(default_factory=list)

    def __call__(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)

    def work(self) -> None:
        """Do it."""
        while self.waiting:
            self.waiting.pop(0)()


@dataclass
class Shelf:
    """A follower with room for so many models."""

    room: int = 2
    always: tuple[str, ...] = ()
    strict: bool = False
    loader: FakeLoader = field(default_factory=FakeLoader)
    store: MemoryStore = field(default_factory=MemoryStore)
    pool: Pool = field(default_factory=Pool)
    observer: FakeObserver = field(default_factory=FakeObserver)

    def __post_init__(self) -> None:
        self.table = WatchfulTable()
        budget = self.room * SIZE + SIZE // 2 if self.room else None
        self.follower = Follower(
            self.loader, self.store, self.table, self.observer, grace_seconds=0, run=self.pool, strict=self.strict,
            residence=Residence(budget, always_of(self.always)),
        )  # fmt: skip

    def sync(self, *releases: Release) -> None:
        """A whole stream's beginning."""
        self.follower.begin_sync()
        for item in releases:
            self.follower.receive(item)
        self.follower.synced()
        self.settle()

    def settle(self) -> None:
        """Put everything that is new into effect."""
        while (key := self.follower._next()) is not None:
            self.follower.settle(key)

    def ask(self, number: int) -> Entry:
        """As a door that waits."""
        while True:
            try:
                return self.table.find(ACME, f"m{number}")
            except Cold:
                self.pool.work()

    @property
    def resident(self) -> set[str]:
        """What is in memory."""
        return {key.model for key in list(self.table.keys())}


def test_what_fits_is_loaded_at_once_and_the_rest_is_tested_and_left_on_disk() -> None:
    """All are known, reported as in effect, and the replica is ready."""
    here = Shelf(room=2)
    here.sync(*(release(number) for number in range(5)))
    assert (here.resident, here.follower.problems()) == ({"m0", "m1"}, {})
    assert here.loader.loads == [1] * 5  # each once, to see that it can be loaded
    assert here.table.models(ACME) == ["m0", "m1", "m2", "m3", "m4"]
    assert [(item.revision, item.tracks, item.problem) for item in here.follower.state()] == [
        (1, release(number).tracks, "") for number in range(5)
    ]
    with pytest.raises(NotFound):
        here.table.find(GLOBEX, "m3")


def test_after_a_restart_nothing_is_loaded_that_does_not_stay() -> None:
    """What is on disk was tested before; what was used last is in memory again."""
    known = Known([release(number) for number in range(5)], recent=[key_of(3), key_of(4)])
    here = Shelf(room=2, store=MemoryStore(known))
    here.loader.at_hand = {track.bundle_sha256 for item in known.desired for track in item.tracks}
    here.follower.restore()
    assert set(here.follower.problems()) == {f"acme/m{number}" for number in range(5)}
    here.settle()
    assert (here.resident, len(here.loader.loads), here.follower.problems()) == ({"m3", "m4"}, 2, {})
    assert here.follower._residence.order == [key_of(4), key_of(3)]  # m4 was used longer ago


def test_many_first_requests_are_one_load() -> None:
    """Those who ask while it is loaded wait for the same attempt."""
    here = Shelf(room=1)
    here.sync(release(0), release(1))
    here.loader.loads.clear()
    waiting = []
    for _ in range(50):
        with pytest.raises(Cold) as caught:
            here.table.find(ACME, "m1")
        waiting.append(caught.value.loading)
    assert len({id(item) for item in waiting}) == 1
    here.pool.work()
    assert here.loader.loads == [1]
    assert all(item.done() for item in waiting)
    assert here.table.find(ACME, "m1").stable.model == "m1"
    assert (here.observer.cold, here.observer.evictions) == (["loaded"], 1)


def test_the_one_unused_longest_goes_and_a_request_that_runs_keeps_its_own() -> None:
    """Asking counts as use; an entry that was found answers also after it has left the table."""
    here = Shelf(room=2)
    here.sync(*(release(number) for number in range(3)))
    held = here.ask(0)
    here.ask(1)
    here.follower._residence.used(here.table.take_used())
    here.ask(0)
    here.ask(2)
    assert here.resident == {"m0", "m2"}
    here.ask(1)
    assert here.resident == {"m1", "m2"}
    assert held.stable.evaluator.predict({}) == 1000.0


def test_models_that_must_stay_stay() -> None:
    """By name or by tenant, whatever else is asked for; and they cannot be unloaded."""
    here = Shelf(room=2, always=("acme/m0",))
    here.sync(*(release(number) for number in range(4)))
    for number in (1, 2, 3, 1, 2):
        here.ask(number)
        assert "m0" in here.resident
        assert len(here.resident) == 2
    with pytest.raises(Precondition):
        here.follower.unload(key_of(0))
    assert always_of(["acme"])(key_of(9))
    assert not always_of(["acme/m0"])(key_of(9))


def test_a_model_larger_than_everything_is_served_alone() -> None:
    """A budget that is too small makes it slow, never unanswered."""
    here = Shelf(room=2)
    here.follower._residence.budget = 1
    here.sync(release(0), release(1))
    for number in (0, 1, 0):
        assert here.ask(number).stable.model == f"m{number}"
        assert here.resident == {f"m{number}"}


def test_a_cold_model_that_fails_says_why_and_is_tried_again_later() -> None:
    """Requests are refused in plain words while it rests; nobody else is touched."""
    here = Shelf(room=1)
    here.sync(release(0), release(1, version=7))
    here.loader.failing[7] = Refused("BUNDLE_CORRUPT", "version 7: the bundle is damaged")
    with pytest.raises(Unavailable) as caught:
        here.ask(1)
    assert caught.value.reason == "MODEL_UNAVAILABLE"
    assert "the bundle is damaged" in caught.value.message
    loads = len(here.loader.loads)
    with pytest.raises(Unavailable):
        here.ask(1)
    assert len(here.loader.loads) == loads
    assert here.follower.problems() == {}
    here.loader.failing[7] = OSError("/secret/path: libfoo.so")
    here.follower._trouble.clear()
    with pytest.raises(Unavailable) as caught:
        here.ask(1)
    assert "secret" not in caught.value.message
    assert "lib" not in caught.value.message
    here.loader.failing.clear()
    here.follower._trouble.clear()
    assert here.ask(1).stable.version == 7


def test_a_cold_model_whose_new_release_is_bad_is_answered_by_the_old_one() -> None:
    """Also after a restart: what was in effect is kept with what is desired."""
    here = Shelf(room=1)
    here.sync(release(0), release(1))
    here.loader.failing[2] = Refused("BUNDLE_CORRUPT", "broken")
    here.follower.receive(release(1, version=2, revision=2))
    here.settle()
    assert here.ask(1).stable.version == 1
    (state,) = [item for item in here.follower.state() if item.model == "m1"]
    assert (state.revision, "BUNDLE_CORRUPT" in state.problem) == (1, True)
    here.follower._save()
    again = Shelf(room=1, store=here.store, loader=here.loader)
    again.follower.restore()
    again.settle()
    assert again.ask(1).stable.version == 1
    assert {release(1).tracks[0].bundle_sha256, release(1, 2).tracks[0].bundle_sha256} <= again.follower.needed()


def test_without_a_budget_everything_is_in_memory_until_it_is_unloaded() -> None:
    """And then until it is asked for again, or released anew."""
    here = Shelf(room=0)
    here.sync(*(release(number) for number in range(9)))
    assert len(here.resident) == 9
    here.follower.unload(key_of(3))
    here.follower.unload(key_of(4))
    assert here.resident == {f"m{number}" for number in range(9)} - {"m3", "m4"}
    assert here.follower.problems() == {}
    assert here.ask(3).stable.model == "m3"
    here.follower.receive(release(4, 2, 2))
    here.settle()
    assert len(here.resident) == 9


def test_a_strict_replica_is_not_ready_with_a_bad_version() -> None:
    """Pinned to its versions it has nothing else to serve."""
    loader = FakeLoader({7: Refused("BUNDLE_CORRUPT", "broken")})
    here = Shelf(strict=True, loader=loader)
    here.sync(release(0), release(1, version=7))
    assert set(here.follower.problems()) == {"acme/m1"}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["ask", "release", "unload"]), st.integers(0, 5)), max_size=40),
)
def test_any_order_of_asking_releasing_and_unloading(room: int, steps: list[tuple[str, int]]) -> None:
    """Every answer is by the version released last, memory stays within its budget, and the models in it are the ones
    used last."""
    here = Shelf(room=room)
    versions = dict.fromkeys(range(6), 1)
    here.sync(*(release(number) for number in range(6)))
    order: list[int] = []
    for what, number in steps:
        if what == "ask":
            assert here.ask(number).stable.version == versions[number]
            order = [*(other for other in order if other != number), number][-room:]
        elif what == "release":
            versions[number] += 1
            here.follower.receive(release(number, versions[number], versions[number]))
            here.settle()
        else:
            here.follower.unload(key_of(number))
            order = [other for other in order if other != number]
        here.follower._residence.used(here.table.take_used())
        assert len(here.resident) <= room
        assert {f"m{number}" for number in order} <= here.resident
        assert here.follower.problems() == {}
        assert here.follower._residence.total == len(here.resident) * SIZE


def test_threads_wait_so_long_and_so_many_at_once() -> None:
    """One more than may wait is refused at once; who waited too long, too; the others get their answer."""
    patience, flight, started = Patience(0.05, 1), Future[None](), threading.Event()
    cold = Cold("m1", flight)
    with pytest.raises(Cold):
        patience.until(cold, lambda: "never")
    slow, answers = Patience(30, 1), []

    def again() -> str:
        started.set()
        return "answer"

    thread = threading.Thread(target=lambda: answers.append(slow.until(cold, again)))
    thread.start()
    while slow._places._value:
        pass
    with pytest.raises(Cold):
        slow.until(cold, again)
    flight.set_result(None)
    thread.join(60)
    assert answers == ["answer"]
    assert patience.until(cold, again) == "answer"


def test_an_event_loop_waits_without_a_thread() -> None:
    """A hundred requests wait for one load; one that gives up takes it from nobody."""
    flight: Future[None] = Future()
    flight.set_running_or_notify_cancel()
    cold = Cold("m1", flight)

    async def again() -> str:
        return "answer"

    async def scene() -> list[object]:
        waiting = [asyncio.create_task(once_loaded(cold, again, 30)) for _ in range(100)]
        hasty = asyncio.create_task(once_loaded(cold, again, 0.01))
        waiting[0].cancel()
        with pytest.raises(Cold):
            await hasty
        flight.set_result(None)
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    found = asyncio.run(scene())
    assert found[1:] == ["answer"] * 99
    assert isinstance(found[0], asyncio.CancelledError)


def test_a_stopped_pool_lets_nobody_wait() -> None:
    """A process that ends answers at once."""

    def ended(_work: Callable[[], None]) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    flights = Flights()
    assert flights.join(key_of(1), lambda: None, ended).done()
    assert key_of(1) not in flights
