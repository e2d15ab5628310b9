"""Models, rows and right answers for the endurance run: bundles large enough to be evicted, versions that can be told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.bundle import Forest, Numeric, OneHot, Pipeline, load_evaluator, open_bundle, write_bundle
from tests.support.fakes_predictor import VISIT_INPUTS, WARDS, manifest_of

TENANT = "acme"
_DEPTH, _TREES = 6, 400
DATATYPES = {"age": "FP64", "count": "INT64", "urgent": "BOOL", "ward": "BYTES"}
Row = dict[str, Any]


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


def rest_body(asked: list[Row]) -> dict[str, Any]:
    """One tensor for each column."""
    return {
        "inputs": [
            {"name": name, "datatype": datatype, "shape": [len(asked)], "data": [row[name] for row in asked]}
            for name, datatype in DATATYPES.items()
        ]
    }


def grpc_request(model: str, asked: list[Row]) -> pb.ModelInferRequest:
    """The same, raw."""
    request = pb.ModelInferRequest(model_name=model)
    kinds = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}
    for name, datatype in DATATYPES.items():
        request.inputs.add(name=name, datatype=datatype, shape=[len(asked)])
        values = [row[name] for row in asked]
        if datatype == "BYTES":
            encoded = [value.encode() for value in values]
            raw = b"".join(len(data).to_bytes(4, "little") + data for data in encoded)
        else:
            raw = np.array([np.nan if value is None else value for value in values], kinds[datatype]).tobytes()
        request.raw_input_contents.append(raw)
    return request


def instances(asked: list[Row]) -> list[dict[str, Any]]:
    """The same, by entity."""
    return [{"features": {name: value for name, value in row.items() if value is not None}} for row in asked]
