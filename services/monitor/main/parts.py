"""What the use cases are built of: storage and neighbours, each made once."""

from __future__ import annotations

import time

from services.monitor.clients.registry import RegistryVersions
from services.monitor.clients.releases import RegistryReleases
from services.monitor.domain.drift.judge import DriftPolicy
from services.monitor.domain.log.layouts import Layouts
from services.monitor.domain.quality.measure import QualityPolicy
from services.monitor.domain.reports.references import ReadReferences
from services.monitor.settings import MonitorSettings
from services.monitor.storage.labels.by_prediction import SqlLabels
from services.monitor.storage.labels.keyed import SqlBookmarks
from services.monitor.storage.log.answered import SqlAnswered
from services.monitor.storage.log.read import SqlPredictionLog
from services.monitor.storage.log.same_requests import SqlSameRequests
from services.monitor.storage.models import ModelIds
from services.monitor.storage.operations.operations import SqlOperations
from services.monitor.storage.policies import SqlPolicies
from services.monitor.storage.segments.archive import Archive
from services.monitor.storage.verdicts import SqlManifests, SqlVerdicts
from services.monitor.storage.windows.serve import SqlWindows
from tenon.core.timestamps import parse_duration
from tenon.kit.blobs import open_blobs
from tenon.kit.grpc_client import open_channel
from tenon.kit.migrating import open_service_database
from tenon.kit.process import starting
from tenon.kit.telemetry import get_logger

logger = get_logger(__name__)

MIGRATIONS = "services.monitor.migrations"


def now_micros() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


class Parts:
    """Storage, neighbours and policies of one process. Neighbours that are not set are None."""

    def __init__(self, settings: MonitorSettings) -> None:
        self.settings = settings
        with starting():
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            self.database = open_service_database(settings, MIGRATIONS)
        self.blobs = open_blobs(settings.blob_url) if settings.blob_url else None

        self.registry = open_channel(settings, settings.registry_grpc)
        self.features = open_channel(settings, settings.features_grpc) if settings.features_grpc else None
        self.trainer = open_channel(settings, settings.trainer_grpc) if settings.trainer_grpc else None
        self.ingest = open_channel(settings, settings.ingest_grpc) if settings.ingest_grpc else None

        self.ids = ModelIds()
        self.archive = Archive(self.blobs) if self.blobs is not None else None
        self.log = SqlPredictionLog(self.database, self.ids, self.archive)
        self.labels = SqlLabels(self.database, self.ids, self.archive)
        self.verdicts = SqlVerdicts(self.database, self.ids)
        self.policies = SqlPolicies(self.database)
        self.versions = RegistryVersions(self.registry, SqlManifests(self.database, self.ids))
        self.releases = RegistryReleases(self.registry, now_micros)
        self.layouts = Layouts(self.versions, time.monotonic)
        self.windows = SqlWindows(self.database, self.ids, self.layouts, self.archive)
        self.answered = SqlAnswered(self.database, self.ids, self.archive)
        self.same_requests = SqlSameRequests(self.database, self.ids, self.archive)
        self.bookmarks = SqlBookmarks(self.database, self.ids)
        self.operations = SqlOperations(self.database)

        self.window = parse_duration(settings.monitor_window)
        self.drift = DriftPolicy(
            false_discovery_rate=settings.monitor_false_discovery_rate,
            min_rows=settings.monitor_min_rows,
            effect_floor=settings.monitor_effect_floor,
            psi_floor=settings.monitor_psi_floor,
            share_floor=settings.monitor_share_floor,
        )
        # Those who compare with the past share what was read of it.
        self.references = ReadReferences(self.windows, self.log, min_rows=settings.monitor_min_rows)
        self.quality = QualityPolicy(min_rows=settings.monitor_min_labels, margin=settings.monitor_quality_margin)

    def close(self) -> None:
        """Let go of neighbours and of the database."""
        for channel in (self.registry, self.features, self.trainer, self.ingest):
            if channel is not None:
                channel.close()
        self.database.close()
