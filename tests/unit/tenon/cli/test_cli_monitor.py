"""`tenon monitor`: the overview, one model over time, the month's file, and where the pages are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.tenon.cli.conftest import Run
from tests.unit.tenon.cli.fake_monitor import history
from tests.unit.tenon.cli.fake_platform import FakePlatform


def test_status_shows_the_worst_first_and_what_to_do(run: Run, example: FakePlatform) -> None:
    """What serves, the verdicts and the way out stand there; --check makes trouble an exit code."""
    shown = run("monitor", "status")
    assert shown.code == 0
    assert "v1 90 % canary v2 10 %" in shown.out
    assert "    tenon release rollback returned --tenant shop\n" in shown.out
    assert shown.out.splitlines()[-1] == "2 models, 1 to look at now"
    assert run("monitor", "status", "--check").code == 1
    assert [path for _, path in example.asked][-1] == "/v1/overview"


def test_one_model_over_time(run: Run, example: FakePlatform) -> None:
    """Drift by column, quality beside the test, labels and releases, bucket by bucket; --check looks at the newest."""
    drift = run("monitor", "drift", "returned")
    assert "! 31 %" in drift.out
    assert "2026-01-02 08:00  promote: v1 100 %, by ada (better)" in drift.out
    assert drift.out.splitlines()[-1] == "1 column, the worst first"
    assert run("monitor", "drift", "returned", "--check").code == 1
    quality = run("monitor", "quality", "returned", "--last", "30d")
    assert "0.5800 … 0.6200" in quality.out
    estimated = [line.split() for line in quality.out.splitlines() if "0.7125" in line]
    assert [("0.6000" in line, "300" in line) for line in estimated] == [(True, True), (False, False)]
    assert "v1: answers are 0.1 too high" in quality.out
    assert run("monitor", "quality", "returned", "--check").code == 1
    assert run("monitor", "labels", "returned").out.splitlines()[-1] == "300 of 400 predictions labelled"


def test_without_labels_it_says_how_to_send_some(
    run: Run, example: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No empty table: that nothing can be judged, the two ways to labels, and what is estimated without them."""
    empty = history()
    for bucket in empty["buckets"]:
        bucket["quality"], bucket["labels"] = [], 0
    monkeypatch.setattr("tests.unit.tenon.cli.fake_platform.history", lambda: empty)
    for command, last in (("quality", "labels enough"), ("labels", "0 of 400 predictions labelled")):
        shown = run("monitor", command, "returned")
        assert last in shown.out
        assert "tenon labels returned FILE --tenant shop" in shown.err
        assert "in the test" not in shown.out
        assert ("0.7125" in shown.out) == (command == "quality")


def test_the_month_is_a_file(run: Run, example: FakePlatform, clean: Path) -> None:
    """The page is written where it was asked for; a month that is none is refused before anybody is asked."""
    made = run("monitor", "report", "--month", "2026-10", "--out", "month.html")
    assert made.code == 0
    assert (clean / "month.html").read_bytes() == b"<!doctype html>"
    for month in ("2026-13", "October", "2026-1"):
        refused = run("monitor", "report", "--month", month)
        assert (refused.code, "write it as 2026-10" in refused.err) == (1, True), refused.err
    assert run("monitor", "report", "--month", "2026-10", "--out", "no/folder.html").code == 1


def test_where_the_pages_are(run: Run, example: FakePlatform) -> None:
    """The address is printed, of everything or of one model, and the key itself is not."""
    assert run("monitor", "open").out == f"{example.url}/pages\n"
    one = run("monitor", "open", "returned")
    assert one.out.strip().endswith("/models/returned")
    assert "TENON_API_KEY" in one.err


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (("status",), "monitor-status"), (("drift", "returned"), "monitor-drift"), (("quality", "returned"), "monitor-quality"),
        (("labels", "returned"), "monitor-labels"), (("open",), "monitor-pages"), (("report", "--month", "2026-10"), "monitor-month"),
    ],
)  # fmt: skip
def test_json_has_a_schema(run: Run, example: FakePlatform, words: tuple[str, ...], schema: str) -> None:
    """Every reading command has one document of a versioned schema on stdout, and nothing else."""
    assert json.loads(run("monitor", *words, "--json").out)["schema"] == f"tenon.{schema}/v1"


def test_trainings_that_were_asked_for(run: Run, example: FakePlatform) -> None:
    """Why, what became of them, and what to type; a decision says what it did, a wrong id is an error."""
    shown = run("retraining", "list", "--model", "returned")
    assert shown.code == 0
    assert "waits for you" in shown.out
    assert "better: version 2" in shown.out
    assert "`tenon retraining start rt-2` trains" in shown.err
    assert json.loads(run("retraining", "list", "--json").out)["requests"][0]["id"] == "rt-2"
    started = run("retraining", "start", "rt-2")
    assert started.out == "rt-2: started by ada (returned version 1)\n"
    assert "`tenon runs returned`" in started.err
    assert run("retraining", "dismiss", "rt-2", "--why", "a holiday").out.startswith("rt-2: dismissed by ada")
    refused = run("retraining", "start", "rt-9")
    assert (refused.code, "rt-9" in refused.err, "Traceback" in refused.err) == (1, True, False)
