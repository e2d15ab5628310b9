"""Run by Alembic only."""

# These modules put their tables on the same metadata.
from services.monitor.storage import incident_tables as incident_tables  # noqa: PLC0414
from services.monitor.storage import label_tables as label_tables  # noqa: PLC0414
from services.monitor.storage import operations_tables as operations_tables  # noqa: PLC0414
from services.monitor.storage import policies as policies  # noqa: PLC0414
from services.monitor.storage import retraining as retraining  # noqa: PLC0414
from services.monitor.storage import segment_tables as segment_tables  # noqa: PLC0414
from services.monitor.storage import skew as skew  # noqa: PLC0414
from services.monitor.storage.tables import metadata
from tenon.kit.sql import run_migrations

run_migrations(metadata)
