"""The Celery door: a thin task that takes ids, and the queue on which it waits.

The run table decides what is done: a task that comes twice, or for a run that has ended, does nothing. When a worker
is told to stop, the run it works on goes back to the queue at once; when it is killed, its silence gives it away.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any

import billiard
from celery import Celery, signals
from celery.platforms import SecurityWarning
from kombu.exceptions import OperationalError

from services.trainer.domain.work_run import Interrupted, Verdict, WorkRun
from services.trainer.metrics import RUN_DURATION, RUNS_WORKED
from tenon.core.errors import Unavailable
from tenon.core.tenancy import TenantId
from tenon.kit import context
from tenon.kit.telemetry import get_logger, tracer

log = get_logger(__name__)

TASK = "trainer.run_training"


class CeleryQueue:
    """See `TaskQueue`."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery

    def enqueue(self, tenant: TenantId, run_id: str) -> None:
        """See `TaskQueue`."""
        try:
            self._celery.send_task(TASK, args=[tenant.value, run_id])
        except OperationalError as err:
            raise Unavailable("QUEUE_UNAVAILABLE", f"Redis could not be reached to enqueue run {run_id}") from err


def register_task(celery: Celery, build: Callable[[], WorkRun]) -> None:
    """Make the task known. `build` is called in each process that works, after it was forked: connections and threads
    do not survive a fork."""
    built: list[WorkRun] = []
    busy = _Busy()

    def begin(**_: Any) -> None:
        busy.listen()
        built.append(build())

    @celery.task(name=TASK)
    def run_training(tenant: str, run_id: str) -> None:
        context.tenant_name.set(tenant)
        started = time.monotonic()
        with tracer("tenon.trainer.worker").start_as_current_span(TASK, attributes={"tenon.run_id": run_id}), busy:
            verdict = built[0](TenantId(tenant), run_id)
        elapsed = time.monotonic() - started
        RUNS_WORKED.labels(verdict.value).inc()
        if verdict is not Verdict.SKIPPED:
            RUN_DURATION.labels(verdict.value).observe(elapsed)
        log.info("worked on run", run_id=run_id, verdict=verdict.value, **{"event.duration": int(elapsed * 1e9)})

    signals.setup_logging.connect(_keep_logging, weak=False)
    signals.worker_process_init.connect(begin, weak=False)
    signals.worker_shutting_down.connect(_stop_work, weak=False)


def work(celery: Celery, *, concurrency: int) -> int:
    """Work until SIGTERM or SIGINT; gives the exit code."""
    # Celery warns root of pickled messages; our queues accept only JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = celery.Worker(
        pool="prefork",
        concurrency=concurrency,
        optimization="fair",
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    code: int = worker.exitcode or 0
    return code


class _Busy:
    """Turns signals into `Interrupted` while a task runs: SIGUSR2 (hand the run back) and SIGTERM (and end)."""

    def __init__(self) -> None:
        self._working = False

    def listen(self) -> None:
        signal.signal(signal.SIGUSR2, self._interrupt)
        signal.signal(signal.SIGTERM, self._interrupt)

    def __enter__(self) -> None:
        self._working = True

    def __exit__(self, *_: object) -> None:
        self._working = False

    def _interrupt(self, signum: int, _frame: Any) -> None:
        if self._working:
            self._working = False
            raise Interrupted
        if signum == signal.SIGTERM:
            raise SystemExit(0)


def _keep_logging(**_: Any) -> None:
    """Celery leaves logging alone when anybody listens to this signal; `main` has set it up."""


def _stop_work(**_: Any) -> None:
    """In the parent, when a shutdown begins: Celery would wait until the task has ended by itself."""
    for child in billiard.active_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGUSR2)


if __name__ == "__main__":
    # A door may not import main, which builds it; to be startable by its own name it asks for it by text.
    importlib.import_module("services.trainer.main").main_worker()
