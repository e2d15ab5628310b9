"""`tenon export` writes only what it has verified, and what it writes answers as the evaluator does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.trainer.engine.onnx_graph import onnx_of
from tenon.bundle import Forest, Linear, Numeric, OneHot, Pipeline, load_evaluator, open_bundle, write_bundle
from tenon.core.manifest import Form
from tests.support.predictor_bundles import VISIT_INPUTS, manifest_of, sha256, signing_key, visit_bundle
from tests.unit.tenon.cli.conftest import Result, Run
from tests.unit.tenon.cli.fake_platform import FakePlatform

SHOP, MODEL = "corner-shop", "returned"
PASSED = Form(included=True, rows=100, tolerance="labels equal and |Δp| ≤ 1e-5", max_difference=0.0)
LEFT_OUT = Form(included=False, reason="3 of 100 held-out rows are further off than allowed", rows=100, rows_outside=3)


def bundle_of(form: Form | None = PASSED, tenant: str = SHOP) -> bytes:
    """A version of the example's model, with its ONNX form if that has passed."""
    visits = open_bundle(visit_bundle(), signing_key().public_key())
    files = {name: visits.files[name] for name in ("pipeline.json", "forest.npz")}
    manifest: dict[str, Any] = manifest_of(tenant, MODEL, VISIT_INPUTS)
    if form is not None:
        manifest["forms"] = {"onnx": form.model_dump()}
        if form.included:
            pipeline = Pipeline.from_json(files["pipeline.json"])
            files["model.onnx"] = onnx_of(pipeline, Forest.from_npz(files["forest.npz"]), "probability")
    manifest["baseline"]["columns"] = {
        "age": numeric(47.123), "count": numeric(2.6), "urgent": numeric(0.2),
        "ward": {"kind": "categorical", "rows": 9, "missing": 0, "counts": {"west": 6, "east": 3}, "other": 0},
    }  # fmt: skip
    return write_bundle(manifest, files, signing_key())


def linear_bundle() -> bytes:
    """A version in which a missing ward counts as one of its levels."""
    wards = ("(missing)", "west")
    pipeline = Pipeline((Numeric("age", 40.0, 38.5, 7.25), OneHot("ward", wards, impute="(missing)")))
    model = Linear((0.5, 1.5, -2.0), 0.25, "identity")
    manifest = manifest_of(SHOP, MODEL, VISIT_INPUTS, engine="tenon-linear", output="prediction")
    manifest["forms"] = {"onnx": PASSED.model_dump()}
    files = {"pipeline.json": pipeline.to_json(), "linear.json": model.to_json()}
    return write_bundle(manifest, files | {"model.onnx": onnx_of(pipeline, model, "prediction")}, signing_key())


def numeric(mean: float) -> dict[str, Any]:
    """A baseline with a mean."""
    return {"kind": "numeric", "rows": 9, "missing": 0, "edges": [], "counts": [9], "mean": mean, "iqr": 1.0}


@pytest.fixture
def shop(example: FakePlatform, run: Run, clean: Path) -> FakePlatform:
    """A platform with one version and the key in `verify.pem`."""
    assert run("train", MODEL).code == 0
    serve(example, bundle_of())
    write_key(clean / "verify.pem", signing_key())
    return example


def serve(platform: FakePlatform, data: bytes) -> None:
    """Make these bytes version 1's, as it was registered."""
    platform.bundles[1] = data
    platform.versions[SHOP, MODEL][0]["bundle_sha256"] = sha256(data)


def write_key(path: Path, key: Ed25519PrivateKey) -> None:
    """The public half, as PEM."""
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def export(run: Run, *more: str) -> Result:
    """`tenon export` with the key."""
    return run("export", MODEL, "-o", "edge", "--verify-key", "verify.pem", *more)


