"""The quick way of a request and the way column by column are one: the same bits, and the same refusals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.api_http import codec
from services.predictor.domain import quick, tensors
from services.predictor.domain.model import Ask, Column, Entry, ModelKey, Served, Values
from tenon.bundle import Evaluator, Linear, Numeric, Pipeline
from tenon.core.errors import TenonError
from tenon.core.manifest import Signature
from tests.support.predictor_parts import ACME, ARRIVED, PATIENT, World, served
from tests.support.properties import examples

FLOATS = st.one_of(
    st.floats(-1e6, 1e6),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.4028234663852886e38, 3.5e38, -1e39, 1e308, 5e-324, 2.0**53]),
)
COMMON = st.one_of(st.none(), st.sampled_from([0, 1, 0.0, 1.0, -0.0, 7, 3.0]), FLOATS)
ODD = st.one_of(
    st.sampled_from([float("inf"), float("-inf"), float("nan"), 2**53 + 1, -(2**53), 10**30, True, False, {}, []]),
    st.sampled_from(["1.5", "7", "true", "NaN", ""]),
)
EDGES: list[Any] = [
    None, 0, 1, -1, 2, 0.0, -0.0, 0.5, 1.0, float("nan"), float("inf"), float("-inf"), 3.4028234663852886e38, 3.41e38, -3.41e38,
    1e308, 2**53, -(2**53), 2**53 + 1, -(2**53) - 1, 10**30, 10**400, True, False, "1", "1.5", "true", "nan", "", {}, [],
]  # fmt: skip
DTYPES = ("f2", "f4", "f8", "?", "i1", "u2", "i4", "i8", "u8")


def versions(columns: Sequence[Column], reads: Sequence[str]) -> tuple[Served, Served]:
    """One version twice: taken the quick way, and never."""
    pipeline = Pipeline(tuple(Numeric(name, impute=0.25, indicator=True) for name in reads))
    weights = tuple(1.0 + place / 7 for place in range(2 * len(reads)))
    inputs = [{"name": c.name, "type": c.type, "nullable": c.nullable, "source": c.source} for c in columns]
    signature = Signature.model_validate({"inputs": inputs, "output": "prediction"})
    evaluator = Evaluator(signature, pipeline, Linear(weights, 0.125, "identity"))
    long = served(1, columns, evaluator=evaluator)
    fast = replace(long, reads=evaluator.reads)
    assert (fast.layout is not None, long.layout) == (True, None)
    return fast, long


def outcome(version: Served, ask: Ask, canary: bool = False) -> Any:
    """All that can be seen of a request: what is answered and logged, or how it is refused."""
    here, began = World(), time.time_ns() // 1000
    here.table.put(ModelKey(ACME, "stay"), Entry(1, version, version if canary else None, 500))
    try:
        (answer,) = here.predictor.predict(ACME, replace(ask))
    except TenonError as err:
        assert here.log.entries == []
        return type(err), err.as_dict()
    except OverflowError as err:
        return type(err), str(err)
    (entry,) = here.log.entries
    columns = {name: values.tolist() for name, values in entry.columns.items()}
    times = ["now" if moment >= began else moment for moment in entry.event_time]
    return answer.scores.tobytes(), answer.scores.dtype, answer.fallback, orjson.dumps(columns), times


@st.composite
def models(draw: st.DrawFn) -> tuple[Served, Served]:
    """Versions with columns of every numeric type, read in any order, or not at all."""
    kinds = draw(st.lists(st.sampled_from(["float", "integer", "boolean", "decimal"]), min_size=1, max_size=5))
    columns = [Column(f"c{at}", kind, "request", draw(st.booleans())) for at, kind in enumerate(kinds)]
    names = [column.name for column in columns]
    reads = names if draw(st.booleans()) else draw(st.permutations(names))[: draw(st.integers(1, len(names)))]
    return versions([*columns, PATIENT, ARRIVED], reads)


def array(draw: st.DrawFn, size: int) -> np.ndarray[Any, Any]:
    """Values as they come in binary, at any place of a body."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if dtype.kind == "f":
        wide = st.one_of(FLOATS, st.sampled_from([np.nan, np.inf, 1.0, 0.0]))
        with np.errstate(over="ignore"):
            values = np.array(draw(st.lists(wide, min_size=size, max_size=size)), np.float64).astype(dtype)
    else:
        top = 1 if dtype.kind == "b" else 2 ** (8 * dtype.itemsize - 1) - 1
        numbers = st.one_of(st.integers(0, 1), st.integers(0, top))
        values = np.array(draw(st.lists(numbers, min_size=size, max_size=size)), dtype)
    shift = draw(st.integers(0, 1))
    return np.frombuffer(b"x" * shift + values.tobytes(), dtype, offset=shift)


