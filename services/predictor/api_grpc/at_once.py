"""Usual inference calls, read from their message and answered as bytes; None, before anything has happened, for others.

The servicer then does everything, refusals included. The answers say what its own would.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from services.predictor.domain.model import Ask, Role, Served
from services.predictor.domain.predict import Predictor
from services.predictor.domain.quotas import HELD_SECONDS, Quota, Quotas
from services.predictor.domain.rows import Row, RowLayout
from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.core.errors import TenonError
from tenon.core.tenancy import Scope, TenantId
from tenon.kit import context
from tenon.kit.auth import RecentCallers
from tenon.kit.grpc_inline import Later

_MAX_ID = 256
_MOST_BYTES = 256 << 10
_WIDTHS = {"FP64": 8, "FP32": 4, "INT64": 8, "INT32": 4, "BOOL": 1}
_DOUBLE = struct.Struct("<d").pack
_CODES = {"FP64": "d", "FP32": "f"}
_EXACT = 2**53
_LONGEST_HEAD = 1024
_MOST_HEADS = 4096
_MOST_SIZES = 8
_ID_PREFIX = b"\x0a\x0dprediction_id\x12\x26\x1a\x24"
"""Of a parameter whose text has 36 characters."""


class InferAtOnce:
    """See `tenon.kit.grpc_inline.AtOnce`."""

    def __init__(
        self, predictor: Predictor, callers: RecentCallers, quotas: Quotas | None = None, *, inline_rows: int
    ) -> None:
        self._quotas = quotas or Quotas(Quota())
        self._predictor = predictor
        self._at_once = predictor.at_once
        self._callers = callers
        self._inline_rows = inline_rows
        self._heads = Heads()

    def __call__(self, data: bytes, metadata: Sequence[tuple[str, Any]]) -> bytes | Later | None:
        """The answer."""
        if len(data) > _MOST_BYTES:
            return None
        shown = named = given = ""
        for key, value in metadata:
            if key == "authorization":
                shown = value
            elif key == "x-request-id":
                given = value
            elif key == "x-tenon-tenant":
                named = value
            elif key in ("traceparent", "x-api-key"):
                return None
        principal = self._callers.find(shown.encode("latin-1", "replace")) if shown else None
        if principal is None:
            return None
        try:
            tenant = principal.tenant_for(named or None, Scope.PREDICT)
            meter = self._quotas.of(tenant)
            refused = None if meter is None else meter.refusal()
            if meter is not None and refused is not None:
                meter.hold()
                return Later(min(refused.seconds, HELD_SECONDS), meter.let_go)
            found = self._infer(tenant, data, given)
        except (TenonError, DecodeError):
            return None
        if found is None:
            return None
        answer, rows = found
        if meter is not None:
            meter.take(rows)
        return answer

    def _infer(self, tenant: TenantId, data: bytes, given: str) -> tuple[bytes, int] | None:
        """The answer and how many rows it has."""
        started = time.perf_counter()
        known = self._heads.find(data)
        if known is not None:
            return self._known(tenant, known, data, given, started)
        request = pb.ModelInferRequest.FromString(data)
        inputs, raw, own = request.inputs, request.raw_input_contents, request.id
        if len(raw) != len(inputs) or not raw or len(own) > _MAX_ID or request.parameters or request.outputs:
            return None
        request_id = own or context.accept_request_id(given)
        model = request.model_name
        version = request.model_version or None
        route = self._at_once.route(tenant, model, version, request_id)
        if route is None:
            return None
        first = inputs[0]
        shape = first.shape
        rows = shape[0] if shape else 0
        if rows == 1:
            row = _row(route.layout, inputs, raw)
            if row is None:
                return None
            if len(inputs) == 1 and len(route.layout.fields) > 1 and not own:
                self._heads.keep(data, raw[0], Head(model, version, shape[1], _CODES[first.datatype]))
            score, _, text = self._at_once.answer(route, "grpc", request_id, row, started)
            served, role = route.serving
            return _template_of(served, role).row(score, text, own), 1
        if len(inputs) != 1 or len(shape) != 2 or not 1 < rows <= self._inline_rows or not _is_plain(first):
            return None
        code, width = _CODES.get(first.datatype), shape[1]
        if code is None or width < 2 or len(raw[0]) != rows * width * _WIDTHS[first.datatype]:
            return None
        matrix = np.frombuffer(raw[0], f"<f{_WIDTHS[first.datatype]}").reshape(rows, width)
        plan = self._predictor.plan(tenant, Ask(model, version, "grpc", request_id, rows, {}, matrix))
        if plan.waits:
            return None
        answer = self._predictor.answer(plan)[0]
        return _template_of(answer.served, answer.role).rows(answer.scores, own), rows

    def _known(self, tenant: TenantId, head: Head, data: bytes, given: str, started: float) -> tuple[bytes, int] | None:
        """The same for one row behind a head that was read before."""
        request_id = context.accept_request_id(given)
        route = self._at_once.route(tenant, head.model, head.version, request_id)
        if route is None or len(route.layout.fields) != head.width or route.layout.text_names:
            return None
        row = route.layout.row(list(head.values(data)), [])
        if row is None:
            return None
        score, _, text = self._at_once.answer(route, "grpc", request_id, row, started)
        served, role = route.serving
        return _template_of(served, role).row(score, text, ""), 1


class Head:
    """What a message says before its one raw tensor of one row, which ends it."""

    __slots__ = ("_code", "_skip", "model", "version", "width")

    def __init__(self, model: str, version: str | None, width: int, code: str) -> None:
        self.model, self.version, self.width = model, version, width
        self._code = struct.Struct(f"<{width}{code}")
        self._skip = -self._code.size

    def values(self, data: bytes) -> tuple[float, ...]:
        """The row's numbers."""
        found: tuple[float, ...] = self._code.unpack(data[self._skip :])
        return found


