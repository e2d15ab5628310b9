"""The life of a run: taken up once, whatever happens to tasks and workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.trainer.domain.define_model import DefineModel
from services.trainer.domain.model import Lease, Model, Outcome, Run, RunState
from services.trainer.domain.start_run import (
    FORGOTTEN_AFTER,
    GRACE,
    SECOND,
    STALE_AFTER,
    AttendRuns,
    StartRun,
    find_run,
)
from services.trainer.domain.train_model import Report
from services.trainer.domain.work_run import MAX_ATTEMPTS, Interrupted, Verdict, WorkRun
from services.trainer.storage.models import SqlModels
from services.trainer.storage.runs import SqlRuns
from tenon.core.errors import Invalid, NotFound, Precondition, Unavailable
from tenon.core.tenancy import TenantId
from tenon.kit.sql import Database, migrate, pending_migrations
from tests.support.trainer_data import model_spec
from tests.unit.services.trainer.conftest import TENANT, FakeDefinitions

OUTCOME = Outcome(version=4, bundle_sha256="ab" * 32, evidence={"rows": 1}, gates=[])
OTHER = TenantId("south")


@dataclass
class FakeQueue:
    """Remembers what was enqueued; may be down."""

    tasks: list[tuple[TenantId, str]] = field(default_factory=list)
    down: bool = False

    def enqueue(self, tenant: TenantId, run_id: str) -> None:
        """Remember, or refuse."""
        if self.down:
            raise Unavailable("QUEUE_UNAVAILABLE", "Redis is down")
        self.tasks.append((tenant, run_id))


class World:
    """The real tables in SQLite, a clock that is turned by hand, and a training that does what the test says."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder}/trainer.db")
        migrate(self.database, "services.trainer.migrations")
        self.models, self.runs, self.queue = SqlModels(self.database), SqlRuns(self.database), FakeQueue()
        self.now = 1_700_000_000 * SECOND
        self.training: Callable[[Report], Outcome] = lambda report: OUTCOME
        self.trained: list[str] = []
        self.surprises: list[Run] = []
        self.troubles: list[Unavailable] = []
        self.start = StartRun(self.models, self.runs, self.queue, self.clock, self.troubles.append)
        self.attend = AttendRuns(self.runs, self.queue, self.clock)
        self.work = WorkRun(self.runs, self.models, self._train, self.clock, self.surprises.append)  # type: ignore[arg-type]
        self.models.put(TENANT, model_spec(), dry_run=False)

    def clock(self) -> int:
        """The hand-turned clock."""
        return self.now

    def _train(self, tenant: TenantId, model: Model, run: Run, report: Report) -> Outcome:
        self.trained.append(run.id)
        return self.training(report)

    def run(self, run_id: str) -> Run:
        """A run as it is stored."""
        return find_run(self.runs, TENANT, run_id)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh world."""
    return World(tmp_path)


def raising(error: BaseException) -> Callable[[Report], Outcome]:
    """A training that ends so."""

    def train(report: Report) -> Outcome:
        raise error

    return train


def test_a_run_that_ended_is_not_run_again(world: World) -> None:
    """A task that comes twice trains once, and the second time changes nothing."""
    run = world.start(TENANT, "costly_visit")
    assert world.work(TENANT, run.id) is Verdict.SUCCEEDED
    ended = world.run(run.id)
    assert world.work(TENANT, run.id) is Verdict.SKIPPED
    assert world.run(run.id) == ended
    assert world.trained == [run.id]
    assert (ended.state, ended.version, ended.progress, ended.evidence) == (RunState.SUCCEEDED, 4, 1.0, {"rows": 1})


def test_a_run_in_anothers_hands_is_left_alone(world: World) -> None:
    """While a worker is heard of, a second task for its run does nothing."""
    run = world.start(TENANT, "costly_visit")
    seen: list[Verdict] = []

    def train(report: Report) -> Outcome:
        seen.append(world.work(TENANT, run.id))
        return OUTCOME

    world.training = train
    assert world.work(TENANT, run.id) is Verdict.SUCCEEDED
    assert seen == [Verdict.SKIPPED]


def test_a_silent_workers_run_is_taken_up_and_its_late_writes_are_ignored(world: World) -> None:
    """When a worker is silent for long enough another one finishes the run; the first one's result is not written."""
    run = world.start(TENANT, "costly_visit")

    def train(report: Report) -> Outcome:
        report(0.5, "half way")
        world.training = lambda _: OUTCOME
        world.now += STALE_AFTER + 1
        assert world.work(TENANT, run.id) is Verdict.SUCCEEDED
        return Outcome(version=99, bundle_sha256="", evidence={}, gates=[])

    world.training = train
    assert world.work(TENANT, run.id) is Verdict.SKIPPED
    assert (world.run(run.id).version, world.run(run.id).attempts) == (4, 2)