@st.composite
def requests(draw: st.DrawFn, version: Served) -> Ask:
    """Mostly right, sometimes with anything that a door lets through."""
    rows = draw(st.sampled_from([1, 1, 2, 5]))
    names = [column.name for column in version.inputs]
    ask = Ask("stay", draw(st.sampled_from([None, "1"])), "rest", "request-1", rows, {})
    if draw(st.integers(0, 3)) == 0:
        width = len(names) + draw(st.sampled_from([0, 0, 0, 1]))
        return replace(ask, matrix=array(draw, rows * width).reshape(rows, width))
    odd = st.one_of(COMMON, ODD) if draw(st.integers(0, 2)) == 0 else COMMON
    columns: dict[str, Any] = {}
    for name in draw(st.permutations(names)):
        if draw(st.integers(0, 19)):
            whole = st.integers(0, 1) if draw(st.booleans()) else odd
            as_array = draw(st.integers(0, 3)) == 0
            columns[name] = array(draw, rows) if as_array else draw(st.lists(whole, min_size=rows, max_size=rows))
    if draw(st.integers(0, 9)) == 0:
        columns["c00"] = [1.0] * rows
    if draw(st.integers(0, 4)) == 0:
        columns["patient_id"] = ["p"] * rows
    if draw(st.integers(0, 4)) == 0:
        columns["arrived_at"] = [draw(st.sampled_from(["2024-03-01T08:30:00Z", "2024-03-01T08:30:00", 5]))] * rows
    return replace(ask, columns=columns)


@settings(max_examples=examples(120), deadline=None)
@given(st.data())
def test_both_ways_answer_log_and_refuse_alike(data: st.DataObject) -> None:
    """For any model of numbers and any request: the bits of the answer, the logged values, and every word of a refusal."""
    fast, long = data.draw(models())
    ask = data.draw(requests(fast))
    assert outcome(fast, ask) == outcome(long, ask)


@pytest.mark.parametrize("kind", ["float", "integer", "boolean"])
@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("rows", [1, 2])
def test_each_odd_value_is_taken_or_refused_alike(kind: str, nullable: bool, rows: int) -> None:
    """Every value at the edge of what is taken, as JSON and as binary, behind a column that is right."""
    fast, long = versions([Column("a", "float", "request", False), Column("c", kind, "request", nullable)], ["a", "c"])
    ask = Ask("stay", None, "rest", "request-1", rows, {})
    for value in EDGES:
        given_columns: dict[str, Values] = {"a": [1.5] * rows, "c": [0] * (rows - 1) + [value]}
        one = replace(ask, columns=given_columns)
        assert outcome(fast, one) == outcome(long, one)
    for dtype in DTYPES:
        numbers = [value for value in EDGES if isinstance(value, float) or (type(value) is int and -1 < value < 2**53)]
        with np.errstate(all="ignore"):
            values = np.array([*numbers, 2**53 + 2], np.float64).astype(dtype)
        for at in range(len(values)):
            column = np.repeat(values[at : at + 1], rows)
            one = replace(ask, columns={"a": np.ones(rows), "c": column})
            assert outcome(fast, one) == outcome(long, one)
            matrix = replace(ask, matrix=np.stack([np.ones(rows, dtype), column], axis=1))
            assert outcome(fast, matrix) == outcome(long, matrix)


SHAPES: list[Any] = [[1], [1, 1], [1, 1], [1], [2], [1, 2], [True], [1.0], [1, True], [0], [], [1, 1, 1], "1", None]
DATATYPES = ["FP64", "FP64", "FP64", "INT64", "BOOL", "BYTES", "FP32", "FP16", "INT8", "UINT64", "FP65", None]


