"""The supervisor of `tenon up` with real processes: starts, restarts, stops, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tenon.cli.failures import NotReady
from tenon.cli.supervisor.lock import FolderLock, running_supervisor
from tenon.cli.supervisor.ports import choose_ports, find_holder
from tenon.cli.supervisor.probes import http_ready
from tenon.cli.supervisor.programs import Program, code_environment
from tenon.cli.supervisor.supervise import StartFailed, Supervisor
from tests.support.ports import free_port, free_ports

STUB = """
import http.server, os, pathlib, signal, subprocess, sys, time
port, *options = sys.argv[1:]
note = pathlib.Path(os.environ["STUB_NOTE"])
with note.open("a") as file:
    print(os.getpid(), file=file)
if "child" in options:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with note.open("a") as file:
        print(child.pid, file=file)
if "refuse" in options:
    sys.stderr.write("error: TENON_BLOB_URL must be set\\n")
    sys.exit(2)
if "crash" in options:
    raise RuntimeError("no good")
if "stubborn" in options:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


def eventually(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The condition's value once it is true; fails the test when it does not become true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    pytest.fail("it did not become true in time")


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Stubs:
    """Stub services and what they noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.note = folder / "pids"
        (folder / "stub_service.py").write_text(STUB)

    def program(self, name: str, *options: str, after: tuple[str, ...] = (), last: bool = False) -> Program:
        """A program that serves /readyz."""
        port = free_port()
        path = os.pathsep.join([str(self.folder), code_environment().get("PYTHONPATH", "")])
        return Program(
            name=name,
            command=("module", "stub_service", str(port), *options),
            environment=dict(os.environ) | {"PYTHONPATH": path, "STUB_NOTE": str(self.note)},
            probe=http_ready(f"http://127.0.0.1:{port}/readyz"),
            after=after,
            stops_last=last,
        )

    def pids(self) -> list[int]:
        """Every process that ever started."""
        return [int(line) for line in self.note.read_text().split()] if self.note.exists() else []


class Running:
    """A supervisor on a thread of its own, and what it reported."""

    def __init__(self, folder: Path, programs: list[Program]) -> None:
        self.events: list[dict[str, Any]] = []
        self.up = threading.Event()
        self.error: BaseException | None = None
        self.supervisor = Supervisor(programs, folder, self.events.append, start_seconds=120)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.supervisor.run(self.up.set, lambda: None)
        except StartFailed as err:
            self.error = err

    def stop(self) -> None:
        """Stop it."""
        self.supervisor.stop()
        self._thread.join(180)
        assert not self._thread.is_alive()

    def join(self) -> None:
        """Wait for an end of its own."""
        self._thread.join(180)
        assert not self._thread.is_alive()

    def named(self, event: str) -> list[str]:
        """The programs of an event, in order."""
        return [entry.get("name", "") for entry in self.events if entry["event"] == event]


@pytest.fixture
def stubs(tmp_path: Path) -> Stubs:
    """Stub services in a folder of their own."""
    return Stubs(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts supervisors that are stopped at the end."""
    made: list[Running] = []

    def start(*programs: Program) -> Running:
        made.append(Running(tmp_path, list(programs)))
        return made[-1]

    yield start
    for running in made:
        running.stop()


def test_up_starts_what_others_need_first_and_stops_it_last(
    stubs: Stubs, run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program starts when what it needs is ready; at the end nothing is left."""
    monkeypatch.setattr("tenon.cli.supervisor.supervise.STOP_SECONDS", 60.0)
    running = run(
        stubs.program("store", last=True), stubs.program("a", after=("store",)), stubs.program("b", after=("store",))
    )
    assert running.up.wait(180)
    assert running.named("starting")[0] == "store"
    assert running.named("ready")[0] == "store"
    assert running.named("starting").index("a") > 0
    running.stop()
    assert [pid for pid in stubs.pids() if is_alive(pid)] == []
    assert running.named("killed") == []


def test_up_restarts_what_crashed_and_says_so(stubs: Stubs, run: Callable[..., Running]) -> None:
    """A killed program is started again, with the signal named and a pause that grows."""
    running = run(stubs.program("service"))
    assert running.up.wait(180)
    first = stubs.pids()[-1]
    os.kill(first, signal.SIGKILL)
    second = eventually(lambda: len(stubs.pids()) == 2 and stubs.pids()[-1])
    eventually(lambda: len(running.named("ready")) == 2)
    os.kill(second, signal.SIGKILL)
    eventually(lambda: len(running.named("ready")) == 3)
    crashes = [event for event in running.events if event["event"] == "crashed"]
    assert [crash["how"] for crash in crashes] == ["ended by SIGKILL"] * 2
    assert crashes[0]["pause"] < crashes[1]["pause"]


def test_up_kills_what_a_crashed_program_left_running(stubs: Stubs, run: Callable[..., Running]) -> None:
    """The children of a program that was killed (a worker pool's) do not stay behind."""
    running = run(stubs.program("pool", "child"))
    assert running.up.wait(180)
    parent, child = stubs.pids()
    os.kill(parent, signal.SIGKILL)
    eventually(lambda: not is_alive(child))


def test_up_gives_up_at_once_on_a_wrong_setting(stubs: Stubs, run: Callable[..., Running]) -> None:
    """Exit code 2 means that trying again is of no use; the program's own words are the reason."""
    running = run(stubs.program("good"), stubs.program("wrong", "refuse"))
    running.join()
    assert isinstance(running.error, StartFailed)
    assert (running.error.name, running.error.why) == ("wrong", "TENON_BLOB_URL must be set")
    assert running.named("crashed") == []
    assert [pid for pid in stubs.pids() if is_alive(pid)] == []


def test_up_gives_up_on_what_never_starts(stubs: Stubs, run: Callable[..., Running]) -> None:
    """A program that crashes before it was ever ready is tried three times, then the start fails with its last words."""
    running = run(stubs.program("broken", "crash"))
    running.join()
    assert isinstance(running.error, StartFailed)
    assert running.error.why == "RuntimeError: no good"
    assert len(stubs.pids()) == 3


def test_up_kills_what_does_not_want_to_stop(
    stubs: Stubs, run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that ignores SIGTERM is killed after a bounded time, which is said."""
    monkeypatch.setattr("tenon.cli.supervisor.supervise.STOP_SECONDS", 1.0)
    running = run(stubs.program("stubborn", "stubborn", "child"))
    assert running.up.wait(180)
    running.stop()
    assert running.named("killed") == ["stubborn"]
    eventually(lambda: not any(is_alive(pid) for pid in stubs.pids()))


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from tests.integration.test_up_supervisor import Stubs
from tenon.cli.supervisor.lock import FolderLock
from tenon.cli.supervisor.supervise import Supervisor
folder = Path({folder!r})
stubs = Stubs(folder)
lock = FolderLock(folder)
assert lock.acquire()
programs = [stubs.program("one", "child"), stubs.program("two")]
Supervisor(programs, folder, lambda event: None).run(lambda: print("up", flush=True), lambda: None)
"""


def test_up_killed_with_9_leaves_no_process(stubs: Stubs, tmp_path: Path) -> None:
    """After kill -9 of the supervisor its programs and their children end by themselves, and the lock is free."""
    root = str(Path(__file__).resolve().parents[2])
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER.format(here=root, folder=str(tmp_path)))],
        stdout=subprocess.PIPE, text=True, cwd=root,
    )  # fmt: skip
    assert driver.stdout is not None
    assert driver.stdout.readline() == "up\n"
    assert running_supervisor(tmp_path) == driver.pid
    assert not FolderLock(tmp_path).acquire()
    started = stubs.pids()
    assert len(started) == 3
    driver.kill()
    driver.wait()
    eventually(lambda: not any(is_alive(pid) for pid in started))
    assert running_supervisor(tmp_path) is None
    with FolderLock(tmp_path) as lock:
        assert lock.acquire()


def test_up_moves_away_from_a_taken_port_and_names_the_holder() -> None:
    """Without an explicit base a taken port is replaced; with one it is refused, naming port, holder and a free base."""
    base = free_ports(12)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", base + 1))
        taken.listen()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tenon.cli.supervisor.ports.DEFAULT_BASE", base)
            ports, moved = choose_ports(["registry", "ingest", "features"], None)
        assert ports["registry"] == base
        assert [(entry.name, entry.port) for entry in moved] == [("ingest", base + 1)]
        assert ports["ingest"] == moved[0].instead not in (base, base + 1, base + 2)
        holder = find_holder(base + 1)
        assert holder is not None
        assert holder.pid == os.getpid()
        with pytest.raises(NotReady) as refused:
            choose_ports(["registry", "ingest", "features"], base)
    assert f"port {base + 1} (for ingest) is taken" in refused.value.message
    assert f"(pid {os.getpid()})" in refused.value.message
    assert refused.value.hint is not None
    assert refused.value.hint.startswith("tenon up --port-base ")
