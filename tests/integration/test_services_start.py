"""Starting a service wrongly: one clear line that names the setting, no traceback, an exit code; and stopping it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tenon.bundle.keys import generate_key_pair
from tests.support.ports import free_port
from tests.support.service_process import ROOT

SERVICES = ("registry", "ingest", "features", "trainer", "predictor", "monitor")
WITH_DATABASE = tuple(name for name in SERVICES if name != "predictor")


def settings(folder: Path, **changes: str | None) -> dict[str, str]:
    """An environment that is right but for the changes; None leaves a variable out."""
    private, public = generate_key_pair()
    (folder / "signing.pem").write_bytes(private)
    (folder / "verify.pem").write_bytes(public)
    values = {
        "TENON_HTTP_PORT": str(free_port()),
        "TENON_GRPC_PORT": str(free_port()),
        "TENON_DATA_DIR": str(folder / "data"),
        "TENON_DATABASE_URL": f"sqlite:///{folder}/database.db",
        "TENON_REDIS_URL": "redis://127.0.0.1:1/0",
        "TENON_BLOB_URL": f"file://{folder}/blobs",
        "TENON_SERVICE_TOKEN": "token",
        "TENON_ADMIN_KEY": "admin",
        "TENON_SIGNING_KEY_FILE": str(folder / "signing.pem"),
        "TENON_VERIFY_KEY_FILE": str(folder / "verify.pem"),
        **{f"TENON_{name.upper()}_GRPC": "127.0.0.1:1" for name in SERVICES},
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
    return environment | {name: value for name, value in (values | changes).items() if value is not None}


def start(service: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def assert_clear(done: subprocess.CompletedProcess[str], word: str) -> None:
    assert done.returncode in (2, 3), done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert errors, done.stderr
    assert any(word in line for line in errors), done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_missing_settings_are_named(service: str, tmp_path: Path) -> None:
    """Without its ports a service says which variables it misses, and ends with 2."""
    done = start(service, settings(tmp_path, TENON_HTTP_PORT=None, TENON_GRPC_PORT=None))
    assert_clear(done, "TENON_HTTP_PORT")
    assert "TENON_GRPC_PORT" in done.stderr


@pytest.mark.parametrize("service", WITH_DATABASE)
@pytest.mark.parametrize("url", ["nonsense", "sqlite:////nowhere/at/all/x.db"])
def test_a_wrong_database_url_is_named(service: str, url: str, tmp_path: Path) -> None:
    """A URL that is none, and a folder that is missing, are said in one line."""
    assert_clear(start(service, settings(tmp_path, TENON_DATABASE_URL=url)), "DATABASE")


@pytest.mark.parametrize("service", SERVICES)
def test_a_port_in_use_is_named(service: str, tmp_path: Path) -> None:
    """The line says which address is taken and which variable to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert_clear(start(service, settings(tmp_path, TENON_HTTP_PORT=port)), "TENON_HTTP_PORT")
