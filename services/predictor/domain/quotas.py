"""What a tenant may ask of this replica: requests and rows a second, and requests that run at the same time.

Rates are kept as the time until which they are used up (a token bucket without its tokens), so that a check is a comparison.
Rows are known only when a request has been read, so they are paid for afterwards: a large request is answered, and the next
one waits for it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from tenon.core.errors import RateLimited
from tenon.core.tenancy import TenantId

Clock = Callable[[], float]
HELD_SECONDS = 0.25
"""Doors hold a refusal back for the time that asking again would be in vain, and no longer than this: who asks again as soon
as it is refused, on 64 connections, would otherwise keep us busy with refusals alone."""
SOON = 0.1
"""Seconds after which one of the requests that run at the same time may have ended."""


class Quota(NamedTuple):
    """What is declared; None is no limit."""

    requests_per_second: float | None = None
    burst: float | None = None
    rows_per_second: float | None = None
    concurrency: int | None = None

    def over(self, other: Quota) -> Quota:
        """This quota, and the other's word where this has none."""
        given = {name: value for name, value in self._asdict().items() if value is not None}
        if self.requests_per_second is not None:
            # A burst belongs to its rate: that of the platform's default says nothing about a tenant's own rate.
            given["burst"] = self.burst
        return other._replace(**given)

    def divided(self, replicas: int) -> Quota:
        """The part of one of so many replicas."""
        rate, burst, rows, concurrency = self
        return Quota(
            None if rate is None else rate / replicas,
            None if burst is None else max(1.0, burst / replicas),
            None if rows is None else rows / replicas,
            None if concurrency is None else max(1, math.ceil(concurrency / replicas)),
        )


class Refusal(NamedTuple):
    """Which quota is used up, in words, and for how many seconds."""

    reason: str
    words: str
    seconds: float

    def error(self) -> RateLimited:
        """The refusal as every door says it."""
        return RateLimited(
            self.reason,
            f"{self.words}; ask again in {self.seconds:.3g} s",
            data={"retry_after_seconds": round(max(0.001, self.seconds), 3)},
        )


class Meter:
    """One tenant's use of its quota. May be asked from several threads."""

    __slots__ = (
        "_burst",
        "_clock",
        "_concurrency",
        "_gap",
        "_held",
        "_lock",
        "_opens",
        "_row_gap",
        "_rows_open",
        "quota",
        "running",
    )

    def __init__(self, quota: Quota, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._opens = self._rows_open = -math.inf
        self.running = 0
        self._held = 0
        self.change(quota)

    def change(self, quota: Quota) -> None:
        """Another quota from now on."""
        rate = quota.requests_per_second
        self.quota = quota
        self._gap = 0.0 if rate is None else 1 / rate
        # By default the requests of one second may come together.
        burst = quota.burst if quota.burst is not None else max(1.0, rate or 1.0)
        self._burst = (burst - 1) * self._gap
        self._row_gap = 0.0 if quota.rows_per_second is None else 1 / quota.rows_per_second
        self._concurrency = math.inf if quota.concurrency is None else quota.concurrency
        self._opens = self._rows_open = -math.inf

    def refusal(self) -> Refusal | None:
        """Why a request would be refused now; nothing is used by asking."""
        now = self._clock()
        if now >= self._opens and now >= self._rows_open and self.running < self._concurrency:
            return None
        if now < self._opens:
            words = f"the quota of {self.quota.requests_per_second:g} requests a second is used up"
            return Refusal("QUOTA_REQUESTS", words, self._opens - now + self._held * self._gap)
        if now < self._rows_open:
            words = f"the quota of {self.quota.rows_per_second:g} rows a second is used up"
            return Refusal("QUOTA_ROWS", words, self._rows_open - now)
        return Refusal("QUOTA_CONCURRENCY", f"{self._concurrency:g} requests are running, which is the quota", SOON)

    def take(self, rows: int) -> None:
        """Use one request and its rows, for a request that was answered at once."""
        with self._lock:
            self._use(rows)

    def enter(self) -> Refusal | None:
        """Begin a request, unless it is refused; `leave` ends it."""
        with self._lock:
            refused = self.refusal()
            if refused is None:
                self._use(0)
                self.running += 1
        return refused

    def leave(self, rows: int) -> None:
        """End a request that had so many rows."""
        with self._lock:
            self.running -= 1
            if rows and self._row_gap:
                self._use_rows(rows, self._clock())

    def hold(self) -> None:
        """A refusal is held back: whoever gets it will ask again, and has its place before those refused after it."""
        with self._lock:
            self._held += 1

    def let_go(self) -> None:
        """It is said now."""
        with self._lock:
            self._held -= 1

    def _use(self, rows: int) -> None:
        now = self._clock()
        if self._gap:
            # A quota that rests is full: the next one opens as if all of the burst were left.
            full = now - self._burst
            opens = self._opens
            self._opens = (opens if opens > full else full) + self._gap
        if rows and self._row_gap:
            self._use_rows(rows, now)

    def _use_rows(self, rows: int, now: float) -> None:
        full = now - 1.0
        self._rows_open = (self._rows_open if self._rows_open > full else full) + rows * self._row_gap


class Quotas:
    """The meters of all tenants."""

    def __init__(self, default: Quota, *, replicas: int = 1, clock: Clock = time.monotonic) -> None:
        self._default = None if default == Quota() else default.divided(replicas)
        self._replicas = replicas
        self._clock = clock
        self._meters: dict[str, Meter] = {}

    def declare(self, quotas: Mapping[str, Quota]) -> None:
        """What tenants declare, all of them, by name; who is not among them has the default. An unchanged quota stays as used
        as it is."""
        default = self._default or Quota()
        meters: dict[str, Meter] = {}
        for name, quota in quotas.items():
            wanted = quota.divided(self._replicas).over(default)
            meter = self._meters.get(name)
            if meter is None:
                meter = Meter(wanted, self._clock)
            elif meter.quota != wanted:
                meter.change(wanted)
            meters[name] = meter
        # Requests that are running leave the meter they entered, even if it is no longer among these.
        self._meters = meters

    def of(self, tenant: TenantId) -> Meter | None:
        """A tenant's meter; None when nothing limits it."""
        meter = self._meters.get(tenant.value)
        if meter is None and self._default is not None:
            # Only tenants that have a key get here, so callers cannot make this grow.
            meter = self._meters.setdefault(tenant.value, Meter(self._default, self._clock))
        return meter

    @contextmanager
    def admitted(self, tenant: TenantId) -> Iterator[Rows]:
        """Around a request; its rows are told to what this gives. Raises `RateLimited`."""
        meter, rows = self.of(tenant), Rows()
        refused = None if meter is None else meter.enter()
        if refused is not None:
            raise refused.error()
        try:
            yield rows
        finally:
            if meter is not None:
                meter.leave(rows.count)


class Rows:
    """How many rows a request turned out to have."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0
