"""A trained version, exported, answers on a machine that has only onnxruntime and numpy."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.platform import Platform
from tests.support.service_process import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TENANT, MODEL, ROWS = "edge-shop", "returned", 700
HISTORY = ("count_30d", "count_180d", "amount_mean_180d", "amount_max_180d", "refund_mean_180d", "refund_sum_180d")


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with those two packages, and no more."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt"),
         "onnxruntime", "numpy"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if installed.returncode:
        pytest.skip(f"no package index could be reached: {installed.stderr.strip().splitlines()[-1][:100]}")
    return python


def test_an_exported_version_answers_alone(platform: Platform, bare_python: Path, tmp_path: Path) -> None:
    """The example's model, trained and served by the platform: the runner's answers are the predictor's, within the last
    bit of float32; two trainings have one digest; the manifest's signature is verified without Tenon."""
    subprocess.run(
        [sys.executable, "-m", "tenon.cli.main", "init", "shop"], cwd=tmp_path, check=True, capture_output=True,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    # The platform is shared, and other tests have a corner-shop with other orders.
    tenant = tmp_path / "shop" / "tenant.yaml"
    tenant.write_text(tenant.read_text().replace("corner-shop", TENANT))
    platform.result("apply", "-f", str(tmp_path / "shop"))
    platform.result("ingest", "orders", str(tmp_path / "shop" / "orders.csv"), "--tenant", TENANT)
    first = platform.result("train", MODEL, "--wait", "--tenant", TENANT)
    platform.result("train", MODEL, "--release", "--tenant", TENANT)
    versions = platform.result("versions", MODEL, "--tenant", TENANT)["versions"]
    assert {version["bundle_sha256"] for version in versions} == {first["bundle_sha256"]}
    edge = tmp_path / "edge"
    exported = platform.result("export", MODEL, "-o", str(edge), "--tenant", TENANT)
    assert (exported["version"], exported["form"]["included"]) == (2, True)

    rows = make_rows()
    body = {"instances": [{"features": row} for row in rows]}
    answer = platform.ask(
        "predictor", "POST", f"/v1/models/{MODEL}:predict", key=platform.admin_key, body=body, tenant=TENANT
    )
    assert answer.status_code == 200, answer.text
    expected = [row["value"] for row in answer.json()["predictions"]]
    given = subprocess.run(
        [str(bare_python), "-I", str(edge / "run.py")],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert given.returncode == 0, given.stderr
    answers = json.loads(given.stdout)["probability"]
    assert len(answers) == ROWS
    assert max(abs(one - other) for one, other in zip(answers, expected, strict=True)) <= 6e-8
    assert sum(one != other for one, other in zip(answers, expected, strict=True)) <= ROWS // 100
    if openssl := shutil.which("openssl"):
        command = "pkeyutl -verify -pubin -inkey signer.pem -rawin -in manifest.json -sigfile signature"
        verified = subprocess.run([openssl, *command.split()], cwd=edge, capture_output=True, text=True)
        assert verified.returncode == 0 or "unknown option" in verified.stderr.lower(), verified.stderr


def make_rows() -> list[dict[str, Any]]:
    """Orders with a history that is often missing, and channels that training never saw."""
    rng = random.Random(3)
    rows: list[dict[str, Any]] = []
    for _ in range(ROWS):
        row = {
            "amount": round(rng.uniform(5, 300), 2),
            "channel": rng.choice(["phone", "web", "store", "moon", "", "web\0"]),
            "items": rng.randint(1, 9),
        }
        for name in HISTORY:
            known = rng.randint(0, 30) if name.startswith("count") else round(rng.uniform(0, 300), 3)
            row[f"customer_history.{name}"] = None if rng.random() < 0.3 else known
        rows.append(row)
    return rows
