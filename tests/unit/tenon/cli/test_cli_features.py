"""`tenon features` against a platform that remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.tenon.cli.conftest import Run
from tests.unit.tenon.cli.fake_platform import FakePlatform


def test_views_are_listed(run: Run, example: FakePlatform) -> None:
    """Each view with its entity and data set, and how many there are."""
    found = run("features", "list")
    assert found.code == 0
    assert found.out.splitlines()[1].split() == ["customer_history", "customer", "orders", "2", "2"]
    assert found.out.endswith("1 feature view\n")
    assert json.loads(run("features", "list", "--json").out)["schema"] == "tenon.feature-views/v1"


def test_a_view_is_shown_with_values_and_files(run: Run, example: FakePlatform, clean: Path) -> None:
    """What each feature is, how much is missing, what is online and where it all came from; as a page too."""
    found = run("features", "show", "customer_history", "--html", "page.html")
    assert found.code == 0
    assert "still revision 1, 1 version behind the lake" in found.out
    assert "25.0%" in found.out
    assert "1,234.5" in found.out
    assert "and 2 earlier files" in found.out
    assert (clean / "page.html").read_bytes() == b"<!doctype html>"
    shown = json.loads(run("features", "show", "customer_history", "--json").out)
    assert {"lineage", "statistics", "online"} <= shown.keys()
    assert run("features", "show", "customer_history", "--html", "nowhere/page.html").code == 2
    refused = run("features", "show", "customer_histori")
    assert refused.code == 1
    assert "did you mean `customer_history`?" in refused.err


def test_an_entity_s_values_now_and_over_time(run: Run, example: FakePlatform) -> None:
    """Online values with their status; over time the first few features, or those that are named."""
    found = run("features", "get", "customer_history", "--key", "customer_id=7", "--at", "2026-01-01T00:00:00Z")
    assert found.out.splitlines()[2].split()[1:] == ["—", "unknown", "entity"]
    assert "known 2026-01-01T00:00:00Z" in found.out
    assert "nothing counts" in run("features", "get", "customer_history", "--key", "customer_id=7").out
    found = run("features", "history", "v", "--key", "customer_id=7", "--from", "2026-01-01T00:00:00Z", "--points", "2")
    assert found.out.splitlines()[1].split() == ["2026-01-01", "00:00:00", "1", "—", "0.5", "0.5", "0.5"]
    assert found.out.splitlines()[-1] == "and 2 features more (--feature NAME): f5, f6"
    asked = json.loads(run("features", "history", "v", "--key", "a=7=8", "--feature", "f6", "--json").out)
    assert (asked["asked"]["keys"], asked["features"], asked["points"][0]["values"]) == ({"a": "7=8"}, ["v.f6"], [0.5])
    assert run("features", "history", "v", "--key", "a=1", "--feature", "nope").code == 2
    assert "is not COLUMN=VALUE" in run("features", "get", "v", "--key", "a").err


def test_fresh_rows_are_pushed(run: Run, example: FakePlatform, clean: Path) -> None:
    """From lines of a file, many at a time, or from the command line; what is no object is named by its line."""
    Path("fresh.jsonl").write_text("".join(f'{{"order": {n}}}\n\n' for n in range(501)))
    found = run("features", "push", "orders", "fresh.jsonl")
    assert (found.code, found.err) == (0, "")
    assert "499 rows online in customer_history\n" in found.out
    assert "2 rows not taken" in found.out
    pushed = json.loads(
        run("features", "push", "orders", "--row", '{"order": 1}', "--row", '{"order": 2}', "--json").out
    )
    assert (pushed["accepted"], pushed["known"]) == (1, 1)
    wrong = run("features", "push", "orders", "--row", "7")
    assert wrong.code == 2
    assert "line 1 is not a JSON object" in wrong.err


@pytest.mark.parametrize(
    ("value", "said"), [("NaN", "not finite"), ("1e999", "not finite"), ('"\\ud800"', "surrogate")]
)
def test_what_json_has_no_bytes_for_is_a_usage_error(run: Run, example: FakePlatform, value: str, said: str) -> None:
    """Python's reader takes more than JSON can say; that is told, and is no crash."""
    found = run("features", "push", "orders", "--row", f'{{"order": 1, "amount": {value}}}')
    assert found.code == 2
    assert said in found.err


def test_training_sets_are_listed(run: Run, example: FakePlatform) -> None:
    """What each was made from, and of one whose file was deleted when and why."""
    found = run("features", "training-sets")
    assert (found.code, found.err) == (0, "")
    lines = [line.split("  ") for line in found.out.splitlines()]
    assert [line[-1].strip() for line in lines[1:]] == [
        "there", "erased 2026-01-02 10:00: 4 rows of customers removed",
        "erased 2026-01-02 10:00: rows of customers removed", "3 training sets",
    ]  # fmt: skip
    assert "customers v3, orders v9" in found.out
    assert json.loads(run("features", "training-sets", "--json").out)["schema"] == "tenon.training-sets/v1"
