"""Runs the unmodified tritonclient in a process of its own and prints what it got as JSON.

`python -m tests.support.triton_probe http|grpc PORT KEY`
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

AGES = [61.5, float("nan"), 0.1]
COLUMNS = {
    "age": ("FP64", np.array(AGES)),
    "count": ("INT64", np.array([3, 0, -7], np.int64)),
    "urgent": ("BOOL", np.array([True, False, True])),
    "ward": ("BYTES", np.array(["north", "é", "west"], object)),
}


def inputs(module: Any, shape: list[int], **how: Any) -> list[Any]:
    """One tensor per column."""
    made = []
    for name, (datatype, values) in COLUMNS.items():
        item = module.InferInput(name, shape, datatype)
        item.set_data_from_numpy(values.reshape(shape), **how)
        made.append(item)
    return made


def http(port: str, key: str) -> dict[str, Any]:
    """Health, metadata, index and inference over HTTP."""
    import tritonclient.http as module

    client = module.InferenceServerClient(f"127.0.0.1:{port}")
    headers = {"authorization": f"Bearer {key}"}
    found: dict[str, Any] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("stay", headers=dict(headers)),
        "other_ready": client.is_model_ready("nothing", headers=dict(headers)),
        "metadata": client.get_model_metadata("stay", headers=dict(headers)),
        "server": client.get_server_metadata(headers=dict(headers)),
        "index": client.get_model_repository_index(headers=dict(headers)),
    }
    answers = {
        "binary": client.infer("stay", inputs(module, [3]), headers=dict(headers), request_id="r-1"),
        "binary_n1": client.infer("stay", inputs(module, [3, 1]), headers=dict(headers)),
        "gzip": client.infer("stay", inputs(module, [3]), headers=dict(headers), request_compression_algorithm="gzip"),
        "deflate": client.infer("stay", inputs(module, [3]), headers=dict(headers), request_compression_algorithm="deflate"),
        "parameters": client.infer(
            "stay", inputs(module, [3]), headers=dict(headers), priority=3, timeout=1_000_000, sequence_id=7, sequence_start=True
        ),
        "outputs": client.infer(
            "stay", inputs(module, [3]), headers=dict(headers),
            outputs=[module.InferRequestedOutput("probability", binary_data=False), module.InferRequestedOutput("prediction_id")],
        ),
    }  # fmt: skip
    found["scores"] = {name: answer.as_numpy("probability").tolist() for name, answer in answers.items()}
    found["ids"] = [item.decode() for item in answers["outputs"].as_numpy("prediction_id").tolist()]
    found["id"] = answers["binary"].get_response()["id"]
    try:
        client.infer("stay", inputs(module, [3])[:1], headers=dict(headers))
    except module.InferenceServerException as err:
        found["refusal"] = str(err)
    return found


def grpc(port: str, key: str) -> dict[str, Any]:
    """The same over gRPC."""
    import tritonclient.grpc as module

    client = module.InferenceServerClient(f"127.0.0.1:{port}")
    headers = {"authorization": f"Bearer {key}"}
    plain = {"as_json": True, "headers": headers}
    found: dict[str, Any] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("stay", headers=headers),
        "metadata": client.get_model_metadata("stay", **plain),
        "server": client.get_server_metadata(**plain),
        "index": client.get_model_repository_index(**plain),
    }
    answers = {
        "raw": client.infer("stay", inputs(module, [3]), headers=headers, request_id="r-1"),
        "n1": client.infer("stay", inputs(module, [3, 1]), headers=headers),
        "gzip": client.infer("stay", inputs(module, [3]), headers=headers, compression_algorithm="gzip"),
        "parameters": client.infer(
            "stay", inputs(module, [3]), headers=headers, priority=3, timeout=1_000_000, sequence_id=7, parameters={"x": 1}
        ),
        "outputs": client.infer(
            "stay", inputs(module, [3]), headers=headers,
            outputs=[module.InferRequestedOutput("probability"), module.InferRequestedOutput("prediction_id")],
        ),
    }  # fmt: skip
    found["scores"] = {name: answer.as_numpy("probability").tolist() for name, answer in answers.items()}
    found["ids"] = [item.decode() for item in answers["outputs"].as_numpy("prediction_id").tolist()]
    found["id"] = answers["raw"].get_response().id
    try:
        client.infer("stay", inputs(module, [3])[:1], headers=headers)
    except module.InferenceServerException as err:
        found["refusal"] = str(err)
    return found


if __name__ == "__main__":
    print(json.dumps({"http": http, "grpc": grpc}[sys.argv[1]](*sys.argv[2:])))
