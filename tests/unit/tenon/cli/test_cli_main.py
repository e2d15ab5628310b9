"""The outermost door: waiting aloud, interruptions, our own mistakes, colours, and which platform is meant."""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tenon.cli.context import at_least
from tenon.cli.locate import find_platform
from tests.unit.tenon.cli.conftest import Run
from tests.unit.tenon.cli.fake_platform import FakePlatform


def test_a_slow_answer_is_announced(run: Run, example: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a service takes its time, the command says whom it waits for, and where."""
    monkeypatch.setattr("tenon.cli.client.FIRST_WORD_SECONDS", 0.05)
    answer = example.answer

    def slowly(method: str, target: str, raw: bytes, headers: dict[str, str]) -> Any:
        time.sleep(0.3 if "/runs" in target else 0)
        return answer(method, target, raw, headers)

    monkeypatch.setattr(example, "answer", slowly)
    done = run("runs")
    assert done.code == 0
    assert f"waiting for trainer at {example.url} …" in done.err


def test_no_answer_ends_at_the_deadline(run: Run, example: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that accepts and never answers ends with exit code 3, the address and the time waited."""
    monkeypatch.setattr("tenon.cli.context.DEADLINE_SECONDS", 0.2)
    awake = threading.Event()
    answer = example.answer

    def never(method: str, target: str, raw: bytes, headers: dict[str, str]) -> Any:
        awake.wait(60 if "/runs" in target else 0)
        return answer(method, target, raw, headers)

    monkeypatch.setattr(example, "answer", never)
    try:
        done = run("runs")
    finally:
        awake.set()
    assert done.code == 3
    assert f"trainer does not answer at {example.url}: no answer within" in done.err


def test_the_environment_may_ask_for_more_patience(
    run: Run, example: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never for less; and what is no number of seconds is said to be none."""
    monkeypatch.setenv("TENON_DEADLINE_SECONDS", "30")
    assert at_least(10.0) == 30.0
    assert at_least(120.0) == 120.0
    assert run("runs").code == 0
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("TENON_DEADLINE_SECONDS", wrong)
        done = run("runs")
        assert done.code == 2
        assert f"TENON_DEADLINE_SECONDS must be a number of seconds, not '{wrong}'" in done.err


def test_what_answers_is_not_tenon(run: Run, example: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another web server at the address is named as such, with what it said."""
    monkeypatch.setattr(example, "answer", lambda *_: ["It works!"])
    done = run("runs", "--tenant", "corner-shop")
    monkeypatch.setattr(example, "answer", lambda *_: {"hello": "world"})
    other = run("runs", "--tenant", "corner-shop")
    assert "answered without 'tenants'" in other.err
    assert (done.code, other.code) == (1, 1)
    assert "this is a mistake of ours" not in done.err
    assert "not Tenon's registry" in done.err
    assert "TENON_REGISTRY_URL" in done.err


def test_a_service_that_fails_names_its_log(run: Run, example: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 500 is the service's failure and is said so; the user's command is not to blame."""
    from tests.unit.tenon.cli.fake_platform import Refusal

    def fail(*_: Any) -> Any:
        raise Refusal(500, "INTERNAL", "internal error; request id r1")

    monkeypatch.setattr(example, "_train", fail)
    done = run("train", "returned")
    assert done.code == 1
    assert "error: trainer failed: internal error; request id r1" in done.err


def test_our_own_mistake_is_one_line_and_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception nobody foresaw never shows a traceback; it is saved and named."""
    monkeypatch.setattr("tenon.cli.commands.schema.did_you_mean", lambda *_: 1 / 0)
    done = run("schema", "x")
    assert done.code == 1
    assert "Traceback" not in done.text
    saved = re.search(r"details are in (\S+)", done.err)
    assert saved is not None
    assert "ZeroDivisionError" in Path(saved[1]).read_text()
    Path(saved[1]).unlink()


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is one line and exit code 130."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tenon.cli.commands.schema.did_you_mean", interrupt)
    done = run("schema", "x")
    assert (done.code, done.err.strip()) == (130, "error: interrupted")


def test_no_colours_where_nobody_sees_them(run: Run, example: FakePlatform) -> None:
    """What is not a terminal gets no escape codes."""
    assert "\x1b" not in run("status").text
    assert "\x1b" not in run("train", "nothing").text


def running_folder(folder: Path, url: str) -> int:
    """A data folder as a running `tenon up` leaves it; gives the lock that must stay open."""
    folder.mkdir(parents=True)
    (folder / "credentials.json").write_text(json.dumps({"admin_key": "folder-key"}))
    services = {"registry": {"http": url, "grpc": "127.0.0.1:1", "pid": 1}, "worker": {"pid": 2}}
    (folder / "platform.json").write_text(json.dumps({"services": services, "started_at": "2026-01-01T00:00:00Z"}))
    lock = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def test_the_platform_meant(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--data` goes before the nearest folder upward, which goes before the environment; the key may be overridden."""
    locks = [running_folder(clean / ".tenon", "http://near"), running_folder(clean / "other", "http://other")]
    try:
        monkeypatch.setenv("TENON_REGISTRY_URL", "http://environment/")
        (clean / "a" / "b").mkdir(parents=True)
        monkeypatch.chdir(clean / "a" / "b")
        near = find_platform(None)
        assert (near.urls, near.api_key, near.folder) == ({"registry": "http://near"}, "folder-key", clean / ".tenon")
        assert find_platform(str(clean / "other")).urls == {"registry": "http://other"}
        assert find_platform(str(clean)).urls == {"registry": "http://near"}
        monkeypatch.setenv("TENON_API_KEY", "mine")
        assert find_platform(None).api_key == "mine"
    finally:
        for lock in locks:
            os.close(lock)
    (clean / ".tenon" / "platform.json").unlink()
    assert find_platform(None).urls == {"registry": "http://environment"}
    assert "folder-key" not in repr(near)
