"""Odd and malformed gRPC calls, each with what must become of it; the model is that of `abuse`: 1 + 2 x0 + 3 x1."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.predictor.v1 import predictor_pb2
from tests.support.abuse import GOOD, REFUSE, answer

INFER = "/inference.GRPCInferenceService/ModelInfer"
PREDICT = "/tenon.api.predictor.v1.PredictionService/Predict"
Tensor = pb.ModelInferRequest.InferInputTensor
FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
FLOATS = np.array([1.0, 2.0]).tobytes()


@dataclass(frozen=True)
class Call:
    """One call; `data` is the message as it goes over the wire."""

    name: str
    data: bytes
    expect: str | list[float] = REFUSE
    method: str = INFER
    metadata: tuple[tuple[str, str], ...] | None = None
    """None: the right key."""


def calls(model: str) -> list[Call]:
    """The whole list."""
    found = [*_typed(model), *_raw(model), *_shapes(model), *_names(model), *_frames(model), *_entities(model)]
    assert len({call.name for call in found}) == len(found)
    return found


def values_of(call: Call, data: bytes) -> list[float]:
    """The predictions in an answer."""
    if call.method == PREDICT:
        return [item.value for item in predictor_pb2.PredictResponse.FromString(data).predictions]
    message = pb.ModelInferResponse.FromString(data)
    if message.raw_output_contents:
        raw: list[float] = np.frombuffer(message.raw_output_contents[0]).tolist()
        return raw
    return list(message.outputs[0].contents.fp64_contents)


def send(channel: grpc.Channel, call: Call, key: str) -> tuple[grpc.StatusCode, str, bytes]:
    """(code, words, answer) of a call."""
    metadata = call.metadata if call.metadata is not None else (("authorization", f"Bearer {key}"),)
    try:
        ask: Any = channel.unary_unary(call.method)
        return grpc.StatusCode.OK, "", ask(call.data, timeout=60, metadata=metadata)
    except grpc.RpcError as err:
        return err.code(), err.details() or "", b""


def typed(
    datatype: str, values: Sequence[Any], *, field: str = "", shape: Sequence[int] = (1, 2), name: str = "x"
) -> Any:
    """A tensor with typed contents."""
    contents = pb.InferTensorContents(**{field or FIELDS[datatype]: values})
    return Tensor(name=name, datatype=datatype, shape=shape, contents=contents)


def _infer(model: str, *inputs: Any, **more: Any) -> bytes:
    return pb.ModelInferRequest(model_name=model, inputs=inputs, **more).SerializeToString()


def _typed(model: str) -> Iterator[Call]:
    for datatype in FIELDS:
        if datatype not in ("BOOL", "BYTES"):
            yield Call(f"typed {datatype}", _infer(model, typed(datatype, [1, 2])), GOOD)
    wrong: dict[str, list[Any]] = {
        "INT8": [128, -129], "UINT8": [256], "INT16": [40_000], "UINT16": [70_000], "INT64": [2**53 + 1], "UINT64": [2**64 - 1],
        "FP32": [float("nan"), float("inf")], "FP64": [float("nan"), float("-inf"), 1e39, 1e308],
    }  # fmt: skip
    for datatype, values in wrong.items():
        for value in values:
            yield Call(f"typed {datatype} of {value}", _infer(model, typed(datatype, [value, 2])))
    for datatype, field, values in (
        ("INT64", "fp64_contents", [1.0, 2.0]), ("FP64", "fp32_contents", [1.0, 2.0]), ("FP32", "fp64_contents", [1.0, 2.0]), ("BOOL", "int_contents", [1, 0]),
        ("BYTES", "fp64_contents", [1.0, 2.0]), ("INT8", "int64_contents", [1, 2]), ("UINT8", "int_contents", [1, 2]), ("FP16", "fp32_contents", [1.0, 2.0]),
    ):  # fmt: skip
        yield Call(f"{datatype} in {field}", _infer(model, typed(datatype, values, field=field)))
    yield Call("typed BYTES", _infer(model, typed("BYTES", [b"1", b"2"])))
    yield Call("typed BYTES, no text", _infer(model, typed("BYTES", [b"\xff", b"2"])))
    yield Call("typed, too few", _infer(model, typed("FP64", [1.0])))
    yield Call("typed, too many", _infer(model, typed("FP64", [1.0, 2.0, 3.0])))
    yield Call("typed, none", _infer(model, Tensor(name="x", datatype="FP64", shape=[1, 2])))
    two = pb.InferTensorContents(fp64_contents=[1.0, 2.0], int64_contents=[5, 6])
    yield Call("typed in two fields", _infer(model, Tensor(name="x", datatype="FP64", shape=[1, 2], contents=two)))


def _raw(model: str) -> Iterator[Call]:
    tensor = Tensor(name="x", datatype="FP64", shape=[1, 2])
    yield Call("raw", _infer(model, tensor, raw_input_contents=[FLOATS]), GOOD)
    for name, contents in {
        "empty": [b""], "one byte less": [FLOATS[:-1]], "one byte more": [FLOATS + b"x"], "half": [FLOATS[:8]], "twice": [FLOATS, FLOATS], "double": [FLOATS * 2],
        "NaN": [np.array([np.nan, 1]).tobytes()], "infinite": [np.array([np.inf, 1]).tobytes()], "beyond float32": [np.array([1e39, 1]).tobytes()],
    }.items():  # fmt: skip
        yield Call(f"raw, {name}", _infer(model, tensor, raw_input_contents=contents))
    yield Call("raw and typed", _infer(model, typed("FP64", [1.0, 2.0]), raw_input_contents=[FLOATS]))
    boolean = Tensor(name="x", datatype="BOOL", shape=[1, 2])
    yield Call("raw BOOL", _infer(model, boolean, raw_input_contents=[b"\1\0"]), [answer(1, 0)])
    yield Call("raw BOOL of 2", _infer(model, boolean, raw_input_contents=[b"\1\2"]))
    text = Tensor(name="x0", datatype="BYTES", shape=[1])
    other = Tensor(name="x1", datatype="FP64", shape=[1])
    for name, data in {
        "no length": b"", "length too large": struct.pack("<I", 99) + b"1", "length of 4 GB": b"\xff\xff\xff\xff1", "cut": b"\1\0", "no text": struct.pack("<I", 1) + b"\xff",
        "no number": struct.pack("<I", 3) + b"one", "NaN": struct.pack("<I", 3) + b"NaN",
    }.items():  # fmt: skip
        yield Call(f"raw BYTES, {name}", _infer(model, text, other, raw_input_contents=[data, FLOATS[8:]]))


def _shapes(model: str) -> Iterator[Call]:
    for shape in (
        [], [2], [1], [2, 1], [2, 2], [1, 2, 1], [0, 2], [1, 0], [-1, 2], [1, -1], [-1, -2], [2**62, 2], [2**63 - 1, 2], [2**32, 2**32], [3037000500, 3037000500], [1] * 1000,
    ):  # fmt: skip
        for how in ("typed", "raw"):
            tensor = (
                typed("FP64", [1.0, 2.0], shape=shape)
                if how == "typed"
                else Tensor(name="x", datatype="FP64", shape=shape)
            )
            raw = [] if how == "typed" else [FLOATS]
            yield Call(f"{how}, shape {str(shape)[:30]}", _infer(model, tensor, raw_input_contents=raw))


def _names(model: str) -> Iterator[Call]:
    good = typed("FP64", [1.0, 2.0])
    x0, x1 = (typed("FP64", [value], shape=[1], name=name) for name, value in (("x0", 1.0), ("x1", 2.0)))
    yield Call("columns", _infer(model, x0, x1), GOOD)
    for name, inputs in {
        "nothing": [], "x1 missing": [x0], "twice": [x0, x0], "one more": [x0, x1, typed("FP64", [1.0], shape=[1], name="x2")], "matrix and column": [good, x0], "3,000": [x0] * 3000,
        "no name": [typed("FP64", [1.0, 2.0], name="")] * 2, "rows differ": [x0, typed("FP64", [1.0, 2.0], shape=[2], name="x1")],
    }.items():  # fmt: skip
        yield Call(f"inputs: {name}", _infer(model, *inputs))
    for datatype in ("", "fp64", "DOUBLE", "BF16", "FP64\0", "x" * 5000):
        wrong = Tensor(name="x", datatype=datatype, shape=[1, 2], contents=good.contents)
        yield Call(f"datatype {datatype[:10]!r}", _infer(model, wrong))
    for name in ("", "nobody", "..", model + "/versions/1", "x" * 100_000, "\N{PILE OF POO}"):
        yield Call(f"model {name[:12]!r}", _infer(name, good))
    for version in ("0", "2", "-1", "1.0", "latest", " 1", "9" * 300):
        yield Call(f"version {version[:12]!r}", _infer(model, good, model_version=version))
    yield Call("version 1", _infer(model, good, model_version="1"), GOOD)
    for name in ("probability", "", "Prediction", "x" * 5000):
        yield Call(f"output {name[:12]!r}", _infer(model, good, outputs=[{"name": name}]))
    yield Call("output", _infer(model, good, outputs=[{"name": "prediction"}]), GOOD)
    yield Call("id endless", _infer(model, good, id="x" * 5000))


def _frames(model: str) -> Iterator[Call]:
    good = _infer(model, typed("FP64", [1.0, 2.0]))
    for name, data in {
        "nothing": b"", "ff": b"\xff\xff\xff", "cut": good[:-3], "JSON": b'{"inputs":[]}', "zeros": b"\0" * 100, "not UTF-8": b"\x0a\x02\xff\xfe",
        "length beyond": b"\x0a\xff\xff\xff\xff\x07x", "deep groups": b"\x0b" * 5000,
    }.items():  # fmt: skip
        yield Call(f"bytes: {name}", data)
    yield Call("unknown fields", good + b"\xf8\x3f\x01", GOOD)
    yield Call(
        "65 MB", _infer(model, Tensor(name="x", datatype="FP64", shape=[1, 2]), raw_input_contents=[b"\0" * (65 << 20)])
    )
    for name, value in {"none": None, "wrong": "Bearer x", "basic": "Basic x", "empty": "", "bare": "x"}.items():
        yield Call(f"key: {name}", good, metadata=() if value is None else (("authorization", value),))
    for method in (
        "/inference.GRPCInferenceService/Nothing",
        "/nobody.Service/Method",
        "/",
        "/inference.GRPCInferenceService/ModelStreamInfer",
    ):
        yield Call(f"method {method}", good, method=method)
    for method in ("ModelReady", "ModelMetadata"):
        yield Call(f"{method} of garbage", b"\xff\xff", method=f"/inference.GRPCInferenceService/{method}")
        nobody = pb.ModelReadyRequest(name="nobody").SerializeToString()
        yield Call(f"{method} of nobody", nobody, method=f"/inference.GRPCInferenceService/{method}")


def _entities(model: str) -> Iterator[Call]:
    def ask(*instances: dict[str, Any], **more: Any) -> bytes:
        request = predictor_pb2.PredictRequest(model=more.pop("model", model), **more)
        for features in instances:
            request.instances.add().features.update(features)
        return request.SerializeToString()

    good: dict[str, Any] = {"x0": 1.0, "x1": 2.0}
    yield Call("entity", ask(good, good), GOOD * 2, PREDICT)
    for name, features in {
        "missing": {"x0": 1.0}, "unknown": good | {"x2": 1.0}, "text": good | {"x0": "one"}, "NaN": good | {"x0": float("nan")}, "infinite": good | {"x0": float("inf")}, "1e39": good | {"x0": 1e39},
        "boolean": good | {"x0": True}, "null": good | {"x0": None}, "list": good | {"x0": [1.0]}, "object": good | {"x0": {"a": 1.0}}, "empty": {},
    }.items():  # fmt: skip
        yield Call(f"entity: {name}", ask(good, features), method=PREDICT)
    yield Call("entity: none", ask(), method=PREDICT)
    yield Call("entity: nobody", ask(good, model="nobody"), method=PREDICT)
    yield Call("entity: another tenant", ask(good, tenant="globex"), method=PREDICT)
    yield Call("entity: no tenant's name", ask(good, tenant="../x"), method=PREDICT)
    yield Call("entity: endless id", ask(good, request_id="x" * 5000), method=PREDICT)
    yield Call("entity: garbage", b"\xff\xff\xff", method=PREDICT)
    yield Call("entity: 11,000 rows", ask(*[good] * 11_000), method=PREDICT)
