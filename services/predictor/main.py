"""Builds the predictor and runs it; the only place that builds things."""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import generate_latest

from services.predictor import metrics
from services.predictor.api_grpc.at_once import InferAtOnce
from services.predictor.api_grpc.entity import PredictionServicer
from services.predictor.api_grpc.health import HealthSigns
from services.predictor.api_grpc.inference import InferenceServicer
from services.predictor.api_http.admission import Admission
from services.predictor.api_http.app import build_app
from services.predictor.api_http.lane import lane
from services.predictor.clients.features import Breaker, FeaturesClient
from services.predictor.clients.pinned import LocalBundles, PinnedSource
from services.predictor.clients.quotas import DeclaredQuotas
from services.predictor.clients.registry import RegistryBundles, RegistryReporter, ReleaseWatch
from services.predictor.domain.cold import Patience
from services.predictor.domain.explaining import Explaining
from services.predictor.domain.last_known import LastKnown
from services.predictor.domain.model import Release, Served
from services.predictor.domain.naming import HostNames
from services.predictor.domain.pins import Pin
from services.predictor.domain.predict import Predictor
from services.predictor.domain.quotas import Quota, Quotas
from services.predictor.domain.releases import Follower
from services.predictor.domain.repository import Repository
from services.predictor.domain.residence import Residence, always_of
from services.predictor.domain.routing import Table, WatchfulTable
from services.predictor.domain.shadow import ShadowQueue
from services.predictor.domain.turns import Turns
from services.predictor.engine.explaining import BundleExplainers
from services.predictor.engine.loader import BundleLoader
from services.predictor.settings import PredictorSettings, pins_of
from services.predictor.storage.bundle_cache import BundleCache
from services.predictor.storage.leftovers import SUFFIX
from services.predictor.storage.operations import OperationsTeller
from services.predictor.storage.quotas_file import QuotasFile
from services.predictor.storage.releases_file import ReleasesFile
from services.predictor.storage.shipping import Shipper
from services.predictor.storage.spool import Spool
from services.predictor.storage.stream import PredictionStream
from tenon.api.inference.v2 import inference_pb2_grpc
from tenon.api.predictor.v1 import predictor_pb2_grpc
from tenon.bundle import Verifier, load_verify_key
from tenon.core.errors import Invalid, TenonError
from tenon.kit.auth import RecentCallers, RememberingAuthenticator
from tenon.kit.config import load_settings
from tenon.kit.credentials import build_authenticator
from tenon.kit.grpc import Servicer, create_server
from tenon.kit.grpc_client import open_channel
from tenon.kit.memory import settle
from tenon.kit.process import Background, Leaving, Periodic, run_service, starting
from tenon.kit.redis import connect
from tenon.kit.siblings import Siblings
from tenon.kit.telemetry import configure_telemetry, get_logger

log = get_logger(__name__)

_COLLECT_SECONDS = 10.0
_INFERENCE = "inference.GRPCInferenceService"
_PREDICTION = "tenon.api.predictor.v1.PredictionService"
_SWITCH_SECONDS = 0.0005


