"""Small signed bundles, as a trainer would send them; what is inside the model files does not matter here."""

from __future__ import annotations

import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenon.bundle.archive import LINEAR, PIPELINE, write_bundle

EVALUATION = {"rows": 100, "positives": 30, "metrics": {"roc_auc": 0.8}}
BASELINE = {"rows": 100, "missing": 0, "edges": [0.5], "counts": [50, 50], "mean": 0.5, "iqr": 0.2}


def manifest_data(
    tenant: str = "clinic", model: str = "cost", run_id: str = "run-1", failed_gates: tuple[str, ...] = ()
) -> dict[str, object]:
    """A manifest without its files."""
    return {
        "tenant": tenant,
        "model": model,
        "task": "binary",
        "created_at": "2024-03-01T00:00:00Z",
        "engine": "tenon-linear",
        "signature": {
            "inputs": [{"name": "age", "type": "float", "source": "request", "nullable": False}],
            "output": "probability",
        },
        "lineage": {
            "run_id": run_id,
            "spec_digest": "0" * 64,
            "dataset": "visits",
            "dataset_version": 1,
            "training_set_digest": "0" * 64,
            "code_version": "0.1.0",
            "environment": {"python": "3.11"},
            "seed": 0,
        },
        "evidence": {
            "estimator": "logistic",
            "train_rows": 1000,
            "train_from": "2023-01-01T00:00:00Z",
            "train_to": "2023-12-31T00:00:00Z",
            "test_from": "2024-01-02T00:00:00Z",
            "test_to": "2024-02-28T00:00:00Z",
            "gap": "1d",
            "model": EVALUATION,
            "baseline": EVALUATION,
        },
        "gates": [
            {"gate": "roc_auc >= 0.6", "passed": True, "value": 0.8, "message": ""},
            *({"gate": gate, "passed": False, "value": 0.1, "message": "0.1 is too low"} for gate in failed_gates),
        ],
        "baseline": {"columns": {"age": BASELINE}, "score": BASELINE},
        "parity": {"rows": 100, "max_abs_difference": 0.0},
    }


def make_bundle(
    signing_key: Ed25519PrivateKey,
    tenant: str = "clinic",
    model: str = "cost",
    run_id: str = "run-1",
    failed_gates: tuple[str, ...] = (),
    padding: int = 0,
) -> bytes:
    """The bytes of a signed bundle; `padding` makes it longer."""
    files = {
        PIPELINE: json.dumps({"columns": []}).encode(),
        LINEAR: json.dumps({"run": run_id, "padding": "x" * padding}).encode(),
    }
    return write_bundle(manifest_data(tenant, model, run_id, failed_gates), files, signing_key)


def sha256(data: bytes) -> str:
    """Lower-case hex."""
    return hashlib.sha256(data).hexdigest()
