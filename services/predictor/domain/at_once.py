"""One usual row, answered at once: the same steps as `predict`, without its plan, its parts and its arrays."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from services.predictor.domain.logged import Logged, PredictionIds
from services.predictor.domain.routing import Table, choose
from tenon.core.errors import NotFound
from tenon.core.operations import Failure

if TYPE_CHECKING:
    from services.predictor.domain.model import Entry, Served, Serving
    from services.predictor.domain.ports import Observer, PredictionLog
    from services.predictor.domain.rows import Row, RowLayout
    from services.predictor.domain.shadow import ShadowQueue
    from tenon.core.tenancy import TenantId


class Route(NamedTuple):
    """Which version answers a row, and how that row lies."""

    entry: Entry
    serving: Serving
    layout: RowLayout
    is_fixed: bool
    """The caller named the version, so no shadow is asked."""


class AtOnce:
    """Answers rows that need no waiting. What it cannot do it says before anything has happened."""

    def __init__(self, table: Table, log: PredictionLog, shadows: ShadowQueue, observer: Observer) -> None:
        self._table = table
        self._log = log
        self._shadows = shadows
        self._observer = observer
        self._ids = PredictionIds()

    def route(self, tenant: TenantId, model: str, version: str | None, request_id: str) -> Route | None:
        """Who answers a request that names no entity; None: that is not so simple."""
        table = self._table
        try:
            entry = table.find(tenant, model)
            serving = (
                choose(entry, tenant, model, (request_id,))
                if version is None
                else table.find_version(tenant, model, version)
            )
        except NotFound:
            return None
        served = serving.served
        layout = served.row_layout
        if layout is None:
            return None
        if version is None and served is not entry.stable and not alike(entry.stable, served):
            return None
        if version is None and entry.split and entry.stable.lookups:
            for column in entry.stable.lookups:
                # The request says which entity it is about, and that decides who answers.
                if column.name in layout.names:
                    return None
        return Route(entry, serving, layout, version is not None)

    def answer(
        self, route: Route, protocol: str, request_id: str, row: Row, started: float
    ) -> tuple[float, bytes, str]:
        """Evaluate, log and count; gives the score and the prediction's id, as bytes and as text."""
        served, role = route.serving
        try:
            score = served.evaluator.predict_row(row.values)
        except Exception:
            self._observer.failed(served, role, protocol, Failure.BROKEN)
            raise
        at = time.time_ns() // 1000
        raw, text = self._ids.one(at)
        log = self._log
        shadow = None if route.is_fixed else route.entry.shadow
        if row.texts or shadow is not None:
            layout = route.layout
            source = (
                served.source(role, protocol, layout.number_names, layout.text_names)
                if row.texts
                else served.source(role, protocol)
            )
            logged = Logged(
                source, request_id, raw, at, (at,), [score], row.numbers, [(value,) for value in row.texts]
            )  # fmt: skip
            log.append((logged,))
            if shadow is not None:
                self._shadows.offer(shadow, logged)
        else:
            log.append_row(served.source(role, protocol), request_id, raw, at, at, score, row.numbers)
        self._observer.answered(served, role, protocol, score, time.perf_counter() - started)
        return score, raw, text


def alike(one: Served, other: Served) -> bool:
    """Whether a matrix means the same to both: it lies in the order of the stable version's columns."""
    here, there = one.row_layout, other.row_layout
    return here is not None and there is not None and (here.names, here.text_names) == (there.names, there.text_names)
