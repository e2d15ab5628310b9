"""Asks a predictor process over each of its doors with plain clients, and gives (version, number, fallback) for each row."""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import numpy as np
from google.protobuf.json_format import ParseDict

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc
from tenon.api.predictor.v1 import predictor_pb2, predictor_pb2_grpc

DATATYPES = {"age": "FP64", "count": "INT64", "urgent": "BOOL", "ward": "BYTES", "patient_id": "BYTES"}
_KINDS = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}
_FIELDS = {"FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}
Row = dict[str, Any]


class Line(NamedTuple):
    """The answer to one row."""

    version: int
    value: float
    fallback: bool


class Asker:
    """One caller with connections of its own; not for several threads."""

    def __init__(self, http_port: int, grpc_port: int, key: str) -> None:
        self._headers = {"authorization": f"Bearer {key}"}
        self._metadata = [("authorization", f"Bearer {key}")]
        self._http = http.client.HTTPConnection("127.0.0.1", http_port, timeout=60)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}", [("grpc.enable_http_proxy", 0)])
        self._inference = inference_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._prediction = predictor_pb2_grpc.PredictionServiceStub(self._channel)
        self.doors: dict[str, Callable[[str, list[Row], str], list[Line]]] = {
            "REST infer": self.rest_infer,
            "REST infer, binary": self.rest_binary,
            "REST :predict": self.rest_predict,
            "gRPC infer": self.grpc_infer,
            "gRPC infer, typed": self.grpc_typed,
            "gRPC Predict": self.grpc_predict,
        }

    def ask(self, door: str, model: str, rows: list[Row], request_id: str) -> list[Line]:
        """Over a door by its name. Raises when the answer is a refusal."""
        try:
            return self.doors[door](model, rows, request_id)
        except (OSError, http.client.HTTPException):
            self._http.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._http.close()
        self._channel.close()

    def rest_infer(self, model: str, rows: list[Row], request_id: str) -> list[Line]:
        """One JSON tensor for each column."""
        inputs = [
            {"name": name, "datatype": DATATYPES[name], "shape": [len(rows)], "data": [row[name] for row in rows]}
            for name in rows[0]
        ]
        answer = json.loads(self._post(f"/v2/models/{model}/infer", json.dumps({"inputs": inputs, "id": request_id})))
        return _lines(answer["model_version"], answer["outputs"][0]["data"], "fallback" in answer["parameters"])

    def rest_binary(self, model: str, rows: list[Row], request_id: str) -> list[Line]:
        """Binary tensors both ways; a missing text cannot be said so."""
        tails = [_raw(name, rows) for name in rows[0]]
        head = {
            "id": request_id,
            "parameters": {"binary_data_output": True},
            "inputs": [
                {
                    "name": name, "datatype": DATATYPES[name], "shape": [len(rows), 1],
                    "parameters": {"binary_data_size": len(tail)},
                }
                for name, tail in zip(rows[0], tails, strict=True)
            ],
        }  # fmt: skip
        encoded = json.dumps(head).encode()
        length = {"Inference-Header-Content-Length": str(len(encoded))}
        data = self._post(f"/v2/models/{model}/infer", b"".join([encoded, *tails]), length)
        answer = json.loads(data[: len(data) - 8 * len(rows)])
        values = struct.unpack(f"<{len(rows)}d", data[-8 * len(rows) :])
        return _lines(answer["model_version"], values, "fallback" in answer["parameters"])

    def rest_predict(self, model: str, rows: list[Row], request_id: str) -> list[Line]:
        """By entity."""
        body = {"instances": _instances(rows), "request_id": request_id}
        answer = json.loads(self._post(f"/v1/models/{model}:predict", json.dumps(body)))
        return [Line(line["model_version"], line["value"], bool(line["fallback"])) for line in answer["predictions"]]

    def grpc_infer(self, model: str, rows: list[Row], request_id: str) -> list[Line]:
        """Raw contents."""
        request = pb.ModelInferRequest(model_name=model, id=request_id)
        for name in rows[0]:
            request.inputs.add(name=name, datatype=DATATYPES[name], shape=[len(rows)])
            request.raw_input_contents.append(_raw(name, rows))
        answer = self._inference.ModelInfer(request, metadata=self._metadata, timeout=60)
        values = np.frombuffer(answer.raw_output_contents[0], "<f8").tolist()
        return _lines(answer.model_version, values, "fallback" in answer.parameters)

    def grpc_typed(self, model: str, rows: list[Row], request_id: str) -> list[Line]:
        """Typed contents; NaN for a missing number."""
        request = pb.ModelInferRequest(model_name=model, id=request_id)
        for name in rows[0]:
            datatype = DATATYPES[name]
            item = request.inputs.add(name=name, datatype=datatype, shape=[len(rows)])
            values = [_present(row[name]) for row in rows]
            getattr(item.contents, _FIELDS[datatype]).extend(
                [value.encode() for value in values] if datatype == "BYTES" else values
            )
        answer = self._inference.ModelInfer(request, metadata=self._metadata, timeout=60)
        return _lines(answer.model_version, answer.outputs[0].contents.fp64_contents, "fallback" in answer.parameters)

    def grpc_predict(self, model: str, rows: list[Row], request_id: str) -> list[Line]:
        """By entity."""
        body = {"model": model, "instances": _instances(rows), "requestId": request_id}
        request = ParseDict(body, predictor_pb2.PredictRequest())
        answer = self._prediction.Predict(request, metadata=self._metadata, timeout=60)
        return [Line(line.model_version, line.value, bool(line.fallback)) for line in answer.predictions]

    def _post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> bytes:
        self._http.request("POST", path, body, self._headers | (headers or {}))
        answer = self._http.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {data[:300]!r}")
        return data


def _lines(version: Any, values: Any, fallback: bool) -> list[Line]:
    return [Line(int(version), value, fallback) for value in values]


def _present(value: Any) -> Any:
    return float("nan") if value is None else value


def _raw(name: str, rows: list[Row]) -> bytes:
    datatype = DATATYPES[name]
    if datatype == "BYTES":
        encoded = [row[name].encode() for row in rows]
        return b"".join(struct.pack("<I", len(data)) + data for data in encoded)
    return np.array([_present(row[name]) for row in rows], _KINDS[datatype]).tobytes()


def _instances(rows: list[Row]) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        entity = {name: value for name, value in row.items() if name == "patient_id"}
        features = {name: value for name, value in row.items() if name != "patient_id" and value is not None}
        found.append({"entity": entity, "features": features})
    return found
