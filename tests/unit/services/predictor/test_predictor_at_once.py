"""What is answered at once is what the long way answers: the same bytes, the same log; and the long way has the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.api_http import codec, json_body
from services.predictor.api_http.paths import Path
from services.predictor.api_http.quick_door import QuickDoor, Reply
from services.predictor.domain.instances import columns_of_instances
from services.predictor.domain.logged import Logged
from services.predictor.domain.model import Ask, Column, Entry, ModelKey, Served
from services.predictor.domain.tensors import check_outputs
from tenon.bundle import Evaluator, Linear, Numeric, OneHot, Pipeline
from tenon.bundle.pipeline import Transform
from tenon.core.errors import TenonError
from tenon.core.manifest import Signature
from tenon.core.tenancy import Principal, Scope
from tenon.kit.auth import RecentCallers
from tests.support.predictor_parts import ACME, ARRIVED, PATIENT, World, served
from tests.support.properties import examples

PATH = Path("infer", None, "stay", None)
_ID = re.compile(rb'"prediction_id":"[0-9a-f-]{36}"')


def version(columns: Sequence[Column], number: int = 1, reads: Sequence[str] = ()) -> Served:
    """A linear model of numbers and texts that reads its columns in the order given."""
    kinds = {column.name: column.type for column in columns}
    names = reads or [column.name for column in columns if column.source == "request"]
    steps: list[Transform] = [
        OneHot(name, ("a", "b", "é")) if kinds[name] == "string" else Numeric(name, impute=0.25, indicator=True)
        for name in names
    ]
    pipeline = Pipeline(tuple(steps))
    weights = tuple(number + place / 7 for place in range(pipeline.width))
    inputs = [{"name": c.name, "type": c.type, "nullable": c.nullable, "source": c.source} for c in columns]
    signature = Signature.model_validate({"inputs": inputs, "output": "prediction"})
    evaluator = Evaluator(signature, pipeline, Linear(weights, 0.125, "identity"))
    made = served(number, columns, evaluator=evaluator)
    return replace(made, reads=evaluator.reads, row_reads=evaluator.row_reads)


NUMBERS = (Column("x", "float", "request", True), Column("n", "integer", "request", False),
           Column("b", "boolean", "request", True))  # fmt: skip
MIXED = (*NUMBERS, Column("t", "string", "request", True), Column("u", "string", "request", False))


def world(entry: Entry) -> tuple[World, QuickDoor]:
    """A predictor, and the quick door to it."""
    here = World()
    here.table.put(ModelKey(ACME, "stay"), entry)
    return here, QuickDoor(here.predictor, RecentCallers(), inline_rows=100)


def kept(entries: Sequence[Logged]) -> list[Any]:
    """What was logged, without what differs from one answer to the next."""
    return [
        (entry.source.version, entry.source.role, entry.source.protocol, entry.request_id, entry.rows,
         list(entry.columns), orjson.dumps({name: values.tolist() for name, values in entry.columns.items()}),
         np.asarray(entry.scores).tobytes())
        for entry in entries
    ]  # fmt: skip


def long_way(entry: Entry, body: bytes, length: str | None) -> Any:
    """The bytes and the log of `codec` and the use case, or the refusal."""
    here, _ = world(entry)
    try:
        ask, wanted = codec.parse_infer(body, length, model="stay", version=None, request_id="request-1")
        # As if there were no quick way for one row or a matrix either.
        plan = here.predictor.plan(ACME, ask)
        check_outputs(wanted.names, plan.parts[0].serving.served.output)
        data, json_bytes = codec.render_infer(here.predictor.answer(plan)[0], wanted)
    except TenonError as err:
        return err.reason
    return _ID.sub(b"", data), json_bytes, kept(here.log.entries)


def at_once(entry: Entry, body: bytes, length: str | None) -> Any:
    """The same of the quick door; None when it leaves the request to the long way."""
    here, door = world(entry)
    try:
        reply = door.infer(ACME, PATH, body, length, "request-1")
    except TenonError:
        reply = None
    if reply is None:
        assert here.log.entries == []
        assert here.observer.answers == []
        return None
    assert len(here.observer.answers) == 1
    return _ID.sub(b"", reply.body), reply.json_bytes, kept(here.log.entries)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "FP64": st.one_of(st.floats(-1e6, 1e6), st.integers(-9, 9), st.none(), st.sampled_from([1e39, 2**53 + 1, -0.0])),
    "FP32": st.one_of(st.floats(-1e6, 1e6), st.integers(0, 1), st.none(), st.sampled_from([1e39, 0.1])),
    "INT64": st.one_of(st.integers(-2, 2), st.none(), st.sampled_from([2**53 + 1, 2**63, 1.5])),
    "INT8": st.one_of(st.integers(0, 1), st.sampled_from([200, -129])),
    "UINT8": st.integers(-1, 256),
    "BOOL": st.one_of(st.booleans(), st.none(), st.integers(0, 1)),
    "BYTES": st.one_of(st.sampled_from(["a", "b", "é", "", "a:b", "1"]), st.none(), st.integers(0, 1)),
    "FP99": st.integers(0, 1),
}
USUAL = {"x": "FP64", "n": "INT64", "b": "BOOL", "t": "BYTES", "u": "BYTES"}


@st.composite
def bodies(draw: st.DrawFn, names: Sequence[str]) -> tuple[bytes, str | None]:
    """Requests that are usual, or nearly so."""
    rows = draw(st.sampled_from([1, 1, 1, 2]))
    request: dict[str, Any] = {}
    tail = b""
    if draw(st.integers(0, 3)) == 0:
        width = len(names) + draw(st.sampled_from([0, 0, 0, -1]))
        datatype = draw(st.sampled_from(["FP64", "FP32", "INT64"]))
        item: dict[str, Any] = {"name": "rows", "shape": [rows, width], "datatype": datatype}
        if draw(st.booleans()):
            tail = np.array(draw(st.lists(st.integers(0, 1), min_size=rows * width, max_size=rows * width))).astype(
                {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8"}[datatype]
            ).tobytes()  # fmt: skip
            item["parameters"] = {"binary_data_size": len(tail)}
        else:
            numbers = VALUES[datatype] if draw(st.integers(0, 2)) == 0 else st.sampled_from([0, 1, 1.0, 0.0])
            item["data"] = draw(st.lists(numbers, min_size=rows * width, max_size=rows * width))
            if width > 0 and draw(st.booleans()):
                item["data"] = [item["data"][at : at + width] for at in range(0, rows * width, width)]
        request["inputs"] = [item]
    else:
        some = draw(st.permutations(names)) if draw(st.integers(0, 3)) == 0 else names
        items = []
        for name in some:
            if draw(st.integers(0, 15)) == 0:
                continue
            datatype = USUAL[name] if draw(st.integers(0, 5)) else draw(st.sampled_from(list(VALUES)))
            shape = draw(st.sampled_from([[rows], [rows, 1], [rows], [rows], [2]]))
            data = draw(st.lists(VALUES[datatype], min_size=rows, max_size=rows))
            items.append({"name": name, "shape": shape, "datatype": datatype, "data": data})
        request["inputs"] = items
    if draw(st.integers(0, 3)) == 0:
        request["id"] = draw(st.sampled_from(["mine", 'a"b', "", "x:y", "é", "n" * 300]))
    if draw(st.integers(0, 4)) == 0:
        request["parameters"] = draw(
            st.sampled_from([{"binary_data_output": True}, {"other": 1}, {}, {"binary_data_output": False}])
        )
    if draw(st.integers(0, 6)) == 0:
        request["outputs"] = draw(st.sampled_from([[{"name": "prediction"}], [{"name": "prediction_id"}], [], [{}]]))
    head = json.dumps(request, ensure_ascii=draw(st.booleans())).encode()
    return head + tail, (str(len(head)) if tail else None)


@settings(max_examples=examples(120), deadline=None)
@given(data=st.data(), is_mixed=st.booleans(), arms=st.sampled_from(["none", "canary", "other"]), keyed=st.booleans())
def test_both_ways_answer_and_log_alike(data: st.DataObject, is_mixed: bool, arms: str, keyed: bool) -> None:
    """For models of numbers and of texts, in any order, with a canary or not: the bytes of the answer, and the log."""
    columns = (*(MIXED if is_mixed else NUMBERS), *((PATIENT, ARRIVED) if keyed else ()))
    names = [column.name for column in columns if column.source == "request"]
    stable = version(columns, 1, data.draw(st.permutations(names)))
    order = columns if arms == "canary" else tuple(reversed(columns))
    canary = None if arms == "none" else version(order, 2)
    entry = Entry(1, stable, canary, 500 if canary is not None else 0)
    body, length = data.draw(bodies(names))
    quick = at_once(entry, body, length)
    assert quick is None or quick == long_way(entry, body, length)


USUAL_BODY = {
    "inputs": [
        {"name": "x", "shape": [1], "datatype": "FP64", "data": [0.5]},
        {"name": "n", "shape": [1, 1], "datatype": "INT64", "data": [3]},
        {"name": "b", "shape": [1], "datatype": "BOOL", "data": [None]},
        {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["é"]},
        {"name": "u", "shape": [1], "datatype": "BYTES", "data": ["b"]},
    ]
}


def test_what_is_usual_is_answered_at_once() -> None:
    """A row of every datatype, out of order and with a column left out; a matrix in JSON and behind it, of one row and more."""
    mixed, numbers = Entry(1, version(MIXED)), Entry(1, version(NUMBERS))
    assert at_once(mixed, json.dumps(USUAL_BODY).encode(), None) is not None
    assert at_once(mixed, json.dumps({"inputs": USUAL_BODY["inputs"][:0:-1]}).encode(), None) is not None
    for rows in (1, 3):
        item: dict[str, Any] = {"name": "m", "shape": [rows, 3], "datatype": "FP64"}
        body = json.dumps({"inputs": [item | {"data": [1.0, 2, 0] * rows}], "id": "mine"}).encode()
        assert at_once(numbers, body, None) is not None
        asked = {
            "inputs": [item | {"parameters": {"binary_data_size": 24 * rows}}],
            "parameters": {"binary_data_output": True},
        }
        head = json.dumps(asked).encode()
        assert at_once(numbers, head + np.array([1.0, 2, 0] * rows).tobytes(), str(len(head))) is not None


@pytest.mark.parametrize("odd", [2**53 + 1, 10**30, -(2**64), 1e300, None])
@pytest.mark.parametrize("rows", [1, 2, 800])
def test_integers_that_float64_cannot_hold_are_left_to_the_long_way(odd: Any, rows: int) -> None:
    """In a matrix of few and of many rows, beside missing values and alone."""
    entry = Entry(1, version(NUMBERS))
    for first in (1.0, None):
        item = {"name": "m", "shape": [rows, 3], "datatype": "FP64", "data": [first, 2, 0] * (rows - 1) + [odd, 2, 1]}
        body = json.dumps({"inputs": [item]}).encode()
        quick = at_once(entry, body, None)
        assert quick is None or quick == long_way(entry, body, None)


ODD_NUMBERS = [
    "null",
    "9007199254740993",
    "18446744073709551616",
    "1e400",
    "1e39",
    "-1e-400",
    "[1]",
    '"1"',
    "true",
    "NaN",
    "1.",
    "{}",
]
LARGE = [
    '{"inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","data":[%s]}]}',
    '{"inputs":[{"data":[%2$s],"name":"m","shape":[%1$d,3],"datatype":"FP32"}],"id":"mine"}',
    '{"id":"[","inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","data":[%s]}]}',
    '{"inputs":[{"name":"a\\u0022","shape":[%d,3],"datatype":"FP64","data" : [ %s ] } ] }',
    '\ufeff{"inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","data":[%s]}]}',
    '{"inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","data":[%s],"data":[]}]}',
    '{"inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","data":[%s]}],"outputs":[]}',
    '{"inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","more":1,"data":[%s]}]}',
    '{"inputs":[{"name":"m","shape":[%d,3],"datatype":"INT64","data":[%s]}]}',
    '{"inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","data":[%s]}]} 1',
    '{"inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","data":[%s]]}',
    '{"inputs":[{"name":"m","shape":[%2$s],"datatype":"FP64","data":[]}],"id":"%1$d"}',
    '{"inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","data":[[%s]]}]}',
    '{"inputs":[{"name":"m","shape":[%d,3],"datatype":"FP64","data":[%s,]}]}',
]


@settings(max_examples=examples(120), deadline=None)
@given(
    rows=st.integers(1, 100), form=st.sampled_from([0, 0, 0, *range(len(LARGE))]), odd=st.none() | st.sampled_from(ODD_NUMBERS),
    plain=st.lists(
        st.one_of(
            st.floats(-1e9, 1e9).map(repr), st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
            st.floats(-1, 1).map(lambda value: f"{value:.25g}"), st.integers(-(2**53), 2**53).map(str),
            st.sampled_from(["-0", "-0.0", "1E2", "0.1e+1", "5e-324", "2.2250738585072011e-308", "179769313486231570000"]),
        ), min_size=1, max_size=12,
    ),
)  # fmt: skip
def test_a_large_matrix_is_read_alike(rows: int, form: int, odd: str | None, plain: list[str]) -> None:
    """By a parser that makes no objects: every spelling of a number, each kind that is none, and requests written oddly."""
    numbers = [word for row in range(rows) for word in (plain[row % len(plain)], str(row), "01"[row % 2])]
    if odd is not None:
        numbers[3 * (rows // 2)] = odd
    padding = "" if rows > 50 else " " * 2100
    given_ = {"1$d": str(rows), "2$s": ", ".join(numbers), "d": str(rows), "s": ", ".join(numbers)}
    text = re.sub(r"%(1\$d|2\$s|d|s)", lambda found: given_[found[1]], LARGE[form]) + padding
    entry = Entry(1, version(NUMBERS))
    quick = at_once(entry, text.encode(), None)
    assert quick is None or quick == long_way(entry, text.encode(), None)
    if form < 2 and odd is None and rows > 1 and all(abs(float(word)) <= 2**53 for word in plain):
        assert quick is not None


@pytest.mark.parametrize("key", ["inputs", "name", "shape", "datatype", "data"])
def test_a_key_that_stands_twice_is_left_to_the_long_way(key: str) -> None:
    """Wherever it stands, and even when both say the same."""
    body = json.dumps(USUAL_BODY)
    value = r"\[.*\](?=\}$)" if key == "inputs" else r"\[[^\]]*\]|\"[^\"]*\""
    found = re.search(f'"{key}": (?:{value})', body)
    assert found is not None
    doubled = body.replace(found[0], f"{found[0]}, {found[0]}", 1)
    assert json.loads(doubled) == USUAL_BODY
    entry = Entry(1, version(MIXED))
    assert at_once(entry, body.encode(), None) is not None
    assert at_once(entry, doubled.encode(), None) is None


INSTANCES: list[tuple[bool, str]] = [
    (True, '{"instances":[{"features":{"x":0.5,"n":3,"b":true,"t":"é","u":"b"}}]}'),
    (
        True,
        '{"instances":[{"entity":{"u":"b"},"features":{"n":3}},{"features":{"n":2,"u":"a:b"}}],"request_id":"mine"}',
    ),
    (False, '{"instances":[{"features":{"n":3,"u":"b"}}],"explain":false}'),
    (False, '{"instances":[{"features":{"n":3,"u":"b"}}],"other":1}'),
    (False, '{"instances":[{"features":{"n":3,"u":"b"}}],"request_id":7}'),
    (False, '{"instances":[{"features":{"n":3,"n":3,"u":"b"}}]}'),
    (False, '{"instances":[{"features":{"n":1.5,"u":"b"}}]}'),
    (False, '{"instances":[{"features":{"u":"b"}}]}'),
    (False, '{"instances":[]}'),
    (False, "[]"),
    (False, "{"),
]


def by_entity(entry: Entry, text: str) -> tuple[Any, Any]:
    """What the quick door answers and logs, None when it does not; and the long way, or its refusal."""
    here, door = world(entry)
    callers = RecentCallers()
    callers.keep(b"Bearer k", Principal("k", ACME, frozenset({Scope.PREDICT})))
    door = QuickDoor(here.predictor, callers, inline_rows=100)
    headers = {b"authorization": b"Bearer k", b"x-request-id": b"request-1"}
    reply = door.answer(Path("predict", None, "stay", None), headers, text.encode())
    quick = None if reply is None else (_ID.sub(b"", reply.body), reply.rows, kept(here.log.entries))
    assert reply is not None or here.log.entries == []
    there, _ = world(entry)
    try:
        request = json_body.load(text.encode(), 1 << 20)
        rows, columns, partial = columns_of_instances(request["instances"])
        key = request.get("request_id") or "request-1"
        if not isinstance(key, str):
            return quick, "ID_INVALID"
        ask = Ask("stay", None, "rest", key, rows, columns, split_rows=True, partial=partial)
        body = codec.render_entities("stay", ACME.value, key, rows, there.predictor.predict(ACME, ask))
    except TenonError as err:
        return quick, err.reason
    return quick, (_ID.sub(b"", body), rows, kept(there.log.entries))


@pytest.mark.parametrize(("usual", "text"), INSTANCES)
def test_instances_are_answered_at_once_as_the_long_way_answers_them(usual: bool, text: str) -> None:
    """What is refused, and what asks for an explanation, goes the long way."""
    quick, wanted = by_entity(Entry(1, version(MIXED), version(tuple(reversed(MIXED)), 2), 500), text)
    assert (quick is not None) == usual
    assert quick is None or quick == wanted


@settings(max_examples=examples(100), deadline=None)
@given(
    data=st.data(),
    is_mixed=st.booleans(),
    arms=st.sampled_from(["none", "canary"]),
    keyed=st.booleans(),
    count=st.integers(1, 2),
)
def test_any_instance_is_answered_and_logged_alike(
    data: st.DataObject, is_mixed: bool, arms: str, keyed: bool, count: int
) -> None:
    """Numbers, texts and booleans where they belong and where they do not, columns left out or too many."""
    columns = (*(MIXED if is_mixed else NUMBERS), *((PATIENT, ARRIVED) if keyed else ()))
    entry = Entry(
        1, version(columns), version(columns, 2) if arms == "canary" else None, 500 if arms == "canary" else 0
    )
    usual = {
        "x": st.floats(-1e6, 1e6),
        "n": st.integers(-9, 9),
        "b": st.booleans(),
        "t": st.sampled_from(["a", "zz"]),
        "u": st.just("b"),
    }
    odd = st.sampled_from([None, 1.5, 3, 3.0, True, "a", 2**53 + 1, 1e39, -0.0, [1], "é" * 20])
    instances = []
    for _ in range(count):
        features = {
            name: data.draw(values if data.draw(st.integers(0, 5)) else odd)
            for name, values in usual.items()
            if (is_mixed or name in "xnb") and data.draw(st.integers(0, 9))
        }
        if data.draw(st.integers(0, 9)) == 0:
            features["more"] = 1
        entity = {"patient_id": "p7"} if keyed and data.draw(st.booleans()) else None
        instances.append({"features": features} | ({"entity": entity} if entity else {}))
    quick, wanted = by_entity(entry, json.dumps({"instances": instances}))
    assert quick is None or quick == wanted


def test_a_model_that_looks_history_up_is_for_the_long_way() -> None:
    """Features are asked on a thread, so nothing is even begun here."""
    here, door = world(Entry(1, replace(version(MIXED), views={"visits": ("u",)})))
    body = b'{"instances":[{"features":{"n":3,"u":"b"}}]}'
    assert door.predict(ACME, Path("predict", None, "stay", None), body, "request-1") is None
    assert here.log.entries == []


def test_only_known_callers_are_answered_at_once() -> None:
    """A key that was not checked a moment ago, or that may not predict, is for the long way."""
    here, _ = world(Entry(1, version(MIXED)))
    callers = RecentCallers()
    door = QuickDoor(here.predictor, callers, inline_rows=100)
    headers = {b"authorization": b"Bearer k"}
    body = json.dumps(USUAL_BODY).encode()
    assert door.answer(PATH, headers, body) is None
    assert door.answer(PATH, {}, body) is None
    callers.keep(b"Bearer k", Principal("k", ACME, frozenset({Scope.READ})))
    assert door.answer(PATH, headers, body) is None
    callers.keep(b"Bearer k", Principal("k", ACME, frozenset({Scope.PREDICT})))
    reply = door.answer(PATH, headers | {b"x-request-id": b"mine-7"}, body)
    assert isinstance(reply, Reply)
    assert (reply.request_id, here.log.entries[0].request_id) == ("mine-7", "mine-7")
    assert door.answer(PATH, headers | {b"x-tenon-tenant": b"globex"}, body) is None
    assert door.answer(PATH, headers | {b"content-encoding": b"gzip"}, body) is None