def answers(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What the exported runner says, without anything of Tenon on its path."""
    return subprocess.run(
        [sys.executable, "-I", str(folder / "run.py")], input=text, capture_output=True, text=True, cwd=folder
    )


def test_the_exported_files_answer_alone(run: Run, shop: FakePlatform, clean: Path) -> None:
    """Rows as JSON and as CSV, with missing, unknown and odd values, get the evaluator's numbers."""
    done = export(run)
    assert done.code == 0, done.text
    assert "signature and 3 digests are right" in done.out
    rows = [
        {"age": 0.1, "count": 3, "urgent": True, "ward": "west"},
        {"age": None, "count": 0, "ward": "moon"},
        {"age": 41.5, "count": 2, "urgent": 0, "ward": None},
        {"age": 1e9, "count": 2, "urgent": False, "ward": "west\0side"},
    ]
    evaluator = load_evaluator(open_bundle(bundle_of(), signing_key().public_key()))
    columns = {
        "age": np.array([0.1, np.nan, 41.5, 1e9]), "count": np.array([3.0, 0, 2, 2]),
        "urgent": np.array([1.0, np.nan, 0, 0]), "ward": np.array(["west", "moon", None, "west\0side"], object),
    }  # fmt: skip
    expected = evaluator.predict(columns)
    given = answers(clean / "edge", json.dumps({"instances": rows}))
    assert given.returncode == 0, given.stderr
    np.testing.assert_allclose(json.loads(given.stdout)["probability"], expected, rtol=0, atol=6e-8)
    table = "count,age,urgent,ward\n3,0.1,true,west\n0,,,moon\n2,41.5,0,\n"
    given = answers(clean / "edge", table)
    np.testing.assert_allclose(json.loads(given.stdout)["probability"], expected[:3], rtol=0, atol=6e-8)


def test_the_empty_text_is_not_a_missing_one(run: Run, shop: FakePlatform, clean: Path) -> None:
    """Missing, empty and unknown text, and the level that missing counts as, get the evaluator's bits."""
    serve(shop, linear_bundle())
    assert export(run).code == 0
    wards = [None, "", "(missing)", "west", "moon", "?", "west\0", "\ud800"]
    predict = load_runner(clean / "edge")["predict"]
    evaluator = load_evaluator(open_bundle(linear_bundle(), signing_key().public_key()))
    columns = {"age": np.array([np.nan, 1.0] * 4), "ward": np.array(wards, object)}
    rows = [{"age": None if at % 2 == 0 else 1.0, "count": 1, "ward": ward} for at, ward in enumerate(wards)]
    assert predict(rows) == evaluator.predict(columns).tolist()


def test_the_export_has_all_that_a_device_needs_to_verify_it(run: Run, shop: FakePlatform, clean: Path) -> None:
    """Manifest and signature are the signed bytes; the example is a row of middling values; again is the same."""
    assert export(run).code == 0
    edge = clean / "edge"
    assert sorted(path.name for path in edge.iterdir()) == [
        "README.md", "example.json", "manifest.json", "model.onnx", "run.py", "signature", "signer.pem",
    ]  # fmt: skip
    signing_key().public_key().verify((edge / "signature").read_bytes(), (edge / "manifest.json").read_bytes())
    assert json.loads((edge / "example.json").read_text()) == [
        {"age": 47.12, "count": 3, "urgent": False, "ward": "west"}
    ]
    assert "returned of corner-shop, version 1" in (edge / "README.md").read_text()
    assert json.loads(export(run, "--json").out)["bundle_sha256"] == sha256(bundle_of())


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"count": "three"}], ("row 0", "'count'", "integer", "'three'")),
        ([{"count": 2.5}], ("row 0", "'count'", "2.5")),
        ([{"count": True}], ("row 0", "'count'", "True")),
        ([{"count": 1}, {"age": 3.0}], ("row 1", "'count'", "may not be missing")),
        ([{"count": 1, "agee": 3}], ("row 0", "'agee'", "age, count")),
        ([{"count": 1, "ward": 3}], ("row 0", "'ward'", "text")),
        ([{"count": 1, "urgent": 2}], ("row 0", "'urgent'", "boolean")),
        ([{"count": 1, "age": 1e39}], ("row 0", "'age'")),
        ([{"count": 1, "age": 10**400}], ("row 0", "'age'")),
        ([{"count": 1, "age": [1]}], ("row 0", "'age'", "[1]")),
        ([[1, 2]], ("row 0", "[1, 2]")),
    ],
)
def test_the_runner_refuses_what_it_would_have_to_guess(
    run: Run, shop: FakePlatform, clean: Path, rows: Any, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refusal names row, column and value."""
    assert export(run).code == 0
    runner = load_runner(clean / "edge")
    with pytest.raises(ValueError, match="row") as refused:
        runner["predict"](rows)
    for word in words:
        assert word in str(refused.value)


def load_runner(folder: Path) -> dict[str, Any]:
    """The runner as somebody's program imports it."""
    code = compile((folder / "run.py").read_text(), str(folder / "run.py"), "exec")
    names: dict[str, Any] = {"__file__": str(folder / "run.py"), "__name__": "run"}
    exec(code, names)
    return names


def test_one_row_alone_is_answered_as_among_others(run: Run, shop: FakePlatform, clean: Path) -> None:
    """Bit for bit, for any number of rows; no rows, no answers."""
    assert export(run).code == 0
    predict = load_runner(clean / "edge")["predict"]
    rows = [{"age": age / 7, "count": age % 5, "ward": "west" if age % 2 else None} for age in range(40)]
    assert predict(rows) == [predict([row])[0] for row in rows]
    assert predict([]) == []


def test_a_damaged_graph_is_not_run(run: Run, shop: FakePlatform, clean: Path) -> None:
    """The runner compares model.onnx with the manifest before it loads it, and no rows are a mistake."""
    assert export(run).code == 0
    assert "there are no rows" in answers(clean / "edge", " ").stderr
    (clean / "edge" / "model.onnx").write_bytes(b"something else")
    given = answers(clean / "edge", "[]")
    assert given.returncode == 1
    assert "model.onnx is not the file" in given.stderr


def test_nothing_is_written_that_was_not_verified(run: Run, shop: FakePlatform, clean: Path) -> None:
    """Altered bytes, another signer, another tenant's bundle, a form that failed its gate or is older: said, not written."""
    good = bundle_of()
    for data, registered, code in (
        (good[:-600] + b"x" + good[-599:], sha256(good), "BUNDLE_DIGEST_MISMATCH"),
        (good[:700] + b"x" + good[701:], None, "BUNDLE_"),
        (bundle_of(tenant="other"), None, "BUNDLE_WRONG_OWNER"),
        (bundle_of(LEFT_OUT), None, "NO_ONNX_FORM"),
        (bundle_of(None), None, "NO_ONNX_FORM"),
    ):
        serve(shop, data)
        if registered:
            shop.versions[SHOP, MODEL][0]["bundle_sha256"] = registered
        done = export(run)
        assert done.code == 1, done.text
        assert code in done.err
    assert "3 of 100 held-out rows" in export_of(run, shop, bundle_of(LEFT_OUT)).err
    write_key(clean / "verify.pem", Ed25519PrivateKey.generate())
    assert "BUNDLE_SIGNATURE_INVALID" in export_of(run, shop, good).err
    assert not (clean / "edge").exists()


def export_of(run: Run, platform: FakePlatform, data: bytes) -> Result:
    """Export these bytes."""
    serve(platform, data)
    return export(run)


def test_mistakes_are_named_with_a_way_out(run: Run, shop: FakePlatform, clean: Path) -> None:
    """No key, a wrong version, a misspelt model, and a folder that holds something else."""
    none = run("export", MODEL, "-o", "edge")
    assert none.code == 2
    assert "--verify-key FILE" in none.err
    missing = run("export", MODEL, "-o", "edge", "--verify-key", "verify.pen")
    assert missing.code == 2
    assert "verify.pem" in missing.err
    assert "no version 7; it has 1 to 1" in export(run, "--version", "7").err
    near = run("export", "returnd", "-o", "edge", "--verify-key", "verify.pem")
    assert near.code == 1
    assert "did you mean `returned`?" in near.err
    (clean / "edge").mkdir()
    (clean / "edge" / "notes.txt").write_text("mine")
    full = export(run)
    assert full.code == 2
    assert "notes.txt" in full.err
    assert [path.name for path in (clean / "edge").iterdir()] == ["notes.txt"]
