"""The run table on SQLite and on PostgreSQL: the same promises when many ask at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.trainer.domain.model import Outcome, Run, RunState, new_run_id
from services.trainer.storage.models import SqlModels
from services.trainer.storage.runs import SqlRuns
from tenon.core.errors import NotFound
from tenon.core.tenancy import TenantId
from tenon.kit.sql import Database, database_problem, open_database
from tests.support.trainer_data import model_spec

NORTH, SOUTH = TenantId("north"), TenantId("south")
NOW = 1_700_000_000_000_000

MIGRATIONS = "services.trainer.migrations"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/trainer.db"
    else:
        url = request.getfixturevalue("postgres_url")
    opened = open_database(url, MIGRATIONS, wait_seconds=60)
    yield opened
    opened.close()


def new_run(key: str = "", tenant: TenantId = NORTH) -> Run:
    """A run that nobody has seen."""
    return Run(new_run_id(NOW), tenant, "costly_visit", 1, NOW, key)


def test_many_workers_claim_a_run_and_one_gets_it(database: Database) -> None:
    """Of sixteen claims at once exactly one wins, and the run counts one attempt."""
    runs = SqlRuns(database)
    run, _ = runs.add(NORTH, new_run(), not_before=NOW)
    with ThreadPoolExecutor(16) as pool:
        leases = list(pool.map(lambda _: runs.claim(NORTH, run.id, now=NOW, stale_before=0), range(16)))
    assert sum(lease is not None for lease in leases) == 1
    seen = runs.get(NORTH, run.id)
    assert seen is not None
    assert (seen.state, seen.attempts) == (RunState.RUNNING, 1)


def test_many_requests_with_one_key_make_one_run(database: Database) -> None:
    """The same idempotency key sent sixteen times at once is one run; another tenant's same key is another."""
    runs = SqlRuns(database)
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: runs.add(NORTH, new_run("nightly"), not_before=NOW), range(16)))
    assert len({run.id for run, _ in made}) == 1
    assert sum(is_new for _, is_new in made) == 1
    assert runs.add(SOUTH, new_run("nightly", SOUTH), not_before=NOW)[1]


def test_a_run_is_kept_as_it_ended(database: Database) -> None:
    """Evidence and gates come back as they were written, and a lease that ended writes nothing."""
    runs = SqlRuns(database)
    run, _ = runs.add(NORTH, new_run(), not_before=NOW)
    lease = runs.claim(NORTH, run.id, now=NOW, stale_before=0)
    assert lease is not None
    assert runs.report(NORTH, lease, progress=0.5, step="x" * 1000, now=NOW)
    outcome = Outcome(3, "ab" * 32, {"model": {"metrics": {"roc_auc": 0.75}}}, [{"gate": "g", "passed": True}])
    assert runs.succeed(NORTH, lease, outcome, now=NOW + 1)
    assert not runs.report(NORTH, lease, progress=0.1, step="late", now=NOW)
    assert not runs.fail(NORTH, lease, reason="X", problem="late", hint="", now=NOW)
    ended = runs.get(NORTH, run.id)
    assert ended is not None
    assert (ended.evidence, ended.gates, ended.version) == (outcome.evidence, outcome.gates, 3)
    assert runs.count_by_state()[RunState.SUCCEEDED] == 1
    assert runs.oldest_waiting() is None


def test_documents_keep_their_revisions(database: Database) -> None:
    """Each change is a revision that can be read again; another tenant sees none."""
    models = SqlModels(database)
    assert models.put(NORTH, model_spec(), dry_run=False)[0] == "created"
    assert models.put(NORTH, model_spec(seed=8), dry_run=False)[0] == "updated"
    assert models.get_revision(NORTH, "costly_visit", 1).spec.seed == 7
    assert models.get(NORTH, "costly_visit").spec.seed == 8
    with pytest.raises(NotFound):
        models.get_revision(NORTH, "costly_visit", 3)
    with pytest.raises(NotFound):
        models.get(SOUTH, "costly_visit")
    assert database_problem(database, MIGRATIONS) is None


def test_api_and_worker_may_migrate_at_the_same_time(tmp_path: Path) -> None:
    """Several processes that start together on a new database all end up with the tables."""
    url = f"sqlite:///{tmp_path}/new.db"
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_database(url, MIGRATIONS, wait_seconds=60), range(4)))
    assert [database_problem(database, MIGRATIONS) for database in opened] == [None] * 4
    for database in opened:
        database.close()
