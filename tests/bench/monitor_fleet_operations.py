"""Fleets whose requests, errors and latency vary more than chance, and in which nothing is wrong: how many incidents are opened."""

from __future__ import annotations

import itertools
import time

import numpy as np

from services.monitor.domain.incidents.discovery import round_level
from services.monitor.domain.incidents.from_operations import ExamineOperations
from services.monitor.domain.incidents.ledger import Ledger
from services.monitor.domain.incidents.ports import DidInHour, LevelsInHour
from services.monitor.domain.incidents.words import IncidentPolicy
from services.monitor.domain.log.operations import BUCKET, HOUR, Operated
from services.monitor.domain.model import Role
from tenon.core.operations import LATENCY_BOUNDS

Key = tuple[str, str, int, Role]
WEEK = 168
_DAYS = np.array([1.0, 1.0, 1.1, 1.0, 0.9, 0.5, 0.2])
_CLOCK = 0.15 + np.exp(-0.5 * ((np.arange(24) - 13) / 3.5) ** 2)


class QuietFleet:
    """`FleetOperations` of tenants from 20 to 20,000 requests an hour by day, few at night and at weekends. Requests vary by 20 % from hour to hour,
    shares of errors and of slow answers by half of themselves and more."""

    def __init__(self, tenants: int, weeks: int, seed: int) -> None:
        chance = np.random.default_rng(seed)
        hours = weeks * WEEK
        at = np.arange(hours)
        shape = _CLOCK[at % 24] * _DAYS[at // 24 % 7]
        size = np.exp(chance.uniform(np.log(20), np.log(20_000), size=(tenants, 1)))
        self.requests_ = chance.poisson(size * shape * chance.gamma(25, 1 / 25, size=(tenants, hours)))
        mean = np.exp(chance.uniform(np.log(0.0005), np.log(0.02), size=(tenants, 1)))
        failed = chance.binomial(self.requests_, np.minimum(mean * chance.gamma(3, 1 / 3, size=(tenants, hours)), 1))
        slow = chance.binomial(
            self.requests_ - failed, np.minimum(0.03 * chance.gamma(3, 1 / 3, size=(tenants, hours)), 1)
        )
        self._counts = np.zeros((tenants, hours, 3 + len(LATENCY_BOUNDS) + 2), dtype=np.int64)
        self._counts[:, :, 0] = self.requests_ - failed
        self._counts[:, :, 3] = failed
        self._counts[:, :, 4 + 6], self._counts[:, :, 4 + 10] = self.requests_ - failed - slow, slow
        self._chance = chance

    def key(self, tenant: int) -> Key:
        """Of a tenant's only version."""
        return f"tenant-{tenant}", "cost", 1, Role.STABLE

    def totals(self, start: int, end: int, *, by_hours: bool) -> dict[Key, Operated]:
        """See the port. Looks fall on full hours: shorter stretches are a part of the last one, drawn."""
        last = end // HOUR
        counts = self._counts[:, start // HOUR : last].sum(axis=1)
        if end - start < HOUR:
            counts = self._chance.binomial(self._counts[:, last - 1], (end - start) / HOUR)
        return {self.key(tenant): _operated(row) for tenant, row in enumerate(counts) if row.any()}

    def hours(self, start: int, end: int) -> list[DidInHour]:
        """See the port."""
        return [
            DidInHour(*self.key(tenant), hour * HOUR, _operated(self._counts[tenant, hour]))
            for hour in range(max(start // HOUR, 0), end // HOUR)
            for tenant in range(len(self._counts))
        ]

    def requests(self, start: int, end: int) -> list[tuple[str, str, int, int]]:
        """See the port."""
        return [
            (f"tenant-{tenant}", "cost", hour * HOUR, int(self.requests_[tenant, hour]))
            for hour in range(max(start // HOUR, 0), end // HOUR)
            for tenant in range(len(self._counts))
        ]

    def levels(self, start: int, end: int) -> list[LevelsInHour]:
        """See the port."""
        return []

    def active(self, since: int) -> set[tuple[str, str]]:
        """See the port."""
        return set()


def _operated(row: np.ndarray) -> Operated:
    counts = row.tolist()
    return Operated(counts[0], tuple(counts[1:4]), tuple(counts[4:]))


def false_incidents(tenants: int, weeks: int, looks: int, seed: int) -> tuple[int, int, float]:
    """Incidents of so many looks, one an hour, after some weeks; the questions asked; and the seconds of a look. The whole rate is spent in them."""
    fleet = QuietFleet(tenants, weeks + looks // WEEK + 1, seed)
    examine, opened, asked, seconds = ExamineOperations(fleet), 0, 0, []
    numbers = itertools.count()
    policy = IncidentPolicy(period=looks * HOUR)
    level = round_level(policy.false_discovery_rate * policy.operations_share, HOUR, policy.period)
    for look in range(looks):
        now = (weeks * WEEK + look) * HOUR
        began = time.perf_counter()
        cells = examine(now)
        ledger = Ledger([], policy, now=now + BUCKET, new_id=lambda: f"i{next(numbers)}")
        ledger.step(cells, level)
        seconds.append(time.perf_counter() - began)
        opened, asked = opened + len(ledger.incidents), asked + len(cells)
    return opened, asked, float(np.median(seconds))
