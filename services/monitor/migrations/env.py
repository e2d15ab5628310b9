"""Run by Alembic only."""

from services.monitor.storage import label_tables as label_tables  # noqa: PLC0414
from services.monitor.storage import operations_tables as operations_tables  # noqa: PLC0414
from services.monitor.storage import policies as policies  # noqa: PLC0414 - its table is on the same metadata
from services.monitor.storage import skew as skew  # noqa: PLC0414 - likewise
from services.monitor.storage.tables import metadata
from tenon.kit.sql import run_migrations

run_migrations(metadata)
