"""Tensors of the Open Inference Protocol, independent of how they travelled: datatypes, shapes, values."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from services.predictor.domain.model import Column, Kind, Values
from tenon.core.errors import Invalid, Place, did_you_mean

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BYTES = "BYTES"
DATATYPE_OF_KIND = {
    Kind.NUMBER: "FP64",
    Kind.INTEGER: "INT64",
    Kind.BOOLEAN: "BOOL",
    Kind.TEXT: BYTES,
    Kind.TIMESTAMP: BYTES,
}
_LENGTH = struct.Struct("<I")
_MAX_ELEMENTS = 1 << 28
_EXACT = 2**53


class Tensor(NamedTuple):
    """One input: its rows, its width (1 for a column) and its values, flat."""

    name: str
    rows: int
    width: int
    values: Values


def refuse(name: str, reason: str, what: str, hint: str | None = None) -> Invalid:
    """A refusal that names the input."""
    shown = name[:80]
    return Invalid(reason, f"input {shown!r}: {what}", place=Place(field=shown), hint=hint)


def check_shape(name: str, shape: Sequence[Any]) -> tuple[int, int]:
    """(rows, width) of a shape [n], [n, 1] or [n, k]. Raises `Invalid`."""
    for size in shape:
        if type(size) is not int or size < 0:
            raise refuse(
                name, "SHAPE_INVALID", f"shape {list(shape)[:8]} is not a list of whole numbers from 0 on"[:200]
            )
    if len(shape) not in (1, 2):
        raise refuse(
            name, "SHAPE_INVALID", f"a tensor has shape [rows], [rows, 1] or [rows, columns], not {list(shape)[:8]}"
        )
    rows, width = shape[0], shape[1] if len(shape) == 2 else 1
    if width == 0 or rows * width > _MAX_ELEMENTS:
        raise refuse(name, "SHAPE_INVALID", f"shape {list(shape)} is empty or too large")
    return rows, width


def check_datatype(name: str, datatype: Any) -> str:
    """The datatype if it is one. Raises `Invalid`."""
    if isinstance(datatype, str) and (datatype in DTYPES or datatype == BYTES):
        return datatype
    near = did_you_mean(str(datatype)[:20], [*DTYPES, BYTES])
    raise refuse(
        name,
        "DATATYPE_UNKNOWN",
        f"datatype {str(datatype)[:20]!r} is not known",
        f"did you mean {near!r}?" if near else f"datatypes: {', '.join(DTYPES)}, {BYTES}",
    )


def check_content_type(name: str, content_type: Any) -> None:
    """Refuse text in a coat (MLServer's codecs can put one on): taken literally it would be a category nobody knows, and
    the answer a number for something else."""
    if content_type in ("base64", "pd_json"):
        raise refuse(
            name, "CONTENT_TYPE_UNSUPPORTED", f"content_type {content_type!r} is not unpacked", "send the text as it is"
        )


def from_raw(name: str, datatype: str, rows: int, width: int, data: bytes | memoryview) -> Tensor:
    """A tensor from its little-endian bytes. Raises `Invalid` when they are too few or too many."""
    count = rows * width
    if datatype == BYTES:
        return Tensor(name, rows, width, _split_bytes(name, data, count))
    dtype = DTYPES[datatype]
    if len(data) != count * dtype.itemsize:
        raise refuse(
            name, "DATA_SIZE", f"{count} {datatype} values are {count * dtype.itemsize} bytes, {len(data)} were sent"
        )
    if datatype == "BOOL":
        octets = np.frombuffer(data, np.uint8)
        if octets.size and octets.max() > 1:
            raise refuse(name, "VALUE_TYPE", f"a BOOL is a byte 0 or 1, not {int(octets.max())}")
    return Tensor(name, rows, width, np.frombuffer(data, dtype))


def from_json(name: str, datatype: str, rows: int, width: int, data: Any) -> Tensor:
    """A tensor from JSON data, flat or nested; null is a missing value. Raises `Invalid` naming the row."""
    if not isinstance(data, list):
        raise refuse(name, "DATA_MISSING", "`data` must be a list")
    flat = _flatten(name, data, rows, width) if data and isinstance(data[0], list) else data
    if len(flat) != rows * width:
        raise refuse(name, "DATA_SIZE", f"the shape says {rows * width} values, `data` has {len(flat)}")
    kinds = set(map(type, flat))
    kinds.discard(type(None))
    if datatype == BYTES:
        return Tensor(name, rows, width, _all_of(name, datatype, flat, kinds, {str}, width))
    if datatype == "BOOL":
        return Tensor(name, rows, width, _all_of(name, datatype, flat, kinds, {bool}, width))
    if datatype.startswith("FP"):
        _all_of(name, datatype, flat, kinds, {int, float}, width)
        if datatype == "FP64" and None in flat:
            return Tensor(name, rows, width, flat)
        # What is declared as single precision is that, as if it had come in binary.
        with np.errstate(over="ignore"):
            try:
                return Tensor(name, rows, width, np.array(flat, np.float64).astype(DTYPES[datatype], copy=False))
            except OverflowError:
                raise refuse(name, "VALUE_RANGE", "a number is too large") from None
    _all_of(name, datatype, flat, kinds, {int}, width)
    limits = np.iinfo(DTYPES[datatype])
    for place, value in enumerate(flat):
        if value is not None and not limits.min <= value <= limits.max:
            raise refuse(name, "VALUE_RANGE", f"row {place // width}: {str(value)[:40]} does not fit {datatype}")
    return Tensor(name, rows, width, flat)


def text_elements(name: str, elements: Sequence[bytes]) -> list[str]:
    """BYTES elements as text. Raises `Invalid` naming the row that is not UTF-8."""
    found = []
    for row, element in enumerate(elements):
        try:
            found.append(element.decode("utf-8"))
        except UnicodeDecodeError:
            raise refuse(name, "TEXT_NOT_UTF8", f"row {row}: the bytes are not UTF-8 text") from None
    return found


def join_bytes(elements: Sequence[str]) -> bytes:
    """Text as the bytes of a BYTES tensor: each element behind its length."""
    return b"".join(_LENGTH.pack(len(data)) + data for data in (element.encode() for element in elements))


def columns_of(tensors: Sequence[Tensor]) -> tuple[int, dict[str, Values], npt.NDArray[Any] | None]:
    """(rows, columns, matrix) of a request's inputs: one tensor per column, or one matrix. Raises `Invalid`."""
    if not tensors:
        raise Invalid("INPUTS_MISSING", "the request has no inputs", hint="send one tensor per column")
    rows = tensors[0].rows
    if len(tensors) == 1 and tensors[0].width > 1:
        return rows, {}, _matrix(tensors[0])
    columns: dict[str, Values] = {}
    for tensor in tensors:
        if tensor.width != 1:
            raise refuse(
                tensor.name,
                "SHAPE_INVALID",
                f"a column has shape [rows] or [rows, 1], this one has {tensor.width} columns",
            )
        if tensor.rows != rows:
            raise refuse(
                tensor.name, "ROWS_DIFFER", f"it has {tensor.rows} rows, but {tensors[0].name[:80]!r} has {rows}"
            )
        if tensor.name in columns:
            raise refuse(tensor.name, "INPUT_TWICE", "the input is given twice")
        columns[tensor.name] = tensor.values
    return rows, columns, None


def check_outputs(names: Sequence[str], output: str) -> list[str]:
    """The outputs to send: those asked for, or the one there is. Raises `Invalid` for an unknown name."""
    known = (output, PREDICTION_ID)
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            raise Invalid(
                "OUTPUT_UNKNOWN",
                f"there is no output {name[:80]!r}",
                place=Place(field=name[:80]),
                hint=f"did you mean {near!r}?" if near else f"outputs: {', '.join(known)}",
            )
    return list(dict.fromkeys(names)) or [output]


PREDICTION_ID = "prediction_id"


def metadata_of(columns: Sequence[Column]) -> list[tuple[str, str, list[int]]]:
    """(name, datatype, shape) of each input."""
    return [(column.name, DATATYPE_OF_KIND[column.kind], [-1]) for column in columns]


def _matrix(tensor: Tensor) -> npt.NDArray[Any]:
    values = tensor.values
    if not isinstance(values, np.ndarray):
        if any(isinstance(value, str) for value in values):
            raise refuse(
                tensor.name, "MATRIX_NEEDS_NUMBERS", "a matrix holds numbers; send text as one tensor per column"
            )
        try:
            numbers = np.array([np.nan if value is None else value for value in values], np.float64)
        except OverflowError:
            raise refuse(tensor.name, "VALUE_RANGE", "a number is too large") from None
        # Lists hold whole numbers where the datatype is one; rounding them would change them in silence.
        for place in np.flatnonzero(np.abs(numbers) >= _EXACT).tolist():
            if type(values[place]) is int and abs(values[place]) > _EXACT:
                raise refuse(
                    tensor.name,
                    "VALUE_RANGE",
                    f"row {place // tensor.width}: {values[place]} is beyond the integers a float64 holds exactly",
                )
        values = numbers
    return values.reshape(tensor.rows, tensor.width)


def _split_bytes(name: str, data: bytes | memoryview, count: int) -> list[str]:
    found: list[bytes] = []
    place, end = 0, len(data)
    while place < end:
        if place + 4 > end or len(found) == count:
            raise refuse(
                name, "DATA_SIZE", f"the BYTES data does not hold {count} elements, each behind its 4-byte length"
            )
        (length,) = _LENGTH.unpack_from(data, place)
        place += 4
        if place + length > end:
            raise refuse(name, "DATA_SIZE", f"row {len(found)}: the element's length goes beyond the data")
        found.append(bytes(data[place : place + length]))
        place += length
    if len(found) != count:
        raise refuse(name, "DATA_SIZE", f"the shape says {count} elements, the data holds {len(found)}")
    return text_elements(name, found)


def _flatten(name: str, data: list[Any], rows: int, width: int) -> list[Any]:
    if len(data) != rows:
        raise refuse(name, "DATA_SIZE", f"the shape says {rows} rows, `data` has {len(data)}")
    flat: list[Any] = []
    for row, item in enumerate(data):
        if not isinstance(item, list) or len(item) != width:
            raise refuse(name, "DATA_SIZE", f"row {row}: a list of {width} values is expected")
        flat += item
    return flat


def _all_of(name: str, datatype: str, flat: list[Any], kinds: set[type], allowed: set[type], width: int) -> list[Any]:
    if kinds <= allowed:
        return flat
    for place, value in enumerate(flat):
        if value is not None and type(value) not in allowed:
            sort = {dict: "an object", list: "a list", bool: "a boolean", str: "text"}.get(type(value), "a number")
            shown = f"{sort} ({str(value)[:40]!r})" if isinstance(value, str | int | float) else sort
            hint = "send null for a missing value" if isinstance(value, str) else None
            raise refuse(name, "VALUE_TYPE", f"row {place // width}: {shown} is not {datatype}", hint)
    return flat