def test_a_worker_that_lost_its_run_stops_at_its_next_report(world: World) -> None:
    """The next word about progress finds the lease gone and ends the work."""
    run = world.start(TENANT, "costly_visit")

    def train(report: Report) -> Outcome:
        world.now += STALE_AFTER + 1
        world.runs.claim(TENANT, run.id, now=world.now, stale_before=world.now - STALE_AFTER)
        report(0.5, "half way")
        raise AssertionError("the report must not return")

    world.training = train
    assert world.work(TENANT, run.id) is Verdict.SKIPPED
    assert world.surprises == []


def test_a_refusal_fails_the_run_and_a_surprise_is_logged(world: World) -> None:
    """An expected refusal gives its reason and hint; anything else is reported with its traceback and an id to look for."""
    world.training = raising(Precondition("NO_TEST_ROWS", "no row is late enough", hint="use an earlier day"))
    run = world.start(TENANT, "costly_visit")
    assert world.work(TENANT, run.id) is Verdict.FAILED
    failed = world.run(run.id)
    assert (failed.reason, failed.problem, failed.hint) == (
        "NO_TEST_ROWS",
        "no row is late enough",
        "use an earlier day",
    )
    assert world.surprises == []
    world.training = raising(ZeroDivisionError("of course"))
    surprised = world.start(TENANT, "costly_visit")
    assert world.work(TENANT, surprised.id) is Verdict.FAILED
    assert world.run(surprised.id).reason == "INTERNAL"
    assert "of course" not in world.run(surprised.id).problem
    assert [run.id for run in world.surprises] == [surprised.id]


