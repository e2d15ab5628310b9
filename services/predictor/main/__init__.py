"""Builds the predictor and runs it; the only place that builds things."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Callable

from services.predictor.api_http.lane import lane
from services.predictor.clients.quotas import DeclaredQuotas
from services.predictor.domain.pins import Pin
from services.predictor.domain.quotas import Quota, Quotas
from services.predictor.main.answering import Answering
from services.predictor.main.doors import build_doors
from services.predictor.main.following import Following
from services.predictor.main.shipping import Shipping
from services.predictor.settings import PredictorSettings, pins_of
from services.predictor.storage.quotas_file import QuotasFile
from tenon.core.errors import Invalid, TenonError
from tenon.kit.config import load_settings
from tenon.kit.credentials import build_authenticator
from tenon.kit.process import Leaving, Periodic, run_service, starting
from tenon.kit.siblings import Siblings
from tenon.kit.telemetry import configure_telemetry, get_logger

log = get_logger(__name__)

_SWITCH_SECONDS = 0.0005


def main() -> None:
    """Run until told to stop."""
    settings = load_settings(PredictorSettings, "registry_grpc", "verify_key_file")
    configure_telemetry("predictor", settings.log_level, settings.otlp_endpoint)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # A thread that wants its turn waits for this long; the usual 5 ms are fifty requests.
    sys.setswitchinterval(_SWITCH_SECONDS)
    replica = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    pins = _pins(settings)
    shares, home = settings.worker >= 0, settings.workers_home or settings.data_dir

    authenticator = build_authenticator(settings)
    answering = Answering(settings, home, replica, pins)
    following = Following(settings, answering, replica, pins)
    shipping = Shipping(settings, answering.spool, home, replica)
    quotas = _quotas(settings, settings.predictor_workers if shares else 1)
    declared = DeclaredQuotas(answering.registry, QuotasFile(settings.data_dir / "quotas.json"), quotas)

    leaving = Leaving()
    ready = leaving.problems(answering.follower.problems)
    siblings: Siblings | None = None
    if shares:
        with starting():
            siblings = Siblings(
                home, settings.worker, settings.predictor_workers, ready, alive_fd=settings.workers_alive_fd
            )
        ready = siblings.problems
    doors = build_doors(settings, answering, authenticator, quotas, ready, siblings)

    if not pins:
        answering.follower.restore()
    declared.restore()
    doors.signs.update()

    def leave() -> None:
        shipping.tell()
        try:
            following.reporter.report([], leaving=True)
        except TenonError:
            log.info("the registry could not be told that this replica leaves")
        shipping.close()

    def open_doors(stopping: Callable[[], bool]) -> None:
        if siblings is not None:
            siblings.wait(stopping)
            doors.grpc.listen()
            siblings.open()

    run_service(
        doors.http.app,
        settings,
        door=doors.grpc,
        leaving=leaving,
        background=[
            authenticator.background,
            *following.background,
            Periodic("quotas", declared.refresh, 2.0),
            Periodic("health", doors.signs.update, 0.5),
            Periodic("spool-sync", answering.spool.sync, 0.2),
            Periodic("bundle-prune", lambda: answering.cache.prune(answering.follower.needed()), 3600.0),
            *([siblings] if siblings is not None else []),
            *shipping.background,
            # The last to begin ends first: what a shadow still says is then shipped, too.
            answering.shadows,
        ],
        on_stop=[leave],
        asgi=doors.http,
        protocol=lambda base: lane(doors.http.quick, base),
        shared_port=open_doors if shares else None,
    )


def _pins(settings: PredictorSettings) -> list[Pin]:
    try:
        return pins_of(settings)
    except Invalid as err:
        sys.stderr.write(f"error: TENON_PREDICTOR_PINNED: {err.message}\n")
        sys.exit(2)


def _quotas(settings: PredictorSettings, workers: int) -> Quotas:
    default = Quota(
        settings.predictor_requests_per_second,
        settings.predictor_burst,
        settings.predictor_rows_per_second,
        settings.predictor_concurrency,
    )
    # Each worker counts by itself, as each replica does.
    return Quotas(default, replicas=settings.predictor_quota_replicas * workers)
