"""Databases: SQLite and PostgreSQL behind one small class; one request or task is one transaction."""

from __future__ import annotations

import functools
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

_LOCK_SECONDS = 3.0

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
        self._expected: str | None = None
        self._problem, self._look_again = "", 0.0

    def expect(self, migrations: str) -> None:
        """Refuse transactions until somebody else has brought the tables to what the package `migrations` knows."""
        self._expected = migrations

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed when the block ends well, rolled back otherwise.

        Raises `Unavailable` when the database cannot be reached, its disk is full, or its tables are behind.
        """
        if self._expected is not None:
            self._check_tables(self._expected)
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

    def _check_tables(self, migrations: str) -> None:
        if time.monotonic() >= self._look_again:
            problem = database_problem(self, migrations)
            if problem is None:
                self._expected = None
                return
            self._problem, self._look_again = problem, time.monotonic() + 0.5
        raise Unavailable("DATABASE_NOT_MIGRATED", self._problem)

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


def open_database(url: str, migrations: str, *, wait_seconds: float = 0.0, migrating: bool = True) -> Database:
    """The database of a URL at the newest migration of the package `migrations`.

    One on a server may be starting beside us and is waited for; a file that cannot be opened now never can. Raises
    `Unavailable` with a text that names the variable and holds no password.

    When somebody else is to migrate (`migrating` is false) the database is given as it is, reachable or not; until its
    tables are there every transaction is refused with `Unavailable`.
    """
    try:
        database = Database(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as err:
        # Only the scheme: the rest may hold a password.
        scheme = url.partition("://")[0][:40] if "://" in url else "no scheme"
        raise Unavailable(
            "DATABASE_URL_INVALID", f"TENON_DATABASE_URL: this program cannot use such a URL ({scheme})"
        ) from err
    if not migrating:
        database.expect(migrations)
        return database
    where, deadline = _where(database), time.monotonic() + wait_seconds
    while (problem := database.check()) is not None:
        if time.monotonic() >= deadline or database.engine.dialect.name == "sqlite":
            raise Unavailable(
                "DATABASE_UNAVAILABLE", f"TENON_DATABASE_URL: the database at {where} cannot be used ({problem})"
            )
        log.warning("waiting for the database", where=where, problem=problem)
        time.sleep(1.0)
    migrate(database, migrations, wait_seconds=max(_LOCK_SECONDS, deadline - time.monotonic()))
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


def migrate(database: Database, package: str, *, wait_seconds: float = 30.0) -> None:
    """Bring the database to the newest migration of `package` (an Alembic script folder, importable).

    Does nothing when it is there, or at a newer one that this program can use. Several may do it at once. Raises
    `Unavailable` when it cannot be done, or somebody else holds the tables for longer than `wait_seconds`; nothing is
    then changed.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            if (problem := pending_migrations(database, package)) is None:
                return
            if newer_than(current_migration(database), newest_migration(package)):
                raise Unavailable("DATABASE_TOO_NEW", problem)
            _upgrade(database, package, deadline - time.monotonic())
        except sa.exc.SQLAlchemyError as err:
            if _locked(err) and time.monotonic() < deadline:
                log.warning("waiting for a lock of the database", where=_where(database))
                continue
            cause = str(getattr(err, "orig", None) or err).strip().partition("\n")[0]
            raise Unavailable(
                "MIGRATION_FAILED",
                f"{package}: the database at {_where(database)} cannot be migrated: {type(err).__name__}: {cause}",
            ) from err


def pending_migrations(database: Database, package: str) -> str | None:
    """What is missing, or None when the database is at the newest migration, or at a newer one that only added to it."""
    head, current = newest_migration(package), current_migration(database)
    if current == head:
        return None
    if not newer_than(current, head):
        return f"database is at migration {current}, the program at {head}"
    if needed_by(str(current)) > _number(head):
        return f"database is at migration {current}, which this program, at {head}, is too old for"
    return None


@functools.cache
def newest_migration(package: str) -> str:
    """The revision that the program of this package is written for."""
    config = Config()
    config.set_main_option("script_location", str(importlib.resources.files(package)))
    return str(ScriptDirectory.from_config(config).get_current_head())


def newer_than(current: str | None, head: str) -> bool:
    """Whether a revision comes after the newest that this program knows."""
    return current is not None and _number(current) > _number(head)


def needed_by(revision: str) -> int:
    """The oldest revision whose programs can still use a database at this one: `0007_needs_0005` says 5, `0007` any.

    A migration that takes something away, and all after it, say so in their name; see docs/operate/upgrade.md.
    """
    return int(revision.partition("_needs_")[2] or 0)


def _number(revision: str) -> int:
    return int(revision.partition("_")[0])


def current_migration(database: Database) -> str | None:
    """The revision of its tables; None when there are none."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _upgrade(database: Database, package: str, seconds: float) -> None:
    config = _config(database, package)
    with database.engine.begin() as connection:
        if database.engine.dialect.name == "postgresql":
            # Two replicas that start together must not migrate together; the second finds nothing to do.
            _limit_locks(connection, max(seconds, 1.0))
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": hash_key(package)})
            # A change of a table that waits behind a long query makes everybody wait behind it: better to try again.
            _limit_locks(connection, _LOCK_SECONDS)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _limit_locks(connection: sa.Connection, seconds: float) -> None:
    connection.execute(sa.text(f"SET LOCAL lock_timeout = {int(seconds * 1000)}"))


def _locked(err: sa.exc.SQLAlchemyError) -> bool:
    cause = getattr(err, "orig", None)
    return getattr(cause, "sqlstate", None) == "55P03" or "database is locked" in str(cause)


def _where(database: Database) -> str:
    """Where it is, without who we are there."""
    url = database.engine.url
    return f"{url.host}:{url.port or 5432}/{url.database}" if url.host else str(url.database)


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