def test_what_is_not_reachable_is_tried_again_a_few_times(world: World) -> None:
    """A run waits with growing pauses while a neighbour is down, and fails with the neighbour's error in the end."""
    world.training = raising(Unavailable("SERVICE_UNAVAILABLE", "features is down"))
    run = world.start(TENANT, "costly_visit")
    pauses = []
    for _ in range(MAX_ATTEMPTS - 1):
        assert world.work(TENANT, run.id) is Verdict.POSTPONED
        before = world.now
        while not world.attend():
            world.now += SECOND
        pauses.append((world.now - before) // SECOND)
    assert pauses == sorted(pauses)
    assert pauses[0] >= 5
    assert world.work(TENANT, run.id) is Verdict.FAILED
    assert world.run(run.id).reason == "SERVICE_UNAVAILABLE"


def test_an_interrupted_run_goes_back_at_once(world: World) -> None:
    """A worker that must stop gives its run back, and it is enqueued again without waiting for silence."""
    world.training = raising(Interrupted())
    run = world.start(TENANT, "costly_visit")
    assert world.work(TENANT, run.id) is Verdict.POSTPONED
    assert world.run(run.id).state is RunState.QUEUED
    assert world.attend() == 1
    world.training = lambda report: OUTCOME
    assert world.work(TENANT, run.id) is Verdict.SUCCEEDED


def test_a_run_that_kills_its_workers_ends(world: World) -> None:
    """After a few workers died over a run it is failed instead of being tried for ever."""
    run = world.start(TENANT, "costly_visit")
    for _ in range(MAX_ATTEMPTS):
        assert world.runs.claim(TENANT, run.id, now=world.now, stale_before=world.now - STALE_AFTER)
        world.now += STALE_AFTER + 1
    assert world.work(TENANT, run.id) is Verdict.FAILED
    assert world.run(run.id).reason == "WORKER_LOST"
    assert world.trained == []


def test_every_run_that_nobody_cares_for_is_found(world: World) -> None:
    """A run whose task was never sent, was lost, or whose worker died is enqueued; one that is cared for is not."""
    world.queue.down = True
    stored = world.start(TENANT, "costly_visit")
    assert [err.reason for err in world.troubles] == ["QUEUE_UNAVAILABLE"]
    world.queue.down = False
    assert world.attend() == 0  # The one who made it still has its grace.
    world.now += GRACE
    assert world.attend() == 1
    assert world.attend() == 0
    world.now += FORGOTTEN_AFTER + 1
    assert world.attend() == 1
    lease = world.runs.claim(TENANT, stored.id, now=world.now, stale_before=0)
    assert lease is not None
    world.now += STALE_AFTER // 2
    world.runs.beat(TENANT, lease, now=world.now)
    world.now += STALE_AFTER // 2 + 1
    assert world.attend() == 0
    world.now += STALE_AFTER
    assert world.attend() == 1


def test_reports_are_written_at_most_twice_a_second(world: World) -> None:
    """A new step is written at once, progress inside a step only every half second."""
    written: list[str] = []
    report_row = world.runs.report

    def noting(tenant: TenantId, lease: Lease, *, progress: float, step: str, now: int) -> bool:
        written.append(step)
        return report_row(tenant, lease, progress=progress, step=step, now=now)

    world.runs.report = noting  # type: ignore[method-assign]

    def train(report: Report) -> Outcome:
        for tick in range(100):
            report(tick / 100, "fitting")
            world.now += SECOND // 50
        report(1.0, "done soon")
        return OUTCOME

    world.training = train
    world.work(TENANT, world.start(TENANT, "costly_visit").id)
    assert written == ["fitting"] * 4 + ["done soon"]


def test_a_run_trains_the_revision_it_was_started_for(world: World) -> None:
    """A document changed while a run waits does not change the run."""
    run = world.start(TENANT, "costly_visit")
    world.models.put(TENANT, model_spec(seed=99), dry_run=False)
    seeds: list[int] = []

    def train(tenant: TenantId, model: Model, run: Run, report: Report) -> Outcome:
        seeds.append(model.spec.seed)
        return OUTCOME

    world.work = WorkRun(world.runs, world.models, train, world.clock, world.surprises.append)  # type: ignore[arg-type]
    world.work(TENANT, run.id)
    assert seeds == [7]
    assert world.models.get(TENANT, "costly_visit").revision == 2


def test_tenants_do_not_see_each_others_runs_and_models(world: World) -> None:
    """Another tenant's run and model are not found, not listed, and cannot be worked on."""
    run = world.start(TENANT, "costly_visit", "key")
    assert world.runs.get(OTHER, run.id) is None
    assert world.runs.list(OTHER, None, 10) == []
    assert world.work(OTHER, run.id) is Verdict.SKIPPED
    assert world.models.list(OTHER) == []
    with pytest.raises(NotFound):
        world.start(OTHER, "costly_visit")
    world.models.put(OTHER, model_spec(), dry_run=False)
    assert world.start(OTHER, "costly_visit", "key").id != run.id


def test_a_model_is_checked_and_stored_once(world: World) -> None:
    """The same document again is unchanged; an unknown data set is an error at `spine`; a dry run stores nothing."""

    class NoDatasets(FakeDefinitions):
        def get_dataset(self, tenant: TenantId, name: str) -> Any:
            raise NotFound("DATASET_NOT_FOUND", "no", hint="did you mean `visits`?")

    define = DefineModel(world.models, FakeDefinitions())
    assert define(TENANT, model_spec())[0] == "unchanged"
    assert define(TENANT, model_spec(seed=5), dry_run=True)[0] == "updated"
    assert define(TENANT, model_spec(seed=5))[1].revision == 2
    with pytest.raises(Invalid) as refused:
        DefineModel(world.models, NoDatasets())(TENANT, model_spec(spine="visitz"))
    assert (str(refused.value.place), refused.value.hint) == ("spine", "did you mean `visits`?")
    with pytest.raises(Invalid):
        world.start(TENANT, "costly_visit", "x" * 201)


def test_migrations_make_the_tables_the_code_uses(world: World) -> None:
    """After migrating, the database is at the newest migration and has exactly the declared columns."""
    import sqlalchemy as sa

    from services.trainer.storage.tables import metadata

    assert pending_migrations(world.database, "services.trainer.migrations") is None
    inspector = sa.inspect(world.database.engine)
    for table in metadata.tables.values():
        assert {column["name"] for column in inspector.get_columns(table.name)} == set(table.columns.keys())
