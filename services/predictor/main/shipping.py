"""The way of the prediction log and of the own counts to Redis."""

from __future__ import annotations

import contextlib
from pathlib import Path

from services.predictor import metrics
from services.predictor.settings import PredictorSettings
from services.predictor.storage.leftovers import SUFFIX
from services.predictor.storage.operations import OperationsTeller
from services.predictor.storage.shipping import Shipper
from services.predictor.storage.spool import Spool
from services.predictor.storage.stream import PredictionStream
from tenon.core.errors import TenonError
from tenon.kit.process import Background, Periodic
from tenon.kit.redis import connect
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)


class Shipping:
    """Ships this process's spool, and those of workers that are no more."""

    def __init__(self, settings: PredictorSettings, spool: Spool, home: Path, replica: str) -> None:
        self._spools = [spool, *_ownerless(settings, home, replica)]
        self._teller = OperationsTeller(
            connect(settings.redis_url) if settings.redis_url else None,
            replica,
            metrics.REQUESTS.news,
            held_seconds=settings.predictor_log_held_seconds,
        )
        self.background: list[Background] = []
        if not settings.redis_url:
            log.warning("TENON_REDIS_URL is not set: predictions stay in the spool")
            return
        cap = settings.predictor_stream_max_mib << 20
        metrics.STREAM_CAP.set(cap)
        stream = PredictionStream(connect(settings.redis_url), max_bytes=cap, on_used=metrics.STREAM_BYTES.set)
        self.background += [
            Periodic("operations", self._teller.tell, settings.predictor_operations_seconds),
            *(
                Shipper(
                    source,
                    stream,
                    held_seconds=settings.predictor_log_held_seconds,
                    on_shipped=metrics.SHIPPED.inc,
                    on_failed=metrics.SHIP_FAILURES.inc,
                    on_full=metrics.STREAM_FULL.set,
                )
                for source in self._spools
            ),
        ]

    def tell(self) -> None:
        """Tell what was counted since the last time; a Redis that is away does not hold up the end."""
        with contextlib.suppress(TenonError):
            self._teller.tell()

    def close(self) -> None:
        """Write what waits to disk."""
        for source in self._spools:
            source.close()


def _ownerless(settings: PredictorSettings, home: Path, replica: str) -> list[Spool]:
    """Spools of workers that there are no more since `TENON_PREDICTOR_WORKERS` became smaller; the first worker ships them."""
    if settings.worker > 0:
        return []
    count = settings.predictor_workers if settings.worker == 0 else 1
    return [
        Spool(
            rows.parent,
            replica,
            max_bytes=settings.predictor_spool_max_mib << 20,
            held_seconds=settings.predictor_log_held_seconds,
        )
        for rows in {path.parent: path for path in sorted(home.glob(f"worker-*/spool/*{SUFFIX}"))}.values()
        if int(rows.parts[-3].removeprefix("worker-")) >= count
    ]
