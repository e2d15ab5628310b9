"""The predictor as a real process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import free_port
from tests.support.predictor_bundles import ADMIN_KEY, KEYS, PUBLIC_PEM, SERVICE_TOKEN


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """Poll until the condition holds; fails the test naming what was waited for."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for: {what}")


class PredictorProcess:
    """A real predictor process."""

    def __init__(
        self,
        folder: Path,
        *,
        registry: int,
        features: int = 1,
        redis_url: str = "",
        extra: dict[str, str] | None = None,
    ) -> None:
        self.http, self.grpc = free_port(), free_port()
        self.folder = folder
        verify = folder / "verify.pem"
        folder.mkdir(parents=True, exist_ok=True)
        verify.write_bytes(PUBLIC_PEM)
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TENON_")},
            "TENON_HTTP_PORT": str(self.http),
            "TENON_GRPC_PORT": str(self.grpc),
            "TENON_DATA_DIR": str(folder / "data"),
            "TENON_REGISTRY_GRPC": f"127.0.0.1:{registry}",
            "TENON_FEATURES_GRPC": f"127.0.0.1:{features}",
            "TENON_REDIS_URL": redis_url,
            "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
            "TENON_ADMIN_KEY": ADMIN_KEY,
            "TENON_VERIFY_KEY_FILE": str(verify),
            "TENON_LOG_LEVEL": "INFO",
            # On a busy machine a prediction waits longer for its history and its model, so that a test is about what it is about.
            "TENON_PREDICTOR_HISTORY_TIMEOUT_MS": "10000",
            "TENON_PREDICTOR_COLD_WAIT_MS": "60000",
            **(extra or {}),
        }
        self.command = [sys.executable, "-m", "services.predictor"]
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self.http}"
        self.log = folder / "predictor.log"

    def start(self, *, ready: bool = True) -> PredictorProcess:
        """Run it, and by default wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log)
        path = "/readyz" if ready else "/healthz"
        wait_until(lambda: self._answers(path), f"{path} of the predictor\n{self.log.read_text()[-3000:]}", 180)
        return self

    def _answers(self, path: str) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the predictor ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
        try:
            return httpx.get(self.url + path, timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """End it as the kernel would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as an operator would; gives the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout=180)
        self.process.kill()
        raise AssertionError("the predictor did not end after SIGTERM")

    def infer(
        self, model: str, body: Any, *, key: str = KEYS["acme"], path: str = "", **headers: str
    ) -> httpx.Response:
        """POST an inference request."""
        return httpx.post(
            f"{self.url}/v2/models/{model}{path}/infer",
            json=body,
            headers={"authorization": f"Bearer {key}", **headers},
            timeout=60,
        )

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        total = 0.0
        for line in httpx.get(self.url + "/metrics", timeout=60).text.splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                total += float(line.rsplit(" ", 1)[1])
        return total
