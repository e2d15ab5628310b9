"""Images under the public names that docker-compose.yml uses, for a machine that reaches no container registry.

    python -m tests.compose.stand_ins                (make stand-ins DOCKER=../shared/tools/docker-sandbox)

`base-images`, beside the sandbox, makes most of them from Debian's packages; the object store and the collector are Go
programs, built once into ~/.cache/tenon-tools (TENON_TOOLS_CACHE), meanwhile. Grafana can be had neither way and is left out.
An image that exists is left alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OBJECTS = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
IMAGES = {
    "python": ("python:3.11-slim-bookworm",),
    "postgres": ("postgres:16",),
    "redis": ("redis:7",),
    "prometheus": ("prom/prometheus:v2.53.4",),
    "alertmanager": ("prom/alertmanager:v0.27.0",),
}
OBJECTS_IMAGE = "versity/versitygw:v1.8.0"
COLLECTOR_IMAGE = "otel/opentelemetry-collector:0.154.0"


class NotMadeError(Exception):
    """A program that could not be built, and why."""


def main(sandbox: Path) -> int:
    """Make what is missing; `sandbox` is docker-sandbox, which has base-images beside it."""
    base_images = sandbox.with_name("base-images")
    if not base_images.is_file():
        sys.stderr.write(
            f"error: there is no {base_images}; stand-ins are made with it, an ordinary Docker pulls the images\n"
        )
        return 2
    with ThreadPoolExecutor(1) as pool:
        objects = pool.submit(_built, "versitygw", "install", "-trimpath", "-ldflags=-s -w", OBJECTS)
        collector = pool.submit(
            _built, "otelcol", "build", "-trimpath", "-ldflags=-s -w", "-o", "{target}", ".", folder=HERE / "collector"
        )
        for kind, tags in IMAGES.items():
            _run(str(base_images), kind, *tags)
        try:
            _make_objects(base_images, objects.result())
        except NotMadeError as err:
            sys.stderr.write(f"error: {err}\n")
            return 1
        try:
            _make_collector(base_images, collector.result())
        except NotMadeError as err:
            # Nothing else needs it: the tests of the profile `observability` go on without.
            sys.stderr.write(f"warning: {err}\n")
    return 0


def _make_objects(base_images: Path, program: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy2(program, folder)
        # What the public image has beside the program and this uses: wget, for the health check.
        _run(
            str(base_images), "custom", OBJECTS_IMAGE, "wget", "--copy", f"{copy}:/usr/local/bin/versitygw",
            "--entrypoint", '["/usr/local/bin/versitygw"]',
        )  # fmt: skip


def _make_collector(base_images: Path, program: Path) -> None:
    _run(
        str(base_images), "custom", COLLECTOR_IMAGE, "ca-certificates", "--copy", f"{program}:/otelcol",
        "--entrypoint", '["/otelcol"]', "--user", "nobody",
    )  # fmt: skip


def _built(name: str, *command: str, folder: Path | None = None) -> Path:
    """A Go program, from the cache or built now."""
    target = Path(os.environ.get("TENON_TOOLS_CACHE", Path.home() / ".cache/tenon-tools")) / "bin" / name
    if target.is_file():
        return target
    if shutil.which("go") is None:
        raise NotMadeError(f"{name} has to be built and there is no Go compiler")
    target.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"building {name}\n")
    environment = os.environ | {"GOBIN": str(target.parent), "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    words = ["go", *(word.format(target=target) for word in command)]
    done = subprocess.run(words, cwd=folder or ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMadeError(f"{name} could not be built: {done.stderr.strip()[-2000:]}")
    return target


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    sys.exit(main((ROOT / os.environ.get("DOCKER", "../shared/tools/docker-sandbox")).resolve()))
