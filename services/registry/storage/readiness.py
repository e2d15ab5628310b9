"""Whether the database answers and has the tables this program expects."""

from __future__ import annotations

import sqlalchemy as sa

from tenon.kit.sql import Database, migrate, pending_migrations

MIGRATIONS = "services.registry.migrations"


def open_database(url: str) -> Database:
    """The database of a URL; nothing connects yet. Raises `ValueError` for a URL that is none."""
    try:
        return Database(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as err:
        # The URL may hold a password, so only its kind is repeated.
        kind = url.partition("://")[0][:40]
        raise ValueError(f"TENON_DATABASE_URL: a {kind!r} URL is not one this program can use") from err


def database_problem(database: Database) -> str | None:
    """What is wrong, or None."""
    problem = database.check()
    if problem is not None:
        return problem
    try:
        return pending_migrations(database, MIGRATIONS)
    except sa.exc.SQLAlchemyError as err:
        return f"database: {type(err).__name__}"


def migrate_to_head(database: Database) -> None:
    """Bring the tables to what this program expects."""
    migrate(database, MIGRATIONS)
