"""A newcomer's first hour with the real services: the loop in a few commands, and the mistakes on the way."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenon.cli.main import main
from tenon.cli.supervisor.programs import PORT_NAMES
from tests.support.platform import PATIENT
from tests.support.ports import free_ports
from tests.unit.tenon.cli.corpus import data
from tests.unit.tenon.cli.corpus.mistake import Mistake

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the example released on a platform of its own, reached in five commands."""
    place = tmp_path_factory.mktemp("newcomer")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("TENON_"):
                patch.delenv(name)
        patch.setenv("TENON_DEADLINE_SECONDS", PATIENT["TENON_DEADLINE_SECONDS"])
        patch.chdir(place)
        try:
            for words in (
                ("up", "--detach", "--port-base", str(free_ports(len(PORT_NAMES)))),
                ("init", "--apply"),
                ("ingest", "orders", "example/orders.csv"),
                ("train", "returned", "--release"),
                ("predict", "returned", "-f", "example/request.json"),
            ):
                assert main(list(words)) == 0, words
            yield place
        finally:
            main(["down"])


def say(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command; gives exit code, stdout and stderr."""
    capsys.readouterr()
    code = main(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("mistake", [m for m in data.MISTAKES if not m.environment], ids=lambda mistake: mistake.id)
def test_newcomer_mistake_with_real_services(
    mistake: Mistake, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real services answer the corpus as the stand-in does: named, with a way out, no traceback."""
    monkeypatch.chdir(folder)
    for name, content in mistake.files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    code, _, err = say(capsys, *mistake.words)
    assert code == mistake.code, err
    assert "this is a mistake of ours" not in err
    for name in mistake.names:
        assert name in err, err
    if mistake.way is not None:
        assert mistake.way in "\n".join(line for line in err.splitlines() if line.startswith("hint: ")), err


def test_newcomer_release_round(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Canary, promote and roll back each return when the predictor really serves it, and predictions say which version."""
    monkeypatch.chdir(folder)
    assert say(capsys, "train", "returned", "--wait")[0] == 0
    code, out, err = say(capsys, "release", "set", "returned", "--canary", "2", "--weight", "50")
    assert code == 0, err
    assert re.search(r"revision 2: stable 1, canary 2 \(50 %\) — served by 1 replica after [\d.]+ s", out)
    for words, version in ((("promote",), 2), (("rollback", "--to", "1"), 1)):
        code, out, err = say(capsys, "release", words[0], "returned", *words[1:], "--json")
        assert code == 0, err
        body = json.loads(out)
        assert [track["version"] for track in body["release"]["tracks"]] == [version]
        assert body["serving"]["settled"] is True
        code, out, err = say(capsys, "predict", "returned", "-f", "example/request.json", "--json")
        assert {row["model_version"] for row in json.loads(out)["predictions"]} == {version}


def test_newcomer_second_apply_is_unchanged_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second apply changes nothing and costs the command less than a second of work."""
    monkeypatch.chdir(folder)
    started = time.process_time()
    code, out, _ = say(capsys, "apply", "-f", "example")
    assert (code, out) == (0, "unchanged: 4 documents, 0 changes\n")
    assert time.process_time() - started < 1.0


def test_newcomer_closes_the_loop_with_labels_and_a_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels of answered predictions are accepted, and the report counts predictions and labels."""
    monkeypatch.chdir(folder)
    code, out, err = say(capsys, "predict", "returned", "-f", "example/request.json", "--json")
    assert code == 0, err
    ids = [row["prediction_id"] for row in json.loads(out)["predictions"]]
    (folder / "truth.csv").write_text("prediction_id,value\n" + "".join(f"{one},1\n" for one in ids))
    code, out, err = say(capsys, "labels", "returned", "truth.csv")
    assert code == 0, err
    assert out.startswith("2 labels sent, 2 accepted")
    deadline = time.monotonic() + 60
    report = {"labels": 0}
    while report["labels"] < 2 and time.monotonic() < deadline:
        code, out, err = say(capsys, "report", "returned", "--json")
        report = json.loads(out) if code == 0 else report
        time.sleep(0.2)
    assert report["labels"] == 2
    code, out, err = say(capsys, "report", "returned")
    assert code == 0, err
    assert "drift: not enough evidence" in out


def test_newcomer_keys_are_the_tenants_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tenant's key works for its tenant only, until it is revoked."""
    monkeypatch.chdir(folder)
    code, out, err = say(capsys, "keys", "create", "--tenant", "corner-shop", "--scopes", "predict,read")
    assert code == 0, err
    key = out.strip()
    key_id = re.search(r"key (\S+) of corner-shop", err)
    assert key_id is not None
    monkeypatch.setenv("TENON_API_KEY", key)
    assert say(capsys, "predict", "returned", "-f", "example/request.json")[0] == 0
    code, _, err = say(capsys, "train", "returned")
    assert code == 1
    assert "SCOPE_MISSING" in err
    code, _, err = say(capsys, "runs", "--tenant", "other")
    assert code == 1
    assert "'other'" in err
    monkeypatch.delenv("TENON_API_KEY")
    assert say(capsys, "keys", "revoke", key_id[1])[0] == 0
    assert "revoked" in say(capsys, "keys", "list")[1]
