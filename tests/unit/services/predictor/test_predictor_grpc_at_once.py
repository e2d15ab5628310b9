"""gRPC: what is answered at once says what the servicer would have said, and logs the same."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.api_grpc.at_once import InferAtOnce
from services.predictor.api_grpc.inference import InferenceServicer
from services.predictor.domain.logged import Logged
from services.predictor.domain.model import Column, Entry, ModelKey, Served
from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.bundle import Evaluator, Linear, Numeric, OneHot, Pipeline
from tenon.core.errors import TenonError
from tenon.core.manifest import Signature
from tenon.core.tenancy import Principal, Scope
from tenon.kit import context
from tenon.kit.auth import RecentCallers
from tests.support.predictor_parts import ACME, World, served
from tests.support.properties import examples

COLUMNS = (Column("x", "float", "request", True), Column("n", "integer", "request", False),
           Column("b", "boolean", "request", True), Column("t", "string", "request", True))  # fmt: skip
USUAL = {"x": "FP64", "n": "INT64", "b": "BOOL", "t": "BYTES"}
CODES = {"FP64": "<d", "FP32": "<f", "INT64": "<q", "INT32": "<i", "BOOL": "<?", "UINT8": "<B"}
METADATA = (("user-agent", "test"), ("authorization", "Bearer k"), ("x-request-id", "request-1"))


class Call:
    """As much of a call as the servicer asks for."""

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """What came with it."""
        return METADATA


def version(columns: Sequence[Column], number: int = 1) -> Served:
    """A linear model of these columns."""
    pipeline = Pipeline(
        tuple(OneHot(c.name, ("a", "é")) if c.type == "string" else Numeric(c.name, impute=0.5) for c in columns)
    )
    inputs = [{"name": c.name, "type": c.type, "nullable": c.nullable, "source": c.source} for c in columns]
    signature = Signature.model_validate({"inputs": inputs, "output": "prediction"})
    weights = tuple(number + place / 7 for place in range(pipeline.width))
    evaluator = Evaluator(signature, pipeline, Linear(weights, 0.125, "identity"))
    made = served(number, columns, evaluator=evaluator)
    return replace(made, reads=evaluator.reads, row_reads=evaluator.row_reads)


def kept(entries: Sequence[Logged]) -> list[Any]:
    """What was logged, without what differs from one answer to the next."""
    return [
        (entry.source.version, entry.source.role, entry.source.protocol, entry.request_id, entry.rows,
         orjson.dumps({name: values.tolist() for name, values in entry.columns.items()}),
         np.asarray(entry.scores).tobytes())
        for entry in entries
    ]  # fmt: skip


def seen(response: pb.ModelInferResponse) -> bytes:
    """An answer without its prediction's id."""
    assert len(response.parameters["prediction_id"].string_param) in (0, 36)
    del response.parameters["prediction_id"]
    return response.SerializeToString(deterministic=True)


def both(entry: Entry, request: pb.ModelInferRequest) -> tuple[Any, Any]:
    """(at once or None, the servicer's answer or None)."""
    results: list[Any] = []
    for quick in (True, False):
        here, callers = World(), RecentCallers()
        principal = Principal("k", ACME, frozenset({Scope.PREDICT}))
        callers.keep(b"Bearer k", principal)
        here.table.put(ModelKey(ACME, "stay"), entry)
        if quick:
            data = InferAtOnce(here.predictor, callers, inline_rows=100)(request.SerializeToString(), METADATA)
            assert data is None or isinstance(data, bytes)
            if data is None:
                assert here.log.entries == []
                results.append(None)
                continue
            response = pb.ModelInferResponse.FromString(data)
        else:
            context.principal.set(principal)
            context.request_id.set("request-1")
            try:
                response = InferenceServicer(here.predictor, here.observer, dict, None).ModelInfer(request, Call())  # type: ignore[arg-type]
            except TenonError:
                results.append("refused")
                continue
        results.append((seen(response), kept(here.log.entries)))
    return results[0], results[1]


