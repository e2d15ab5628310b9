"""A service as a real process on free ports, started with the environment that `tenon up` gives it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ADMIN_KEY = "admin-key-of-the-tests"
SERVICE_TOKEN = "service-token-of-the-tests"


@dataclass
class ServiceProcess:
    """Where a running service answers; `log` is what it wrote."""

    process: subprocess.Popen[bytes]
    http: str
    grpc: str
    log: Path


@contextmanager
def running_service(
    name: str, folder: Path, environment: Mapping[str, str], *, seconds: float = 180.0
) -> Iterator[ServiceProcess]:
    """A service that is ready; stopped by SIGTERM at the end, which it must obey."""
    http_port, grpc_port = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "TENON_HTTP_PORT": str(http_port),
        "TENON_GRPC_PORT": str(grpc_port),
        "TENON_DATA_DIR": str(folder / "data"),
        "TENON_DATABASE_URL": f"sqlite:///{folder / 'database.db'}",
        "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
        "TENON_ADMIN_KEY": ADMIN_KEY,
        "TENON_FINISH_SECONDS": "1",
        "TENON_FEATURES_REDIS_TIMEOUT_SECONDS": "10",
        **environment,
    }
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{name}"], cwd=ROOT, env={**os.environ, **values}, stdout=out, stderr=out
        )
    service = ServiceProcess(process, f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", log)
    try:
        _wait_ready(service, seconds)
        yield service
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=180)


def _wait_ready(service: ServiceProcess, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(f"{service.http}/readyz", timeout=10, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if service.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the service is not ready:\n{service.log.read_text()[-4000:]}")
        time.sleep(0.05)
