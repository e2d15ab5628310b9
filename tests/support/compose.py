"""The platform of docker-compose.yml for tests: a project of its own, on free ports, with secrets of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.support.docker import SERVICES, DockerError, docker, image, need_engine, need_image
from tests.support.platform import Platform
from tests.support.ports import free_port
from tests.support.service_process import ROOT

STORES = ("postgres:16", "redis:7", "versity/versitygw:v1.8.0")
PORTS = (
    *(f"TENON_{name.upper()}_PORT" for name in SERVICES),
    "TENON_PREDICTOR_GRPC_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT",
)  # fmt: skip
UP_SECONDS = 600.0


@dataclass
class Composed(Platform):
    """A platform under docker-compose; `folder` is where commands for it are run."""

    project: str = ""
    secrets: Path = Path()
    settings: Mapping[str, str] = field(default_factory=dict)

    def compose(self, *words: str, timeout: float = 400, profiles: Sequence[str] = ("core",)) -> str:
        """Run a `docker compose` command on it and give what it printed. Raises `DockerError`."""
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        # A file .env of whoever runs the tests must not change what is tested.
        return docker(
            "compose", "--project-name", self.project, "--env-file", os.devnull, *chosen, *words,
            timeout=timeout, environment=self.settings, folder=ROOT,
        )  # fmt: skip

    def up(self, *services: str, profiles: Sequence[str] = ("core",)) -> None:
        """Start what is not running, of these and what they need, and wait until all is healthy."""
        self.compose("up", "--wait", "--quiet-pull", *services, timeout=UP_SECONDS, profiles=profiles)

    def container(self, service: str) -> str:
        """The container's name."""
        return f"{self.project}-{service}-1"

    def logs(self, lines: int = 15) -> str:
        """See `Platform`."""
        return self.compose("logs", "--no-color", "--tail", str(lines), profiles=("core", "observability"))

    def blobs(self) -> Path:
        """See `Platform`: the object store keeps an object as a file, which is copied."""
        target = self.folder / "blobs"
        shutil.rmtree(target, ignore_errors=True)
        docker("cp", f"{self.container('objects')}:/objects/tenon/platform", str(target))
        return target

    def verify_key(self) -> Path:
        """See `Platform`."""
        return self.secrets / "verify.pem"


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """The profile `core`, healthy; at the end nothing of it is left."""
    need_engine()
    for name in STORES:
        need_image(name, f"docker pull {name}")
    for service in SERVICES:
        need_image(image(service))
    folder = tmp_path_factory.mktemp("compose")
    made = _prepare(folder)
    try:
        try:
            made.up()
        except DockerError as err:
            pytest.fail(f"{err}\n{made.logs(30)}")
        yield made
    finally:
        made.compose("down", "--volumes", "--remove-orphans", profiles=("core", "observability"))
    for kind in ("container", "volume", "network"):
        left = docker(kind, "ls", "--quiet", "--filter", f"label=com.docker.compose.project={made.project}")
        assert left == "", f"a {kind} is left: {left}"


def _prepare(folder: Path) -> Composed:
    settings = {name: str(free_port()) for name in PORTS} | {
        "TENON_SECRETS": str(folder / "secrets"),
        "IMAGE_REGISTRY": os.environ.get("IMAGE_REGISTRY", ""),
        # On a busy machine a prediction waits longer for its history, so that a test is about what it is about.
        "TENON_PREDICTOR_HISTORY_TIMEOUT_MS": "5000",
        "TENON_FEATURES_REDIS_TIMEOUT_SECONDS": "2",
    }
    subprocess.run(
        [sys.executable, str(ROOT / "deploy/docker/make_secrets.py"), str(folder / "secrets")],
        env=os.environ | settings, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    operator = read_env(folder / "secrets" / "operator.env")
    platform = read_env(folder / "secrets" / "platform.env")
    return Composed(
        folder=folder,
        urls={name: operator[f"TENON_{name.upper()}_URL"] for name in SERVICES},
        targets={"predictor": operator["TENON_PREDICTOR_GRPC"]},
        admin_key=platform["TENON_ADMIN_KEY"],
        service_token=platform["TENON_SERVICE_TOKEN"],
        environment={name: value for name, value in operator.items() if not name.endswith("_GRPC")},
        project=f"tenon-test-{secrets.token_hex(3)}",
        secrets=folder / "secrets",
        settings=settings,
    )


def read_env(path: Path) -> dict[str, str]:
    """The NAME=value lines of a file."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line)


def metrics(url: str) -> dict[str, float]:
    """Every sample of a /metrics page, by name and labels as they stand there."""
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=60).text
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}
