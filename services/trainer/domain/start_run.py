"""Starting runs, and caring for those that nobody works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.trainer.domain.model import Run, new_run_id
from services.trainer.domain.ports import Models, Runs, TaskQueue
from tenon.core.errors import Invalid, NotFound, Place, Unavailable
from tenon.core.tenancy import TenantId

SECOND = 1_000_000
GRACE = 5 * SECOND
"""How long the one who makes a run has to enqueue it, before the sweeper does."""
FORGOTTEN_AFTER = 120 * SECOND
"""A waiting run is enqueued again after this, in case the queue lost it. A second task for a run does no harm."""
STALE_AFTER = 20 * SECOND
"""A worker that was not heard of for so long is taken for dead. Workers speak every few seconds."""
MAX_KEY = 200

Clock = Callable[[], int]
"""Microseconds since the epoch."""


@dataclass(frozen=True)
class StartRun:
    """Makes a run, and only when it is stored asks a worker to take it up."""

    models: Models
    runs: Runs
    queue: TaskQueue
    clock: Clock
    on_queue_trouble: Callable[[Unavailable], None]

    def __call__(self, tenant: TenantId, model_name: str, idempotency_key: str = "") -> Run:
        """The run, new or (for a key that was used before) known. Raises `NotFound` for an unknown model."""
        if len(idempotency_key) > MAX_KEY or not idempotency_key.isprintable():
            raise Invalid(
                "IDEMPOTENCY_KEY_INVALID",
                f"idempotency_key is printable text of at most {MAX_KEY} characters",
                place=Place(field="idempotency_key"),
            )
        model = self.models.get(tenant, model_name)
        now = self.clock()
        wanted = Run(new_run_id(now), tenant, model.name, model.revision, now, idempotency_key)
        run, is_new = self.runs.add(tenant, wanted, not_before=now + GRACE)
        if is_new:
            try:
                self.queue.enqueue(tenant, run.id)
                self.runs.note_enqueued(tenant, run.id, now=now)
            except Unavailable as err:
                # The run is stored, so it is not lost: AttendRuns enqueues it when the queue is back.
                self.on_queue_trouble(err)
        return run


@dataclass(frozen=True)
class AttendRuns:
    """Enqueues runs that wait without a task, and those whose worker died."""

    runs: Runs
    queue: TaskQueue
    clock: Clock

    def __call__(self) -> int:
        """How many were enqueued. Raises `Unavailable` when the queue cannot be reached."""
        now = self.clock()
        found = self.runs.unattended(
            now=now, enqueued_before=now - FORGOTTEN_AFTER, stale_before=now - STALE_AFTER, limit=100
        )
        for tenant, run_id in found:
            self.queue.enqueue(tenant, run_id)
            self.runs.note_enqueued(tenant, run_id, now=now)
        return len(found)


def find_run(runs: Runs, tenant: TenantId, run_id: str) -> Run:
    """A run by its id. Raises `NotFound`."""
    run = runs.get(tenant, run_id)
    if run is None:
        raise NotFound(
            "RUN_NOT_FOUND",
            f"tenant {tenant.value!r} has no run {run_id[:80]!r}",
            place=Place(field="run_id"),
            hint=f"list them: tenon runs --tenant {tenant}",
        )
    return run