@st.composite
def bodies(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The inputs of a JSON request for one row, nearly right or just so."""
    right = draw(st.booleans())
    items = []
    for name in ["x", "n", "b", "t", "p", "arrived_at"][: draw(st.integers(1, 6))]:
        datatype = draw(st.sampled_from(DATATYPES[:6] if right else DATATYPES))
        usual = {"FP64": FLOATS, "INT64": st.integers(-9, 9), "BOOL": st.booleans(), "BYTES": st.text(max_size=3)}
        values = usual.get(str(datatype), COMMON)
        value = draw(values if right else st.one_of(values, COMMON, ODD, st.just(2**63), st.just(10**400)))
        item = {"name": name, "datatype": datatype, "shape": draw(st.sampled_from(SHAPES[:4] if right else SHAPES))}
        item["data"] = [value]
        if not right and draw(st.integers(0, 5)) == 0:
            item |= draw(
                st.sampled_from([{"data": [[value]]}, {"data": []}, {"data": None}, {"name": "x"}, {"name": ""}])
            )
        if not right and draw(st.integers(0, 9)) == 0:
            item |= draw(st.sampled_from([{"parameters": {}}, {"parameters": {"binary_data_size": 0}}, {"other": 1}]))
        items.append(item)
    return items


@settings(max_examples=examples(150), deadline=None)
@given(items=bodies(), types=st.permutations(["float", "integer", "boolean", "string", "string"]), canary=st.booleans())
def test_a_row_in_json_is_read_alike(items: list[dict[str, Any]], types: list[str], canary: bool) -> None:
    """Tensors of one value become what they become one by one; also where text, a time or an entity was wanted."""
    sources = {"p": "entity"}
    columns = [Column(n, kind, sources.get(n, "request"), True) for n, kind in zip("xnbtp", types, strict=True)]
    numbers = [c for c in columns if c.type != "string" or c.name == "p"]
    for version in (
        *versions([*numbers, ARRIVED], [c.name for c in numbers if c.name != "p"]),
        served(1, [*columns, ARRIVED]),
    ):
        results = []
        row = codec._one_row(items)
        for found in (row, None):
            try:
                if found is None:
                    rows, given_columns, matrix = tensors.columns_of(codec._tensors(items, memoryview(b"")))
                else:
                    rows, given_columns, matrix = 1, found, None
            except TenonError as err:
                assert row is None
                results.append((type(err), err.as_dict()))
                continue
            ask = Ask("stay", None, "rest", "request-1", rows, given_columns, matrix)
            results.append(outcome(version, ask, canary))
        assert results[0] == results[1]


def test_a_usual_row_in_json_is_read_at_once() -> None:
    """Of every usual datatype, with missing values; whole numbers where FP64 is declared as well."""
    values = [("FP64", 0.5), ("FP64", 3), ("FP64", None), ("INT64", 7), ("BOOL", True), ("BYTES", "x"), ("BYTES", None)]
    items = [
        {"name": f"c{at}", "datatype": datatype, "shape": [1], "data": [value]}
        for at, (datatype, value) in enumerate(values)
    ]
    found = codec._one_row(items)
    assert found is not None
    assert list(found.values()) == [[0.5], [3.0], [None], [7], [True], ["x"], [None]]


def test_what_is_usual_goes_the_quick_way() -> None:
    """Numbers, whole numbers, booleans and missing values, in one row or several, as columns or as a matrix."""
    columns = [Column("x", "float", "request", True), Column("n", "integer", "request", False)]
    fast, _ = versions([*columns, Column("b", "boolean", "request", False)], ["x", "n", "b"])
    assert fast.layout is not None
    for rows in (1, 3):
        given_columns: dict[str, Values] = {"x": [None] * rows, "n": [2] * rows, "b": [True] * rows}
        found = quick.of_columns(fast.layout, given_columns, rows)
        assert found is not None
        assert quick.of_matrix(fast.layout, np.array([[0.5, 2, 1]] * rows), rows) is not None
        nothing, whole, yes = np.reshape(found, (rows, 3)).T.tolist()
        assert np.isnan(nothing).all()
        assert (whole, yes) == ([2.0] * rows, [1.0] * rows)


def test_a_matrix_may_begin_anywhere_in_a_body() -> None:
    """The evaluator takes a matrix only where float64 may lie; it is brought there."""
    columns = [Column("x", "float", "request", True), Column("y", "float", "request", True)]
    fast, long = versions(columns, ["x", "y"])
    matrix = np.frombuffer(b"x" + np.arange(6.0).tobytes(), np.float64, offset=1).reshape(3, 2)
    assert not matrix.flags.aligned
    ask = Ask("stay", None, "rest", "request-1", 3, {}, matrix)
    assert outcome(fast, ask) == outcome(long, ask)


def test_a_version_that_reads_text_goes_the_long_way() -> None:
    """It has no matrix."""
    assert served(1).layout is None
