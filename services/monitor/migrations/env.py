"""Run by Alembic only."""

from services.monitor.storage.tables import metadata
from tenon.kit.sql import run_migrations

run_migrations(metadata)
