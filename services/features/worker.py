"""The background door: commits to the lake come in as events, views that were applied as requests, and every so often
everything is compared with the lake, which heals what an event or a Redis lost."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from services.features.domain.build_online import BuildOnline
from services.features.domain.forget_rows import ForgetRows
from services.features.domain.model import TrainingSet
from tenon.core.errors import Kind, TenonError
from tenon.core.tenancy import TenantId
from tenon.kit.events import Fields
from tenon.kit.process import Periodic
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)
_FORGET_SECONDS = 300.0


class BuildRequests:
    """Views to be built soon; one background thread takes them, so that a request never waits for a build."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[TenantId, str], None] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def __call__(self, tenant: TenantId, view: str) -> None:
        """Ask for a build; asking twice before it begins is asking once."""
        with self._lock:
            self._waiting[tenant, view] = None
        self._wake.set()

    def take(self) -> list[tuple[TenantId, str]]:
        """What waits now."""
        with self._lock:
            waiting, self._waiting = list(self._waiting), {}
            self._wake.clear()
        return waiting

    def wait(self, seconds: float) -> bool:
        """Wait until something is asked for."""
        return self._wake.wait(seconds)


class Builder:
    """Builds what was asked for at once, and everything that is behind from time to time; and from time to time looks for
    training sets that hold erased rows."""

    def __init__(
        self, builds: BuildOnline, requests: BuildRequests, seconds: float, forget: ForgetRows | None = None
    ) -> None:
        self._builds, self._requests, self._forget = builds, requests, forget
        self._erasures = Periodic("erasures", self.forget_all, _FORGET_SECONDS)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._reconcile = Periodic("reconcile", self.reconcile, seconds)

    def start(self) -> None:
        """Begin; must not block."""
        self._thread = threading.Thread(target=self._loop, name="builder", daemon=True)
        self._thread.start()
        self._reconcile.start()
        self._erasures.start()

    def stop(self) -> None:
        """End after the build that is running."""
        self._ending.set()
        self._reconcile.stop()
        self._erasures.stop()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def reconcile(self) -> None:
        """Compare every view with the lake. Raises the first failure, so that the next look comes later."""
        failed = self._builds.build_all()
        _report(failed)
        for error in failed.values():
            if error.kind is Kind.UNAVAILABLE and error.reason != "BUILD_RUNNING":
                raise error

    def forget_all(self) -> None:
        """Hold training sets against what was removed from the lake."""
        if self._forget is not None:
            erased, failed = self._forget.forget_all()
            _tell(erased)
            _report(failed, "erased rows could not be looked for")

    def _loop(self) -> None:
        while not self._ending.is_set():
            if not self._requests.wait(0.5):
                continue
            for tenant, view in self._requests.take():
                try:
                    self._builds.build(tenant, view)
                except TenonError as err:
                    # The next reconciliation tries again.
                    _report({f"{tenant}/{view}": err})
                except Exception:
                    # A background loop is a door: logged with its traceback; the next reconciliation tries again.
                    log.exception("view could not be built", tenant=tenant.value, view=view)


class DatasetCommittedHandler:
    """Handles `dataset_committed`: every view of the data set is built from the newest version of its table, and training
    sets made from rows that it has no more are erased.

    Handling an event twice, or late, does nothing twice: what counts is the table's version, not the event's.
    """

    def __init__(self, builds: BuildOnline, forget: ForgetRows | None = None) -> None:
        self._builds, self._forget = builds, forget

    def __call__(self, entry_id: str, fields: Fields) -> None:  # noqa: ARG002 - what counts is the table, not the event
        """Build; raises `Unavailable` to get the event again."""
        tenant, dataset = TenantId(fields[b"tenant"].decode()), fields[b"dataset"].decode()
        unfinished: TenonError | None = None
        if self._forget is not None:
            try:
                _tell(self._forget.forget(tenant, dataset))
            except TenonError as err:
                # The views are built all the same; the event comes again.
                _report({f"{tenant}/{dataset}": err}, "erased rows could not be looked for")
                unfinished = err if err.kind in (Kind.UNAVAILABLE, Kind.DEADLINE) else None
        failed = self._builds.build_for(tenant, dataset)
        _report({f"{tenant}/{view}": error for view, error in failed.items()})
        for error in failed.values():
            if error.kind in (Kind.UNAVAILABLE, Kind.DEADLINE):
                raise error
        if unfinished is not None:
            raise unfinished


def _report(failed: Mapping[str, TenonError], event: str = "view could not be built") -> None:
    for name, error in failed.items():
        log.warning(event, view=name, reason=error.reason, error=error.message)


def _tell(erased: Sequence[TrainingSet]) -> None:
    for one in erased:
        log.info("training set erased: rows that it held are not in the lake any more", fingerprint=one.fingerprint)
