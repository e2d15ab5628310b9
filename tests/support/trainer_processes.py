"""The trainer's two real processes on a real Redis, for integration tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import urllib3

from tenon.bundle import generate_key_pair
from tests.support.fakes_trainer import TrainerNeighbours
from tests.support.ports import free_port
from tests.support.redis import RedisServer

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 180.0
T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], seconds: float = DEADLINE_SECONDS) -> T:
    """Look until there is something; fails, saying what was waited for, when there is nothing in time."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.05)


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: Any


@dataclass
class TrainerProcesses:
    """Redis, the API and workers; everything started here is ended by `stop`."""

    folder: Path
    neighbours: TrainerNeighbours
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        private, public = generate_key_pair()
        (self.folder / "signing.pem").write_bytes(private)
        (self.folder / "verify.pem").write_bytes(public)
        self.redis, self.http_port, self.grpc_port = RedisServer(self.folder), free_port(), free_port()
        target = self.neighbours.start()
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TENON_")},
            "TENON_DATABASE_URL": f"sqlite:///{self.folder}/trainer.db",
            "TENON_REDIS_URL": self.redis.url,
            "TENON_BLOB_URL": self.folder.absolute().as_uri(),
            "TENON_REGISTRY_GRPC": target,
            "TENON_INGEST_GRPC": target,
            "TENON_FEATURES_GRPC": target,
            "TENON_SERVICE_TOKEN": "service-token",
            "TENON_ADMIN_KEY": "admin-key",
            "TENON_SIGNING_KEY_FILE": str(self.folder / "signing.pem"),
            "TENON_DATA_DIR": str(self.folder / "data"),
            "TENON_TRAINER_THREADS": "2",
            "TENON_TRAINER_SWEEP_SECONDS": "0.5",
        }
        self._http = urllib3.PoolManager(retries=False)

    def start_api(self) -> None:
        """The API, ready."""
        ports = {"TENON_HTTP_PORT": str(self.http_port), "TENON_GRPC_PORT": str(self.grpc_port)}
        self._start("api", [sys.executable, "-m", "services.trainer"], ports)

        def ready() -> bool:
            if self.processes["api"].poll() is not None:
                raise AssertionError(f"the API ended: {self.log('api')}")
            try:
                return bool(self.call("GET", "/readyz", key=None).status == 200)
            except urllib3.exceptions.HTTPError:
                return False

        wait_for("the API to be ready", ready)

    def start_worker(self, name: str = "worker") -> None:
        """A worker."""
        self._start(name, [sys.executable, "-m", "services.trainer.worker"], {})

    def _start(self, name: str, command: list[str], extra: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=ROOT, env={**self.env, **extra}, stdout=log, stderr=log, start_new_session=True
            )

    def log(self, name: str) -> str:
        """What a process has said so far."""
        return (self.folder / f"{name}.log").read_text()

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = "north-key") -> Answer:
        """Ask the API."""
        headers = {"content-type": "application/json"} if body is not None else {}
        if key:
            headers["authorization"] = f"Bearer {key}"
        answer = self._http.request(
            method,
            f"http://127.0.0.1:{self.http_port}{path}",
            body=json.dumps(body).encode() if body is not None else None,
            headers=headers,
            timeout=60,
        )
        is_json = "json" in answer.headers.get("content-type", "")
        return Answer(answer.status, json.loads(answer.data) if is_json else answer.data.decode())

    def finished(self, run_id: str, tenant: str = "north") -> Any:
        """A run when it has ended."""

        def look() -> Any:
            run = self.call("GET", f"/v1/tenants/{tenant}/runs/{run_id}", key="admin-key").body
            return run if run["state"] in {"succeeded", "failed"} else None

        return wait_for(f"run {run_id} to end", look)

    def end(self, name: str, signum: int = signal.SIGTERM, seconds: float = 180.0) -> int:
        """Send a signal and wait; gives the exit code."""
        process = self.processes.pop(name)
        process.send_signal(signum)
        return process.wait(seconds)

    def kill_group(self, name: str) -> None:
        """Kill a process and its children at once, as a power failure would."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(180)

    def stop(self) -> None:
        """End everything that was started here."""
        self.neighbours.stop()
        self.redis.stop()
        for process in self.processes.values():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self.processes.values():
            process.wait(180)
