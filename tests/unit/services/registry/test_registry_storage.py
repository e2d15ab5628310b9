"""The storage suite on the fake and on SQLite; tests/integration runs it on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.registry.storage.tables import metadata
from services.registry.storage.transactions import SqlTransact
from tenon.kit.sql import Database, database_problem, migrate, open_database
from tests.support.registry_fakes import FakeTransact
from tests.support.registry_storage_suite import Desk, StorageSuite, desk_on

MIGRATIONS = "services.registry.migrations"


class TestFake(StorageSuite):
    """The fake that the domain's tests use keeps the promises of the real storage."""

    @pytest.fixture
    def desk(self) -> Desk:
        """On dictionaries."""
        return desk_on(FakeTransact())


class TestSqlite(StorageSuite):
    """SQLite."""

    @pytest.fixture
    def desk(self, tmp_path: Path) -> Iterator[Desk]:
        """On a fresh file."""
        database = open_database(f"sqlite:///{tmp_path}/registry.db", MIGRATIONS)
        yield desk_on(SqlTransact(database))
        database.close()


def test_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    """Alembic finds no difference between the migrated database and the tables in storage."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = Database(f"sqlite:///{tmp_path}/registry.db")
    assert "migration None" in (database_problem(database, MIGRATIONS) or "")
    migrate(database, MIGRATIONS)
    assert database_problem(database, MIGRATIONS) is None
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()
