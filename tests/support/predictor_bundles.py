"""Small signed bundles for the predictor, the keys of its tests, and what is asked of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tenon.bundle import Forest, Linear, Numeric, OneHot, Pipeline, generate_key_pair, write_bundle
from tenon.bundle.contributions import cover_to_npy
from tenon.bundle.pipeline import Transform

PRIVATE_PEM, PUBLIC_PEM = generate_key_pair()
SERVICE_TOKEN = "service-token-for-tests"
ADMIN_KEY = "admin-key-for-tests"
KEYS = {"acme": "acme-key-for-tests", "globex": "globex-key-for-tests"}


def signing_key() -> Ed25519PrivateKey:
    """The key that the test's predictors trust."""
    key = load_pem_private_key(PRIVATE_PEM, None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def stump_forest(features: int, *, shift: float = 0.0, objective: str = "logistic") -> Forest:
    """A small forest: for each feature one split at 0.5, missing goes right; `shift` tells versions apart."""
    left, right, feature, threshold, default = [], [], [], [], []
    for index in range(features):
        left += [1, -1, -1]
        right += [2, -1, -1]
        feature += [index, 0, 0]
        threshold += [0.5, -0.25, 0.25 + index / 8]
        default += [False, False, False]
    offsets = np.arange(0, 3 * features + 1, 3, dtype=np.int32)
    return Forest(
        features,
        np.float32(shift),
        objective,
        offsets,
        np.array(left, np.int32),
        np.array(right, np.int32),
        np.array(feature, np.int32),
        np.array(threshold, np.float32),
        np.array(default, np.bool_),
    )


def manifest_of(
    tenant: str, model: str, inputs: Sequence[tuple[str, str, str, bool]], *, engine: str = "tenon-forest",
    output: str = "probability", views: dict[str, list[str]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A manifest with everything that must be there."""
    evaluation = {"rows": 10, "positives": 4, "metrics": {"roc_auc": 0.75}}
    return {
        "format": 1,
        "tenant": tenant,
        "model": model,
        "task": "binary" if output == "probability" else "regression",
        "created_at": "2026-11-01T00:00:00Z",
        "engine": engine,
        "signature": {
            "inputs": [
                {"name": name, "type": kind, "source": source, "nullable": nullable} for name, kind, source, nullable in inputs
            ],
            "output": output,
            "views": views or {},
        },
        "lineage": {
            "run_id": "run-1", "spec_digest": "0" * 64, "dataset": "visits", "dataset_version": 3,
            "training_set_digest": "1" * 64, "code_version": "test", "environment": {}, "seed": 7,
        },
        "evidence": {
            "estimator": "xgboost", "train_rows": 10, "train_from": "2024-01-01T00:00:00Z", "train_to": "2025-01-01T00:00:00Z",
            "test_from": "2025-01-02T00:00:00Z", "test_to": "2025-02-01T00:00:00Z", "gap": "1d",
            "model": evaluation, "baseline": evaluation,
        },
        "baseline": {
            "columns": {},
            "score": {"kind": "numeric", "rows": 10, "missing": 0, "edges": [0.5], "counts": [5, 5], "mean": 0.5, "iqr": 0.1},
        },
        "parity": {"rows": 10, "max_difference": 0.0},
        "files": {},
    }  # fmt: skip


VISIT_INPUTS = (
    ("age", "float", "request", True),
    ("count", "integer", "request", False),
    ("urgent", "boolean", "request", True),
    ("ward", "string", "request", True),
)
HISTORY_INPUTS = (
    ("visits.cost_mean_30d", "float", "history", True),
    ("visits.count_30d", "integer", "history", True),
    ("patient_id", "string", "entity", True),
    ("arrived_at", "timestamp", "event_time", True),
)
WARDS = ("east", "north", "west")


def visit_bundle(
    tenant: str = "acme",
    model: str = "stay",
    *,
    shift: float = 0.0,
    history: bool = False,
    cover: bool = True,
    threshold: float | None = None,
    key: Ed25519PrivateKey | None = None,
    fallback: dict[str, Any] | None = None,
) -> bytes:
    """A bundle with a number, an integer, a boolean and a string, and with `history` two history features.

    With `fallback` it has that ladder; the second model, where the ladder has one, reads the age alone.
    """
    inputs = [*VISIT_INPUTS, *(HISTORY_INPUTS if history else ())]
    steps: list[Transform] = [Numeric("age"), Numeric("count"), Numeric("urgent"), OneHot("ward", WARDS)]
    if history:
        steps += [Numeric("visits.cost_mean_30d"), Numeric("visits.count_30d")]
    pipeline = Pipeline(tuple(steps))
    forest = stump_forest(pipeline.width, shift=shift)
    files = {"pipeline.json": pipeline.to_json(), "forest.npz": forest.to_npz()}
    if cover:
        # A third of the training rows went left at each split.
        files["cover.npy"] = cover_to_npy(np.tile(np.array([9, 3, 6], np.float32), forest.trees))
    manifest = manifest_of(tenant, model, inputs, views={"visits": ["patient_id"]} if history else None)
    if fallback is not None:
        second = {"engine": "tenon-forest"} if "without_history" in fallback["steps"] else None
        manifest["fallback"] = {"declared": fallback, "prior": 0.25, "without_history": second}
        if second is not None:
            files["without_history/pipeline.json"] = Pipeline((Numeric("age"),)).to_json()
            files["without_history/forest.npz"] = stump_forest(1, shift=shift - 1.0).to_npz()
    return write_bundle(manifest | {"threshold": threshold}, files, key or signing_key())


def linear_bundle(
    tenant: str = "acme", model: str = "price", weights: Sequence[float] = (2.0, 3.0), *, explained: bool = False,
    key: Ed25519PrivateKey | None = None,
) -> bytes:  # fmt: skip
    """A linear model of numeric columns x0, x1, …: intercept 1; with `explained` training means of 0.5 and an interval."""
    names = [f"x{index}" for index in range(len(weights))]
    pipeline = Pipeline(tuple(Numeric(name) for name in names))
    files = {
        "pipeline.json": pipeline.to_json(),
        "linear.json": Linear(tuple(weights), 1.0, "identity").to_json(),
    }
    inputs = [(name, "float", "request", False) for name in names]
    manifest = manifest_of(tenant, model, inputs, engine="tenon-linear", output="prediction")
    if explained:
        part = {"rows": 10, "missing": 0, "edges": [0.5], "counts": [5, 5], "mean": 0.5, "iqr": 0.1}
        manifest["baseline"]["columns"] = dict.fromkeys(names, part)
        manifest["evidence"]["interval"] = {
            "coverage": 0.9, "edges": [10.0], "low": [-1.0, -4.0], "high": [2.0, 8.0], "least": 0.0,
            "calibration_rows": 50, "measured_coverage": 0.91, "measured_rows": 50,
            "measured_blocks": [0.9, 0.92], "mean_width": 5.0,
        }  # fmt: skip
    return write_bundle(manifest, files, key or signing_key())


def sha256(data: bytes) -> str:
    """The digest of a bundle."""
    return hashlib.sha256(data).hexdigest()


def visit_request(rows: int = 1, **given: Any) -> dict[str, Any]:
    """An inference request for `visit_bundle`."""
    columns: dict[str, tuple[str, list[Any]]] = {
        "age": ("FP64", [61.5] * rows),
        "count": ("INT64", [3] * rows),
        "urgent": ("BOOL", [True] * rows),
        "ward": ("BYTES", ["north"] * rows),
    }
    columns.update(given)
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [rows], "data": data}
            for name, (kind, data) in columns.items()
            if data
        ]
    }
