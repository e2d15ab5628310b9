"""What was pushed and withdrawn in the last seconds: a Redis that is killed may lose what it has just acknowledged."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace

from services.features.domain.pending import Rows
from tenon.core.tenancy import TenantId

HELD = 10_000_000
"""How long after a push the same run of Redis has to answer, in microseconds; then it keeps what it has."""


@dataclass(frozen=True, slots=True)
class Given:
    """Rows that were pushed, or withdrawn (`gone`), while this run of Redis answered."""

    run: str
    at: int
    tenant: TenantId
    dataset: str
    rows: Rows
    gone: bool = False


class PushedLately:
    """Thread-safe. Not more than so many rows are held; of more, the oldest are forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._given: deque[Given] = deque()
        self._rows = 0
        self._lock = threading.Lock()

    def note(self, given: Given) -> None:
        """Hold it for a while."""
        with self._lock:
            self._given.append(given)
            self._rows += len(given.rows)
            while self._rows > self._most and len(self._given) > 1:
                self._rows -= len(self._given.popleft().rows)

    def forget(self, tenant: TenantId, dataset: str, keys: Collection[int]) -> None:
        """These rows are not to be given again."""
        with self._lock:
            self._keep([
                replace(given, rows={key: data for key, data in given.rows.items() if key not in keys})
                if (given.tenant, given.dataset) == (tenant, dataset) and not given.gone else given
                for given in self._given
            ])  # fmt: skip

    def of_others(self, run: str, until: int) -> list[Given]:
        """What was given to another run, in order. What this one was given until then is forgotten."""
        with self._lock:
            self._keep([given for given in self._given if given.run != run or given.at > until])
            return [given for given in self._given if given.run != run]

    def done(self, given: Given, run: str, at: int) -> None:
        """It was given again to this run."""
        with self._lock:
            self._keep([replace(one, run=run, at=at) if one is given else one for one in self._given])

    def _keep(self, given: list[Given]) -> None:
        self._given = deque(one for one in given if one.rows)
        self._rows = sum(len(one.rows) for one in self._given)
