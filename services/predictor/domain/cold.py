"""Models that are known and not in memory: who asks for one has it loaded, once for all who wait."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LoadTimeout
from dataclasses import dataclass
from typing import TypeVar

from services.predictor.domain.model import ModelKey
from tenon.core.errors import TenonError, Unavailable

T = TypeVar("T")


class Cold(Unavailable):
    """The model is known, not in memory, and being loaded. A door that can wait does (`loading` ends without a result
    when the attempt is over) and asks again; one that cannot refuses with this."""

    def __init__(self, model: str, loading: Future[None]) -> None:
        super().__init__("MODEL_LOADING", f"model {model[:80]!r} is being loaded", hint="ask again in a moment")
        self.loading = loading


class Flights:
    """One attempt to load for each model at a time, however many ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[ModelKey, Future[None]] = {}

    def __contains__(self, key: ModelKey) -> bool:
        return key in self._open

    def join(
        self, key: ModelKey, load: Callable[[], None], run: Callable[[Callable[[], None]], object]
    ) -> Future[None]:
        """The attempt that is under way, or a new one, by a thread of `run`."""
        with self._lock:
            flight = self._open.get(key)
            if flight is not None:
                return flight
            flight = self._open[key] = Future()
            # Nobody who waits may cancel it for the others.
            flight.set_running_or_notify_cancel()
        try:
            run(lambda: self._fly(key, flight, load))
        except RuntimeError:
            # The threads have been stopped: this process is ending.
            self._land(key, flight)
        return flight

    def _fly(self, key: ModelKey, flight: Future[None], load: Callable[[], None]) -> None:
        try:
            load()
        finally:
            self._land(key, flight)

    def _land(self, key: ModelKey, flight: Future[None]) -> None:
        with self._lock:
            del self._open[key]
        flight.set_result(None)


class Patience:
    """Lets threads wait for cold models: each for so long, and so many at once.

    The threads of a pool are everybody's: models that take long to load must not use them up.
    """

    def __init__(self, seconds: float, threads: int) -> None:
        self.seconds = seconds
        self._places = threading.BoundedSemaphore(threads)

    def until(self, cold: Cold, again: Callable[[], T], *, seconds: float | None = None) -> T:
        """Wait, and ask `again`, as often as it says `Cold` and there is time. Raises what `again` raises."""
        limit = time.monotonic() + (self.seconds if seconds is None else min(self.seconds, seconds))
        if not self._places.acquire(blocking=False):
            raise cold
        try:
            while True:
                try:
                    cold.loading.result(max(0.0, limit - time.monotonic()))
                except LoadTimeout:
                    raise cold from None
                try:
                    return again()
                except Cold as once_more:
                    cold = once_more
                    if time.monotonic() >= limit:
                        raise
        finally:
            self._places.release()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a release is not in effect, and when it is tried again."""

    revision: int
    error: Exception
    permanent: bool
    attempts: int
    retry_at: float

    @classmethod
    def after(cls, old: Trouble | None, revision: int, err: Exception, *, permanent: bool) -> Trouble:
        """A further failure, with a longer pause when it is the same release that fails again."""
        attempts = old.attempts + 1 if old is not None and old.revision == revision else 1
        pause = 60.0 if permanent else min(30.0, 0.5 * 2 ** min(attempts, 6)) * random.uniform(0.75, 1.25)
        return cls(revision, err, permanent, attempts, time.monotonic() + pause)

    @property
    def text(self) -> str:
        """For operators."""
        err = self.error
        text = f"{err.reason}: {err.message}" if isinstance(err, TenonError) else f"{type(err).__name__} while loading"
        return text[:500]


def unavailable(model: str, why: TenonError | Exception) -> Unavailable:
    """What callers of a model hear that cannot be loaded: no path, no library, no traceback."""
    text = why.message if isinstance(why, TenonError) else "it could not be loaded"
    return Unavailable(
        "MODEL_UNAVAILABLE",
        f"model {model[:80]!r} cannot answer now: {text[:300]}",
        hint="it is tried again by itself; `tenon release show` says more",
    )
