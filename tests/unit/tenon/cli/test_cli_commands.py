"""What each command does, says and exits with, against a platform that remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.tenon.cli.conftest import Run
from tests.unit.tenon.cli.fake_platform import FakePlatform


def test_apply_shows_the_future_then_does_it_then_changes_nothing(run: Run, platform: FakePlatform) -> None:
    """`--diff` writes nothing and exits 1; apply creates in order; a second apply changes nothing."""
    run("init")
    planned = run("apply", "-f", "example", "--diff")
    assert planned.code == 1
    assert "+ would create Tenant corner-shop" in planned.out
    assert platform.documents == {}
    done = run("apply", "-f", "example")
    assert done.code == 0
    order = [line.split()[1] for line in done.out.splitlines() if line.startswith("created")]
    assert order == ["Tenant", "Dataset", "FeatureView", "Model"]
    assert done.out.splitlines()[-1] == "4 created, 0 updated, 0 unchanged"
    again = run("apply", "-f", "example")
    assert (again.code, again.out) == (0, "unchanged: 4 documents, 0 changes\n")
    assert run("apply", "-f", "example", "--diff").code == 0


def test_apply_names_the_keys_that_change(run: Run, example: FakePlatform, clean: Path) -> None:
    """An update lists each key with its old and new value."""
    path = clean / "example" / "returned.yaml"
    path.write_text(path.read_text().replace("test: 60d", "test: 30d"))
    planned = run("apply", "-f", "example", "--diff")
    assert "~ would update Model corner-shop/returned" in planned.out
    assert "~ split.test: 60d → 30d" in planned.out
    assert "0 would be created, 1 would be updated, 3 unchanged; nothing was written" in planned.out
    assert "updated Model corner-shop/returned" in run("apply", "-f", "example").out


def test_apply_notices_what_was_deleted_by_hand(run: Run, example: FakePlatform) -> None:
    """The plan is made from the platform's state, not from a memory of it."""
    del example.documents["corner-shop", "feature-views", "customer_history"]
    assert "would create FeatureView corner-shop/customer_history" in run("apply", "-f", "example", "--diff").out


