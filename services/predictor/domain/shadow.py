"""Shadow versions are asked after the answer, in the background; nothing they do can reach the caller."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from services.predictor.domain.columns import missing
from services.predictor.domain.logged import Logged, logged_columns
from services.predictor.domain.model import Role, Served
from services.predictor.domain.ports import Observer, PredictionLog
from tenon.core.levels import BESIDE_THE_MODEL

_NO_COMPARISON = frozenset(level.value for level in BESIDE_THE_MODEL)


class ShadowQueue:
    """A bounded queue and one worker. What does not fit is dropped and counted: answers never wait for a shadow."""

    def __init__(
        self,
        log: PredictionLog,
        observer: Observer,
        on_error: Callable[[Served, Exception], None],
        *,
        size: int = 1000,
    ) -> None:
        self._queue: queue.Queue[tuple[Served, Logged] | None] = queue.Queue(size)
        self._log = log
        self._observer = observer
        self._on_error = on_error
        self._thread: threading.Thread | None = None

    def offer(self, shadow: Served, entry: Logged) -> None:
        """Have the rows of `entry` evaluated by `shadow` some time.

        Not those that no model with history answered: what the shadow says without history is no comparison.
        """
        if entry.source.level in _NO_COMPARISON:
            return
        try:
            self._queue.put_nowait((shadow, entry))
        except queue.Full:
            self._observer.shadow("dropped")

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="shadow", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Evaluate what is waiting (for at most a second), then end."""
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(timeout=1)

    def _loop(self) -> None:
        while (item := self._queue.get()) is not None:
            shadow, entry = item
            try:
                self._evaluate(shadow, entry)
                self._observer.shadow("evaluated")
            except Exception as err:  # noqa: BLE001
                # A background loop is a door: a shadow may fail in any way and must not stop the others.
                self._observer.shadow("failed")
                self._on_error(shadow, err)

    def _evaluate(self, shadow: Served, entry: Logged) -> None:
        given = entry.columns
        columns: dict[str, Any] = {}
        for column in shadow.inputs:
            values = given.get(column.name)
            # A shadow with other inputs than the version that answered sees those as missing.
            columns[column.name] = missing(column, entry.rows) if values is None else values
        scores = np.asarray(shadow.evaluator.predict(columns))
        known = {name: values for name, values in columns.items() if name in given}
        at = time.time_ns() // 1000
        # The id is the answer's own: the label that comes under it is the truth for the shadow as well.
        self._log.append(
            [
                logged_columns(
                    shadow, Role.SHADOW, entry.source.protocol, entry.request_id, entry.ids, at, entry.event_time,
                    scores, known, entry.source.level,
                )
            ]
        )  # fmt: skip
