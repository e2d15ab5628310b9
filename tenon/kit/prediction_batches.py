"""Batches of the prediction log as they travel on the stream: what rows have in common as JSON, the rows as bytes.

The fields of an entry:

    batch   JSON: batch_id, replica, tenant, model, version, role, protocol, rows, width, numbers, texts (names of columns)
    rows    row by row, little-endian: 16 bytes without meaning here, at (int64), request id (UTF-8, padded with zeros to `width`
            bytes), id (16 bytes), event_time (int64), score (float64), numbers (float64 each)
    texts   JSON: for each row the list of its texts; absent without text columns

Whoever writes does not look into rows, so that the log costs the answers nothing; whoever reads gets columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from tenon.core.errors import Invalid, Place

_ID_BYTES = 16
_WIDEST = 4_096


def row_dtype(width: int, numbers: int) -> np.dtype[Any]:
    """A row of a batch, without its texts."""
    return np.dtype(
        [
            ("head", "V16"), ("at", "<i8"), ("request_id", f"S{width}"), ("id", f"V{_ID_BYTES}"), ("event_time", "<i8"),
            ("score", "<f8"), ("numbers", "<f8", (numbers,)),
        ]
    )  # fmt: skip


def pack_batch(about: Mapping[str, Any], rows: bytes, texts: bytes) -> dict[str, bytes]:
    """The fields of an entry; `about` has all of the JSON but `rows`, `texts` is the inside of its list."""
    size = row_dtype(about["width"], len(about["numbers"])).itemsize
    fields = {"batch": orjson.dumps({**about, "rows": len(rows) // size}), "rows": rows}
    if about["texts"]:
        fields["texts"] = b"[" + texts + b"]"
    return fields


def unpack_batch(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """The batch as one document: ids and texts as lists, numbers as arrays. Raises `Invalid` naming the field."""
    try:
        document = orjson.loads(fields[b"batch"])
        rows, width = int(document.pop("rows")), int(document.pop("width"))
        numbers, texts = list(document.pop("numbers")), list(document.pop("texts"))
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise _wrong("batch", "does not say what its rows are") from err
    data = fields.get(b"rows", b"")
    if rows < 1 or width < 1 or len(data) != rows * row_dtype(width, len(numbers)).itemsize:
        raise _wrong("rows", f"has {len(data)} bytes, which are not {rows} rows")
    table = np.frombuffer(data, row_dtype(width, len(numbers)))
    document |= {name: np.ascontiguousarray(table[name]) for name in ("at", "event_time", "score")}
    document["prediction_id"] = [_id_text(raw.hex()) for raw in table["id"].tolist()]
    document["request_id"] = [raw.decode(errors="replace") for raw in table["request_id"].tolist()]
    columns: dict[str, Any] = dict(zip(numbers, np.ascontiguousarray(table["numbers"].T), strict=True))
    if texts:
        columns |= _text_columns(fields.get(b"texts", b""), rows, texts)
    document["columns"] = columns
    return document  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class PackedBatches:
    """Batches with all in common but their ids and where they come from, decoded at once."""

    about: dict[str, Any]
    """What they have in common: tenant, model, version, role, level, numbers, texts."""
    sources: list[tuple[str, int, str, str]]
    """Of each batch its id, rows, replica and protocol."""
    table: np.ndarray[Any, Any]
    """All rows, as `row_dtype`."""
    texts: dict[str, list[Any]]


def unpack_batches(entries: Iterable[Mapping[bytes, bytes]]) -> list[PackedBatches]:
    """The batches of many entries, in as few parts as possible. Raises `Invalid` when one of them is no batch.

    Entries of one row each are told from each other by a few bytes only, so that it pays to look at all of them together.
    """
    groups: dict[bytes, list[tuple[dict[str, Any], Mapping[bytes, bytes]]]] = {}
    for fields in entries:
        document = _about(fields)
        common = {name: document.get(name) for name in _COMMON}
        groups.setdefault(orjson.dumps(common), []).append((document, fields))
    return [_together(group) for group in groups.values()]


_COMMON = ("tenant", "model", "version", "role", "level", "width", "numbers", "texts")


def _about(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        document = orjson.loads(fields[b"batch"])
        rows, width = document["rows"], document["width"]
        numbers, names = document["numbers"], document["texts"]
    except (KeyError, TypeError, ValueError) as err:
        raise _wrong("batch", "does not say what its rows are") from err
    if type(rows) is not int or type(width) is not int or not 1 <= width <= _WIDEST:
        raise _wrong("batch", "does not say what its rows are")
    if not all(
        isinstance(names_of, list) and all(isinstance(one, str) for one in names_of) for names_of in (numbers, names)
    ):
        raise _wrong("batch", "does not say what its rows are")
    data = fields.get(b"rows", b"")
    if rows < 1 or len(data) != rows * row_dtype(width, len(numbers)).itemsize:
        raise _wrong("rows", f"has {len(data)} bytes, which are not {rows} rows")
    for field in ("batch_id", "replica", "protocol"):
        if not isinstance(document.get(field), str):
            raise _wrong(field, "must be text")
    return document  # type: ignore[no-any-return]


def _together(group: list[tuple[dict[str, Any], Mapping[bytes, bytes]]]) -> PackedBatches:
    first = group[0][0]
    data = b"".join([fields[b"rows"] for _, fields in group])
    table = np.frombuffer(data, row_dtype(first["width"], len(first["numbers"])))
    texts: dict[str, list[Any]] = {}
    if first["texts"]:
        for document, fields in group:
            for name, values in _text_columns(fields.get(b"texts", b""), document["rows"], first["texts"]).items():
                texts.setdefault(name, []).extend(values)
    sources = [(one["batch_id"], one["rows"], one["replica"], one["protocol"]) for one, _ in group]
    return PackedBatches({name: first.get(name) for name in _COMMON}, sources, table, texts)


def _text_columns(data: bytes, rows: int, names: list[str]) -> dict[str, list[Any]]:
    try:
        lines = orjson.loads(data)
        columns = list(zip(*lines, strict=True))
    except (TypeError, ValueError) as err:
        raise _wrong("texts", "is not a list of rows") from err
    if len(lines) != rows or len(columns) != len(names):
        raise _wrong("texts", f"is not {rows} rows of {len(names)} columns")
    return {name: list(values) for name, values in zip(names, columns, strict=True)}


def _id_text(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _wrong(field: str, problem: str) -> Invalid:
    return Invalid("BATCH_INVALID", f"{field} of a prediction log batch {problem}", place=Place(field=field))
