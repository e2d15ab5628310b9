"""Opening the database: reachable, migrated, or one clear sentence about why not."""

from __future__ import annotations

import time

import sqlalchemy as sa

from tenon.core.errors import Unavailable
from tenon.kit.sql import Database, migrate, pending_migrations
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

MIGRATIONS = "services.trainer.migrations"


def open_database(url: str, *, wait_seconds: float) -> Database:
    """The database of a URL, at the newest migration.

    One on a server may be starting beside us and is waited for; a file that cannot be opened now never can. Raises
    `Unavailable` with a text that holds no password.
    """
    try:
        parsed = sa.make_url(url)
        database = Database(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as err:
        raise Unavailable("DATABASE_URL_INVALID", "TENON_DATABASE_URL: this program cannot use such a URL") from err
    where = f"{parsed.host}:{parsed.port or 5432}/{parsed.database}" if parsed.host else str(parsed.database)
    deadline = time.monotonic() + wait_seconds
    while (problem := database.check()) is not None:
        if time.monotonic() >= deadline or parsed.get_backend_name() == "sqlite":
            raise Unavailable(
                "DATABASE_UNAVAILABLE", f"TENON_DATABASE_URL: the database at {where} cannot be used ({problem})"
            )
        log.warning("waiting for the database", where=where, problem=problem)
        time.sleep(1.0)
    migrate(database, MIGRATIONS)
    return database


def database_problem(database: Database) -> str | None:
    """What is wrong, or None; for readiness."""
    problem = database.check()
    if problem is not None:
        return problem
    try:
        return pending_migrations(database, MIGRATIONS)
    except sa.exc.SQLAlchemyError as err:
        return f"database: {type(err).__name__}"
