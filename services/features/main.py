"""Builds the service: settings, clients, use cases, doors."""

from __future__ import annotations

import shutil
import time

from services.features.api_grpc import FeatureServicer
from services.features.api_grpc.at_once import LookUpAtOnce
from services.features.api_http.feast import feast_routes
from services.features.api_http.push import push_routes
from services.features.api_http.show import show_routes, training_set_routes
from services.features.api_http.views import feature_routes
from services.features.clients.ingest import IngestDatasets
from services.features.domain.build_online import BuildOnline, Pushes
from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.define_views import DefineViews
from services.features.domain.describe_features import DescribeFeatures
from services.features.domain.forget_rows import ForgetRows
from services.features.domain.known_keys import KnownKeys
from services.features.domain.look_up_online import LookUpOnline, NoViews
from services.features.domain.push_events import PushEvents
from services.features.domain.recompute import Recompute
from services.features.metrics import PrometheusMeter
from services.features.settings import FeaturesSettings
from services.features.storage.lake import DeltaLake
from services.features.storage.online import RedisOnlineStore
from services.features.storage.pushed import RedisPushedRows
from services.features.storage.training_files import BlobTrainingFiles
from services.features.storage.views import SqlViews
from services.features.worker import Builder, BuildRequests, DatasetCommittedHandler
from tenon.api.features.v1.features_pb2_grpc import add_FeatureServiceServicer_to_server
from tenon.core.timestamps import parse_duration
from tenon.kit.auth import RecentCallers, RememberingAuthenticator
from tenon.kit.blobs import open_blobs
from tenon.kit.config import load_settings
from tenon.kit.credentials import build_authenticator
from tenon.kit.events import DATASET_COMMITTED, Consumer
from tenon.kit.grpc import Servicer, create_server
from tenon.kit.grpc_client import open_channel
from tenon.kit.http import create_app
from tenon.kit.migrating import open_service_database
from tenon.kit.process import Periodic, run_service, starting
from tenon.kit.redis import connect
from tenon.kit.sql import database_problem
from tenon.kit.telemetry import configure_telemetry

SERVICE = "features"
MIGRATIONS = "services.features.migrations"
_LOOK_UP = "/tenon.api.features.v1.FeatureService/GetOnlineFeatures"
_AT_ONCE_SECONDS = 0.05
_PUSH_AGAIN_SECONDS = 1.0


def main() -> None:
    """Run until SIGTERM."""
    settings = load_settings(FeaturesSettings, "database_url", "redis_url", "blob_url", "ingest_grpc", "registry_grpc")
    configure_telemetry(SERVICE, settings.log_level, settings.otlp_endpoint)
    with starting():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        database = open_service_database(settings, MIGRATIONS)
    blobs = open_blobs(settings.blob_url)
    reader = connect(settings.redis_url, timeout_seconds=settings.features_redis_timeout_seconds)
    writer = connect(settings.redis_url, timeout_seconds=10.0)
    online = RedisOnlineStore(reader, writer)
    datasets = IngestDatasets(open_channel(settings, settings.ingest_grpc))
    views, lake, meter, requests = SqlViews(database), DeltaLake(blobs), PrometheusMeter(), BuildRequests()
    pushed, known = RedisPushedRows(connect(settings.redis_url, timeout_seconds=10.0)), KnownKeys(lake)
    pushing = PushEvents(
        views, datasets, online, pushed, known, meter, _now,
        most=settings.features_pushed_rows, keep=parse_duration(settings.features_keep_pushed),
    )  # fmt: skip
    builds = BuildOnline(
        views,
        datasets,
        lake,
        online,
        meter,
        slack=parse_duration(settings.features_online_slack),
        now=_now,
        keep=parse_duration(settings.features_keep_definitions),
        pushes=Pushes(pushed, known, pushing),
    )
    defining = DefineViews(views, datasets, online, requests)
    looking_up = LookUpOnline(online, views, meter, requests, _now)
    scratch = settings.data_dir / "scratch"
    # What a killed predecessor left there are rows of tenants, which nobody would find any more.
    shutil.rmtree(scratch, ignore_errors=True)
    files = BlobTrainingFiles(blobs, scratch)
    forget = ForgetRows(datasets, lake, files, _now)
    training = BuildTrainingSet(
        views,
        datasets,
        lake,
        files,
        meter,
        parallel=settings.features_parallel_training_sets,
        scratch=scratch,
        memory=settings.features_training_set_mib << 20,
        forget=forget,
        now=_now,
    )
    authenticator = build_authenticator(settings)
    recent = RecentCallers()
    # What is answered where calls are read must not wait: a store that gives up soon, and no database.
    near = RedisOnlineStore(connect(settings.redis_url, timeout_seconds=_AT_ONCE_SECONDS, retries=0), writer)
    at_once = LookUpAtOnce(
        LookUpOnline(near, NoViews(), meter, requests, _now), recent, _now, lambda: near.mget.floor_seconds
    )

    def ready() -> dict[str, str]:
        problems = {"database": database_problem(database, MIGRATIONS), "redis": online.check()}
        return {name: problem for name, problem in problems.items() if problem}

    app = create_app(
        service=SERVICE,
        authenticator=authenticator,
        ready=ready,
        max_body_bytes=settings.max_body_mib << 20,
        description="Feature views, point-in-time training sets and online values.",
    )
    app.include_router(feature_routes(defining, looking_up, _now))
    app.include_router(push_routes(pushing))
    app.include_router(feast_routes(looking_up, _now))
    app.include_router(show_routes(DescribeFeatures(views, datasets, lake), _now))
    app.include_router(training_set_routes(files))
    recompute = Recompute(views, datasets, lake)
    servicer = FeatureServicer(defining, training, looking_up, recompute, pushing, _now)
    door = create_server(
        settings,
        RememberingAuthenticator(authenticator, recent),
        [Servicer(add_FeatureServiceServicer_to_server, servicer, "tenon.api.features.v1.FeatureService")],
        unlogged=[_LOOK_UP],
        at_once={_LOOK_UP: at_once},
    )
    run_service(
        app,
        settings,
        door=door,
        background=[
            authenticator.background,
            Builder(builds, requests, settings.features_reconcile_seconds, forget),
            Periodic("push-again", pushing.push_again, _PUSH_AGAIN_SECONDS),
            Consumer(settings.redis_url, DATASET_COMMITTED, SERVICE, DatasetCommittedHandler(builds, forget)),
        ],
        on_stop=[database.close],
    )


def _now() -> int:
    return time.time_ns() // 1000
