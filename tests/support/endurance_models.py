"""Models, rows and right answers for the endurance run: bundles large enough to be evicted, versions that can be told apart."""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenon.bundle import Forest, Numeric, OneHot, Pipeline, load_evaluator, open_bundle, write_bundle
from tests.support.predictor_asker import Row
from tests.support.predictor_bundles import VISIT_INPUTS, WARDS, manifest_of

TENANT = "acme"
_DEPTH, _TREES = 6, 400
DATATYPES = {"age": "FP64", "count": "INT64", "urgent": "BOOL", "ward": "BYTES"}


def bundle(model: str, seed: int, key: Ed25519PrivateKey) -> bytes:
    """A signed bundle of full trees that `seed` decides; about a third of a megabyte in memory."""
    chance = np.random.default_rng(seed)
    pipeline = Pipeline((Numeric("age"), Numeric("count"), Numeric("urgent"), OneHot("ward", WARDS)))
    inner, nodes = 2**_DEPTH - 1, 2 ** (_DEPTH + 1) - 1
    places = np.arange(nodes, dtype=np.int32)
    split = places < inner
    scale = np.array([40.0, 4.0, 1.0, *[1.0] * len(WARDS)])
    feature = np.where(split, chance.integers(0, pipeline.width, (_TREES, nodes)), 0).astype(np.int32)
    cuts = chance.uniform(-0.1, 1.1, (_TREES, nodes)) * scale[feature]
    leaves = chance.normal(0, 0.05, (_TREES, nodes))
    forest = Forest(
        pipeline.width,
        np.float32(chance.normal(0, 0.3)),
        "logistic",
        np.arange(0, _TREES * nodes + 1, nodes, dtype=np.int32),
        np.tile(np.where(split, 2 * places + 1, -1).astype(np.int32), _TREES),
        np.tile(np.where(split, 2 * places + 2, -1).astype(np.int32), _TREES),
        feature.ravel(),
        np.where(split, cuts, leaves).astype(np.float32).ravel(),
        (split & (chance.random((_TREES, nodes)) < 0.5)).ravel(),
    )
    files = {"pipeline.json": pipeline.to_json(), "forest.npz": forest.to_npz()}
    manifest = manifest_of(TENANT, model, VISIT_INPUTS)
    manifest["lineage"]["run_id"] = f"run-{seed}"
    return write_bundle(manifest, files, key)


def rows(count: int, seed: int = 5) -> list[Row]:
    """Rows with missing values and wards that no model knows."""
    chance = np.random.default_rng(seed)
    found: list[Row] = []
    for _ in range(count):
        found.append(
            {
                "age": None if chance.random() < 0.2 else round(float(chance.uniform(0, 90)), 3),
                "count": int(chance.integers(0, 6)),
                "urgent": bool(chance.random() < 0.5),
                "ward": str(chance.choice([*WARDS, "attic"])),
            }
        )
    return found


def single_answers(data: bytes, key: Ed25519PrivateKey, asked: list[Row]) -> list[float]:
    """What a version says of each row, asked alone and in this process."""
    evaluator = load_evaluator(open_bundle(data, key.public_key()))
    answers = []
    for row in asked:
        columns = {
            name: np.array([row[name]], object if datatype == "BYTES" else np.float64)
            for name, datatype in DATATYPES.items()
        }
        answers.append(float(evaluator.predict(columns)[0]))
    return answers
