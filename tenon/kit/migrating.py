"""Who migrates: the service when it starts, or the command `migrate` before it does."""

from __future__ import annotations

import sys
import time

from tenon.core.errors import TenonError
from tenon.kit.config import DatabaseSettings, ServiceSettings, load_settings
from tenon.kit.sql import Database, current_migration, database_problem, open_database
from tenon.kit.telemetry import configure_telemetry, get_logger

log = get_logger(__name__)


def open_service_database(settings: ServiceSettings, migrations: str) -> Database:
    """The database of a service; see `open_database`."""
    return open_database(
        settings.database_url,
        migrations,
        wait_seconds=settings.database_wait_seconds,
        migrating=settings.migrate_at_start,
    )


def wait_for_tables(database: Database, migrations: str) -> None:
    """Return when the tables are there, and close the database; for a program without readiness, which can only wait."""
    while (problem := database_problem(database, migrations)) is not None:
        log.warning("waiting for the database to be migrated", problem=problem)
        time.sleep(2.0)
    database.close()


def migrate_command(service: str, migrations: str) -> int:
    """Bring the tables of `TENON_DATABASE_URL` to what this program knows; 0, or 1 after one line that says why not."""
    settings = load_settings(DatabaseSettings, "database_url")
    configure_telemetry(f"{service}-migrate", settings.log_level, "")
    try:
        database = open_database(settings.database_url, migrations, wait_seconds=settings.database_wait_seconds)
    except TenonError as err:
        sys.stderr.write(f"error: {err.message}\n")
        return 1
    sys.stdout.write(f"{service}: the database is at migration {current_migration(database)}\n")
    database.close()
    return 0
