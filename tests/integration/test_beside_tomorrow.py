"""Today's programs on tomorrow's databases: newer programs have added columns and tables, and old ones go on as before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.registry.storage.transactions import SqlTransact
from services.trainer.storage.runs import SqlRuns
from tenon.kit.sql import Database, migrate, open_database
from tests.integration.test_trainer_storage import NORTH, NOW, new_run
from tests.support.ingest_world import World, csv_of
from tests.support.monitor_storage_suite import MonitorStorageSuite, Store
from tests.support.postgres import PostgresServer
from tests.support.registry_storage_suite import Desk, StorageSuite, desk_on


def add_tomorrow(database: Database) -> None:
    """What migrations may do: a table, and in every table a column that must have a value and has one by itself."""
    tables = [name for name in sa.inspect(database.engine).get_table_names() if name != "alembic_version"]
    assert tables
    with database.engine.begin() as connection:
        for table in tables:
            connection.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN tomorrow VARCHAR(20) NOT NULL DEFAULT 'new'"))
            connection.execute(sa.text(f"CREATE INDEX tomorrow_{table} ON {table} (tomorrow)"))
        connection.execute(sa.text("CREATE TABLE tomorrow (id INTEGER PRIMARY KEY)"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0099'"))


class TestRegistry(StorageSuite):
    """Everything the registry does with its tables."""

    @pytest.fixture
    def desk(self, postgres_url: str) -> Iterator[Desk]:
        """On a database of tomorrow."""
        database = open_database(postgres_url, "services.registry.migrations")
        add_tomorrow(database)
        migrate(database, "services.registry.migrations")
        yield desk_on(SqlTransact(database))
        database.close()


@pytest.fixture(scope="module")
def store(postgres_server: PostgresServer) -> Iterator[Store]:
    """Monitor's, on a database of tomorrow."""
    url = postgres_server.new_database()
    made = Store(url)
    add_tomorrow(made.database)
    made.database.close()
    store = Store(url)
    yield store
    store.database.close()
    postgres_server.drop_database(url)


class TestMonitor(MonitorStorageSuite):
    """Everything monitor does with its tables."""

    def test_migrations_make_the_tables_of_the_code(self, store: Store) -> None:
        """Not those of tomorrow."""
        assert "tomorrow" in sa.inspect(store.database.engine).get_table_names()


def test_ingest_loads_files(tmp_path: Path, postgres_url: str) -> None:
    """A contract, a file, its batch, and the event of it."""
    world = World(tmp_path, postgres_url)
    add_tomorrow(world.database)
    world = world.reopen()
    world.apply()
    world.send(csv_of((1, "a", 1), (2, "b", 2)))
    world.load_all()
    assert len(world.rows()) == 2
    world.database.close()


def test_trainer_claims_runs(postgres_url: str) -> None:
    """A run is added, claimed and counted."""
    database = open_database(postgres_url, "services.trainer.migrations")
    add_tomorrow(database)
    runs = SqlRuns(open_database(postgres_url, "services.trainer.migrations"))
    run, _ = runs.add(NORTH, new_run(), not_before=NOW)
    assert runs.claim(NORTH, run.id, now=NOW, stale_before=0) is not None
    assert {state.value: count for state, count in runs.count_by_state().items() if count} == {"running": 1}
    database.close()
