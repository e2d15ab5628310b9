"""Quotas of tenants, and turns while more than one of them asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.predictor.api_http.admission import Admission
from services.predictor.domain.quotas import HELD_SECONDS, Meter, Quota, Quotas
from services.predictor.domain.turns import Turns
from tenon.core.errors import RateLimited
from tenon.core.tenancy import TenantId

ACME, GLOBEX = TenantId("acme"), TenantId("globex")


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(meter: Meter, rows: int = 1) -> str:
    """The reason a request is refused; one that is not has run and ended."""
    refused = meter.enter()
    if refused is not None:
        return refused.reason
    meter.leave(rows)
    return ""


def test_a_burst_and_then_the_rate() -> None:
    """So many at once, then one for each gap; a rest fills it up again, and no further."""
    clock = Clock()
    meter = Meter(Quota(requests_per_second=10, burst=3), clock)
    assert [ask(meter) for _ in range(5)] == ["", "", "", "QUOTA_REQUESTS", "QUOTA_REQUESTS"]
    refused = meter.refusal()
    assert refused is not None
    assert refused.seconds == pytest.approx(0.1)
    clock.now += 0.1
    assert [ask(meter), ask(meter)] == ["", "QUOTA_REQUESTS"]
    clock.now += 60
    assert [ask(meter) for _ in range(4)] == ["", "", "", "QUOTA_REQUESTS"]


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=200), st.integers(1, 50), st.integers(1, 20))
def test_never_more_than_the_burst_and_the_rate(pauses: list[float], rate: int, burst: int) -> None:
    """In any stretch of time from the start no more pass than burst + rate × time; and who waits as told passes."""
    clock = Clock()
    meter = Meter(Quota(requests_per_second=rate, burst=burst), clock)
    start = clock.now
    for passed, pause in enumerate(pauses, 1):
        clock.now += pause
        refused = meter.refusal()
        if refused is not None:
            clock.now += refused.seconds + 1e-6
        assert meter.enter() is None
        assert passed <= burst + rate * (clock.now - start) + 1e-3


def test_rows_are_paid_for_afterwards() -> None:
    """A large request is answered, and the next one waits until its rows are paid off."""
    clock = Clock()
    meter = Meter(Quota(rows_per_second=100), clock)
    assert [ask(meter, 500), ask(meter)] == ["", "QUOTA_ROWS"]
    clock.now += 3.9
    assert ask(meter) == "QUOTA_ROWS"
    clock.now += 0.2
    assert ask(meter) == ""


def test_requests_that_run_together() -> None:
    """Are counted from their beginning to their end, however they end."""
    quotas = Quotas(Quota(), clock=Clock())
    quotas.declare({"acme": Quota(concurrency=2)})
    with pytest.raises(ZeroDivisionError), quotas.admitted(ACME):
        raise ZeroDivisionError
    with quotas.admitted(ACME), quotas.admitted(ACME):
        with pytest.raises(RateLimited) as caught, quotas.admitted(ACME):
            pass
        assert caught.value.reason == "QUOTA_CONCURRENCY"
        assert caught.value.data["retry_after_seconds"] > 0
    with quotas.admitted(ACME):
        pass


def test_whose_quota_holds() -> None:
    """A tenant's own word, else the platform's; a part of it for each replica; another tenant's use does not matter."""
    clock = Clock()
    quotas = Quotas(Quota(requests_per_second=20, concurrency=3), replicas=2, clock=clock)
    quotas.declare({"acme": Quota(requests_per_second=4, rows_per_second=10)})
    acme, globex = quotas.of(ACME), quotas.of(GLOBEX)
    assert acme is not None
    assert globex is not None
    assert acme.quota == Quota(2, None, 5, 2)
    assert globex.quota == Quota(10, None, None, 2)
    assert [ask(acme, 0) for _ in range(3)] == ["", "", "QUOTA_REQUESTS"]
    assert ask(globex) == ""
    quotas.declare({"acme": Quota(requests_per_second=4, rows_per_second=10)})
    assert ask(acme) == "QUOTA_REQUESTS"
    quotas.declare({"acme": Quota(requests_per_second=100)})
    assert ask(acme) == ""
    quotas.declare({})
    assert quotas.of(ACME) is not acme
    assert Quotas(Quota()).of(ACME) is None


class Loop:
    """An event loop of which a test makes every turn."""

    def __init__(self) -> None:
        self.soon: list[Callable[..., object]] = []
        self.later: list[Callable[..., object]] = []

    def call_soon(self, callback: Callable[..., object], /) -> object:
        self.soon.append(callback)
        return None

    def call_later(self, delay: float, callback: Callable[..., object], /) -> object:
        self.later.append(callback)
        return None

    def turn(self) -> None:
        """What was to run soon."""
        due, self.soon = self.soon, []
        for callback in due:
            callback()


def test_a_quiet_tenant_waits_for_few_of_a_noisy_one() -> None:
    """64 requests of one tenant stand in line; another's runs at once, and the line goes on a few a turn, in order."""
    loop, done = Loop(), []
    turns = Turns(each_turn=4)
    turns.begin(loop)
    assert all(turns.go("noisy") for _ in range(10)), "alone nobody waits"
    assert turns.go("quiet")
    assert not turns.crowded or turns.go("noisy")
    for number in range(64):
        if turns.go("noisy"):
            done.append(number)
        else:
            assert turns.line_up("noisy", lambda number=number: done.append(number))  # type: ignore[misc]
    before = len(done)
    loop.turn()
    assert len(done) - before == 4
    assert turns.go("quiet")
    assert not turns.go("quiet")
    assert turns.line_up("quiet", lambda: done.append(-1))
    loop.turn()
    assert -1 in done[-4:]
    while loop.soon:
        loop.turn()
    numbers = [number for number in done if number >= 0]
    assert numbers == sorted(numbers)
    assert len(numbers) == 64
    assert turns.waiting == 0


def test_a_line_has_an_end_and_company_is_forgotten() -> None:
    """Beyond the longest line a request is refused; after some time alone a tenant waits no more."""
    loop = Loop()
    turns = Turns(most_waiting=3)
    turns.begin(loop)
    turns.go("quiet")
    turns.go("noisy")
    assert [turns.line_up("noisy", lambda: None) for _ in range(4)] == [True, True, True, False]
    while loop.soon:
        loop.turn()
    for _ in range(2):
        due, loop.later = loop.later, []
        for shift in due:
            shift()
        turns.go("noisy")
    assert not turns.crowded
    assert [turns.go("noisy") for _ in range(3)] == [True] * 3


def test_a_refusal_is_held_back() -> None:
    """For as long as asking again would be in vain, and no longer than a moment; Retry-After is in whole seconds."""

    async def hold(seconds: float) -> tuple[Any, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        admission = Admission(Quotas(Quota()), Turns())
        headers = await admission.hold(RateLimited("QUOTA_REQUESTS", "used up", data={"retry_after_seconds": seconds}))
        return dict(headers), loop.time() - began

    headers, taken = asyncio.run(hold(7.2))
    assert headers == {b"retry-after": b"8"}
    assert taken >= HELD_SECONDS * 0.9
    headers, taken = asyncio.run(hold(0.01))
    assert headers == {b"retry-after": b"1"}
    assert taken < HELD_SECONDS
