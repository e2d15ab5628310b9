"""Who migrates, and when: the command, the service at its start, or somebody else; programs of two ages on one database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tenon.core.errors import Unavailable
from tenon.kit.sql import Database, current_migration, database_problem, migrate, newest_migration, open_database
from tests.integration.test_services_start import WITH_DATABASE, settings, start
from tests.support.ports import free_port
from tests.support.service_process import ROOT

MONITOR = "services.monitor.migrations"


def run_migrate(service: str, url: str, **changes: str) -> subprocess.Popen[str]:
    """`python -m services.<service> migrate` with nothing in its environment but the database."""

    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
    return subprocess.Popen(
        [sys.executable, "-m", f"services.{service}", "migrate"],
        cwd=ROOT,
        env=environment | {"TENON_DATABASE_URL": url, **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def set_revision(url: str, revision: str) -> None:
    """Make the database one that a program of another age has migrated."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :now"), {"now": revision})
    engine.dispose()


def of_another_age(url: str, revision: str) -> Database:
    """Monitor's database as the program at this migration made it."""
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", str(ROOT / "services/monitor/migrations"))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return database


@pytest.mark.parametrize("service", WITH_DATABASE)
def test_migrate_makes_the_tables_and_exits(service: str, postgres_url: str) -> None:
    """Two at once both end with 0 and the tables are there; nothing but the database's URL is needed."""
    both = [run_migrate(service, postgres_url) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        assert "is at migration 0" in out
    database = Database(postgres_url)
    assert database_problem(database, f"services.{service}.migrations") is None
    database.close()


def test_the_predictor_has_nothing_to_migrate() -> None:
    """The command is known to all six, so that a chart need not tell them apart; other words are refused."""
    assert run_migrate("predictor", "").wait(180) == 0
    command = [sys.executable, "-m", "services.predictor", "migrat"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 2
    assert "usage: python -m services.predictor [migrate]" in done.stderr


def test_a_database_that_does_not_answer_ends_with_one() -> None:
    """It is waited for, but not for ever, and said in one line without the password."""
    url = f"postgresql+psycopg://tenon:hunter2@127.0.0.1:{free_port()}/tenon"
    process = run_migrate("monitor", url, TENON_DATABASE_WAIT_SECONDS="1")
    out, err = process.communicate(timeout=180)
    assert process.returncode == 1
    assert [line for line in err.splitlines() if line.startswith("error: TENON_DATABASE_URL: the database at 127")]
    assert "Traceback" not in out + err
    assert "hunter2" not in out + err


@pytest.mark.parametrize("service", WITH_DATABASE)
def test_a_service_that_must_not_migrate_waits_until_it_is_done(
    service: str, tmp_path: Path, postgres_url: str
) -> None:
    """Not ready, with the reason, but alive and without a traceback; a moment after `migrate` the database is fine."""
    environment = settings(tmp_path, TENON_DATABASE_URL=postgres_url, TENON_MIGRATE_AT_START="false")
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        problems = wait_for_problems(environment, lambda found: "database" in found, process)
        assert problems["database"] == f"database is at migration None, the program at {newest(service)}"
        assert run_migrate(service, postgres_url).wait(180) == 0
        wait_for_problems(environment, lambda found: "database" not in found, process)
    finally:
        process.terminate()
        assert process.wait(180) == 0, log.read_text()[-2000:]
    assert "Traceback" not in log.read_text()


def newest(service: str) -> str:
    return newest_migration(f"services.{service}.migrations")


def wait_for_problems(
    environment: dict[str, str], right: Callable[[dict[str, str]], bool], process: subprocess.Popen[bytes]
) -> dict[str, str]:
    """What /readyz says is missing, as soon as it is what is waited for."""
    deadline = time.monotonic() + 90
    found: dict[str, str] = {"answer": "none"}
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = httpx.get(f"http://127.0.0.1:{environment['TENON_HTTP_PORT']}/readyz", timeout=60, trust_env=False)
            found = answer.json().get("problems", {})
            if right(found):
                return found
        except (httpx.HTTPError, json.JSONDecodeError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"/readyz says {found}")


def later(steps: int, *, needs: int) -> str:
    """A migration that this program does not have yet, which needs programs that know another one."""
    return f"{int(newest_migration(MONITOR)[:4]) + steps:04d}_needs_{needs:04d}"


@pytest.mark.parametrize("url_of", ["sqlite", "postgres"])
def test_an_older_program_goes_on_beside_a_newer_one(
    url_of: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Migrations that only add leave older programs ready and able to start; one that takes away says for whom."""
    url = f"sqlite:///{tmp_path}/x.db" if url_of == "sqlite" else request.getfixturevalue("postgres_url")
    older = open_database(url, MONITOR)
    assert database_problem(older, MONITOR) is None
    set_revision(url, later(2, needs=2))
    assert database_problem(older, MONITOR) is None
    set_revision(url, later(3, needs=1 + int(newest_migration(MONITOR)[:4])))
    assert "too old" in (database_problem(older, MONITOR) or "")
    with pytest.raises(Unavailable, match="too old"):
        migrate(older, MONITOR)
    older.close()


def test_transactions_are_refused_until_the_tables_are_there(postgres_url: str) -> None:
    """What a program does before the tables are there is `Unavailable`, which callers and loops know to try again."""
    waiting = open_database(postgres_url, MONITOR, migrating=False)
    with pytest.raises(Unavailable, match="at migration None"), waiting.session():
        pass
    open_database(postgres_url, MONITOR).close()
    deadline = time.monotonic() + 60
    while True:
        try:
            with waiting.session() as session:
                assert session.scalar(sa.text("SELECT count(*) FROM batches")) == 0
            break
        except Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    waiting.close()


def test_a_table_in_use_is_waited_for_and_nothing_is_half_done(postgres_url: str) -> None:
    """A migration that cannot get its lock gives up after a while, changes nothing, and works when tried again."""
    database = of_another_age(postgres_url, "0001")
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as holder:
        holder.execute("SELECT count(*) FROM batches")
        with pytest.raises(Unavailable, match="lock timeout"):
            migrate(database, MONITOR, wait_seconds=0.1)
        assert current_migration(database) == "0001"
    migrate(database, MONITOR)
    assert current_migration(database) == newest_migration(MONITOR)
    database.close()


def test_a_migration_that_fails_is_one_line(postgres_url: str) -> None:
    """What the database says is told, with the place; the process ends with 1."""
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
        other.execute("CREATE TABLE batches (n INTEGER)")
    process = run_migrate("monitor", postgres_url)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 1
    assert "already exists" in err.splitlines()[-1]
    assert "Traceback" not in out + err


def test_start_says_what_is_wrong_with_a_newer_database(tmp_path: Path) -> None:
    """A program too old for its database ends with one line, not with a traceback."""
    environment = settings(tmp_path)
    open_database(environment["TENON_DATABASE_URL"], MONITOR).close()
    set_revision(environment["TENON_DATABASE_URL"], later(3, needs=1 + int(newest_migration(MONITOR)[:4])))
    done = start("monitor", environment)
    assert done.returncode == 3
    assert "too old" in done.stderr
