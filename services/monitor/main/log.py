"""The prediction log and the operations: taken from Redis, counted, moved to the archive, forgotten in time."""

from __future__ import annotations

from collections.abc import Callable

from services.monitor import metrics
from services.monitor.domain.kept.segment import Segment
from services.monitor.domain.log.sketch_later import SketchLater
from services.monitor.domain.log.take import TakePredictions
from services.monitor.main.parts import Parts, now_micros
from services.monitor.settings import MonitorSettings
from services.monitor.storage.log.archiving import Archiving
from services.monitor.storage.log.former_batches import FormerBatches
from services.monitor.storage.log.take import SqlSegments
from services.monitor.storage.log.unsketched import SqlUnsketched
from services.monitor.storage.windows.compact import Compacting
from services.monitor.worker import GROUP, batches_handler, operations_handler
from tenon.core.timestamps import parse_duration
from tenon.kit.batch_events import BatchConsumer
from tenon.kit.events import OPERATIONS, PREDICTIONS, Consumer
from tenon.kit.process import Background, Periodic

# Four weeks, and some: the same hour of four weeks says how many requests are usual.
OPERATIONS_KEPT = 30 * 86_400 * 10**6
# A batch may come again after its predictor was down for as long.
TAKEN_KEPT = 30 * 86_400 * 10**6


def take_log(parts: Parts, offered: Callable[[Segment], None] | None) -> list[Background]:
    """What takes and keeps the log; `offered` sees every segment that was kept."""
    settings = parts.settings

    def recorded(segment: Segment) -> None:
        metrics.count_predictions(segment, now_micros())
        if offered is not None:
            offered(segment)

    take = TakePredictions(SqlSegments(parts.database, parts.ids), parts.layouts, recorded)
    sketch_later = SketchLater(SqlUnsketched(parts.database, parts.ids, parts.archive), parts.layouts)
    former = FormerBatches(parts.database)
    archiving = Archiving(parts.database, parts.archive)
    compacting = Compacting(parts.database, parts.layouts)

    def settle() -> None:
        while former.move():
            pass
        sketch_later()

    return [
        BatchConsumer(
            settings.redis_url,
            PREDICTIONS,
            GROUP,
            batches_handler(take),
            claim_after_seconds=settings.monitor_claim_after_seconds,
        ),
        Periodic("sketches", settle, 5.0),
        Periodic("archive", lambda: keep_log(archiving, settings), 300.0),
        Periodic("windows put together", lambda: put_together(compacting, settings), 3600.0),
        Periodic("archive swept", archiving.sweep, 86_400.0),
    ]


def take_operations(parts: Parts) -> list[Background]:
    """What takes and keeps the predictors' own counts."""
    operations, settings = parts.operations, parts.settings
    return [
        Consumer(
            settings.redis_url,
            OPERATIONS,
            GROUP,
            operations_handler(lambda record: operations.take(record, now_micros())),
            claim_after_seconds=settings.monitor_claim_after_seconds,
        ),
        Periodic("operations kept", lambda: operations.forget(now_micros() - OPERATIONS_KEPT), 3600.0),
    ]


def put_together(compacting: Compacting, settings: MonitorSettings) -> None:
    """Old hours become days, old days four weeks."""
    now = now_micros()
    compacting(now - parse_duration(settings.monitor_hours_kept), now - parse_duration(settings.monitor_days_kept))


def keep_log(archiving: Archiving, settings: MonitorSettings) -> None:
    """Move what is old enough into the archive, and forget what is older than is kept."""
    now = now_micros()
    metrics.ARCHIVED.inc(archiving.move(now - parse_duration(settings.monitor_archive_after)))
    metrics.ARCHIVE_AFTER.set(parse_duration(settings.monitor_archive_after) / 1e6)
    oldest = archiving.oldest()
    metrics.ARCHIVE_AGE.set(0.0 if oldest is None else (now - oldest) / 1e6)
    archiving.forget(
        now - parse_duration(settings.monitor_rows_kept), now - parse_duration(settings.monitor_windows_kept),
        now - TAKEN_KEPT,
    )  # fmt: skip
