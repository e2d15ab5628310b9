"""The `docker` command of whatever engine the environment names (DOCKER_HOST), for tests of images and containers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tenon

SERVICES = ("ingest", "features", "trainer", "registry", "predictor", "monitor")
REGISTRY = os.environ.get("IMAGE_REGISTRY", "")
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
"""What an image must be able to live with."""


class DockerError(Exception):
    """A docker command that failed, with what it said."""


def image(service: str) -> str:
    """The name of a service's image."""
    return f"{REGISTRY}tenon/{service}:{tenon.__version__}"


def docker(
    *words: str, timeout: float = 400, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> str:
    """Run a docker command to its end and give what it printed. Raises `DockerError`."""
    done = subprocess.run(
        ["docker", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, cwd=folder,
        env=None if environment is None else {**os.environ, **environment},
    )  # fmt: skip
    if done.returncode:
        raise DockerError(f"docker {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def inspect(name: str) -> dict[str, Any]:
    """What the engine knows of a container or an image."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", name))
    return found[0]


def need_engine() -> None:
    """Skip the test where no Docker engine answers; with CI set that is a failure, unless it was said before."""
    try:
        docker("version", timeout=60)
    except (DockerError, OSError, subprocess.TimeoutExpired) as err:
        reason = f"no Docker engine answers; see docs/operate/compose.md. {err}"
        # .ci/run sets the second where no engine can be had, and says so at length.
        if os.environ.get("CI") and not os.environ.get("TENON_WITHOUT_DOCKER"):
            pytest.fail(reason)
        pytest.skip(reason)


def need_image(name: str, how: str = "make images") -> None:
    """Skip, or fail with CI, where an image has not been built."""
    need_engine()
    try:
        docker("image", "inspect", name)
    except DockerError:
        reason = f"there is no image {name}: {how}"
        if os.environ.get("CI") and not os.environ.get("TENON_WITHOUT_DOCKER"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def container(
    name: str,
    of: str,
    *command: str,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A running container, removed with its volumes at the end; its log is in the message of a failed test."""
    values = [word for key, value in (environment or {}).items() for word in ("--env", f"{key}={value}")]
    docker("run", "--detach", "--name", name, *options, *values, of, *command)
    try:
        yield name
    except BaseException:
        print(logs(name))
        raise
    finally:
        docker("rm", "--force", "--volumes", name)


def logs(name: str, lines: int = 40) -> str:
    """The end of a container's log, both streams."""
    done = subprocess.run(
        ["docker", "logs", "--tail", str(lines), name], capture_output=True, text=True, timeout=180, check=False
    )
    return f"--- {name}\n{done.stdout}{done.stderr}"


def shell(name: str, script: str) -> str:
    """Run a script inside a running container."""
    return docker("exec", name, "sh", "-c", script)
