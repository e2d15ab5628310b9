"""Running a service: doors and background work start together, stop together, and leave nothing behind."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tenon.core.errors import TenonError
from tenon.kit.telemetry import get_logger

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tenon.kit.config import ServiceSettings
    from tenon.kit.tls import Certificate

log = get_logger(__name__)

LONGEST_PAUSE_SECONDS = 5.0
CERTIFICATE_LOOK_SECONDS = 10.0


class Background(Protocol):
    """Work beside the doors."""

    def start(self) -> None:
        """Begin; must not block."""
        ...

    def stop(self) -> None:
        """End; returns when ended, within a few seconds."""
        ...


class Together:
    """Several pieces of work as one."""

    def __init__(self, parts: Sequence[Background]) -> None:
        self._parts = parts

    def start(self) -> None:
        """Begin them."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """End them."""
        for part in self._parts:
            part.stop()


class Periodic:
    """Calls `action` every `seconds` on a thread of its own; failures are logged and spaced out, never fatal."""

    def __init__(self, name: str, action: Callable[[], object], seconds: float) -> None:
        self._name, self._action, self._seconds = name, action, seconds
        self._wake = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin with a first call at once."""
        self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the call that is running."""
        self._ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def trigger(self) -> None:
        """Call the action as soon as possible instead of at the next tick."""
        self._wake.set()

    def _loop(self) -> None:
        failures = 0
        while not self._ending:
            self._wake.clear()
            try:
                self._action()
                failures = 0
            except TenonError as err:
                failures += 1
                log.warning(
                    "background work did not succeed",
                    work=self._name,
                    reason=err.reason,
                    error=err.message,
                    failures=failures,
                )
            except Exception:
                # A background loop is a door: what it cannot foresee is logged with its traceback and tried again.
                failures += 1
                log.exception("background work failed", work=self._name, failures=failures)
            pause = pause_after(failures, self._seconds)
            self._wake.wait(pause * random.uniform(0.9, 1.1) if failures else pause)


def pause_after(failures: int, seconds: float) -> float:
    """How long to wait before the next call: longer after each failure, but soon enough that nobody notices for long
    after what was missing has come back (a revoked key must end, a replica must be seen)."""
    longer: float = seconds * (1 << min(failures, 5))
    return min(longer, max(seconds, LONGEST_PAUSE_SECONDS))


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Around what `main` builds: a refusal, an unusable value or a folder that cannot be had ends the process with one
    clear line and exit code 3."""
    try:
        yield
    except TenonError as err:
        sys.stderr.write(f"error: {err.message}\n")
        sys.exit(3)
    except ValueError as err:
        sys.stderr.write(f"error: {err}\n")
        sys.exit(3)
    except OSError as err:
        sys.stderr.write(f"error: {err.filename or 'a file'}: {err.strerror}\n")
        sys.exit(3)


class GrpcDoor(Protocol):
    """See `tenon.kit.grpc.Door`."""

    @property
    def server(self) -> Any:
        """What serves."""
        ...

    @property
    def health(self) -> Any:
        """What says whether it does."""
        ...

    @property
    def certificate(self) -> Certificate | None:
        """What both doors show; None: they speak plaintext."""
        ...


