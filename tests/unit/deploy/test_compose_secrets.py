"""The secrets of docker-compose.yml: made once, kept from others, and enough for every file that it names."""

from __future__ import annotations

import re
import runpy
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tenon.bundle.keys import load_signing_key, load_verify_key

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not here")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    """The program, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    program: Callable[[Path], int] = runpy.run_path(str(ROOT / "deploy/docker/make_secrets.py"))["main"]
    return program


def test_what_is_made_fits_together(make: Callable[[Path], int], tmp_path: Path) -> None:
    """The keys are a pair that Tenon reads, and the passwords are the same wherever they stand."""
    folder = tmp_path / "secrets"
    assert make(folder) == 0
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    load_verify_key(folder / "verify.pem").verify(
        load_signing_key(folder / "signing.pem").sign(b"a bundle"), b"a bundle"
    )
    password = re.findall("(?m)^INGEST_PASSWORD=(.+)$", texts["postgres.env"])[0]
    assert f"postgresql+psycopg://ingest:{password}@postgres:5432/ingest" in texts["ingest.env"]
    assert re.findall("(?m)^requirepass (.+)$", texts["redis.conf"])[0] in texts["platform.env"]
    assert "TENON_PREDICTOR_URL=http://127.0.0.1:7805\n" in texts["operator.env"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_second_run_changes_nothing_but_the_addresses(make: Callable[[Path], int], tmp_path: Path) -> None:
    """operator.env follows the ports of .env; everything else is kept, for the databases would not know a new password."""
    folder = tmp_path / "secrets"
    make(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / ".env").write_text("# ports\nTENON_PREDICTOR_PORT=9999\n")
    make(folder)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"operator.env"}
    assert b"TENON_PREDICTOR_URL=http://127.0.0.1:9999\n" in after["operator.env"]


def test_every_file_that_compose_names_is_made(make: Callable[[Path], int], tmp_path: Path) -> None:
    """No service waits for a file of secrets that nobody makes, and nothing is made that nobody reads."""
    make(tmp_path / "secrets")
    text = (ROOT / "docker-compose.yml").read_text()
    named = set(re.findall(r"\$\{TENON_SECRETS:-\./deploy/docker/secrets\}/([\w.-]+)", text))
    assert named == {path.name for path in (tmp_path / "secrets").iterdir()} - {"operator.env"}


def test_compose_holds_no_secret_and_every_container_is_bounded() -> None:
    """Every service of the file is in a profile, read-only, without capabilities of its own accord, and has a limit."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        assert service["profiles"] in (["core"], ["observability"]), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        if name not in ("volumes", "bucket"):
            assert service["mem_limit"], name
            assert service["restart"] == "unless-stopped", name
        values = service.get("environment", {})
        assert not [key for key in values if re.search("PASSWORD|SECRET|TOKEN|ADMIN_KEY", key)], name
