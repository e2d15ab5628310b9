"""The storage suite on the fake and on SQLite; tests/integration runs it on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.registry.storage.readiness import database_problem, migrate_to_head, open_database
from services.registry.storage.tables import metadata
from services.registry.storage.transactions import SqlTransact
from tests.support.registry_fakes import FakeTransact
from tests.support.registry_storage_suite import Desk, StorageSuite, desk_on


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
        database = open_database(f"sqlite:///{tmp_path}/registry.db")
        migrate_to_head(database)
        yield desk_on(SqlTransact(database))
        database.close()


def test_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    """Alembic finds no difference between the migrated database and the tables in storage."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = open_database(f"sqlite:///{tmp_path}/registry.db")
    assert "migration None" in (database_problem(database) or "")
    migrate_to_head(database)
    assert database_problem(database) is None
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_an_impossible_database_url_is_named(tmp_path: Path) -> None:
    """A URL of an unknown kind is refused by name of the variable, without repeating a password in it."""
    with pytest.raises(ValueError, match="TENON_DATABASE_URL") as caught:
        open_database("oracle2://scott:tiger@nowhere/x")
    assert "tiger" not in str(caught.value)
    missing = open_database(f"sqlite:///{tmp_path}/no/such/folder/registry.db")
    assert missing.check() == "database: OperationalError"
