"""Databases: SQLite and PostgreSQL behind one small class; one request or task is one transaction."""

from __future__ import annotations

import hashlib
import importlib.resources
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from tenon.core.errors import Unavailable
from tenon.kit.disk import out_of_space
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Pass as `MetaData(naming_convention=NAMING)`, so that migrations can name every constraint on every database."""


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime on both databases; SQLite stores none of the offset."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse naive values, which would be read differently on each machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - the library names it
        """Always aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """An engine and its sessions. Nothing connects before the first use."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {"pool_pre_ping": True}
        if url.startswith("sqlite"):
            # 10 s: SQLite writers wait for each other instead of failing at once.
            options["connect_args"] = {"timeout": 10, "check_same_thread": False}
        else:
            options["connect_args"] = {"connect_timeout": 5}
            options["pool_size"], options["max_overflow"] = 5, 10
        self.engine = sa.create_engine(url, **options)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _tune_sqlite)
            event.listen(self.engine, "begin", _begin_immediate)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed when the block ends well, rolled back otherwise.

        Raises `Unavailable` when the database cannot be reached, or its disk is full.
        """
        try:
            with self._sessions.begin() as session:
                yield session
        except (sa.exc.OperationalError, sa.exc.TimeoutError) as err:
            if "disk is full" in str(err):  # SQLITE_FULL; the driver gives its code only as this text
                raise out_of_space() from err
            raise Unavailable(
                "DATABASE_UNAVAILABLE", "the database cannot be reached, or all its connections are busy"
            ) from err

    def check(self) -> str | None:
        """What is wrong with the database, or None; for readiness."""
        try:
            with self.engine.connect() as connection:
                connection.execute(sa.text("SELECT 1"))
        except sa.exc.SQLAlchemyError as err:
            return f"database: {type(err).__name__}"
        return None

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def _tune_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: `_begin_immediate` does.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    # A deferred transaction that later wants to write fails at once when another one wrote in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def open_database(url: str, migrations: str, *, wait_seconds: float = 0.0) -> Database:
    """The database of a URL at the newest migration of the package `migrations`.

    One on a server may be starting beside us and is waited for; a file that cannot be opened now never can. Raises
    `Unavailable` with a text that names the variable and holds no password.
    """
    try:
        parsed = sa.make_url(url)
        database = Database(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as err:
        # Only the scheme: the rest may hold a password.
        scheme = url.partition("://")[0][:40] if "://" in url else "no scheme"
        raise Unavailable(
            "DATABASE_URL_INVALID", f"TENON_DATABASE_URL: this program cannot use such a URL ({scheme})"
        ) from err
    where = f"{parsed.host}:{parsed.port or 5432}/{parsed.database}" if parsed.host else str(parsed.database)
    deadline = time.monotonic() + wait_seconds
    while (problem := database.check()) is not None:
        if time.monotonic() >= deadline or parsed.get_backend_name() == "sqlite":
            raise Unavailable(
                "DATABASE_UNAVAILABLE", f"TENON_DATABASE_URL: the database at {where} cannot be used ({problem})"
            )
        log.warning("waiting for the database", where=where, problem=problem)
        time.sleep(1.0)
    migrate(database, migrations)
    return database


def database_problem(database: Database, migrations: str) -> str | None:
    """What is wrong with the database or its tables, or None; for readiness."""
    problem = database.check()
    if problem is not None:
        return problem
    try:
        return pending_migrations(database, migrations)
    except sa.exc.SQLAlchemyError as err:
        return f"database: {type(err).__name__}"


def migrate(database: Database, package: str) -> None:
    """Bring the database to the newest migration of `package` (an Alembic script folder, importable)."""
    config = _config(database, package)
    with database.engine.begin() as connection:
        if database.engine.dialect.name == "postgresql":
            # Two replicas that start together must not migrate together.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": hash_key(package)})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def pending_migrations(database: Database, package: str) -> str | None:
    """What is missing, or None when the database is at the newest migration."""
    head = ScriptDirectory.from_config(_config(database, package)).get_current_head()
    with database.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return None if current == head else f"database is at migration {current}, the program at {head}"


def hash_key(text: str) -> int:
    """A stable 63-bit number of a text, for advisory locks."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _config(database: Database, package: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(importlib.resources.files(package)))
    # `%` begins an interpolation in Alembic's configuration.
    config.set_main_option(
        "sqlalchemy.url", database.engine.url.render_as_string(hide_password=False).replace("%", "%%")
    )
    return config


def run_migrations(metadata: sa.MetaData) -> None:
    """The whole body of a migrations/env.py."""
    from alembic import context  # Alembic fills this module only while it runs an env.py.

    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
