"""What loads versions and answers with them."""

from __future__ import annotations

import sys
from pathlib import Path

from services.predictor import metrics
from services.predictor.clients.features import Breaker, FeaturesClient
from services.predictor.clients.pinned import LocalBundles
from services.predictor.clients.registry import RegistryBundles
from services.predictor.domain.cold import Patience
from services.predictor.domain.explaining import Explaining
from services.predictor.domain.last_known import LastKnown
from services.predictor.domain.model import Release, Served
from services.predictor.domain.pins import Pin
from services.predictor.domain.predict import Predictor
from services.predictor.domain.releases import Follower
from services.predictor.domain.repository import Repository
from services.predictor.domain.residence import Residence, always_of
from services.predictor.domain.routing import Table, WatchfulTable
from services.predictor.domain.shadow import ShadowQueue
from services.predictor.engine.explaining import BundleExplainers
from services.predictor.engine.loader import BundleLoader
from services.predictor.settings import PredictorSettings
from services.predictor.storage.bundle_cache import BundleCache
from services.predictor.storage.releases_file import ReleasesFile
from services.predictor.storage.spool import Spool
from tenon.bundle import Verifier, load_verify_key
from tenon.core.errors import Invalid, TenonError
from tenon.kit.grpc_client import open_channel
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)


class Answering:
    """From releases to answers: bundles, what is in memory, the table of what serves, and the predictor on top.

    `home` is where bundles lie (all workers share them), `settings.data_dir` is this process's own."""

    def __init__(self, settings: PredictorSettings, home: Path, replica: str, pins: list[Pin]) -> None:
        verify_key = _verify_key(settings)
        self.observer = metrics.PrometheusObserver()
        self.registry = open_channel(settings, settings.registry_grpc)
        self.spool = Spool(
            settings.data_dir / "spool",
            replica,
            max_bytes=(settings.predictor_spool_max_mib << 20)
            // (settings.predictor_workers if settings.worker >= 0 else 1),
            held_seconds=settings.predictor_log_held_seconds,
            on_dropped=metrics.SPOOL_DROPPED.inc,
        )
        self.shadows = ShadowQueue(self.spool, self.observer, _shadow_failed, size=settings.predictor_shadow_queue)
        self.cache = BundleCache(home / "bundles")
        budget = settings.predictor_model_memory_mib << 20 or None
        table = WatchfulTable() if budget else Table()
        # gRPC's threads are everybody's: half of them may wait for cold models.
        patience = Patience(settings.predictor_cold_wait_ms / 1000, max(1, settings.grpc_workers // 2))
        self.bundles = LocalBundles(pins, RegistryBundles(self.registry).download)
        self.releases = ReleasesFile(settings.data_dir / ("pinned.json" if pins else "releases.json"))
        self.follower = Follower(
            BundleLoader(self.bundles.download, self.cache, verify_key),
            self.releases,
            table,
            self.observer,
            on_trouble=_release_failed,
            grace_seconds=settings.predictor_grace_seconds,
            residence=Residence(budget, always_of(settings.predictor_always_loaded)),
            strict=bool(pins),
        )
        history = FeaturesClient(
            open_channel(settings, settings.features_grpc or "127.0.0.1:1"),
            timeout_seconds=settings.predictor_history_timeout_ms / 1000,
            breaker=Breaker(),
            on_call=self.observer.feature_call,
        )
        last_known = LastKnown(settings.predictor_last_known_entities)
        explainers = BundleExplainers(
            self.bundles.download, self.cache, verify_key, max_bytes=settings.predictor_explain_mib << 20
        )
        self.predictor = Predictor(
            table,
            history,
            self.spool,
            self.shadows,
            self.observer,
            max_rows=settings.predictor_max_rows,
            last_known=last_known,
            explaining=Explaining(explainers, most_rows=settings.predictor_explain_rows),
            patience=patience,
        )
        self.repository = Repository(table, self.follower, patience, self.observer)
        metrics.MODEL_MEMORY_BUDGET.set(budget or 0)
        metrics.SPOOL_BYTES.set_function(lambda: self.spool.waiting_bytes - self.spool.memory_bytes)
        metrics.SPOOL_MEMORY.set_function(lambda: self.spool.memory_bytes)
        metrics.EXPLAINER_BYTES.set_function(lambda: explainers.nbytes)
        metrics.LAST_KNOWN.set_function(lambda: len(last_known))


def _verify_key(settings: PredictorSettings) -> Verifier:
    try:
        return load_verify_key(settings.verify_key_file)
    except Invalid as err:
        sys.stderr.write(f"error: TENON_VERIFY_KEY_FILE: {err.message}\n")
        sys.exit(2)


def _release_failed(release: Release, err: Exception) -> None:
    log.error(
        "a release could not be put into effect; what served before stays",
        tenant=release.tenant.value,
        model=release.model,
        revision=release.revision,
        error=str(err),
        exc_info=None if isinstance(err, TenonError) else err,
    )


def _shadow_failed(served: Served, err: Exception) -> None:
    log.warning(
        "a shadow version failed",
        tenant=served.tenant.value,
        model=served.model,
        version=served.version,
        error=type(err).__name__,
    )
