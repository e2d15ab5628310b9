"""The whole platform for tests: `tenon up` in a folder of its own, reached only as a user would reach it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tenon.cli.supervisor.programs import PORT_NAMES
from tests.support.ports import free_ports
from tests.support.service_process import ROOT

T = TypeVar("T")

PATIENT = {"TENON_DEADLINE_SECONDS": "120"}
"""On a busy machine the command waits longer, so that a test is about what it is about."""
ALL_SCOPES = ("predict", "read", "write")


@dataclass
class Platform:
    """A running platform: where its doors are, and the operator's key."""

    folder: Path
    urls: dict[str, str]
    targets: dict[str, str]
    """Of each service: the HTTP address, and host:port of gRPC."""
    admin_key: str
    service_token: str = ""
    environment: Mapping[str, str] | None = None
    """What tells the command where it is, if it is not one that `tenon up` runs in the folder."""

    def tenon(self, *words: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Run the command against this platform."""
        return run_tenon(self.folder, *words, timeout=timeout, environment=self.environment)

    def blobs(self) -> Path:
        """A folder with what the services keep as blobs, as it is now."""
        return self.folder / "blobs"

    def verify_key(self) -> Path:
        """The file with the public key that bundles are signed for."""
        return self.folder / "keys" / "verify.pem"

    def result(self, *words: str) -> dict[str, Any]:
        """Run a command with `--json` that must succeed, and give its result."""
        done = self.tenon(*words, "--json")
        assert done.returncode == 0, (
            f"tenon {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
        return answer

    def ask(
        self,
        service: str,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: Any = None,
        tenant: str | None = None,
    ) -> httpx.Response:
        """One HTTP request with a key (or none)."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        if tenant:
            headers["x-tenon-tenant"] = tenant
        with httpx.Client(trust_env=False, timeout=60) as client:
            return client.request(method, self.urls[service] + path, headers=headers, json=body)

    def create_tenant(self, name: str) -> None:
        """Make a tenant."""
        answer = self.ask("registry", "PUT", f"/v1/tenants/{name}", key=self.admin_key, body={"name": name})
        assert answer.status_code == 200, answer.text

    def create_key(self, tenant: str, scopes: Sequence[str] = ALL_SCOPES) -> str:
        """Make a key of a tenant and give its text."""
        body = {"name": "of a test", "scopes": list(scopes)}
        answer = self.ask("registry", "POST", f"/v1/tenants/{tenant}/keys", key=self.admin_key, body=body)
        assert answer.status_code == 201, answer.text
        key: str = answer.json()["key"]
        return key

    def logs(self, lines: int = 15) -> str:
        """The ends of all logs, for the message of a failed test."""
        parts = []
        for log in sorted((self.folder / "logs").glob("*.log")):
            parts.append(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
        return "\n".join(parts)


def run_tenon(
    folder: Path,
    *words: str,
    timeout: float = 400,
    extra: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the `tenon` command on a data folder, or on the platform that `environment` names; what the environment of this
    process says about other platforms is left out."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
    place = {"TENON_HOME": str(folder)} if environment is None else dict(environment)
    return subprocess.run(
        [sys.executable, "-m", "tenon.cli.main", *words],
        env=kept | PATIENT | dict(extra or {}) | place | {"PYTHONPATH": str(ROOT)},
        # A platform in the folder one stands in would be preferred to the one that the environment names.
        cwd=None if environment is None else folder,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip


@contextmanager
def running_platform(folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[Platform]:
    """`tenon up` until every service is ready, with `extra` in its environment (predictions wait long for their history, or a busy
    machine would decide how they come out); `tenon down` at the end, after which no process may be left."""
    base = str(free_ports(len(PORT_NAMES)))
    patience = {"TENON_PREDICTOR_HISTORY_TIMEOUT_MS": "10000", "TENON_FEATURES_REDIS_TIMEOUT_SECONDS": "10"}
    done = run_tenon(
        folder, "up", "--detach", "--json", "--port-base", base, timeout=300, extra=patience | dict(extra or {})
    )
    try:
        assert done.returncode == 0, f"the platform did not start:\n{done.stdout}{done.stderr}"
        services = json.loads(done.stdout)["services"]
        credentials = json.loads((folder / "credentials.json").read_text())
        yield Platform(
            folder=folder,
            urls={name: entry["http"] for name, entry in services.items() if "http" in entry},
            targets={name: entry["grpc"] for name, entry in services.items() if "grpc" in entry},
            admin_key=credentials["admin_key"],
            service_token=credentials["service_token"],
        )
    finally:
        down = run_tenon(folder, "down")
    assert down.returncode == 0, down.stderr
    eventually(lambda: not processes_of(folder), "no process of the platform is left", seconds=180)


def processes_of(folder: Path) -> list[str]:
    """The command lines of all processes that name a folder in their arguments or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if state != "Z" and os.fsencode(folder) in command + environment:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def eventually(condition: Callable[[], T], what: str, seconds: float = 120.0) -> T:
    """The condition's value as soon as it is true; fails the test when that takes too long."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: still not so after {seconds:.0f} s"
        time.sleep(0.05)
    return value
