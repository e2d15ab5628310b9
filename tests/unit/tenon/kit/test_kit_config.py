"""Settings: secrets from files, and secrets of which two are valid at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenon.kit.auth import CachedAuthenticator, platform_credentials
from tenon.kit.config import ServiceSettings, load_settings
from tools.settings_page import rows

HERE = {"TENON_HTTP_PORT": "1", "TENON_GRPC_PORT": "2", "TENON_DATA_DIR": "/nowhere"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Only what every service needs is set."""
    for name in os.environ:
        if name.startswith("TENON_"):
            monkeypatch.delenv(name)
    for name, value in HERE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize("name", ["database_url", "redis_url", "service_token", "admin_key"])
def test_a_secret_may_stand_in_a_file(name: str, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """`TENON_X_FILE` names a file with what `TENON_X` would hold; the line's end does not count, and nothing prints it."""
    (tmp_path / "secret").write_text("redis://:hunter2@host/0\n")
    environment.setenv(f"TENON_{name.upper()}_FILE", str(tmp_path / "secret"))
    settings = load_settings(ServiceSettings)
    assert getattr(settings, name) == "redis://:hunter2@host/0"
    assert "hunter2" not in repr(settings)


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        load_settings(ServiceSettings)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_given_twice_it_is_refused(
    tmp_path: Path, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which of them holds would be a guess."""
    (tmp_path / "secret").write_text("one")
    environment.setenv("TENON_ADMIN_KEY", "two")
    environment.setenv("TENON_ADMIN_KEY_FILE", str(tmp_path / "secret"))
    assert refused(capsys) == "error: TENON_ADMIN_KEY and TENON_ADMIN_KEY_FILE are both set; keep one of them\n"


def test_a_file_that_is_missing_or_empty_is_named(
    tmp_path: Path, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mount that failed must not become an empty password."""
    environment.setenv("TENON_REDIS_URL_FILE", str(tmp_path / "none"))
    assert (
        refused(capsys) == f"error: TENON_REDIS_URL_FILE: {tmp_path}/none cannot be read: No such file or directory\n"
    )
    (tmp_path / "none").write_text("\n")
    assert refused(capsys) == f"error: TENON_REDIS_URL_FILE: {tmp_path}/none is empty\n"


def test_what_is_no_secret_has_no_file(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """Only secrets are looked for in files; other names ending in `_FILE` mean what they always did."""
    environment.setenv("TENON_LOG_LEVEL_FILE", str(tmp_path / "none"))
    assert load_settings(ServiceSettings).log_level == "INFO"


def test_a_wrong_url_is_not_repeated(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It may hold a password."""
    environment.setenv("TENON_DATABASE_URL", "tenon:hunter2@host")
    assert "hunter2" not in refused(capsys)


def test_two_tokens_are_accepted_and_the_first_is_shown(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """So a token is changed while services restart one after the other: both old and new ones open the door."""
    environment.setenv("TENON_SERVICE_TOKEN", "new old")
    environment.setenv("TENON_ADMIN_KEY", "boss\nformer-boss\n")
    settings = load_settings(ServiceSettings)
    assert settings.service_tokens == ("new", "old")
    known = CachedAuthenticator(
        lambda _revision: None,
        snapshot=tmp_path / "snapshot.json",
        platform=platform_credentials(settings.admin_keys, settings.service_tokens),
    )
    assert [known.authenticate(f"Bearer {key}").name for key in ("new", "old", "boss", "former-boss")] == [
        "service", "service", "admin", "admin",
    ]  # fmt: skip


def test_the_page_says_what_the_code_reads() -> None:
    """docs/reference/settings.md has the table as it is made from the settings."""
    page = (Path(__file__).parents[4] / "docs/reference/settings.md").read_text()
    assert "\n".join(rows()) in page, "run `python -m tools.settings_page` and put its table into the page"
