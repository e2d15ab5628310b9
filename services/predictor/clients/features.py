"""The features service, asked within a short deadline and behind a circuit breaker."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
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
        request = pb.GetOnlineFeaturesRequest(
            tenant=tenant.value, views=query.views, view_digests=query.digests, packed=True
        )
        _ask_in_columns(request, query)
        try:
            answer = self._stub.GetOnlineFeatures(request, timeout=self._timeout)
            found = _history(answer, query)
        except (TenonError, ValueError) as err:
            self._on_call("failed", time.perf_counter() - started)
            if self._breaker.failed():
                log.warning("features does not answer; predictions go on without history", error=str(err))
            return None
        self._on_call("answered", time.perf_counter() - started)
        self._breaker.succeeded()
        return found


def _ask_in_columns(request: pb.GetOnlineFeaturesRequest, query: HistoryQuery) -> None:
    for name in dict.fromkeys(name for keys in query.keys for name in keys):
        texts = [keys.get(name) for keys in query.keys]
        missing = [place for place, text in enumerate(texts) if text is None]
        request.keys.add(name=name, texts=[text or "" for text in texts], missing=missing)
    request.at_micros.extend(query.at[:1] if len(set(query.at)) == 1 and request.keys else query.at)


def _history(answer: pb.GetOnlineFeaturesResponse, query: HistoryQuery) -> History:
    names = list(answer.features)
    values, statuses, known = _columns(answer, query) if answer.HasField("columns") else _rows(answer, query)
    newest = known.max(axis=0, initial=-1)
    age = np.where(newest >= 0, (np.asarray(query.at, np.int64) - newest) / 1e6, np.nan)
    columns: dict[str, Any] = dict(zip(names, values, strict=True))
    for place in answer.text_features:
        columns[names[place]] = _texts(columns[names[place]], answer.texts)
    untold: dict[str, Any] = {}
    told = statuses != _UNTOLD
    if not told.all():
        for name, rows in zip(names, ~told, strict=True):
            view = name.partition(".")[0]
            if rows.any():
                untold[view] = untold.get(view, False) | rows
    until = [moment.ToMicroseconds() for moment in answer.data_until]
    return History(
        columns,
        age,
        dict(zip(query.views, known, strict=True)),
        {view: moment for view, moment in zip(query.views, until, strict=False) if moment},
        untold,
    )


def _texts(places: Any, texts: Sequence[str]) -> Any:
    """A column of text or None. Raises `ValueError` for a place that has no text."""
    found = np.empty(len(places), object)
    for row, place in enumerate(places.tolist()):
        if place == place:  # noqa: PLR0124 - NaN is missing
            if not 0 <= place < len(texts):
                raise ValueError("a text is missing from features' answer")
            found[row] = texts[int(place)]
    return found


def _columns(answer: pb.GetOnlineFeaturesResponse, query: HistoryQuery) -> tuple[Any, Any, Any]:
    """Values and statuses by feature and row, and by view and row when the newest that counts was known (-1: nothing).
    Raises `ValueError` for columns of another length than was asked for."""
    features, rows, packed = len(answer.features), len(query.keys), answer.columns
    known = np.frombuffer(packed.known_until, "<i8").reshape(len(query.views), rows)
    values = np.frombuffer(packed.values, "<f8").reshape(features, rows)
    return values, np.frombuffer(packed.statuses, np.uint8).reshape(features, rows), np.maximum(known, -1)


def _rows(answer: pb.GetOnlineFeaturesResponse, query: HistoryQuery) -> tuple[Any, Any, Any]:
    """The same from a service that answers row by row."""
    rows, features = len(query.keys), len(answer.features)
    values = np.full((features, rows), np.nan)
    statuses = np.zeros((features, rows), np.uint8)
    known = np.full((len(query.views), rows), -1, np.int64)
    for index, row in enumerate(answer.rows[:rows]):
        if len(row.values) == features:
            values[:, index] = row.values
        if len(row.statuses) == features:
            statuses[:, index] = row.statuses
        if len(row.known_until) == len(query.views):
            known[:, index] = [moment.ToMicroseconds() or -1 for moment in row.known_until]
    return values, statuses, known
