"""Where the trainer is put together: the API process and the worker process."""

from __future__ import annotations

import os
import sys
import time

import tenon
from services.trainer import metrics
from services.trainer.api_grpc import training_servicer
from services.trainer.api_http import add_routes
from services.trainer.clients.corrections import MonitorCorrections
from services.trainer.clients.definitions import GrpcDefinitions
from services.trainer.clients.training_sets import FeaturesTrainingSets
from services.trainer.clients.versions import RegistryVersions
from services.trainer.domain.define_model import DefineModel
from services.trainer.domain.model import Run
from services.trainer.domain.ports import Runs
from services.trainer.domain.start_run import SECOND, AttendRuns, StartRun
from services.trainer.domain.train_model import TrainModel
from services.trainer.domain.work_run import WorkRun
from services.trainer.settings import TrainerSettings, WorkerSettings
from services.trainer.storage.models import SqlModels
from services.trainer.storage.runs import SqlRuns
from services.trainer.worker import CeleryQueue, register_task, work
from tenon.bundle.keys import load_signing_key
from tenon.core.errors import Unavailable
from tenon.kit.blobs import open_blobs
from tenon.kit.config import load_settings
from tenon.kit.credentials import build_authenticator
from tenon.kit.grpc import create_server
from tenon.kit.grpc_client import open_channel
from tenon.kit.http import create_app
from tenon.kit.migrating import open_service_database, wait_for_tables
from tenon.kit.process import Periodic, run_service, starting
from tenon.kit.queue import carry_context, make_celery
from tenon.kit.redis import connect
from tenon.kit.sql import Database, database_problem
from tenon.kit.telemetry import configure_telemetry, get_logger
from tenon.kit.vitals import watch_disk

log = get_logger(__name__)
MIGRATIONS = "services.trainer.migrations"


def main() -> None:
    """Run the API until a signal ends it."""
    settings = load_settings(
        TrainerSettings, "database_url", "redis_url", "registry_grpc", "ingest_grpc", "features_grpc"
    )
    configure_telemetry("trainer", settings.log_level, settings.otlp_endpoint)
    carry_context()
    with starting():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        database = open_service_database(settings, MIGRATIONS)
    authenticator = build_authenticator(settings)
    redis = connect(settings.redis_url)
    models, runs = SqlModels(database), SqlRuns(database)
    queue = CeleryQueue(make_celery("trainer", settings.redis_url))
    definitions = GrpcDefinitions(
        open_channel(settings, settings.ingest_grpc), open_channel(settings, settings.features_grpc)
    )
    define_model = DefineModel(models, definitions)
    start_run = StartRun(models, runs, queue, _now, _note_queue_trouble)
    attend_runs = AttendRuns(runs, queue, _now)

    def ready() -> dict[str, str]:
        problems = {}
        if trouble := database_problem(database, MIGRATIONS):
            problems["database"] = trouble
        try:
            redis.ping()
        except Exception as err:  # noqa: BLE001 - readiness is a door: whatever Redis' client raises means "not ready"
            problems["redis"] = type(err).__name__
        if not authenticator.loaded:
            problems["credentials"] = "not fetched from the registry yet"
        return problems

    app = create_app(
        service="trainer",
        authenticator=authenticator,
        ready=ready,
        max_body_bytes=settings.max_body_mib << 20,
        description="Models as declared, and the runs that train them.",
    )
    add_routes(app, models=models, runs=runs, define_model=define_model, start_run=start_run)
    door = create_server(settings, authenticator, [training_servicer(models=models, runs=runs, start_run=start_run)])

    def sweep() -> None:
        _count(runs)
        attended = attend_runs()
        if attended:
            metrics.RUNS_ATTENDED.inc(attended)
            log.info("runs enqueued again", count=attended)

    run_service(
        app,
        settings,
        door=door,
        background=[authenticator.background, Periodic("sweeper", sweep, settings.trainer_sweep_seconds)],
        on_stop=[database.close],
    )


def main_worker() -> None:
    """Run the worker until a signal ends it."""
    settings = load_settings(
        WorkerSettings,
        "database_url", "redis_url", "blob_url", "registry_grpc", "ingest_grpc", "features_grpc", "signing_key_file",
    )  # fmt: skip
    configure_telemetry("trainer-worker", settings.log_level, settings.otlp_endpoint)
    carry_context()
    with starting():
        signing_key = load_signing_key(settings.signing_key_file)
        blobs = open_blobs(settings.blob_url)
        # The worker may be the first to start; the API and it take turns to migrate.
        wait_for_tables(open_service_database(settings, MIGRATIONS), MIGRATIONS)
    # OpenMP reads this when it is loaded. Threads that spin at every barrier make training ten times slower as soon as
    # anything else runs on the machine (measured); sleeping ones cost nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The libraries that learn take seconds to import; the API has no use for them.
    from services.trainer.engine.bundling import SigningBundler
    from services.trainer.engine.estimators import InstalledEstimators

    def build() -> WorkRun:
        database = Database(settings.database_url)
        features = open_channel(settings, settings.features_grpc)
        train = TrainModel(
            GrpcDefinitions(open_channel(settings, settings.ingest_grpc), features),
            FeaturesTrainingSets(features, blobs),
            InstalledEstimators(settings.trainer_threads),
            SigningBundler(signing_key),
            RegistryVersions(open_channel(settings, settings.registry_grpc)),
            tenon.__version__,
            MonitorCorrections(open_channel(settings, settings.monitor_grpc)) if settings.monitor_grpc else None,
        )
        if settings.worker_metrics_port:
            _serve_metrics(settings)
        return WorkRun(SqlRuns(database), SqlModels(database), train, _now, _note_surprise)

    celery = make_celery("trainer", settings.redis_url)
    register_task(celery, build)
    sys.exit(work(celery, concurrency=settings.trainer_concurrency))


def _now() -> int:
    return time.time_ns() // 1000


def _count(runs: Runs) -> None:
    for state, count in runs.count_by_state().items():
        metrics.RUNS.labels(state.value).set(count)
    oldest = runs.oldest_waiting()
    metrics.OLDEST_WAITING.set(max(0.0, (_now() - oldest) / SECOND) if oldest is not None else 0.0)


def _note_queue_trouble(err: Unavailable) -> None:
    metrics.QUEUE_TROUBLE.inc()
    log.warning("run is stored but not enqueued yet", reason=err.reason, error=err.message)


def _note_surprise(run: Run) -> None:
    metrics.SURPRISES.inc()
    log.exception("run failed unexpectedly", run_id=run.id, model=run.model)  # noqa: LOG004 - called inside the handler


def _serve_metrics(settings: TrainerSettings) -> None:
    from prometheus_client import start_http_server  # Only where a port is given.

    watch_disk(settings.data_dir)
    try:
        start_http_server(settings.worker_metrics_port, settings.http_host)
    except OSError as err:
        log.warning("the worker's metrics cannot be served", port=settings.worker_metrics_port, error=err.strerror)
