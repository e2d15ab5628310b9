"""Run by Alembic only."""

# These modules put their tables on the same metadata.
from services.monitor.storage import policies as policies  # noqa: PLC0414
from services.monitor.storage import retraining as retraining  # noqa: PLC0414
from services.monitor.storage import skew as skew  # noqa: PLC0414
from services.monitor.storage import verdicts as verdicts  # noqa: PLC0414
from services.monitor.storage.incidents import tables as incident_tables  # noqa: F401
from services.monitor.storage.labels import tables as label_tables  # noqa: F401
from services.monitor.storage.log import former_tables as former_tables  # noqa: PLC0414
from services.monitor.storage.log import tables as log_tables  # noqa: F401
from services.monitor.storage.operations import tables as operations_tables  # noqa: F401
from services.monitor.storage.review import tables as review_tables  # noqa: F401
from services.monitor.storage.segments import tables as segment_tables  # noqa: F401
from services.monitor.storage.tables import metadata
from services.monitor.storage.windows import tables as window_tables  # noqa: F401
from tenon.kit.sql import run_migrations

run_migrations(metadata)
