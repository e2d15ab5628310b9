"""The features service, asked within a short deadline and behind a circuit breaker."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from services.predictor.domain.ports import History, HistoryQuery
from tenon.api.features.v1 import features_pb2 as pb
from tenon.api.features.v1 import features_pb2_grpc
from tenon.core.errors import TenonError
from tenon.core.tenancy import TenantId
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_UNTOLD = pb.FEATURE_STATUS_BEFORE_HORIZON


class Breaker:
    """Opens after some failures in a row; then nothing is tried for a while, and after that one call at a time."""

    def __init__(
        self, *, failures: int = 5, first_pause: float = 0.5, longest_pause: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._limit, self._first, self._longest, self._clock = failures, first_pause, longest_pause, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0

    def allows(self) -> bool:
        """Whether to try. While open, the first caller after the pause is let through, the others wait for its result."""
        with self._lock:
            if self._failures < self._limit:
                return True
            now = self._clock()
            if now < self._until:
                return False
            self._until = now + self._first
            return True

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self._failures = 0

    def failed(self) -> bool:
        """A call failed; True when this opened the breaker."""
        with self._lock:
            self._failures += 1
            over = self._failures - self._limit
            if over >= 0:
                pause = min(self._longest, self._first * 2 ** min(over, 10)) * random.uniform(0.8, 1.2)
                self._until = self._clock() + pause
            return over == 0


class FeaturesClient:
    """See `HistorySource`."""

    def __init__(
        self,
        channel: Any,
        *,
        timeout_seconds: float,
        breaker: Breaker,
        on_call: Callable[[str, float], None] = lambda _outcome, _seconds: None,
    ) -> None:
        self._stub = features_pb2_grpc.FeatureServiceStub(channel)
        self._timeout = timeout_seconds
        self._breaker = breaker
        self._on_call = on_call

    def fetch(self, tenant: TenantId, query: HistoryQuery) -> History | None:
        """One call for all rows and views; None when it cannot be had in time."""
        if not self._breaker.allows():
            self._on_call("skipped", 0.0)
            return None
        started = time.perf_counter()
        request = pb.GetOnlineFeaturesRequest(tenant=tenant.value, views=query.views, view_digests=query.digests)
        for keys, at in zip(query.keys, query.at, strict=True):
            row = request.rows.add(keys=keys)
            row.at.FromMicroseconds(at)
        try:
            answer = self._stub.GetOnlineFeatures(request, timeout=self._timeout)
            found = _history(answer, query)
        except TenonError as err:
            self._on_call("failed", time.perf_counter() - started)
            if self._breaker.failed():
                log.warning("features does not answer; predictions go on without history", error=err.message)
            return None
        self._on_call("answered", time.perf_counter() - started)
        self._breaker.succeeded()
        return found


def _history(answer: pb.GetOnlineFeaturesResponse, query: HistoryQuery) -> History:
    rows = len(query.keys)
    names = list(answer.features)
    values = np.full((rows, len(names)), np.nan)
    age = np.full(rows, np.nan)
    known_until = np.full((rows, len(query.views)), -1, np.int64)
    views_of = [name.partition(".")[0] for name in names]
    untold: dict[str, Any] = {}
    for index, row in enumerate(answer.rows[:rows]):
        if len(row.values) == len(names):
            values[index] = row.values
        if _UNTOLD in row.statuses:
            for view, status in zip(views_of, row.statuses, strict=False):
                if status == _UNTOLD:
                    untold.setdefault(view, np.zeros(rows, np.bool_))[index] = True
        if len(row.known_until) == len(query.views):
            known_until[index] = [moment.ToMicroseconds() or -1 for moment in row.known_until]
            known = int(known_until[index].max())
            if known >= 0:
                age[index] = (query.at[index] - known) / 1e6
    until = [moment.ToMicroseconds() for moment in answer.data_until]
    return History(
        {name: np.ascontiguousarray(values[:, place]) for place, name in enumerate(names)},
        age,
        {view: known_until[:, place] for place, view in enumerate(query.views)},
        {view: moment for view, moment in zip(query.views, until, strict=False) if moment},
        untold,
    )
