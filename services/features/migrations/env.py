"""Run by Alembic."""

from services.features.storage.views import METADATA
from tenon.kit.sql import run_migrations

run_migrations(METADATA)
