"""A real Prometheus that reads real processes, and names them as a cluster's would name pods."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml

from tests.cluster.harness.processes import Processes
from tests.cluster.tools import tool
from tests.support.ports import free_port


@dataclass
class Prometheus:
    """Scrapes every second what it is told."""

    processes: Processes
    folder: Path
    url: str = ""
    beside: dict[str, dict[str, str]] = field(default_factory=dict)
    """What is read as well, whatever runs: host:port and labels."""
    _targets: dict[str, dict[str, str]] = field(default_factory=dict)

    def start(self) -> None:
        """Return when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_targets()
        job = {
            "job_name": "predictor",
            "honor_labels": False,
            "file_sd_configs": [{"files": [str(self.folder / "targets.json")], "refresh_interval": "1s"}],
        }
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        self.processes.start(
            "prometheus",
            [
                tool("prometheus"),
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address={address}",
            ],
        )
        self.processes.wait("prometheus", self._ready, 180)

    def scrape(self, targets: dict[str, dict[str, str]]) -> None:
        """From now on read these processes (host:port) and no others, each under its labels."""
        self._targets = targets
        self._write_targets()

    def ask(self, query: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The instant vector of a query."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, trust_env=False, timeout=60).json()
        assert answer["status"] == "success", answer
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in answer["data"]["result"]}

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=10, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _write_targets(self) -> None:
        groups = [{"targets": [address], "labels": labels} for address, labels in (self._targets | self.beside).items()]
        draft = self.folder / "targets.draft"
        draft.write_text(json.dumps(groups))
        draft.rename(self.folder / "targets.json")