class Heads:
    """Heads by their bytes: a client sends the same ones again and again, and reading a message costs more than its row.

    The bytes before a tensor end in its length, so a known head and as many bytes are the message that was read before, with
    other numbers.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self._sizes: tuple[int, ...] = ()

    def find(self, data: bytes) -> Head | None:
        """The head of a message, if it is known."""
        for size in self._sizes:
            found = self._known.get(data[:-size])
            if found is not None:
                return found
        return None

    def keep(self, data: bytes, tensor: bytes, head: Head) -> None:
        """Know a head from now on."""
        size, ending = len(tensor), b"\x3a" + _number(len(tensor)) + tensor
        # A message may be written in any order; only one that ends in its tensor, and has it nowhere else, has a head.
        if len(data) - size > _LONGEST_HEAD or not data.endswith(ending):
            return
        try:
            if pb.ModelInferRequest.FromString(data[: -len(ending)]).raw_input_contents:
                return
        except DecodeError:
            return
        if len(self._known) >= _MOST_HEADS:
            self._known, self._sizes = {}, ()
        if size not in self._sizes:
            if len(self._sizes) >= _MOST_SIZES:
                return
            self._sizes = (*self._sizes, size)
        self._known[data[:-size]] = head


def _is_plain(item: Any) -> bool:
    return not item.parameters and not item.HasField("contents") and bool(item.name)


def _row(layout: RowLayout, inputs: Any, raw: Any) -> Row | None:
    """The one row of a request, from one matrix or one tensor for each column in the signature's order."""
    fields = layout.fields
    if len(inputs) == 1 and len(fields) > 1:
        item, data = inputs[0], raw[0]
        code, width = _CODES.get(item.datatype), len(fields)
        if layout.text_names or code is None or item.shape != [1, width] or not _is_plain(item):
            return None
        if len(data) != width * _WIDTHS[item.datatype]:
            return None
        return layout.row(list(struct.unpack(f"<{width}{code}", data)), [])
    if len(inputs) != len(fields):
        return None
    numbers: list[float] = []
    texts: list[str | None] = []
    for item, data, (name, is_text, is_boolean, _) in zip(inputs, raw, fields, strict=True):
        if item.name != name or item.shape not in ([1], [1, 1]) or not _is_plain(item):
            return None
        datatype = item.datatype
        if is_text:
            if datatype != "BYTES" or len(data) < 4 or int.from_bytes(data[:4], "little") != len(data) - 4:
                return None
            try:
                texts.append(data[4:].decode())
            except UnicodeDecodeError:
                return None
        elif _WIDTHS.get(datatype) != len(data):
            return None
        elif datatype in _CODES:
            numbers.append(struct.unpack("<" + _CODES[datatype], data)[0])
        elif datatype == "BOOL":
            if not is_boolean or data[0] > 1:
                return None
            numbers.append(float(data[0]))
        else:
            whole = int.from_bytes(data, "little", signed=True)
            if not -_EXACT <= whole <= _EXACT:
                return None
            numbers.append(float(whole))
    return layout.row(numbers, texts)


class _Template:
    """The answer of one version in one role, but for ids and scores: a message's fields, each behind its tag."""

    __slots__ = ("_before_id", "_head", "_one", "_output", "_parameters")

    def __init__(self, served: Served, role: Role) -> None:
        version = str(served.version)
        self._head = _field(1, served.model.encode()) + _field(2, version.encode())
        said = {"tenant": served.tenant.value, "version": version, "role": role.value}
        self._parameters = b"".join(_parameter(name, value) for name, value in said.items())
        self._output = _field(1, served.output.encode()) + _field(2, b"FP64")
        self._one = self._of_rows(1) + b"\x32\x08"
        self._before_id = self._parameters + _field(4, _ID_PREFIX + b"0" * 36)[:-36]

    def row(self, score: float, prediction_id: str, request_id: str) -> bytes:
        """The message for one row."""
        named = _field(3, request_id.encode()) if request_id else b""
        return b"%b%b%b%b%b%b" % (
            self._head, named, self._before_id, prediction_id.encode(), self._one, _DOUBLE(score),
        )  # fmt: skip

    def rows(self, scores: np.ndarray, request_id: str) -> bytes:
        """The message for more than one row."""
        named = _field(3, request_id.encode()) if request_id else b""
        contents = _field(6, scores.astype("<f8", copy=False).tobytes())
        return b"".join((self._head, named, self._parameters, self._of_rows(len(scores)), contents))

    def _of_rows(self, rows: int) -> bytes:
        return _field(5, self._output + _field(3, _number(rows)))


def _template_of(served: Served, role: Role) -> _Template:
    key = ("grpc template", role)
    found: _Template | None = served.kept.get(key)
    if found is None:
        found = served.kept.setdefault(key, _Template(served, role))
    return found


def _parameter(name: str, value: str) -> bytes:
    return _field(4, _field(1, name.encode()) + _field(2, _field(3, value.encode())))


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _number(len(data)) + data


def _number(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
