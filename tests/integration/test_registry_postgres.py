"""The registry's storage on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.registry.storage.tables import metadata
from services.registry.storage.transactions import SqlTransact
from tenon.kit.sql import Database, database_problem, migrate, open_database
from tests.support.registry_storage_suite import Desk, StorageSuite, at_once, desk_on

MIGRATIONS = "services.registry.migrations"


class TestPostgres(StorageSuite):
    """PostgreSQL, where transactions really run side by side."""

    @pytest.fixture
    def desk(self, postgres_url: str) -> Iterator[Desk]:
        """On an empty database."""
        database = open_database(postgres_url, MIGRATIONS)
        yield desk_on(SqlTransact(database))
        database.close()


def test_two_processes_may_migrate_at_once(postgres_url: str) -> None:
    """Replicas that start together do not trip over each other, and the tables are those of the code."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    databases = [Database(postgres_url) for _ in range(2)]
    at_once(*(lambda d=d: migrate(d, MIGRATIONS) for d in databases))
    for database in databases:
        assert database_problem(database, MIGRATIONS) is None
    with databases[0].engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    for database in databases:
        database.close()
