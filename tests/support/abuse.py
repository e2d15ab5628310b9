"""One seeded list of odd and malformed REST requests, each with what must become of it.

The numbers that an answer must hold are those of `Target`, a linear model of two floats: 1 + 2 x0 + 3 x1. So the list can be
sent to any server of the Open Inference Protocol that serves such a model.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SEED = 431
REFUSE = "refuse"


@dataclass(frozen=True)
class Case:
    """One request. `expect` is REFUSE, or the predictions that must be answered."""

    name: str
    body: bytes
    expect: str | list[float] = REFUSE
    path: str = ""
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """The whole request as it goes over the wire, for what no client library would send."""


def answer(x0: float, x1: float) -> float:
    """What the model says."""
    return 1.0 + 2.0 * x0 + 3.0 * x1


GOOD = [answer(1.0, 2.0)]
ROW: dict[str, Any] = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1.0, 2.0]}


def request(*inputs: Any, **more: Any) -> bytes:
    """An inference request."""
    return json.dumps({"inputs": list(inputs), **more}).encode()


def text(inputs: str, more: str = "") -> bytes:
    """An inference request of which a part is written by hand, because no encoder would write it."""
    return f'{{"inputs":[{inputs}]{more}}}'.encode()


def row_text(data: str, datatype: str = "FP64", shape: str = "[1,2]") -> bytes:
    """One matrix with hand-written parts."""
    return text(f'{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}')


def column(name: str, value: Any, datatype: str = "FP64") -> dict[str, Any]:
    """One row of one column."""
    return {"name": name, "datatype": datatype, "shape": [1], "data": [value]}


def zipped(data: bytes, level: int = 9) -> bytes:
    """The data as gzip, the same bytes every time."""
    return gzip.compress(data, level, mtime=0)


def cases() -> list[Case]:
    """The whole list, in the same order every time."""
    # The other parts build on this file.
    from tests.support import abuse_wire

    found = [
        *_shapes(), *_datatypes(), *_values(), *_duplicates(), *_inputs(), *_outputs(), *_json(), *_large(), *_binary(),
        *abuse_wire.cases(),
    ]  # fmt: skip
    names = [case.name for case in found]
    assert len(set(names)) == len(names), sorted({name for name in names if names.count(name) > 1})
    return found


def _shapes() -> Iterator[Case]:
    wrong = [
        "[1,-1]", "[-1,2]", "[-1,-1]", "[-1]", '["1","2"]', '[1,"2"]', "[1,0]", "[0,2]", "[0]", "[2,2]", "[1,3]", "[1,1]",
        "[1,2,1]", "[1,1,2]", "[1.0,2]", "[1,2.0]", "[1,2.5]", "[1e0,2]", "[true,2]", "[1,true]", "[null,2]", "[[1],2]",
        "[[1,2]]", "{}", '"1,2"', "null", "2", "[]", "[1000000000000,2]", "[9223372036854775807,2]", "[9223372036854775808,2]",
        "[18446744073709551617,2]", "[4294967296,4294967296]", "[3037000500,3037000500]", "[6148914691236517206,3]",
        "[1,18446744073709551618]", "[-9223372036854775808,2]", "[" + "1," * 500 + "2]", "[1" + "0" * 400 + ",2]",
    ]  # fmt: skip
    for shape in wrong:
        for datatype in ("FP64", "INT32"):
            yield Case(f"shape {shape[:40]} {datatype}", row_text("[1,2]", datatype, shape))
    for data in (
        "[[1,2],[3,4]]", "[[1],[2]]", "[[1,2,3]]", "[[[1,2]]]", "[[1],2]", "[1,[2]]", "[[1,2],[]]", "[[]]", "[]", "[1]",
        "[1,2,3]", "{}", '{"0":1,"1":2}', '"1,2"', '"AAAAAAAA8D8AAAAAAAAAQA=="', "12", "null", "[{},{}]", "[[1,2]]]",
    ):  # fmt: skip
        yield Case(f"data {data}", row_text(data))
    for data in ("[[1,2]]", "[1,2]", "[ 1 , 2e0 ]", "[1.0,0.2e1]", "[100e-2,2]"):
        yield Case(f"data {data} fits", row_text(data), GOOD)
    two = [answer(1, 2), answer(3, 4)]
    for data in ("[[1,2],[3,4]]", "[1,2,3,4]"):
        yield Case(f"two rows {data}", row_text(data, shape="[2,2]"), two)
    for data in ("[[1,2],[3]]", "[[1,2,3],[4]]", "[[1,2,3,4]]", "[[1,2],3,4]", "[[1,2],[3,null]]", "[1,2,3]"):
        yield Case(f"two rows {data} do not fit", row_text(data, shape="[2,2]"))


def _datatypes() -> Iterator[Case]:
    wrong: dict[str, list[str]] = {
        "INT8": ["1.5", "1.0", "128", "-129", '"1"', "true", "1e1", "{}", "[1]", "null"],
        "UINT8": ["-1", "256", "0.5", '"1"', "false"],
        "INT16": ["32768", "-32769", "2.5"],
        "UINT16": ["65536", "-1", "2.5"],
        "INT32": ["2147483648", "-2147483649", "1.25", '"7"', "true"],
        "UINT32": ["4294967296", "-1", "1.25"],
        "INT64": ["9223372036854775808", "-9223372036854775809", "1.5", "1e3", '"1"', "true", "9007199254740993"],
        "UINT64": ["18446744073709551616", "-1", "1.5", "9007199254740993"],
        "BOOL": ["1", "0", "1.0", "0.5", "2", '"true"', '"1"'],
        "FP16": ["70000", '"1"', "true", "1e300", "null"],
        "FP32": ["1e39", "-1e39", "3.5e38", '"1"', '"NaN"', '"inf"', "true", "{}", "null"],
        "FP64": ["1e39", "-1e300", "1e400", "-1e999", '"1"', '"NaN"', '"Infinity"', '""', "false", "{}", "[1]", "null"],
        "BYTES": ["1", "1.0", "true", "{}", "[1]", '"one"', '"NaN"', '"1_0"', '"0x10"', "null"],
    }
    for datatype, values in wrong.items():
        for value in values:
            yield Case(f"{datatype} of {value}", row_text(f"[{value},2]", datatype))
            if datatype in ("INT8", "FP32", "BOOL"):
                other = text(
                    f'{{"name":"x0","datatype":"{datatype}","shape":[1],"data":[{value}]}},'
                    '{"name":"x1","datatype":"FP64","shape":[1],"data":[2]}'
                )
                yield Case(f"column {datatype} of {value}", other)
    for name in ("fp64", "FLOAT", "DOUBLE", "INT63", "", "BF16", "FP128", "STRING", "TYPE_FP64", "FP64 ", "x" * 10_000):
        yield Case(f"datatype {name[:20]!r}", request(ROW | {"datatype": name}))
    odd: Any
    for odd in (None, 5, ["FP64"], {}, True):
        yield Case(f"datatype {odd!r}", request(ROW | {"datatype": odd}))
    yield Case("no datatype", request({key: ROW[key] for key in ("name", "shape", "data")}))
    for datatype in ("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64", "FP16", "FP32", "FP64"):
        yield Case(f"{datatype} of whole numbers", row_text("[1,2]", datatype), GOOD)
    tenth = float(np.float32(0.1))
    yield Case("FP32 is single precision", row_text("[0.1,2]", "FP32"), [answer(tenth, 2)])


def _values() -> Iterator[Case]:
    for value in (
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "inf",
        "1.",
        ".5",
        "+1",
        "01",
        "0x1",
        "1_000",
        "1e",
        "--1",
        "1,",
    ):
        yield Case(f"literal {value}", row_text(f"[{value},2]"))
    for value in ("-0.0", "5e-324", "1e-400", "1e38", "-3e38", "0.1", "123456789.123456789", "9007199254740992", "1E5"):
        yield Case(f"number {value}", row_text(f"[{value},2]"), [answer(float(value), 2)])
    long = "0." + "1" * 800
    yield Case("a number of 800 digits", row_text(f"[{long},2]"), [answer(float(long), 2)])
    yield Case("an integer of 400 digits", row_text("[" + "9" * 400 + ",2]"))
    yield Case("an integer of 100,000 digits", row_text("[" + "9" * 100_000 + ",2]"))
    yield Case("a missing value that may not be", request(column("x0", None), column("x1", 2.0)))


def _duplicates() -> Iterator[Case]:
    good = json.dumps(ROW)
    inner = good[1:-1]
    for name, body in {
        "inputs": f'{{"inputs":[{good}],"inputs":[{good}]}}',
        "inputs, differing": f'{{"inputs":[{good}],"inputs":[{good.replace("2.0", "3.0")}]}}',
        "inputs, escaped": f'{{"inputs":[{good}],"\\u0069nputs":[{good}]}}',
        "id": f'{{"id":"a","inputs":[{good}],"id":"b"}}',
        "parameters": f'{{"parameters":{{}},"inputs":[{good}],"parameters":{{"a":1}}}}',
        "outputs": f'{{"outputs":[],"inputs":[{good}],"outputs":[{{"name":"prediction"}}]}}',
        "name": f'{{"inputs":[{{"name":"y",{inner}}}]}}',
        "data": f'{{"inputs":[{{{inner},"data":[5.0,6.0]}}]}}',
        "data, the same": f'{{"inputs":[{{{inner},"data":[1.0,2.0]}}]}}',
        "shape": f'{{"inputs":[{{"shape":[2,1],{inner}}}]}}',
        "datatype": f'{{"inputs":[{{"datatype":"FP32",{inner}}}]}}',
        "within parameters": f'{{"inputs":[{{{inner},"parameters":{{"a":1,"a":2}}}}]}}',
        "within the request's parameters": f'{{"parameters":{{"b":1,"b":1}},"inputs":[{good}]}}',
        "of spaces": f'{{"inputs" : [{good}] , "inputs" : [{good}]}}',
    }.items():
        yield Case(f"duplicate key: {name}", body.encode())
    row = '{"name":"x0","datatype":"FP64","shape":[1],"data":[1.0]},{"name":"x1","datatype":"FP64","shape":[1],%s"data":[2.0]}'
    yield Case("duplicate key: in one of two columns", text(row % '"data":[7.0],'))
    yield Case("no duplicate key: two columns", text(row % ""), GOOD)
    quoted = 'a":1,"a":2,{"inputs":[]'
    yield Case("no duplicate key: only quoted", request(ROW, id=quoted[:60]), GOOD)


def _inputs() -> Iterator[Case]:
    x0, x1 = column("x0", 1.0), column("x1", 2.0)
    lists: dict[str, list[Any]] = {
        "none": [], "x1 missing": [x0], "x0 twice": [x0, x0], "x0 twice, x1": [x0, x0, x1], "one too many": [x0, x1, column("x2", 3.0)],
        "near": [x0, column("x_1", 2.0)], "capital": [x0, column("X1", 2.0)], "space": [x0, column("x1 ", 2.0)],
        "nul": [x0, column("x1\0", 2.0)], "kelvin": [x0, column("x\N{SUPERSCRIPT ONE}", 2.0)], "matrix and column": [ROW, x0], "two matrices": [ROW, ROW],
        "nulls": [None], "lists": [[]], "texts": ["x0"], "numbers": [1], "empty objects": [{}, {}], "300 kB of objects": [{}] * 100_000,
        "3,000 columns": [column(f"c{place}", 1.0) for place in range(3000)],
        "rows differ": [x0, {"name": "x1", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]}],
        "text": [x0, column("x1", "two", "BYTES")], "object": [x0, column("x1", {})], "three columns": [ROW | {"shape": [1, 3], "data": [1, 2, 3]}],
        "endless rows": [ROW | {"shape": [20_000, 2], "data": [1.0] * 40_000}],
    }  # fmt: skip
    for name, found in lists.items():
        yield Case(f"inputs: {name}", request(*found))
    odd: Any
    for odd in (None, {}, "x", 1, True):
        yield Case(f"inputs is {odd!r}", json.dumps({"inputs": odd}).encode())
    for odd in (None, 3, "", [], {}, True):
        yield Case(f"an input's name is {odd!r}", request(ROW | {"name": odd}))
    yield Case("no inputs at all", b"{}")
    yield Case("columns", request(x0, x1), GOOD)
    yield Case("columns, backwards", request(x1, x0), GOOD)
    yield Case("columns of [1,1]", request(x0 | {"shape": [1, 1]}, x1 | {"shape": [1, 1], "data": [[2.0]]}), GOOD)
    for odd in (1, [], {}, True, "x" * 1000):
        yield Case(f"id is {str(odd)[:9]}", request(ROW, id=odd))
    for odd in (1, [], "x", True):
        yield Case(f"parameters is {odd!r}", request(ROW, parameters=odd))
    odd = {"sequence_id": 7, "triton_x": "y", "priority": 1, "timeout": 5, "nested": {"a": []}}
    yield Case("unknown parameters", request(ROW, parameters=odd), GOOD)
    yield Case("unknown parameters of an input", request(ROW | {"parameters": odd}), GOOD)


def _outputs() -> Iterator[Case]:
    for name in ("probabilty", "", "Prediction", "prediction ", "x0", "\0", "x" * 5000, "../prediction"):
        yield Case(f"output {name[:20]!r}", request(ROW, outputs=[{"name": name}]))
    value: Any
    for value in ({}, "prediction", 1, [None], [1], ["prediction"], [{}], [{"name": 1}], [{"name": None}], [{}] * 5000):
        yield Case(f"outputs {str(value)[:20]}", request(ROW, outputs=value))
    yield Case("a known output", request(ROW, outputs=[{"name": "prediction"}]), GOOD)
    yield Case("the same output twice", request(ROW, outputs=[{"name": "prediction"}] * 2), GOOD)
    yield Case("a good and an unknown output", request(ROW, outputs=[{"name": "prediction"}, {"name": "other"}]))


def _json() -> Iterator[Case]:
    dice = random.Random(SEED)
    good = request(ROW)
    for cut in sorted(dice.sample(range(1, len(good) - 1), 24)):
        yield Case(f"cut after {cut} bytes", good[:cut])
    flips = 0
    while flips < 24:
        place, byte = dice.randrange(len(good)), dice.randrange(256)
        changed = good[:place] + bytes([byte]) + good[place + 1 :]
        if not _readable(changed):
            flips += 1
            yield Case(f"byte {place} is {byte} ({flips})", changed)
    texts: dict[str, bytes] = {
        "empty": b"", "spaces": b" \n\t ", "null": b"null", "true": b"true", "7": b"7", "text": b'"inputs"', "list": b"[]", "brace": b"{",
        "two documents": good + good, "garbage behind": good + b"x", "comment": b"/* */" + good, "mark": b"\xef\xbb\xbf" + good,
        "utf-16": good.decode().encode("utf-16"), "utf-32": good.decode().encode("utf-32"), "single quotes": good.replace(b'"', b"'"),
        "comma at the end": good[:-1] + b",}", "comma in the list": good.replace(b"2.0]", b"2.0,]"), "not quoted": good.replace(b'"inputs"', b"inputs"),
        "tab in a text": good.replace(b'"x"', b'"x\t"'), "nul byte": good.replace(b'"x"', b'"x\0"'), "wrong escape": good.replace(b'"x"', b'"\\x"'),
        "half a pair": good.replace(b'"x"', b'"\\ud800"'), "pair reversed": good.replace(b'"x"', b'"\\udc00\\ud800"'),
        "latin-1": good.replace(b'"x"', b'"\xe9"'), "overlong": good.replace(b'"x"', b'"\xc0\xaf"'), "surrogate bytes": good.replace(b'"x"', b'"\xed\xa0\x80"'),
        "beyond unicode": good.replace(b'"x"', b'"\xf5\x80\x80\x80"'), "xml": b"<inputs/>", "yaml": b"inputs:\n- name: x\n", "form": b"inputs=1&x=2",
        "deep lists": b"[" * 100_000, "deep objects": b'{"a":' * 50_000, "deep data": row_text("[" * 2000 + "]" * 2000),
        "deep parameters": request(ROW)[:-1] + b',"parameters":' + b"[" * 5000 + b"]" * 5000 + b"}", "pickle": b"\x80\x04\x95\x00.", "msgpack": b"\x81\xa6inputs\x90",
    }  # fmt: skip
    for name, body in texts.items():
        yield Case(f"body: {name}", body)
    yield Case("spaces around", b" \n" + good + b"\n ", GOOD)
    yield Case("escaped letters", good.replace(b'"inputs"', b'"\\u0069nputs"'), GOOD)
    yield Case("an emoji for a name", request(ROW | {"name": "\N{PILE OF POO}"}), GOOD)


def _readable(body: bytes) -> bool:
    try:
        json.loads(body.decode("utf-8"), parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return False
    return True


def _large() -> Iterator[Case]:
    big = "x" * (10 << 20)
    for name, body in {
        "id": request(ROW, id=big), "name": request(ROW | {"name": big}), "unknown input": request(column("x0", 1.0), column(big, 1.0)),
        "text for a number": request(column("x0", big, "BYTES"), column("x1", 1.0)), "datatype": request(ROW | {"datatype": big}),
        "output": request(ROW, outputs=[{"name": big}]), "body": b" " * (17 << 20), "no JSON": big.encode(), "key": request(ROW) + b"{" + big.encode(),
    }.items():  # fmt: skip
        yield Case(f"10 MB of {name}", body)
    bomb = zipped(b" " * (1 << 20)) * 1024
    packed = {"content-encoding": "gzip"}
    yield Case("1 GB in 1 MB", bomb, headers=packed)
    yield Case("128 MB of zeros in one member", zipped(b"\0" * (128 << 20), 1), headers=packed)
    yield Case("10 MB of brackets, compressed", zipped(b"[" * (10 << 20)), headers=packed)


def _binary() -> Iterator[Case]:
    tail = np.array([1.0, 2.0]).tobytes()

    def sent(size: Any, behind: bytes, *, header: str | None = None, more: Any = None, **given: Any) -> dict[str, Any]:
        item = {key: value for key, value in ROW.items() if key != "data"} | given
        item["parameters"] = {"binary_data_size": size}
        head = request(item, **(more or {}))
        return {"body": head + behind, "headers": {"inference-header-content-length": header or str(len(head))}}

    yield Case("binary", expect=GOOD, **sent(16, tail))
    yield Case("binary FP32", expect=GOOD, **sent(8, np.array([1, 2], "<f4").tobytes(), datatype="FP32"))
    yield Case("binary BOOL", expect=[answer(1, 0)], **sent(2, b"\1\0", datatype="BOOL"))
    size: Any
    for size in (0, 1, 8, 15, 17, 32, -1, -16, 2**31, 2**63, 2**70, 16.0, "16", True, [16], {}):
        yield Case(f"binary_data_size {size!r}", **sent(size, tail))
    for count in (0, 1, 8, 15, 17, 24, 1000):
        yield Case(f"a binary tail of {count} bytes", **sent(16, (tail * 100)[:count]))
    for header in (
        "0",
        "-1",
        "1",
        "99999999",
        "99999999999999999999999",
        "x",
        "1.0",
        "0x20",
        "",
        " ",
        "+20",
        "2e1",
        "1 2",
    ):
        yield Case(f"header length {header!r}", **sent(16, tail, header=header or "\t"))
    for name, values in {"NaN": [np.nan, 2.0], "infinite": [np.inf, 2.0], "beyond float32": [1e39, 2.0]}.items():
        yield Case(f"binary {name}", **sent(16, np.array(values).tobytes()))
    yield Case("binary BOOL of 2", **sent(2, b"\1\2", datatype="BOOL"))
    yield Case("binary and data", **sent(16, tail, data=[1.0, 2.0]))
    yield Case("binary of a wrong shape", **sent(16, tail, shape=[1, 3]))
    yield Case("binary of a huge shape", **sent(16, tail, shape=[2**40, 2]))
    for length in (0, 3, 5, 2**31, 2**32 - 1):
        elements = length.to_bytes(4, "little") + b"1.5a" + (2).to_bytes(4, "little") + b"22"
        yield Case(f"BYTES with a length of {length}", **sent(len(elements), elements, datatype="BYTES"))
    yield Case("BYTES that end in a length", **sent(3, b"\1\0\0", datatype="BYTES"))
    yield Case("BYTES that are no text", **sent(10, b"\1\0\0\0\xff\1\0\0\0\xfe", datatype="BYTES"))
