"""Several worker processes behind one port: the small parent that starts them, and starts them again.

The parent imports nothing but the standard library and answers nothing itself: the kernel spreads connections over the
workers, each of which has a listening socket of its own on the same port (SO_REUSEPORT). A worker that ends without being told to is
said to be down (see `tenon.kit.siblings`) and replaced at once; one that ends again and again, after pauses.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

WORKER = "TENON_WORKER"
HOME = "TENON_WORKERS_HOME"
ALIVE_FD = "TENON_WORKERS_ALIVE_FD"
FOLDER, STATE = "workers", "up"
_STEADY_SECONDS = 10.0
_PAUSES = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0)
_LOOK_SECONDS = 0.03
_PATIENCE_SECONDS = 5.0
_MOST = 256


class _Worker:
    """One place among the workers, and the process that has it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.failures = 0
        self.due = 0.0


class Workers:
    """Keeps `count` processes of a module running until it is told to stop."""

    def __init__(self, module: str, count: int, environment: Mapping[str, str]) -> None:
        self._command = [sys.executable, "-m", module]
        self._service = module.rpartition(".")[2]
        self._environment = dict(environment)
        self._home = Path(environment.get("TENON_DATA_DIR") or ".")
        self._ending = float(environment.get("TENON_DRAIN_SECONDS") or 0.0) + float(
            environment.get("TENON_FINISH_SECONDS") or 5.0
        )
        self._workers = [_Worker() for _ in range(count)]
        self._stopping = False
        # Held open by this process alone: when it is gone, its workers read the end of it.
        self._read_end, self._write_end = os.pipe()

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or until no worker can be started at all; gives the exit code."""
        reserved = [self._reserve("HTTP"), self._reserve("GRPC")]
        shared = self._home / FOLDER
        shared.mkdir(parents=True, exist_ok=True)
        self._state = os.open(shared / STATE, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(self._state, bytes(len(self._workers)))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        # One goes first: a wrong setting is then said once.
        self._start(0)
        ever_up = False
        while not self._stopping:
            ever_up = ever_up or any(os.pread(self._state, len(self._workers), 0))
            code = self._look_after(ever_up)
            if code is not None:
                return code
            time.sleep(_LOOK_SECONDS)
        code = self._end()
        for sock in reserved:
            sock.close()
        return code

    def _look_after(self, ever_up: bool) -> int | None:
        """Replace who ended; gives an exit code when there is nobody left to try."""
        now = time.monotonic()
        # One that neither answers nor ends has something to wait for; the others may wait with it.
        may_follow = ever_up or now - self._workers[0].started > _PATIENCE_SECONDS
        for index, worker in enumerate(self._workers):
            if worker.process is not None and worker.process.poll() is not None:
                os.pwrite(self._state, b"\0", index)
                code = worker.process.returncode
                worker.process = None
                if code in (2, 3) and not ever_up:
                    self._end()
                    return code
                worker.failures = 0 if now - worker.started > _STEADY_SECONDS else worker.failures + 1
                pause = _PAUSES[min(worker.failures, len(_PAUSES) - 1)]
                worker.due = now + pause
                self._say("error", "a worker ended; it is replaced", worker=index, code=code, pause_seconds=pause)
            if worker.process is None and now >= worker.due and (may_follow or index == 0):
                self._start(index)
        return None

    def _start(self, index: int) -> None:
        worker = self._workers[index]
        worker.started = time.monotonic()
        # The first has the folder of a service that is alone, so that what lies in it is never without an owner.
        folder = self._home / f"worker-{index}" if index else self._home
        own = {WORKER: str(index), HOME: str(self._home), ALIVE_FD: str(self._read_end), "TENON_DATA_DIR": str(folder)}
        worker.process = subprocess.Popen(  # noqa: S603 - this interpreter, and the module that was asked for
            self._command, env=self._environment | own, pass_fds=(self._read_end,), stdin=subprocess.DEVNULL
        )
        self._say("info", "a worker was started", worker=index, process=worker.process.pid)

    def _stop(self, _number: int, _frame: object) -> None:
        if self._stopping:
            # Told twice: whoever waits for us is in a hurry, and so are the workers then.
            for worker in self._workers:
                if worker.process is not None and worker.process.poll() is None:
                    worker.process.terminate()
        self._stopping = True

    def _end(self) -> int:
        """End all; 0 when they ended well."""
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + self._ending + 15
        codes = []
        for process in running:
            try:
                codes.append(process.wait(max(0.1, until - time.monotonic())))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(process.wait())
        return 1 if any(codes) else 0

    def _reserve(self, door: str) -> socket.socket:
        """Hold the port, so that nobody else gets it while no worker listens; or end with one clear line."""
        host = self._environment.get(f"TENON_{door}_HOST") or "127.0.0.1"
        text = self._environment.get(f"TENON_{door}_PORT", "")
        if not text.isdecimal() or not 0 < int(text) < 65536:
            sys.exit(_wrong(f"TENON_{door}_PORT: with several workers it must be a port's number, not {text!r}"))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = (host, int(text))
        try:
            # Alone first: with SO_REUSEPORT another service of the same user would share the port in silence.
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            held = socket.socket(family)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(address)
        except OSError as err:
            _wrong(f"{host}:{text} cannot be listened on: {err.strerror}; set TENON_{door}_PORT to a free port")
            sys.exit(3)
        return held

    def _say(self, level: str, message: str, **more: object) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        line: dict[str, object] = {"@timestamp": moment, "log.level": level, "message": message}
        line |= {"service.name": self._service, "log.logger": __name__}
        line |= {f"tenon.{name}": value for name, value in more.items()}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def run_workers(module: str, variable: str) -> bool:
    """Run several workers when the environment asks for them, and end with them; False: this process is to serve itself.

    Reads the environment by itself, because reading it properly would import what the parent is to be spared.
    """
    text = os.environ.get(variable, "1")
    if WORKER in os.environ:
        return False
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        sys.exit(_wrong(f"{variable}: a whole number from 1 to {_MOST} is needed, not {text!r}"))
    if int(text) == 1:
        return False
    sys.exit(Workers(module, int(text), os.environ).run())


def _wrong(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 2
