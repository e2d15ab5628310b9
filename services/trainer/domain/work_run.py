"""Working on a run: taking it up once, staying alive visibly, and ending it well or badly."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.trainer.domain.model import Lease, Outcome, Run
from services.trainer.domain.ports import Models, Runs
from services.trainer.domain.start_run import SECOND, STALE_AFTER, Clock, find_run
from services.trainer.domain.train_model import Report, TrainModel
from tenon.core.errors import Kind, TenonError, Unavailable
from tenon.core.tenancy import TenantId

MAX_ATTEMPTS = 4
FIRST_PAUSE = 5 * SECOND
BEAT_SECONDS = 4.0
REPORT_EVERY = SECOND // 2


class Verdict(enum.StrEnum):
    """How work on a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    POSTPONED = "postponed"  # something was not reachable; the run waits and is tried again
    SKIPPED = "skipped"  # finished already, or in another worker's hands


class Interrupted(BaseException):
    """Raised into the work when the worker must stop; the run goes back to the queue for another one.

    Not an `Exception`, so that nothing on the way takes it for a failure of its own.
    """


class LeaseLost(Exception):
    """Another worker has taken the run up; whatever this one still does must not be written."""


@dataclass(frozen=True)
class WorkRun:
    """Does one run. Calling it twice, also at the same time, does the run once.

    `on_surprise` is called inside the handler of an exception that nobody foresaw, to log it with its traceback.
    """

    runs: Runs
    models: Models
    train: TrainModel
    clock: Clock
    on_surprise: Callable[[Run], None]

    def __call__(self, tenant: TenantId, run_id: str) -> Verdict:
        """Take the run up if it is free, train, and write down how it ended."""
        now = self.clock()
        lease = self.runs.claim(tenant, run_id, now=now, stale_before=now - STALE_AFTER)
        if lease is None:
            return Verdict.SKIPPED
        run = find_run(self.runs, tenant, run_id)
        if run.attempts > MAX_ATTEMPTS:
            return self._fail(
                tenant,
                lease,
                run.reason or "WORKER_LOST",
                run.problem or f"{MAX_ATTEMPTS} workers died while they worked on this run; it may need more memory",
                "see the worker's log, then start a new run",
            )
        try:
            with self._heartbeat(tenant, lease):
                model = self.models.get_revision(tenant, run.model, run.model_revision)
                outcome = self.train(tenant, model, run, self._reporter(tenant, lease))
            return self._succeed(tenant, lease, outcome)
        except LeaseLost:
            return Verdict.SKIPPED
        except Interrupted:
            step = "waiting for a worker: the one before was stopped"
            self.runs.release(tenant, lease, reason="", problem="", step=step, not_before=self.clock())
            return Verdict.POSTPONED
        except TenonError as err:
            if err.kind in {Kind.UNAVAILABLE, Kind.DEADLINE} and run.attempts < MAX_ATTEMPTS:
                return self._postpone(tenant, lease, run, err)
            return self._fail(tenant, lease, err.reason, err.message, err.hint or "")
        except Exception:  # noqa: BLE001
            # The task is a door: what nobody foresaw is logged with its traceback, and the run says where to look.
            self.on_surprise(run)
            problem = f"an unexpected error; the worker's log has it under run {run.id}"
            return self._fail(tenant, lease, "INTERNAL", problem, "")

    def _succeed(self, tenant: TenantId, lease: Lease, outcome: Outcome) -> Verdict:
        held = self.runs.succeed(tenant, lease, outcome, now=self.clock())
        return Verdict.SUCCEEDED if held else Verdict.SKIPPED

    def _fail(self, tenant: TenantId, lease: Lease, reason: str, problem: str, hint: str) -> Verdict:
        held = self.runs.fail(tenant, lease, reason=reason, problem=problem, hint=hint, now=self.clock())
        return Verdict.FAILED if held else Verdict.SKIPPED

    def _postpone(self, tenant: TenantId, lease: Lease, run: Run, err: TenonError) -> Verdict:
        pause = FIRST_PAUSE * 2 ** (run.attempts - 1)
        held = self.runs.release(
            tenant,
            lease,
            reason=err.reason,
            problem=err.message,
            step=f"waiting to try again (attempt {run.attempts} of {MAX_ATTEMPTS}): {err.message}",
            not_before=self.clock() + pause,
        )
        return Verdict.POSTPONED if held else Verdict.SKIPPED

    def _reporter(self, tenant: TenantId, lease: Lease) -> Report:
        last_at, last_step = 0, ""

        def report(progress: float, step: str) -> None:
            nonlocal last_at, last_step
            now = self.clock()
            if step == last_step and now - last_at < REPORT_EVERY:
                return
            last_at, last_step = now, step
            if not self.runs.report(tenant, lease, progress=progress, step=step, now=now):
                raise LeaseLost

        return report

    @contextmanager
    def _heartbeat(self, tenant: TenantId, lease: Lease) -> Iterator[None]:
        """A thread that says every few seconds that this worker lives, also while a library is busy."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT_SECONDS):
                try:
                    if not self.runs.beat(tenant, lease, now=self.clock()):
                        return  # The next report or the final write finds out and stops the work.
                except Unavailable:
                    continue  # One missed beat is not death; the next may reach the database again.

        thread = threading.Thread(target=beat, name=f"heartbeat-{lease.run_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=5)