def main() -> None:
    """Run until told to stop."""
    settings = load_settings(PredictorSettings, "registry_grpc", "verify_key_file")
    configure_telemetry("predictor", settings.log_level, settings.otlp_endpoint)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # A thread that wants its turn waits for this long; the usual 5 ms are fifty requests.
    sys.setswitchinterval(_SWITCH_SECONDS)
    replica = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    verify_key, pins = _verify_key(settings), _pins(settings)
    shares, home = settings.worker >= 0, settings.workers_home or settings.data_dir

    observer = metrics.PrometheusObserver()
    authenticator = build_authenticator(settings)
    registry = open_channel(settings, settings.registry_grpc)
    features = open_channel(settings, settings.features_grpc or "127.0.0.1:1")

    spool = Spool(
        settings.data_dir / "spool",
        replica,
        max_bytes=(settings.predictor_spool_max_mib << 20) // (settings.predictor_workers if shares else 1),
        on_dropped=metrics.SPOOL_DROPPED.inc,
    )
    metrics.SPOOL_BYTES.set_function(lambda: spool.waiting_bytes - spool.memory_bytes)
    metrics.SPOOL_MEMORY.set_function(lambda: spool.memory_bytes)
    shadows = ShadowQueue(spool, observer, _shadow_failed, size=settings.predictor_shadow_queue)
    cache = BundleCache(home / "bundles")
    budget = settings.predictor_model_memory_mib << 20 or None
    residence = Residence(budget, always_of(settings.predictor_always_loaded))
    table = WatchfulTable() if budget else Table()
    # gRPC's threads are everybody's: half of them may wait for cold models.
    patience = Patience(settings.predictor_cold_wait_ms / 1000, max(1, settings.grpc_workers // 2))
    bundles = LocalBundles(pins, RegistryBundles(registry).download)
    releases = ReleasesFile(settings.data_dir / ("pinned.json" if pins else "releases.json"))
    follower = Follower(
        BundleLoader(bundles.download, cache, verify_key),
        releases,
        table,
        observer,
        on_trouble=_release_failed,
        grace_seconds=settings.predictor_grace_seconds,
        residence=residence,
        strict=bool(pins),
    )
    metrics.MODEL_MEMORY_BUDGET.set(budget or 0)
    history = FeaturesClient(
        features,
        timeout_seconds=settings.predictor_history_timeout_ms / 1000,
        breaker=Breaker(),
        on_call=observer.feature_call,
    )
    last_known = LastKnown(settings.predictor_last_known_entities)
    explainers = BundleExplainers(bundles.download, cache, verify_key, max_bytes=settings.predictor_explain_mib << 20)
    predictor = Predictor(
        table,
        history,
        spool,
        shadows,
        observer,
        max_rows=settings.predictor_max_rows,
        last_known=last_known,
        explaining=Explaining(explainers, most_rows=settings.predictor_explain_rows),
        patience=patience,
    )
    metrics.EXPLAINER_BYTES.set_function(lambda: explainers.nbytes)
    metrics.LAST_KNOWN.set_function(lambda: len(last_known))
    # A pinned replica answers for its own versions; a release is not its concern.
    reporter = RegistryReporter(registry, replica, [f"{pin.key.tenant}/{pin.key.model}@{pin.version}" for pin in pins])
    report = Periodic("report", lambda: reporter.report(follower.state()), 5.0)
    # A registry that has just come (back) hears at once what is served, instead of at the next tick.
    watch: ReleaseWatch | PinnedSource
    if pins:
        known = releases.load()
        watch = PinnedSource(pins, registry, follower, bundles, known.desired if known else (), report.trigger)
    else:
        watch = ReleaseWatch(registry, follower, settings.predictor_tenants, report.trigger)
    metrics.RELEASES_CONNECTED.set_function(lambda: float(watch.connected))

    collected = 0.0

    def changed() -> None:
        # What was loaded stays for long; leaving it out of later collections keeps their pauses short. Looking through
        # all that was left out before takes its time with many models, and is not done at every release.
        nonlocal collected
        if time.monotonic() - collected > _COLLECT_SECONDS:
            settle()
            collected = time.monotonic()
        else:
            gc.freeze()
        report.trigger()

    follower.on_change = changed
    hosts = HostNames(settings.predictor_host_suffix) if settings.predictor_host_suffix else None
    leaving = Leaving()
    ready = leaving.problems(follower.problems)
    siblings: Siblings | None = None
    if shares:
        with starting():
            siblings = Siblings(
                home,
                settings.worker,
                settings.predictor_workers,
                ready,
                alive_fd=settings.workers_alive_fd,
            )
        ready = siblings.problems
    repository = Repository(table, follower, patience, observer)
    quotas = _quotas(settings, settings.predictor_workers if shares else 1)
    declared = DeclaredQuotas(registry, QuotasFile(settings.data_dir / "quotas.json"), quotas)
    turns = Turns()
    metrics.WAITING.set_function(lambda: turns.waiting)
    door = build_app(
        predictor=predictor,
        authenticator=authenticator,
        observer=observer,
        ready=ready,
        max_body_bytes=settings.max_body_mib << 20,
        max_inflated_bytes=settings.predictor_max_inflated_mib << 20,
        max_json_bytes=settings.predictor_max_json_mib << 20,
        inline_rows=settings.predictor_inline_rows,
        repository=repository,
        hosts=hosts,
        expose=generate_latest if siblings is None else siblings.metrics,
        admission=Admission(quotas, turns),
    )
    recent = RecentCallers()
    infer_at_once = InferAtOnce(predictor, recent, quotas, inline_rows=settings.predictor_inline_rows)
    grpc_door = create_server(
        settings,
        RememberingAuthenticator(authenticator, recent),
        [
            Servicer(
                inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server,
                InferenceServicer(predictor, observer, ready, repository, hosts, quotas),
                _INFERENCE,
            ),
            Servicer(
                predictor_pb2_grpc.add_PredictionServiceServicer_to_server,
                PredictionServicer(predictor, observer, hosts, quotas),
                _PREDICTION,
            ),
        ],
        open_methods=(f"/{_INFERENCE}/ServerLive", f"/{_INFERENCE}/ServerReady"),
        log_calls=False,
        # What answers at once sees no host, and so cannot tell whose models are meant.
        at_once={} if hosts is not None else {f"/{_INFERENCE}/ModelInfer": infer_at_once},
        keep_hosts=hosts is not None,
        shared_port=shares,
    )

    signs = HealthSigns(grpc_door.health, (_INFERENCE, _PREDICTION), ready)

    if not pins:
        follower.restore()
    declared.restore()
    signs.update()
    background: list[Background] = [
        authenticator.background,
        follower,
        watch,
        Periodic("quotas", declared.refresh, 2.0),
        report,
        Periodic("health", signs.update, 0.5),
        Periodic("spool-sync", spool.sync, 0.2),
        Periodic("bundle-prune", lambda: cache.prune(follower.needed()), 3600.0),
    ]
    if siblings is not None:
        background.append(siblings)
    spools = [spool, *_ownerless(settings, home, replica)]
    teller = OperationsTeller(
        connect(settings.redis_url) if settings.redis_url else None, replica, metrics.REQUESTS.news
    )
    if settings.redis_url:
        cap = settings.predictor_stream_max_mib << 20
        metrics.STREAM_CAP.set(cap)
        stream = PredictionStream(connect(settings.redis_url), max_bytes=cap, on_used=metrics.STREAM_BYTES.set)
        background += [
            Periodic("operations", teller.tell, settings.predictor_operations_seconds),
            *(
                Shipper(
                    source,
                    stream,
                    on_shipped=metrics.SHIPPED.inc,
                    on_failed=metrics.SHIP_FAILURES.inc,
                    on_full=metrics.STREAM_FULL.set,
                )
                for source in spools
            ),
        ]
    else:
        log.warning("TENON_REDIS_URL is not set: predictions stay in the spool")

    # The last to begin ends first: what a shadow still says is then shipped, too.
    background.append(shadows)

    def leave() -> None:
        with contextlib.suppress(TenonError):
            teller.tell()
        try:
            reporter.report([], leaving=True)
        except TenonError:
            log.info("the registry could not be told that this replica leaves")
        for source in spools:
            source.close()

    def open_doors(stopping: Callable[[], bool]) -> None:
        if siblings is not None:
            siblings.wait(stopping)
            grpc_door.listen()
            siblings.open()

    run_service(
        door.app,
        settings,
        door=grpc_door,
        leaving=leaving,
        background=background,
        on_stop=[leave],
        asgi=door,
        protocol=lambda base: lane(door.quick, base),
        shared_port=open_doors if shares else None,
    )


def _quotas(settings: PredictorSettings, workers: int) -> Quotas:
    default = Quota(
        settings.predictor_requests_per_second,
        settings.predictor_burst,
        settings.predictor_rows_per_second,
        settings.predictor_concurrency,
    )
    # Each worker counts by itself, as each replica does.
    return Quotas(default, replicas=settings.predictor_quota_replicas * workers)


def _ownerless(settings: PredictorSettings, home: Path, replica: str) -> list[Spool]:
    """Spools of workers that there are no more since `TENON_PREDICTOR_WORKERS` became smaller; the first worker ships them."""
    if settings.worker > 0:
        return []
    count = settings.predictor_workers if settings.worker == 0 else 1
    return [
        Spool(rows.parent, replica, max_bytes=settings.predictor_spool_max_mib << 20)
        for rows in {path.parent: path for path in sorted(home.glob(f"worker-*/spool/*{SUFFIX}"))}.values()
        if int(rows.parts[-3].removeprefix("worker-")) >= count
    ]


def _verify_key(settings: PredictorSettings) -> Verifier:
    try:
        return load_verify_key(settings.verify_key_file)
    except Invalid as err:
        sys.stderr.write(f"error: TENON_VERIFY_KEY_FILE: {err.message}\n")
        sys.exit(2)


def _pins(settings: PredictorSettings) -> list[Pin]:
    try:
        return pins_of(settings)
    except Invalid as err:
        sys.stderr.write(f"error: TENON_PREDICTOR_PINNED: {err.message}\n")
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
