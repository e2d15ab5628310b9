"""Keeps programs running: starts them in parallel, restarts what crashes, stops everything and leaves nothing behind."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenon.cli.supervisor.programs import Program

START_SECONDS = 120.0
STOP_SECONDS = 6.0
REDIS_STOP_SECONDS = 2.5
FIRST_ATTEMPTS = 3
_HOPELESS = (2, 3)
"""Exit codes with which a service says that trying again would not help: a wrong setting, a port or file it cannot use."""
_POLL_SECONDS = 0.05
_STEADY_SECONDS = 30.0
_LONGEST_PAUSE = 10.0
_LOG_BYTES = 16 << 20
_TRIM_SECONDS = 30.0

Event = dict[str, Any]
Listener = Callable[[Event], None]


@dataclass
class Child:
    """One program and its process, if it has one now."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    generation: int = 0
    state: str = "waiting"  # waiting, starting, ready, pausing, stopped
    since: float = 0.0
    was_ready: bool = False
    crashes: int = 0
    restart_at: float | None = None
    missing: str = ""
    told_missing: str = ""
    seconds: float = field(default=0.0)


class StartFailed(Exception):
    """A program did not come up; says which and why."""

    def __init__(self, name: str, why: str, log: Path) -> None:
        super().__init__(why)
        self.name, self.why, self.log = name, why, log

    @property
    def port_taken(self) -> bool:
        """Whether somebody else took the port in the meantime."""
        # Ours say the first, the system the second, and Redis the third as its last words.
        said = ("cannot be listened on", "ddress already in use", "Failed listening on port")
        return any(words in self.why for words in said)