class Leaving:
    """Whether this process has been told to stop; made before the doors, so that they can say so."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._hurried = threading.Event()

    def begin(self) -> None:
        """From now on this process is not ready, whatever else it is."""
        self._begun.set()

    def hurry(self) -> None:
        """Wait no longer."""
        self._hurried.set()

    def pause(self, seconds: float) -> None:
        """Wait, unless there is a hurry."""
        self._hurried.wait(seconds)

    def problems(self, of: Callable[[], dict[str, str]]) -> Callable[[], dict[str, str]]:
        """What `of` finds, and nothing but that we are leaving once we are."""
        return lambda: {"stopping": "the process was told to stop"} if self._begun.is_set() else of()


def run_service(
    app: FastAPI,
    settings: ServiceSettings,
    *,
    door: GrpcDoor | None = None,
    leaving: Leaving | None = None,
    background: Sequence[Background] = (),
    on_stop: Sequence[Callable[[], object]] = (),
    asgi: Any = None,
    protocol: Callable[[Any], Any] = lambda base: base,
    shared_port: Callable[[Callable[[], bool]], object] | None = None,
    **uvicorn_options: Any,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain: say that we are not ready, and answer until nobody asks us any more
    (`drain_seconds`); let running requests finish (`finish_seconds`); end the background. A second signal hurries.

    Give `leaving` where readiness is said in other places than `/readyz` and the gRPC door's health. `asgi` is asked instead of `app`, and hands on to it what it does not answer; `protocol` makes another class of the
    HTTP connections' one. A port in use ends the process with one line and exit code 3.

    With `shared_port` other processes may have the ports as well (see `tenon.kit.workers`): it is called when the background runs, returns
    when this process can answer (its argument says whether it is to stop instead), and only then the doors open.
    """
    import uvicorn  # Not needed by importers that only use Periodic.

    from tenon.kit.http_protocol import Limits, limited  # As uvicorn.
    from tenon.kit.vitals import watch_certificate, watch_disk  # As uvicorn.

    watch_disk(settings.data_dir)
    if settings.tls_cert_file:
        watch_certificate(Path(settings.tls_cert_file))

    limits = Limits(
        head_seconds=settings.http_head_seconds,
        body_seconds=settings.http_body_seconds,
        idle_seconds=settings.http_idle_seconds,
        unread_seconds=settings.http_unread_seconds,
        connections=settings.http_connections,
    )
    connections = limited(limits)
    certificate = door.certificate if door is not None else None
    if certificate is not None:
        background = [*background, Periodic("certificate", certificate.look, CERTIFICATE_LOOK_SECONDS)]
    sock = bind(settings.http_host, settings.http_port, "TENON_HTTP_PORT", shared=shared_port is not None)
    config = uvicorn.Config(
        app if asgi is None else asgi,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=max(1, int(settings.finish_seconds)),
        ssl_context_factory=(lambda _config, _default: certificate.context) if certificate else None,
        server_header=False,
        ws="none",
        **{"http": protocol(connections), **uvicorn_options},
    )
    server = uvicorn.Server(config)
    leaving = leaving or Leaving()
    app.state.instance, app.state.leaving = settings.instance, leaving
    if door is not None and shared_port is None:
        door.server.start()
    for work in background:
        work.start()
    is_open = False
    leaver: threading.Thread | None = None

    def leave() -> None:
        """On a thread of its own, while the doors go on answering."""
        leaving.begin()
        connections.sweep.leave()
        if door is not None:
            door.health.enter_graceful_shutdown()
        leaving.pause(settings.drain_seconds)
        if door is not None:
            # Clients are told to go elsewhere (GOAWAY) and keep what is running.
            door.server.stop(settings.finish_seconds)
        server.should_exit = True

    def stop(signum: int, _frame: object) -> None:
        nonlocal leaver
        log.info("stopping", signal=signal.Signals(signum).name)
        if leaver is not None:
            leaving.hurry()
            return
        if not is_open:
            server.should_exit = True
            return
        leaver = threading.Thread(target=leave, name="leave", daemon=True)
        leaver.start()

    # uvicorn re-raises the signal it caught after shutdown, which would end us by signal instead of cleanly.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if shared_port is not None:
        shared_port(lambda: server.should_exit)
        if door is not None:
            door.server.start()
    is_open = not server.should_exit
    log.info("listening", http=f"{settings.http_host}:{sock.getsockname()[1]}", grpc_port=settings.grpc_port)
    try:
        server.run(sockets=[sock])
    finally:
        if door is not None:
            door.server.stop(settings.finish_seconds).wait()
        for work in reversed(background):
            work.stop()
        for action in on_stop:
            action()
        log.info("stopped")


def bind(host: str, port: int, variable: str, *, shared: bool = False) -> socket.socket:
    """A listening socket, or the end of the process with one clear line. One that shares its port does not listen yet:
    from then on the kernel gives it connections."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        if not shared:
            sock.listen(2048)
    except OSError as err:
        sys.stderr.write(f"error: {host}:{port} cannot be listened on: {err.strerror}; set {variable} to a free port\n")
        sys.exit(3)
    return sock
