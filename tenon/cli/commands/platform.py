"""`tenon up` and `tenon down`: the embedded platform on this machine."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tenon.cli import exits
from tenon.cli.context import data_option, json_option
from tenon.cli.failures import BadUsage, NotReady, Stop
from tenon.cli.locate import FILE, SERVICES, data_folder
from tenon.cli.output import Output
from tenon.cli.supervisor.lock import FolderLock, running_supervisor
from tenon.core.errors import Place, TenonError

_ATTEMPTS = 5
_LEFTOVER_SECONDS = 8.0
_DOWN_SECONDS = 45.0


@click.command()
@data_option(default=".tenon")
@click.option("--port-base", type=click.IntRange(1024, 65000), metavar="N",
              help="First of the ports to use; refused when one is taken. Default: 7701, moving away from taken ports.")  # fmt: skip
@click.option("--detach", is_flag=True, help="Return when everything is ready; `tenon down` stops it.")
@click.option(
    "--without", multiple=True, type=click.Choice([*SERVICES, "worker"]), help="Leave this one out, to run it yourself."
)
@click.option("--events-fd", type=int, hidden=True)
@json_option
@click.pass_obj
def up(
    output: Output, data: str, port_base: int | None, detach: bool, without: tuple[str, ...], events_fd: int | None
) -> None:
    """Start the whole platform on this machine and keep it running.

    Six services, a training worker and a Redis server run as separate processes on 127.0.0.1, with everything they
    store in one folder. A service that crashes is restarted. Ctrl-C stops everything.
    """
    folder = data_folder(data)
    _make_private(folder)
    if detach:
        _detach(output, folder, port_base, without)
        return
    with FolderLock(folder) as lock:
        if not lock.acquire():
            _say_running(output, folder)
            raise Stop(exits.FINDINGS)
        _Run(output, folder, port_base, without, events_fd).run()


@click.command()
@data_option(default=".tenon")
@json_option
@click.pass_obj
def down(output: Output, data: str) -> None:
    """Stop the platform that runs in a folder."""
    folder = data_folder(data)
    pid = running_supervisor(folder)
    if pid is None:
        if not folder.is_dir():
            raise BadUsage(f"there is no folder {folder}", hint="name the data folder: tenon down --data DIR")
        output.line(f"nothing to stop: no platform is running in {folder}")
        if output.json:
            output.result("down", {"data": str(folder), "stopped": False})
        return
    output.say(f"stopping the platform in {folder} (pid {pid}) …")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    started = time.monotonic()
    while running_supervisor(folder) is not None:
        if time.monotonic() - started > _DOWN_SECONDS:
            raise NotReady(
                "STOP_TIMEOUT", f"the platform in {folder} did not stop in {_DOWN_SECONDS:.0f} s", hint=f"kill -9 {pid}"
            )
        time.sleep(0.05)
    # The lock is given up a moment before the process ends.
    while not _ended(pid) and time.monotonic() - started < _DOWN_SECONDS:
        time.sleep(0.02)
    if output.json:
        output.result("down", {"data": str(folder), "stopped": True, "seconds": round(time.monotonic() - started, 1)})
    output.line(f"stopped in {time.monotonic() - started:.1f} s")


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        # One that its parent has not asked after yet has ended too.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        # A data folder inside a git checkout holds keys and must not be committed by accident.
        (folder / ".gitignore").write_text("*\n")
        (folder / "logs").mkdir(mode=0o700, exist_ok=True)
    except OSError as err:
        raise BadUsage(f"the data folder {folder} cannot be used: {err.strerror}", hint="tenon up --data DIR") from err


def _say_running(output: Output, folder: Path) -> None:
    path = folder / FILE
    pid = running_supervisor(folder)
    if output.json:
        body = json.loads(path.read_text()) if path.exists() else {"data": str(folder), "pid": pid, "services": {}}
        output.result("platform", {**body, "already_running": True})
        return
    where = f"a platform is already running in {folder} (pid {pid})"
    if path.exists():
        services = json.loads(path.read_text())["services"]
        where += f"; registry {services['registry']['http']}"
    else:
        where += "; it is still starting"
    output.line(where)
    output.say(f"hint: stop it with `tenon down --data {folder}`, or run another one with `tenon up --data DIR`")


class _Run:
    """One supervised run in this process."""

    def __init__(
        self, output: Output, folder: Path, port_base: int | None, without: tuple[str, ...], events_fd: int | None
    ) -> None:
        self._output, self._folder, self._port_base, self._without = output, folder, port_base, without
        self._detached = events_fd is not None
        self._events = os.fdopen(events_fd, "w", buffering=1) if events_fd is not None else None
        self._log = (folder / "logs" / "up.log").open("a", buffering=1)
        self._view: Any = None
        self._supervisor: Any = None
        self._ports: dict[str, int] = {}
        self._started_at = ""

    def run(self) -> None:
        """Start, keep running, stop; errors go to whoever waits for the events, too."""
        try:
            self._run()
        except TenonError as error:
            self._tell({"event": "failed", **error.as_dict()})
            raise
        finally:
            (self._folder / FILE).unlink(missing_ok=True)

    def _run(self) -> None:
        # The supervisor's modules cost 30 ms (subprocess, sockets), the first start's keys 60 ms more.
        from tenon.cli.supervisor.credentials import load_or_create
        from tenon.cli.supervisor.ports import SPARE, choose_ports, find_holder
        from tenon.cli.supervisor.programs import PORT_NAMES, describe_platform
        from tenon.cli.supervisor.supervise import StartFailed, Supervisor
        from tenon.cli.supervisor.view import View

        if not self._detached:
            self._view = View(self._output, _names(self._without), live=sys.stderr.isatty())
        try:
            self._wait_for_leftovers()
            credentials = load_or_create(self._folder)
            for attempt in range(1, _ATTEMPTS + 1):
                # Platforms that start side by side look at the same ports; after a clash each looks elsewhere.
                spare = SPARE if attempt == 1 else random.randrange(SPARE, 4000)
                self._ports, moved = choose_ports(PORT_NAMES, self._port_base, spare=spare)
                for taken in moved:
                    self._tell({"event": "moved", "name": taken.name, "port": taken.port, "instead": taken.instead,
                                "holder": str(taken.holder) if taken.holder else ""})  # fmt: skip
                described = describe_platform(self._folder, self._ports, credentials)
                programs = [program for program in described if program.name not in self._without]
                self._supervisor = Supervisor(programs, self._folder, self._tell)
                self._catch_signals()
                try:
                    self._supervisor.run(self._on_up, self._write_file)
                    if not self._started_at:
                        raise Stop(exits.INTERRUPTED)
                    return
                except StartFailed as failure:
                    if failure.port_taken and self._port_base is None and attempt < _ATTEMPTS:
                        # Somebody took a port between our look and the service's bind: choose again.
                        continue
                    holder = find_holder(self._ports.get(failure.name, 0)) if failure.port_taken else None
                    raise NotReady(
                        "START_FAILED",
                        f"{failure.name} did not start: {failure.why}" + (f" (held by {holder})" if holder else ""),
                        place=Place(file=str(failure.log)),
                        hint=_way_out(failure.why, failure.log),
                    ) from failure
        finally:
            if self._view is not None:
                self._view.freeze()

    def _catch_signals(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda *_: self._supervisor.stop())

    def _on_up(self) -> None:
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        body = self._write_file()
        self._tell({"event": "up", "platform": body})
        if self._view is not None:
            # The function is in the module already imported by `_run`.
            from tenon.cli.supervisor.view import say_where

            self._view.freeze()
            say_where(self._output, body, str(self._folder), detached=False)
            sys.stdout.flush()

    def _write_file(self) -> dict[str, Any]:
        from tenon.cli.supervisor.credentials import write_private

        children = self._supervisor.children
        services: dict[str, dict[str, Any]] = {}
        for name, child in children.items():
            entry: dict[str, Any] = {
                "pid": child.process.pid if child.process else None,
                "log": str(self._supervisor.log_of(name)),
            }
            if name in SERVICES:
                entry |= {"http": child.program.url, "grpc": f"127.0.0.1:{self._ports[f'{name} gRPC']}"}
            elif name == "redis":
                entry["port"] = self._ports["redis"]
            services[name] = entry
        body = {"data": str(self._folder), "pid": os.getpid(), "started_at": self._started_at, "services": services}
        if self._started_at:
            write_private(self._folder / FILE, json.dumps({"schema": "tenon.platform/v1", **body}, indent=2).encode())
        return body

    def _tell(self, event: dict[str, Any]) -> None:
        text = json.dumps({"@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"), **event})
        # Telling must never keep us from stopping what was started: the disk may be full, the terminal closed, and
        # whoever started us detached has what it waited for and is gone.
        with suppress(OSError):
            self._log.write(text + "\n")
        if self._events is not None:
            try:
                self._events.write(text + "\n")
            except OSError:
                self._events = None
                if not self._started_at and self._supervisor is not None:
                    # Whoever waits for the start was killed before it could hear of it: nobody would ever stop us.
                    self._supervisor.stop()
        if self._view is not None:
            try:
                self._view(event)
            except OSError:
                self._view = None

    def _wait_for_leftovers(self) -> None:
        """Let the processes of a supervisor that was killed end, so that they hold neither ports nor databases."""
        try:
            services = json.loads((self._folder / FILE).read_text())["services"]
            pids = [entry["pid"] for entry in services.values() if entry.get("pid")]
        except (OSError, ValueError, KeyError, AttributeError):
            return
        left = [pid for pid in pids if _is_ours(pid)]
        if left:
            self._tell({"event": "cleaning", "count": len(left)})
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while time.monotonic() < deadline and (left := [pid for pid in left if _is_ours(pid)]):
            time.sleep(0.1)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def _is_ours(pid: int) -> bool:
    """Whether a pid is (still) one of our launchers and not somebody else's process with the same number."""
    try:
        return b"tenon.cli.supervisor.launch" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        found = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return "tenon.cli.supervisor.launch" in found.stdout


