"""`tenon up` with the real services: what it says, what it leaves on disk, how it recovers and how it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tenon.cli.supervisor.programs import PORT_NAMES
from tests.support.platform import PATIENT
from tests.support.ports import free_ports

pytestmark = pytest.mark.slow

SERVICES = ("registry", "ingest", "features", "trainer", "predictor", "monitor")


def tenon(*words: str, folder: Path, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
    return subprocess.run(
        [sys.executable, "-m", "tenon.cli.main", *words],
        cwd=folder, env=environment | PATIENT | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip


def eventually(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The condition's value once it is true; fails the test when it does not become true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail("it did not become true in time")


def processes_of(folder: Path) -> list[int]:
    """Every process whose environment or command line names the data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if state != "Z" and str(folder / ".tenon").encode() in text:
                found.append(int(entry.name))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose platform is stopped at the end."""
    place = tmp_path / "my models ü"  # names with spaces and accents are names like any other
    place.mkdir()
    yield place
    tenon("down", folder=place)
    for pid in processes_of(place):
        os.kill(pid, signal.SIGKILL)


def start(folder: Path, *more: str) -> dict[str, Any]:
    """Start a detached platform on ports of its own."""
    base = free_ports(len(PORT_NAMES))
    done = tenon("up", "--detach", "--json", "--port-base", str(base), *more, folder=folder)
    assert done.returncode == 0, done.stderr
    body: dict[str, Any] = json.loads(done.stdout)
    return body


def test_up_is_ready_when_it_says_so_recovers_and_leaves_nothing(folder: Path) -> None:
    """Everything answers when `up` returns; a killed service comes back; `down` ends every process."""
    body = start(folder)
    assert body["schema"] == "tenon.platform/v1"
    for name in SERVICES:
        with urllib.request.urlopen(f"{body['services'][name]['http']}/readyz", timeout=60) as answer:
            assert answer.status == 200

    data = folder / ".tenon"
    for path in (data, data / "keys", data / "logs"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for path in (
        data / "credentials.json",
        data / "platform.json",
        data / "keys" / "signing.pem",
        data / "redis" / "redis.conf",
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    secrets = json.loads((data / "credentials.json").read_text())
    for log in (data / "logs").glob("*.log"):
        text = log.read_text()
        assert not any(secrets[name] in text for name in ("admin_key", "service_token", "redis_password")), log

    again = tenon("up", folder=folder)
    assert again.returncode == 1
    assert f"a platform is already running in {data} (pid {body['pid']})" in again.stdout
    assert body["services"]["registry"]["http"] in again.stdout

    killed = body["services"]["monitor"]["pid"]
    os.kill(killed, signal.SIGKILL)
    eventually(
        lambda: json.loads((data / "platform.json").read_text())["services"]["monitor"]["pid"] not in (killed, None)
    )
    eventually(lambda: tenon("status", folder=folder).returncode == 0)
    assert '"event": "crashed", "name": "monitor"' in (data / "logs" / "up.log").read_text()

    done = tenon("down", folder=folder)
    assert done.returncode == 0
    assert processes_of(folder) == []
    stopped = tenon("status", folder=folder)
    assert stopped.returncode == 3
    assert "is not running" in stopped.stderr
    assert "hint: tenon up" in stopped.stderr


def test_up_survives_its_own_kill(folder: Path) -> None:
    """After kill -9 of `tenon up` nothing stays behind, and the next `up` on the folder keeps its keys and its data."""
    body = start(folder)
    made = tenon("init", folder=folder)
    assert made.returncode == 0
    assert tenon("apply", "-f", "example", folder=folder).returncode == 0
    key = (folder / ".tenon" / "credentials.json").read_text()
    os.kill(body["pid"], signal.SIGKILL)
    eventually(lambda: processes_of(folder) == [])
    again = tenon("up", "--detach", "--json", folder=folder)
    assert again.returncode == 0, again.stderr
    assert (folder / ".tenon" / "credentials.json").read_text() == key
    unchanged = tenon("apply", "-f", "example", folder=folder)
    assert unchanged.stdout.strip() == "unchanged: 4 documents, 0 changes"


def test_up_in_the_foreground_ends_on_ctrl_c(folder: Path) -> None:
    """Lines appear while it starts, no URL before its service is ready, and SIGINT ends everything."""
    base = free_ports(len(PORT_NAMES))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
    log = folder / "screen"
    with log.open("wb") as screen:
        up = subprocess.Popen(
            [sys.executable, "-m", "tenon.cli.main", "up", "--port-base", str(base)],
            cwd=folder, stdout=screen, stderr=subprocess.STDOUT,
            env=environment | PATIENT | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )  # fmt: skip
    eventually(lambda: "starting redis" in log.read_text())
    eventually(lambda: "Ctrl-C stops it" in log.read_text(), 180)
    up.send_signal(signal.SIGINT)
    assert up.wait(180) == 0
    assert processes_of(folder) == []
    lines = log.read_text().splitlines()
    for name in SERVICES:
        first = next(line for line in lines if f":{base + SERVICES.index(name)}" in line)
        assert "ready in" in first


def test_two_platforms_started_at_once_do_not_meet(folder: Path) -> None:
    """Two `up`s at the same moment both come up, each on ports of its own, whoever was first."""
    places = [folder, folder / "second"]
    places[1].mkdir()
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda place: tenon("up", "--detach", "--json", folder=place), places))
    try:
        assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
        urls = [
            {entry["http"] for entry in json.loads(one.stdout)["services"].values() if "http" in entry} for one in done
        ]
        assert not urls[0] & urls[1]
        assert all(tenon("status", folder=place).returncode == 0 for place in places)
    finally:
        tenon("down", folder=places[1])


def test_up_outlives_the_death_of_redis(folder: Path) -> None:
    """After a kill of Redis the platform comes back by itself: data set, training and prediction work on."""
    body = start(folder)
    for words in (("init", "--apply"), ("ingest", "orders", "example/orders.csv")):
        assert tenon(*words, folder=folder).returncode == 0
    os.kill(body["services"]["redis"]["pid"], signal.SIGKILL)
    platform = folder / ".tenon" / "platform.json"
    pid = body["services"]["redis"]["pid"]
    eventually(lambda: json.loads(platform.read_text())["services"]["redis"]["pid"] not in (pid, None))
    trained = tenon("train", "returned", "--release", folder=folder)
    assert trained.returncode == 0, trained.stderr
    assert tenon("predict", "returned", "-f", "example/request.json", folder=folder).returncode == 0
