"""Builds the registry: settings, storage, use cases, doors; nothing else builds anything."""

from __future__ import annotations

import time
from typing import Any

from services.registry import metrics
from services.registry.api_grpc import CredentialServicer, ReleaseServicer, TenantServicer, VersionServicer
from services.registry.api_http import HttpDoor, build_app
from services.registry.domain.audit import AuditLog
from services.registry.domain.keys import KeyRing
from services.registry.domain.releases import ReleaseDesk
from services.registry.domain.serving import ServingBoard
from services.registry.domain.tenants import TenantBook
from services.registry.domain.versions import VersionShelf
from services.registry.domain.watch import ReleaseFeed
from services.registry.settings import NEEDED, RegistrySettings
from services.registry.storage.authenticator import TableAuthenticator
from services.registry.storage.bundles import BlobBundles, SignedBundleOpener
from services.registry.storage.transactions import SqlTransact
from tenon.api.registry.v1 import registry_pb2_grpc
from tenon.bundle.keys import load_verify_key
from tenon.kit.auth import platform_credentials
from tenon.kit.blobs import open_blobs
from tenon.kit.config import load_settings
from tenon.kit.credentials import build_tokens
from tenon.kit.grpc import Servicer, create_server
from tenon.kit.migrating import open_service_database
from tenon.kit.process import Periodic, run_service, starting
from tenon.kit.sql import database_problem
from tenon.kit.telemetry import configure_telemetry, get_logger

log = get_logger(__name__)
PACKAGE = "tenon.api.registry.v1"
MIGRATIONS = "services.registry.migrations"


def main() -> None:
    """Run the registry until it is told to stop."""
    settings = load_settings(RegistrySettings, *NEEDED)
    configure_telemetry("registry", settings.log_level, settings.otlp_endpoint)
    with starting():
        verify_key = load_verify_key(settings.verify_key_file)
        blobs = open_blobs(settings.blob_url)
        database = open_service_database(settings, MIGRATIONS)

    max_bundle_bytes = settings.max_bundle_mib << 20
    transact = SqlTransact(database)
    bundles = BlobBundles(blobs)
    feed = ReleaseFeed(transact, time.monotonic, max_watchers=settings.max_watchers)
    refresh = Periodic("release feed", feed.refresh, settings.watch_poll_seconds)
    tenants = TenantBook(transact, now_micros)
    keys = KeyRing(transact, now_micros)
    versions = VersionShelf(transact, now_micros, bundles, SignedBundleOpener(verify_key, max_bundle_bytes))
    releases = ReleaseDesk(transact, now_micros, refresh.trigger)
    serving = ServingBoard(transact, now_micros)
    audit = AuditLog(transact)
    tokens = build_tokens(settings)
    authenticator = TableAuthenticator(keys, platform_credentials(settings.admin_keys, settings.service_tokens), tokens)

    def show_expiries() -> None:
        metrics.show_key_expiries({tenant: end / 1e6 for tenant, end in keys.next_ends().items()})

    def show_disagreements() -> None:
        metrics.show_disagreements((line.tenant.value, line.model, line.kind.value) for line in serving.disagreements())

    measuring = [
        Periodic("key expiries", show_expiries, 60.0),
        Periodic("serving compared", show_disagreements, settings.compare_seconds),
    ]

    def ready() -> dict[str, str]:
        problems = {
            "database": database_problem(database, MIGRATIONS),
            "blobs": bundles.check(),
            "releases": feed.problem(),
        }
        return {name: problem for name, problem in problems.items() if problem}

    app = build_app(
        HttpDoor(tenants, keys, versions, releases, serving, audit),
        authenticator,
        ready,
        settings.max_body_mib << 20,
    )
    # Every watch holds a thread for as long as it lasts; the other calls keep TENON_GRPC_WORKERS for themselves.
    pool = settings.model_copy(update={"grpc_workers": settings.grpc_workers + settings.max_watchers})
    door = create_server(
        pool,
        authenticator,
        [
            Servicer(
                registry_pb2_grpc.add_CredentialServiceServicer_to_server,
                CredentialServicer(keys),
                f"{PACKAGE}.CredentialService",
            ),
            Servicer(
                registry_pb2_grpc.add_TenantServiceServicer_to_server,
                TenantServicer(tenants),
                f"{PACKAGE}.TenantService",
            ),
            Servicer(
                registry_pb2_grpc.add_VersionServiceServicer_to_server,
                VersionServicer(versions, max_bundle_bytes),
                f"{PACKAGE}.VersionService",
            ),
            Servicer(
                registry_pb2_grpc.add_ReleaseServiceServicer_to_server,
                ReleaseServicer(releases, serving, feed),
                f"{PACKAGE}.ReleaseService",
            ),
        ],
    )
    run_service(
        app,
        settings,
        door=door._replace(server=_WatchesEndFirst(door.server, feed)),  # type: ignore[arg-type]
        background=[refresh, *measuring, *([] if tokens is None else [tokens.background])],
        on_stop=[database.close],
    )


def now_micros() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


class _WatchesEndFirst:
    """The gRPC server, which ends its watches when it stops; they would otherwise use up the time to drain."""

    def __init__(self, server: Any, feed: ReleaseFeed) -> None:
        self._server = server
        self._feed = feed

    def start(self) -> None:
        """Begin."""
        self._server.start()

    def stop(self, grace: float) -> Any:
        """End."""
        self._feed.close()
        return self._server.stop(grace)