def _way_out(why: str, log: Path) -> str:
    if "No module named" in why and "services" not in why:
        return f"{sys.executable} -m pip install 'tenon[all]'"
    return f"tail -n 30 {log}"


def _names(without: tuple[str, ...]) -> list[str]:
    return [name for name in ("redis", *SERVICES, "worker") if name not in without]


def _detach(output: Output, folder: Path, port_base: int | None, without: tuple[str, ...]) -> None:
    from tenon.cli.supervisor.programs import code_environment
    from tenon.cli.supervisor.view import View, say_where

    if running_supervisor(folder) is not None:
        _say_running(output, folder)
        return
    read, write = os.pipe()
    command = [sys.executable, "-P", "-m", "tenon.cli.main", "up", "--data", str(folder), "--events-fd", str(write)]
    if port_base is not None:
        command += ["--port-base", str(port_base)]
    command += [word for name in without for word in ("--without", name)]
    view = View(output, _names(without), live=sys.stderr.isatty())
    child: subprocess.Popen[bytes] | None = None
    try:
        with (folder / "logs" / "up.log").open("ab") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(write,), start_new_session=True,
                env=dict(os.environ) | code_environment(),
            )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as events:
            for line in events:
                event = json.loads(line)
                view(event)
                if event["event"] == "up":
                    view.freeze()
                    say_where(output, event["platform"], str(folder), detached=True)
                    return
                if event["event"] == "failed":
                    view.freeze()
                    place = Place(**event["place"]) if event.get("place") else None
                    raise NotReady(event["reason"], event["error"], place=place, hint=event.get("hint"))
    except KeyboardInterrupt:
        if child is not None:
            child.terminate()
            child.wait(_DOWN_SECONDS)
        raise
    finally:
        view.freeze()
    raise NotReady(
        "START_FAILED", f"the supervisor ended (exit code {child.wait()}) before the platform was ready",
        hint=f"tail -n 30 {folder / 'logs' / 'up.log'}",
    )  # fmt: skip