class Supervisor:
    """Runs a set of programs until it is asked to stop."""

    def __init__(
        self, programs: Sequence[Program], folder: Path, listener: Listener, *, start_seconds: float = START_SECONDS
    ) -> None:
        self.children = {program.name: Child(program) for program in programs}
        self._folder = folder
        self._logs = folder / "logs"
        self._logs.mkdir(mode=0o700, exist_ok=True)
        self._listener = listener
        self._start_seconds = start_seconds
        # Signal handlers put into this queue: SimpleQueue is the one that may be used from them.
        self._messages: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        # Children hold the reading end; it reports the end of file when this process is gone, however it went.
        self._alive_read, self._alive_write = os.pipe()
        self._trimmed_at = -_TRIM_SECONDS
        self._stopping = False
        self._up = False

    def run(self, on_up: Callable[[], None], on_change: Callable[[], None]) -> None:
        """Start everything, call `on_up` once all is ready, keep it running until `stop` is called, then stop it.

        Raises `StartFailed` when a program does not come up; everything is stopped by then. `on_change` is called
        when a pid has changed.
        """
        deadline = time.monotonic() + self._start_seconds
        try:
            self._start_ready_to_go()
            while not self._stopping:
                self._handle_next(on_change)
                if (
                    not self._up
                    and not self._stopping
                    and all(child.state == "ready" for child in self.children.values())
                ):
                    self._up = True
                    on_up()
                if not self._up and time.monotonic() > deadline:
                    raise self._late()
        finally:
            self._stop_all()

    def stop(self) -> None:
        """Ask for the end; may be called from a signal handler. A second time means at once."""
        self._messages.put(("stop",))

    def log_of(self, name: str) -> Path:
        """The log file of a program."""
        return self._logs / f"{name}.log"

    # --- the loop

    def _handle_next(self, on_change: Callable[[], None]) -> None:
        now = time.monotonic()
        if now - self._trimmed_at > _TRIM_SECONDS:
            self._trimmed_at = now
            self._trim_logs()
        for child in self.children.values():
            if child.restart_at is not None and child.restart_at <= now:
                child.restart_at = None
                self._start(child)
                on_change()
        pauses = [child.restart_at - now for child in self.children.values() if child.restart_at is not None]
        try:
            message = self._messages.get(timeout=max(0.01, min([0.5, *pauses])))
        except queue.Empty:
            return
        kind, *rest = message
        if kind == "stop":
            self._stopping = True
        elif kind == "ready":
            self._note_ready(*rest)
        elif kind == "missing":
            self._note_missing(*rest)
        elif kind == "exited":
            self._note_exit(*rest)

    def _start_ready_to_go(self) -> None:
        for child in self.children.values():
            if child.state == "waiting" and all(self.children[name].was_ready for name in child.program.after):
                self._start(child)

    def _trim_logs(self) -> None:
        """Keep the last part of a long log aside and begin it anew. Children append, so they go on in the same file."""
        for name in self.children:
            log = self.log_of(name)
            with suppress(OSError):
                if log.stat().st_size > _LOG_BYTES:
                    shutil.copyfile(log, log.with_suffix(".log.1"))
                    os.truncate(log, 0)

    def _start(self, child: Child) -> None:
        program = child.program
        log = self.log_of(program.name)
        command = [sys.executable, "-P", "-m", "tenon.cli.supervisor.launch", str(self._alive_read), *program.command]
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
            child.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(program.environment),
                cwd=self._folder,
                pass_fds=(self._alive_read,),
                start_new_session=True,
            )
        child.generation += 1
        child.state, child.since, child.missing, child.told_missing = "starting", time.monotonic(), "", ""
        self._listener({"event": "starting", "name": program.name, "pid": child.process.pid})
        for target in (self._wait_for_exit, self._wait_for_ready):
            threading.Thread(target=target, args=(child, child.process, child.generation), daemon=True).start()

    def _wait_for_exit(self, child: Child, process: subprocess.Popen[bytes], generation: int) -> None:
        with suppress(ChildProcessError):
            # The process is left unreaped for a moment, so that its group's number cannot be somebody else's when
            # what it left running (the children of a worker pool) is killed.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        self._messages.put(("exited", child, generation, process.wait()))

    def _wait_for_ready(self, child: Child, process: subprocess.Popen[bytes], generation: int) -> None:
        while child.generation == generation and process.returncode is None and not self._stopping:
            missing = child.program.probe()
            if missing is None:
                self._messages.put(("ready", child, generation))
                return
            self._messages.put(("missing", child, generation, missing))
            time.sleep(_POLL_SECONDS)

    # --- what happened

    def _note_ready(self, child: Child, generation: int) -> None:
        if child.generation != generation or child.state != "starting":
            return
        child.state, child.was_ready, child.seconds = "ready", True, time.monotonic() - child.since
        child.since = time.monotonic()
        self._listener(
            {"event": "ready", "name": child.program.name, "seconds": round(child.seconds, 1), "url": child.program.url}
        )
        self._start_ready_to_go()

    def _note_missing(self, child: Child, generation: int, missing: str) -> None:
        if child.generation != generation or child.state != "starting":
            return
        child.missing = missing
        waited = time.monotonic() - child.since
        if waited > 5 and missing != child.told_missing:
            child.told_missing = missing
            self._listener(
                {"event": "missing", "name": child.program.name, "missing": missing, "seconds": round(waited, 1)}
            )

    def _note_exit(self, child: Child, generation: int, code: int) -> None:
        if child.generation != generation:
            return
        steady = child.state == "ready" and time.monotonic() - child.since > _STEADY_SECONDS
        child.process, child.state = None, "pausing"
        child.crashes = 1 if steady else child.crashes + 1
        last = self.last_words(child.program.name)
        if not child.was_ready and (child.crashes >= FIRST_ATTEMPTS or code in _HOPELESS or "No module named" in last):
            raise StartFailed(child.program.name, last or _how(code), self.log_of(child.program.name))
        pause = min(0.25 * 2**child.crashes, _LONGEST_PAUSE)
        child.restart_at = time.monotonic() + pause
        self._listener(
            {"event": "crashed", "name": child.program.name, "how": _how(code), "pause": pause, "crashes": child.crashes,
             "last": last, "log": str(self.log_of(child.program.name))}
        )  # fmt: skip

    def _late(self) -> StartFailed:
        child = next(child for child in self.children.values() if child.state != "ready")
        why = f"not ready after {self._start_seconds:.0f} s" + (f" ({child.missing})" if child.missing else "")
        return StartFailed(child.program.name, why, self.log_of(child.program.name))

    def last_words(self, name: str) -> str:
        """The last line of a program's log that says something to a person: `error: …`, or an exception's line."""
        try:
            with self.log_of(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        spoken = [line.strip() for line in lines if line.strip() and not line.startswith((" ", "{", "Traceback"))]
        errors = [line for line in spoken if line.startswith("error:")]
        return (errors or spoken or [""])[-1].removeprefix("error:").strip()[:300]

    # --- the end

    def _stop_all(self) -> None:
        self._stopping = True
        running = [
            child for child in self.children.values() if child.process is not None and child.process.poll() is None
        ]
        if running:
            self._listener({"event": "stopping", "names": [child.program.name for child in running]})
        self._stop_group([child for child in running if not child.program.stops_last], STOP_SECONDS)
        self._stop_group([child for child in running if child.program.stops_last], REDIS_STOP_SECONDS)
        os.close(self._alive_write)
        os.close(self._alive_read)
        self._listener({"event": "stopped"})

    def _stop_group(self, children: list[Child], seconds: float) -> None:
        for child in children:
            if child.process is not None:
                with suppress(ProcessLookupError):
                    child.process.terminate()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(child.process and child.process.poll() is None for child in children):
            with suppress(queue.Empty):
                if self._messages.get(timeout=0.05)[0] == "stop":
                    deadline = 0.0
        for child in children:
            if child.process is not None and child.process.poll() is None:
                self._listener({"event": "killed", "name": child.program.name})
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()


def _how(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"ended by {signal.Signals(-code).name}"
    return f"exit code {code}"
