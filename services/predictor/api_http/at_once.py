"""Usual inference requests, read and answered without an object more than they need.

Whatever is not quite usual is None here, before anything has happened: `codec` then reads it, takes what may be taken and
says what may not. So this file refuses nothing, and its answers are the bytes that `codec` would have written.
"""

from __future__ import annotations

import math
from array import array
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
import simdjson
from msgspec import UNSET, UnsetType

from services.predictor.domain.model import Role, Served
from services.predictor.domain.rows import Row, RowLayout

_MAX_ID = 256
_MAX_NAME = 1000
_COLUMN = ([1], [1, 1])
_EXACT = 2**53
_LIMITS = {f"{sign}INT{bits}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits if sign else bits - 1) - 1)
           for sign in ("", "U") for bits in (8, 16, 32, 64)}  # fmt: skip
_SINGLE = np.dtype("<f4")
_DTYPES: dict[str, np.dtype[Any]] = {"FP64": np.dtype("<f8"), "FP32": _SINGLE}


class Input(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET


class Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A request in the usual words."""

    inputs: list[Input]
    id: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET


_decode = msgspec.json.Decoder(Request).decode
_parser = simdjson.Parser()
_LARGE = 2048
"""From here on an object for each number costs more than another look at the request."""
_WORDS = {"binary_data_output", "binary_data_size"}


def read(body: bytes) -> Request | None:
    """The request, when it has only what is read here, and no key twice."""
    head, numbers = _parted(body) if len(body) >= _LARGE else (body, None)
    try:
        request = _decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if numbers is not None:
        if len(request.inputs) != 1 or request.inputs[0].data != []:
            return None
        request.inputs[0].data = numbers  # type: ignore[assignment]
    keys = 1 + 4 * len(request.inputs)
    if request.id is not UNSET:
        if len(request.id) > _MAX_ID:
            return None
        keys += 1
    if request.parameters is not UNSET:
        if not _plain(request.parameters):
            return None
        keys += 1 + len(request.parameters)
    for item in request.inputs:
        if item.parameters is not UNSET:
            if not _plain(item.parameters):
                return None
            keys += 1 + len(item.parameters)
            if item.data is UNSET:
                keys -= 1
        elif item.data is UNSET:
            return None
    # Of a key that stands twice only one is left, but both have their colon. (A colon in a text makes it unusual, too.)
    return request if head.count(b":") == keys else None


def _parted(body: bytes) -> tuple[bytes, npt.NDArray[np.float64] | None]:
    """A request with its one long list of numbers taken out, and that list as an array; else the request as it is.

    An object for each number would cost more than the forest.
    """
    # Three brackets are those of the inputs, of the shape and of the numbers: nothing is nested.
    first = body.find(b"[")
    second = body.find(b"[", first + 1)
    third = body.find(b"[", second + 1)
    if not -1 < first < second < third or body.find(b"[", third + 1) > -1:
        return body, None
    ends = body.find(b"]", second), body.find(b"]", third)
    start, end = (second, ends[0]) if ends[0] - second > ends[1] - third else (third, ends[1])
    try:
        found = _parser.parse(body[start : end + 1])
        if not isinstance(found, simdjson.Array):
            return body, None
        numbers = np.frombuffer(found.as_buffer(of_type="d"))
    except (ValueError, TypeError, RuntimeError):
        return body, None
    # Integers among them are float64 now; the long way looks at those that float64 cannot hold.
    if not len(numbers) or numbers.max() > _EXACT or numbers.min() < -_EXACT:
        return body, None
    return body[:start] + b"[]" + body[end + 1 :], numbers


def _plain(parameters: dict[str, Any]) -> bool:
    return parameters.keys() <= _WORDS and not any(isinstance(value, dict | list) for value in parameters.values())


def row_of(layout: RowLayout, inputs: list[Input]) -> Row | None:
    """The one row of a request in JSON."""
    if inputs and inputs[0].shape[:1] != [1]:
        return None
    if len(inputs) == 1 and inputs[0].shape == [1, len(layout.fields)] and len(layout.fields) > 1:
        return _matrix_row(layout, inputs[0])
    numbers: list[float] = []
    texts: list[str | None] = []
    fields = layout.fields
    if len(inputs) != len(fields):
        return _sorted_row(layout, inputs)
    for item, (name, is_text, is_boolean, _) in zip(inputs, fields, strict=True):
        if item.name != name:
            return _sorted_row(layout, inputs)
        data = item.data
        if item.shape not in _COLUMN or data is UNSET or len(data) != 1 or item.parameters is not UNSET:
            return None
        value = data[0]
        if is_text:
            if item.datatype != "BYTES" or not (type(value) is str or value is None):
                return None
            texts.append(value)
        elif type(value) is float and item.datatype == "FP64":
            numbers.append(value)
        else:
            number = _number(item.datatype, value, is_boolean)
            if number is None:
                return None
            numbers.append(number)
    return layout.row(numbers, texts)


def _sorted_row(layout: RowLayout, inputs: list[Input]) -> Row | None:
    """The same in another order, or with columns left out."""
    given = {item.name: item for item in inputs}
    if len(given) != len(inputs):
        return None
    found = []
    for name, is_text, _, may_lack in layout.fields:
        item = given.pop(name, None)
        if item is None:
            if not may_lack:
                return None
            item = Input(name, [1], "BYTES" if is_text else "FP64", [None])
        found.append(item)
    return None if given else row_of(layout, found)


def _number(datatype: str, value: Any, is_boolean: bool) -> float | None:
    """A number of a datatype as float64; NaN for null."""
    kind = type(value)
    if datatype == "FP64":
        if kind is float or (kind is int and -_EXACT <= value <= _EXACT):
            return float(value)
    elif datatype == "FP32":
        if kind is float or (kind is int and -_EXACT <= value <= _EXACT):
            # What is declared as single precision is that, as if it had come in binary.
            return array("f", (value,))[0]
    elif datatype == "BOOL":
        if kind is bool and is_boolean:
            return float(value)
    elif datatype in _LIMITS:
        least, most = _LIMITS[datatype]
        if kind is int and least <= value <= most and -_EXACT <= value <= _EXACT:
            return float(value)
    else:
        return None
    return math.nan if value is None else None


def row_of_features(layout: RowLayout, features: dict[str, Any]) -> Row | None:
    """The row of one instance that gives its features by name."""
    numbers: list[float] = []
    texts: list[str | None] = []
    lacking = 0
    for name, is_text, is_boolean, may_lack in layout.fields:
        value = features.get(name)
        if value is None and name not in features:
            if not may_lack:
                return None
            lacking += 1
        if is_text:
            if not (type(value) is str or value is None):
                return None
            texts.append(value)
        elif type(value) is float:
            numbers.append(value)
        else:
            number = _number("BOOL" if type(value) is bool else "FP64", value, is_boolean)
            if number is None:
                return None
            numbers.append(number)
    return layout.row(numbers, texts) if len(features) + lacking == len(layout.fields) else None


def _is_exact(value: Any) -> bool:
    return type(value) is not int or -_EXACT <= value <= _EXACT


def _matrix_row(layout: RowLayout, item: Input) -> Row | None:
    data = item.data
    if layout.text_names or not 0 < len(item.name) <= _MAX_NAME:
        return None
    if item.parameters is not UNSET or item.datatype not in _DTYPES or data is UNSET or not len(data):
        return None
    if type(data[0]) is list:
        if len(data) != 1:
            return None
        data = data[0]
    if len(data) != len(layout.fields):
        return None
    if isinstance(data, np.ndarray):
        data = data.tolist()
    kinds = set(map(type, data))
    if kinds != {float}:
        if not kinds <= {float, int, type(None)} or not all(map(_is_exact, data)):
            return None
        data = [math.nan if value is None else float(value) for value in data]
    if item.datatype == "FP32":
        data = array("f", data).tolist()
    return layout.row(data, [])


def matrix_of(item: Input, tail: memoryview) -> npt.NDArray[Any] | None:
    """The rows of a request whose one tensor is a matrix of floats, in JSON or behind it; always a real matrix."""
    dtype = _DTYPES.get(item.datatype)
    if dtype is None or len(item.shape) != 2 or not 0 < len(item.name) <= _MAX_NAME:
        return None
    rows, width = item.shape
    if rows < 1 or width < 2:
        return None
    data, parameters = item.data, item.parameters
    if data is UNSET:
        size = parameters.get("binary_data_size") if parameters is not UNSET else None
        if type(size) is not int or size != len(tail) or size != rows * width * dtype.itemsize:
            return None
        return np.frombuffer(tail, dtype).reshape(rows, width)
    if parameters is not UNSET or len(tail):
        return None
    if isinstance(data, np.ndarray):
        if len(data) != rows * width:
            return None
        values: npt.NDArray[Any] = data
    else:
        if len(data) != rows * width:
            if len(data) != rows or any(type(row) is not list or len(row) != width for row in data):
                return None
            data = [value for row in data for value in row]
        kinds = set(map(type, data))
        if not kinds <= {float, int} or not (kinds == {float} or all(map(_is_exact, data))):
            return None
        values = np.array(data, np.float64)
    if dtype is _SINGLE:
        with np.errstate(over="ignore"):
            values = values.astype(_SINGLE)
    return values.reshape(rows, width)


class Template:
    """The answer of one version in one role, but for ids and scores."""

    __slots__ = ("_head", "_middle", "_names", "_parameters")

    def __init__(self, served: Served, role: Role) -> None:
        version = str(served.version)
        self._head = orjson.dumps({"model_name": served.model, "model_version": version})[:-1]
        said = {"tenant": served.tenant.value, "version": version, "role": role.value}
        self._parameters = b',"parameters":' + orjson.dumps(said)[:-1]
        self._middle = (
            b'"},"outputs":[{"name":' + orjson.dumps(served.output) + b',"datatype":"FP64","shape":[1],"data":['
        )
        self._names = b'},"outputs":[{"name":' + orjson.dumps(served.output) + b',"datatype":"FP64","shape":['

    def row(self, score: float, prediction_id: str, request_id: str | None) -> bytes:
        """The body for one row."""
        named = b"" if request_id is None else b',"id":' + orjson.dumps(request_id)
        return b"%b%b%b,\"prediction_id\":\"%b%b%b]}]}" % (
            self._head, named, self._parameters, prediction_id.encode(), self._middle, orjson.dumps(score),
        )  # fmt: skip

    def rows(self, scores: npt.NDArray[np.float64], request_id: str | None) -> bytes:
        """The body for more than one row without history."""
        named = b"" if request_id is None else b',"id":' + orjson.dumps(request_id)
        data = orjson.dumps(np.ascontiguousarray(scores), option=orjson.OPT_SERIALIZE_NUMPY)
        return b'%b%b%b%b%d],"data":%b}]}' % (
            self._head, named, self._parameters, self._names, len(scores), data,
        )  # fmt: skip


def template_of(served: Served, role: Role) -> Template:
    """The template of an answer; it goes when the version goes."""
    key = ("template", role)
    found: Template | None = served.kept.get(key)
    if found is None:
        found = served.kept.setdefault(key, Template(served, role))
    return found
