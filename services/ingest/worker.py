"""The loading door: threads that claim batches and load them, in order, until nothing waits."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from services.ingest import metrics
from services.ingest.domain.load_batch import LoadBatch
from services.ingest.domain.model import Batch, BatchState, Problem
from services.ingest.domain.ports import LoadQueue
from tenon.core.errors import Place, TenonError, Unavailable
from tenon.kit import context
from tenon.kit.process import Periodic
from tenon.kit.telemetry import get_logger, tracer

log = get_logger(__name__)

MAX_ATTEMPTS = 10
"""Loads of one batch that may fail for no reason we know, or end with the process, before it is refused."""
POLL_SECONDS = 1.0


class ClaimedQueue(LoadQueue, Protocol):
    """The queue with what only the worker needs."""

    def release_own(self) -> int:
        """Give back what a killed predecessor of this process held."""
        ...

    def renew(self) -> None:
        """Prolong all claims of this process."""
        ...

    def depth(self) -> int:
        """Files that wait or are being loaded."""
        ...

    def oldest_seconds(self) -> float:
        """Age of the oldest of them; 0 when there is none."""
        ...


class Signal:
    """How the doors wake the worker, and how it tells a running load to end. Made before both."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.ending = threading.Event()

    def wake(self) -> None:
        """There is something to load."""
        self.woken.set()

    def check(self) -> None:
        """Called now and then by a running load. Raises `Unavailable` when the process is about to end."""
        if self.ending.is_set():
            raise Unavailable("STOPPING", "ingest is stopping; the load goes on after the restart")


class Loader:
    """See `tenon.kit.process.Background`."""

    def __init__(self, queue: ClaimedQueue, load: LoadBatch, signal: Signal, threads: int) -> None:
        self._queue, self._load, self._signal = queue, load, signal
        self._resuming, self._resumed = threading.Lock(), False
        self._renewal = Periodic("claims", self._keep, 15.0)
        self._threads = [threading.Thread(target=self._loop, name=f"loader-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Begin with what was left unfinished."""
        self._renewal.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End between two chunks of the running load."""
        self._signal.ending.set()
        self._signal.wake()
        self._renewal.stop()
        for thread in self._threads:
            thread.join(timeout=4)

    @property
    def alive(self) -> bool:
        """Whether every thread is at work."""
        return all(thread.is_alive() for thread in self._threads)

    def _resume(self) -> None:
        """Take back, before anything is claimed, what a killed predecessor held; tried until there is a database."""
        with self._resuming:
            if self._resumed:
                return
            batches = self._queue.release_own()
            self._resumed = True
        if batches:
            log.info("unfinished batches are taken up again", batches=batches)

    def _keep(self) -> None:
        self._queue.renew()
        metrics.QUEUE_DEPTH.set(self._queue.depth())
        metrics.QUEUE_OLDEST.set(self._queue.oldest_seconds())

    def _loop(self) -> None:
        failures = 0
        while not self._signal.ending.is_set():
            self._signal.woken.clear()
            try:
                self._resume()
                batch = self._queue.claim()
                if batch is not None:
                    self._load_one(batch)
                failures = 0
            except Unavailable as err:
                failures += 1
                log.warning("the ledger of files cannot be used yet", reason=err.reason, error=err.message)
                self._signal.ending.wait(min(0.2 * 2 ** min(failures, 5), 5.0))
                continue
            except Exception:
                # A background loop is a door.
                failures += 1
                log.exception("the ledger of files cannot be used", failures=failures)
                self._signal.ending.wait(min(0.2 * 2 ** min(failures, 7), 30.0))
                continue
            if batch is None:
                self._signal.woken.wait(POLL_SECONDS)

    def _load_one(self, batch: Batch) -> None:
        context.request_id.set(context.new_request_id())
        context.tenant_name.set(batch.tenant.value)
        started = time.perf_counter()
        with tracer("tenon.ingest.loader").start_as_current_span(
            "load batch", attributes={"tenon.tenant": batch.tenant.value, "tenon.batch": batch.id}
        ):
            if batch.attempts > MAX_ATTEMPTS:
                self._give_up(batch)
                return
            try:
                done = self._load.load(batch.tenant, batch)
            except TenonError as err:
                # The world is at fault, not the file: it is tried until it works, and not counted.
                log.warning(
                    "load postponed", batch=batch.id, dataset=batch.dataset, reason=err.reason, error=err.message
                )
                self._postpone(batch, counted=False)
            except BaseException:
                # A background loop is a door; panics of the libraries below are no `Exception`.
                log.exception("load failed", batch=batch.id, dataset=batch.dataset, attempts=batch.attempts)
                self._postpone(batch, counted=True)
            else:
                _count(done, time.perf_counter() - started)

    def _postpone(self, batch: Batch, *, counted: bool) -> None:
        metrics.FILES.labels("postponed").inc()
        pause = 0.0 if self._signal.ending.is_set() else 0.2 * 2 ** min(batch.attempts, 5)
        self._queue.postpone(batch.tenant, batch.id, pause, counted=counted)

    def _give_up(self, batch: Batch) -> None:
        problem = Problem(
            "LOAD_FAILED",
            f"{batch.file.name} could not be loaded in {MAX_ATTEMPTS} attempts; the file is kept",
            Place(batch.file.name),
            "ask the operator to look for this batch's id in the log",
        )
        log.error("batch given up", batch=batch.id, dataset=batch.dataset, attempts=batch.attempts)
        self._queue.refuse(batch.tenant, batch.id, batch.counts, problem)
        metrics.FILES.labels("refused").inc()
        metrics.REFUSALS.labels(problem.reason).inc()


def _count(batch: Batch, seconds: float) -> None:
    """Tell metrics and log what became of a file; counts only, no values."""
    counts = batch.counts
    metrics.LOAD_SECONDS.observe(seconds)
    metrics.FILES.labels(batch.state.value).inc()
    metrics.ROWS_READ.inc(counts.read)
    metrics.ROWS_COMMITTED.inc(counts.committed)
    metrics.ROWS_SUPERSEDED.inc(counts.superseded)
    for reason, number in counts.reasons.items():
        metrics.ROWS_QUARANTINED.labels(reason).inc(number)
    if batch.problem is not None:
        metrics.REFUSALS.labels(batch.problem.reason).inc()
    log.info(
        "file loaded" if batch.state is BatchState.COMMITTED else "file refused",
        batch=batch.id, dataset=batch.dataset, reason=batch.problem.reason if batch.problem else None,
        rows_read=counts.read, rows_committed=counts.committed, rows_quarantined=counts.quarantined,
        table_version=batch.table_version, seconds=round(seconds, 3),
    )  # fmt: skip