def test_apply_skips_what_depends_on_a_failure(
    run: Run, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a data set is refused, the view and the model on it are skipped, and the last line counts."""
    run("init")
    put = platform._put

    def refuse(tenant: str, folder: str, name: str, body: dict[str, object]) -> object:
        from tests.unit.tenon.cli.fake_platform import Refusal

        if folder == "datasets":
            raise Refusal(412, "CONTRACT_INCOMPATIBLE", "columns.items: the type may not change")
        return put(tenant, folder, name, body)

    monkeypatch.setattr(platform, "_put", refuse)
    done = run("apply", "-f", "example")
    assert done.code == 1
    assert (
        "error: Dataset corner-shop/orders: columns.items: the type may not change [CONTRACT_INCOMPATIBLE]" in done.err
    )
    assert "skipped FeatureView corner-shop/customer_history: Dataset orders failed" in done.out
    assert done.out.splitlines()[-1] == "1 created, 0 updated, 0 unchanged, 1 failed, 2 skipped"


def test_apply_gives_general_documents_to_every_tenant(run: Run, platform: FakePlatform, clean: Path) -> None:
    """A document without `tenant` goes to each Tenant of the folder; one with it goes before the general one."""
    (clean / "a.yaml").write_text(
        "kind: Tenant\nname: north\n---\nkind: Tenant\nname: south\n---\n"
        "kind: Dataset\nname: visits\nprimaryKey: [id]\neventTime: at\ncolumns: {id: {type: string}, at: {type: timestamp}}\n---\n"
        "kind: Dataset\ntenant: south\nname: visits\nprimaryKey: [id]\neventTime: at\n"
        "columns: {id: {type: string}, at: {type: timestamp}, more: {type: string}}\n"
    )
    assert run("apply", "-f", ".").out.splitlines()[-1] == "4 created, 0 updated, 0 unchanged"
    assert "more" not in platform.documents["north", "datasets", "visits"]["columns"]
    assert "more" in platform.documents["south", "datasets", "visits"]["columns"]
    assert run("apply", "-f", ".", "--tenant", "south").out == "unchanged: 2 documents, 0 changes\n"


def test_apply_knows_how_a_model_is_watched(run: Run, example: FakePlatform, clean: Path) -> None:
    """A Monitor document is checked against its model, of the folder or of the platform, and applied after it."""
    path = clean / "watch.yaml"
    path.write_text("kind: Monitor\nname: returned\nslices: [chanel]\n")
    refused = run("apply", "-f", "watch.yaml")
    assert refused.code == 1
    assert "watch.yaml:3:10" in refused.err
    assert "did you mean `channel`?" in refused.err
    path.write_text("kind: Monitor\nname: returnd\n")
    assert "there is no model 'returnd'" in run("apply", "-f", "watch.yaml").err
    path.write_text("kind: Monitor\nname: returned\nslices: [channel]\n")
    assert "created Monitor corner-shop/returned" in run("apply", "-f", "watch.yaml").out
    assert example.documents["corner-shop", "monitors", "returned"] == {"name": "returned", "slices": ["channel"]}


def test_apply_checks_against_documents_of_the_platform(run: Run, example: FakePlatform, clean: Path) -> None:
    """A model alone in a folder is checked against the data set and view that the platform has."""
    (clean / "model").mkdir()
    text = (clean / "example" / "returned.yaml").read_text()
    (clean / "model" / "m.yaml").write_text(text.replace("name: returned", "name: other"))
    assert "created Model corner-shop/other" in run("apply", "-f", "model").out
    (clean / "model" / "m.yaml").write_text(text.replace("items, amount", "itms, amount"))
    refused = run("apply", "-f", "model")
    assert refused.code == 1
    assert "data set 'orders' has no column 'itms'" in refused.err
    assert "hint: did you mean `items`?" in refused.err


def test_the_loop_from_file_to_rollback(run: Run, example: FakePlatform) -> None:
    """Ingest, train, release, predict, canary, promote, roll back: each command says what is so afterwards."""
    loaded = run("ingest", "orders", "example/orders.csv")
    assert loaded.out.splitlines()[-1] == "4,004 rows committed, 0 quarantined, 1 file loaded, 0 refused"
    again = run("ingest", "orders", "example/orders.csv")
    assert again.out.splitlines()[-1] == "0 rows committed, 0 quarantined, 0 files loaded, 1 unchanged, 0 refused"

    trained = run("train", "returned", "--release")
    assert "registered version 1 of returned" in trained.out
    assert "corner-shop/returned revision 1: stable 1 — served by 1 replica" in trained.out
    run("train", "returned", "--wait")

    canary = run("release", "set", "returned", "--canary", "2", "--weight", "20")
    assert "revision 2: stable 1, canary 2 (20 %) — served by 1 replica" in canary.out
    assert "revision 3: stable 2" in run("release", "promote", "returned").out
    assert "revision 4: stable 1" in run("release", "rollback", "returned", "--to", "1").out
    history = run("release", "history", "returned").out
    assert [line.split()[0] for line in history.splitlines()[1:5]] == ["4", "3", "2", "1"]
    assert "rollback to 1" in history
    assert "all replicas agree" in run("release", "show", "returned").out

    predicted = run("predict", "returned", "--set", "customer=007", "--set", "items=2", "--set", "amount=9.5")
    assert "1 prediction by corner-shop/returned, version 1" in predicted.out
    assert "2 predictions by" in run("predict", "returned", "-f", "example/request.json").out


def test_predict_explains(run: Run, example: FakePlatform) -> None:
    """--explain shows the contributions with their values, the largest first and the small ones together."""
    run("train", "returned", "--release")
    words = ("predict", "returned", "--set", "customer=007", "--set", "items=2")
    plain = run(*words)
    assert "contribution" not in plain.out
    done = run(*words, "--explain")
    lines = done.out.splitlines()
    assert lines[0].split()[:4] == ["row", "probability", "label", "interval"]
    assert "0.1 to 0.5 (90%)" in lines[1]
    assert lines[3] == "row 0: probability 0.25 (log-odds -1.099), from log-odds -1.5 when nothing is known"
    assert lines[4].split() == ["column", "value", "contribution"]
    assert lines[5].split()[-1] == "+1"
    assert any(line.split()[:2] == ["items", "2"] for line in lines)
    assert any(line.split()[1:2] == ["(missing)"] for line in lines)
    assert "more)" in lines[-2]
    assert lines[-1] == "1 prediction by corner-shop/returned, version 1"
    assert json.loads(run(*words, "--explain", "--json").out)["predictions"][0]["explanation"]["base"] == -1.5


def test_release_that_is_not_served_says_so_with_exit_code_3(run: Run, example: FakePlatform) -> None:
    """The command reads back what is served; in time or not at all."""
    run("train", "returned", "--wait")
    run("release", "set", "returned", "--stable", "1")
    run("train", "returned", "--wait")
    example.slow_predictor = True
    late = run("release", "set", "returned", "--stable", "2", "--timeout", "0.3")
    assert late.code == 3
    assert "revision 2 of corner-shop/returned is set but not served" in late.err
    assert "predictor-1 still serves revision 1" in late.err
    assert "tenon release rollback returned" in late.err
    assert run("status").code == 3
    asked = run("release", "set", "returned", "--stable", "1", "--no-wait")
    assert asked.code == 0
    assert "asked for" in asked.out


def test_labels_and_report(run: Run, example: FakePlatform, clean: Path) -> None:
    """Labels are read from CSV and JSON lines; the report puts the verdict first, and --check makes it an exit code."""
    (clean / "labels.csv").write_text("prediction_id,value,known_at\np0,1,2026-01-02T00:00:00Z\np1,no,\n")
    assert run("labels", "returned", "labels.csv").out == "2 labels sent, 2 accepted, 2 matched\n"
    assert example.labels == [
        {"prediction_id": "p0", "value": 1.0, "known_at": "2026-01-02T00:00:00Z"},
        {"prediction_id": "p1", "value": 0.0},
    ]
    (clean / "labels.jsonl").write_text('{"prediction_id": "p2", "value": 0.5}\n')
    assert run("labels", "upload", "returned", "labels.jsonl").code == 0
    misspelt = run("labels", "reveiw", "returned")
    assert misspelt.code == 2
    assert "did you mean `tenon labels review`?" in misspelt.err
    report = run("report", "returned")
    assert report.code == 0
    assert report.out.startswith("amount drifted.")
    assert report.out.splitlines()[-1] == "1 column judged, 1 drifted"
    assert run("report", "returned", "--check").code == 1


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (("status",), "status"),
        (("apply", "-f", "example", "--diff"), "plan"),
        (("apply", "-f", "example"), "apply"),
        (("runs",), "runs"),
        (("versions", "returned"), "versions"),
        (("release", "history", "returned"), "release_history"),
        (("release", "show", "returned"), "release"),
        (("keys", "list"), "keys"),
        (("doctor",), "doctor"),
        (("explain", "SPEC_INVALID"), "code"),
        (("predict", "returned", "--set", "items=1"), "predictions"),
        (("ingest", "orders", "example/orders.csv"), "ingest"),
    ],
)
def test_json_has_a_versioned_schema_and_nothing_else(
    run: Run, example: FakePlatform, words: tuple[str, ...], schema: str
) -> None:
    """With --json, stdout is one JSON document that names its schema."""
    run("train", "returned", "--release")
    done = run(*words, "--json")
    assert json.loads(done.out)["schema"] == f"tenon.{schema}/v1"


def test_json_errors_are_json_too(run: Run, platform: FakePlatform) -> None:
    """A script that asks for JSON gets the error as JSON on stdout, and people read it on stderr."""
    done = run("train", "returned", "--tenant", "nobody", "--json")
    assert done.code == 1
    body = json.loads(done.out)
    assert (body["schema"], body["reason"]) == ("tenon.error/v1", "TENANT_NOT_FOUND")
    assert "error: there is no tenant 'nobody'" in done.err


def test_status_counts(run: Run, example: FakePlatform) -> None:
    """The last line counts, and an empty platform says what comes next."""
    assert run("status").out.splitlines()[-1] == "6 of 6 services up, 1 tenant, 1 model, 0 serving"
    run("train", "returned", "--release")
    assert run("status").out.splitlines()[-1] == "6 of 6 services up, 1 tenant, 1 model, 1 serving"


def test_status_shows_what_pods_are_pinned_to(run: Run, example: FakePlatform) -> None:
    """Beside what the registry wants; where they differ that is said, and the command fails."""
    run("train", "returned", "--release")
    assert "pinned" not in run("status").out
    track = {"role": "stable", "version": 1, "bundle_sha256": "a" * 64, "weight": None}
    models = [{"model": "returned", "revision": 0, "tracks": [track], "problem": None}]
    example.pinned_replicas = [
        {"replica": name, "reported_at": "", "settled": True, "pinned": [{"model": "returned", "version": version}], "models": models}
        for name, version in (("a", 1), ("b", 1), ("c", 2))
    ]  # fmt: skip
    done = run("status")
    assert done.code == 0
    assert "1 (2 pods), 2 (1 pod)" in done.out
    text = "pods are pinned to version 2; revision 1 names version 1"
    example.disagreements = [{"model": "returned", "kind": "release", "replica": "", "text": text}]
    done = run("status", "--json")
    (model,) = json.loads(done.out)["models"]
    assert (done.code, model["pinned"], model["problems"]) == (3, {"1": 2, "2": 1}, [text])
    assert f"not settled: {text}" in run("release", "show", "returned").out


def test_keys_are_printed_once_and_alone_on_stdout(run: Run, example: FakePlatform) -> None:
    """`$(tenon keys create)` is the key; the words about it go to stderr."""
    done = run("keys", "create", "--scopes", "predict,read")
    assert done.out == "tk_secret\n"
    assert "it is not shown again" in done.err


def test_init_makes_no_second_copy(run: Run, clean: Path) -> None:
    """The same folder again is unchanged; a changed file is not written over without --force."""
    assert "made example with 6 files" in run("init").out
    assert run("init").out.startswith("unchanged")
    (clean / "example" / "orders.yaml").write_text("mine")
    refused = run("init")
    assert refused.code == 1
    assert (clean / "example" / "orders.yaml").read_text() == "mine"
    assert run("init", "--force").code == 0


def test_schema_is_json_schema_of_every_kind(run: Run) -> None:
    """An editor that reads the schema knows kinds, keys and values."""
    one = json.loads(run("schema", "Dataset").out)
    assert one["properties"]["kind"] == {"const": "Dataset"}
    assert "primaryKey" in one["required"]
    assert len(json.loads(run("schema").out)["oneOf"]) == 5
