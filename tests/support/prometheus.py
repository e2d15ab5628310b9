"""A real Prometheus for tests, with the repository's own rules, reading real processes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.observability import FOLDER, RULES
from tests.support.platform import eventually
from tests.support.ports import free_port

needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="there is no prometheus (Debian: prometheus)"
)


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API; a refusal fails the test."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False, timeout=60).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def series(self, query: str) -> list[dict[str, Any]]:
        """The instant vector of an expression."""
        found: list[dict[str, Any]] = self.get("query", query=query)["result"]
        return found


@contextmanager
def running_prometheus(folder: Path, targets: Mapping[str, str], *, step: str = "1s") -> Iterator[Prometheus]:
    """Reads the targets (service: host:port) as docker-compose's does, but every second, with all our rules."""
    folder.mkdir(parents=True)
    statics = [{"targets": [address], "labels": {"service": service}} for service, address in targets.items()]
    config = {
        "global": {"scrape_interval": step, "scrape_timeout": step, "evaluation_interval": step},
        "rule_files": [str(path) for path in RULES],
        "scrape_configs": [{"job_name": "tenon", "static_configs": statics}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}", f"--web.user-assets={FOLDER / 'runbooks'}",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        eventually(lambda: _ready(f"http://{address}"), "Prometheus is ready")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(180)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=10, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