@st.composite
def requests(draw: st.DrawFn, names: Sequence[str]) -> pb.ModelInferRequest:
    """Usual calls, or nearly so."""
    request = pb.ModelInferRequest(model_name="stay", model_version=draw(st.sampled_from(["", "", "1", "7"])))
    request.id = draw(st.sampled_from(["", "mine", "é" * 3, "n" * 300]))
    rows = draw(st.sampled_from([1, 1, 1, 3]))
    if draw(st.integers(0, 2)) == 0:
        width = len(names) + draw(st.sampled_from([0, 0, 0, 1]))
        datatype = draw(st.sampled_from(["FP64", "FP32", "INT64"]))
        values = draw(st.lists(st.sampled_from([0, 1, 2]), min_size=rows * width, max_size=rows * width))
        request.inputs.add(name=draw(st.sampled_from(["rows", "rows", ""])), datatype=datatype, shape=[rows, width])
        request.raw_input_contents.append(b"".join(struct.pack(CODES[datatype], value) for value in values))
    else:
        for name in draw(st.permutations(names)) if draw(st.integers(0, 5)) == 0 else names:
            datatype = USUAL[name] if draw(st.integers(0, 6)) else draw(st.sampled_from([*CODES, "BYTES"]))
            request.inputs.add(
                name=name, datatype=datatype, shape=draw(st.sampled_from([[rows], [rows, 1], [rows], [2]]))
            )
            data = b""
            for _ in range(rows):
                if datatype == "BYTES":
                    text = draw(st.sampled_from([b"a", "é".encode(), b"", b"\xff"]))
                    data += len(text).to_bytes(4, "little") + text
                elif datatype in ("FP64", "FP32"):
                    data += struct.pack(
                        CODES[datatype], draw(st.sampled_from([0.1, -3.0, float("nan"), float("inf"), 0.0, 1.0]))
                    )
                else:
                    data += struct.pack(CODES[datatype], draw(st.sampled_from([0, 1])))
            request.raw_input_contents.append(data + (b"\x00" if draw(st.integers(0, 30)) == 0 else b""))
    if draw(st.integers(0, 8)) == 0:
        request.outputs.add(name=draw(st.sampled_from(["prediction", "prediction_id", "other"])))
    if draw(st.integers(0, 8)) == 0:
        request.parameters["priority"].uint64_param = 3
    return request


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data(), texts=st.booleans(), canary=st.booleans())
def test_both_ways_answer_and_log_alike(data: st.DataObject, texts: bool, canary: bool) -> None:
    """One row or several, a matrix or columns, with texts and a canary or not."""
    columns = COLUMNS if texts else COLUMNS[:3]
    entry = Entry(1, version(columns), version(columns, 2) if canary else None, 500 if canary else 0)
    request = data.draw(requests([column.name for column in columns]))
    quick, long = both(entry, request)
    assert quick is None or quick == long


def test_what_is_usual_is_answered_at_once() -> None:
    """A matrix of one row and of more; one tensor for each column, texts among them."""
    numbers, mixed = Entry(1, version(COLUMNS[:3])), Entry(1, version(COLUMNS))
    for rows in (1, 3):
        request = pb.ModelInferRequest(model_name="stay", id="mine")
        request.inputs.add(name="rows", datatype="FP64", shape=[rows, 3])
        request.raw_input_contents.append(np.array([[0.5, 2, 1]] * rows).tobytes())
        quick, long = both(numbers, request)
        assert quick == long
    request = pb.ModelInferRequest(model_name="stay")
    for name, value in (
        ("x", struct.pack("<d", 0.5)),
        ("n", struct.pack("<q", 3)),
        ("b", b"\x01"),
        ("t", b"\x02\0\0\0\xc3\xa9"),
    ):
        request.inputs.add(name=name, datatype=USUAL[name], shape=[1])
        request.raw_input_contents.append(value)
    quick, long = both(mixed, request)
    assert quick == long


def test_a_known_head_changes_nothing() -> None:
    """The second message of a client is answered from its tensor alone; one with another head, or shaped otherwise, is not."""
    entry = Entry(1, version(COLUMNS[:3]))
    here, callers = World(), RecentCallers()
    callers.keep(b"Bearer k", Principal("k", ACME, frozenset({Scope.PREDICT})))
    here.table.put(ModelKey(ACME, "stay"), entry)
    door = InferAtOnce(here.predictor, callers, inline_rows=100)
    for first, name in ((0.5, "rows"), (0.75, "rows"), (float("nan"), "rows"), (1.5, "other"), (2.5, "rows")):
        request = pb.ModelInferRequest(model_name="stay")
        request.inputs.add(name=name, datatype="FP64", shape=[1, 3])
        request.raw_input_contents.append(np.array([first, 2, 1]).tobytes())
        data = door(request.SerializeToString(), METADATA)
        assert isinstance(data, bytes)
        _, long = both(entry, request)
        assert seen(pb.ModelInferResponse.FromString(data)) == long[0]
    assert len(door._heads._known) == 2
    request.raw_input_contents[0] = np.array([1.0, 2.5, 1]).tobytes()
    assert door(request.SerializeToString(), METADATA) is None
    # The tensor stands before the end as well: what ends the message is an unknown field.
    odd = pb.ModelInferRequest(model_name="stay")
    odd.inputs.add(name="odd", datatype="FP64", shape=[1, 3])
    tensor = np.array([1.0, 2, 1]).tobytes()
    odd.raw_input_contents.append(tensor)
    unknown = b"\x3a\x18" + tensor
    assert door(odd.SerializeToString() + b"\x7a" + bytes([len(unknown)]) + unknown, METADATA) is not None
    assert len(door._heads._known) == 2


def test_one_column_has_no_head() -> None:
    """A version of one column is asked with a column, and with any datatype."""
    entry = Entry(1, version(COLUMNS[:1]))
    for shape in ([1], [1, 1]):
        request = pb.ModelInferRequest(model_name="stay")
        request.inputs.add(name="x", datatype="INT64", shape=shape)
        request.raw_input_contents.append(struct.pack("<q", 3))
        quick, long = both(entry, request)
        assert quick == long
