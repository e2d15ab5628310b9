"""Batches of the prediction log as they travel on the stream: what rows have in common as JSON, the rows as arrays.

The fields of an entry:

    batch   JSON: batch_id, replica, tenant, model, version, role, protocol, rows, width, numbers, texts (names of columns)
    rows    at (int64), event_time (int64), score (float64), id (16 bytes), request id (UTF-8, padded with zeros to
            `width` bytes), then each column of numbers (float64); little-endian, each array behind the other
    texts   JSON: for each row the list of its texts; absent without text columns

Whoever writes does not look into rows, so that the log costs the answers nothing; whoever reads gets columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from tenon.core.errors import Invalid, Place

_ID_BYTES = 16
_FIXED = 3 * 8 + _ID_BYTES


def pack_batch(
    about: Mapping[str, Any],
    *,
    at: npt.NDArray[np.int64],
    event_time: npt.NDArray[np.int64],
    score: npt.NDArray[np.float64],
    ids: npt.NDArray[np.void],
    request_ids: npt.NDArray[np.void],
    numbers: npt.NDArray[np.float64],
    texts: bytes,
) -> dict[str, bytes]:
    """The fields of an entry; `about` has all of the JSON but `rows`, `numbers` is (rows, columns), `texts` the JSON's inside."""
    fields = {
        "batch": orjson.dumps({**about, "rows": len(at)}),
        "rows": b"".join(
            (
                at.tobytes(),
                event_time.tobytes(),
                score.tobytes(),
                ids.tobytes(),
                request_ids.tobytes(),
                numbers.T.tobytes(),
            )
        ),
    }
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
    if rows < 1 or width < 0 or len(data) != rows * (_FIXED + width + 8 * len(numbers)):
        raise _wrong("rows", f"has {len(data)} bytes, which are not {rows} rows")
    place = 0

    def take(kind: str) -> npt.NDArray[Any]:
        nonlocal place
        array = np.frombuffer(data, kind, rows, place)
        place += array.nbytes
        return array

    document |= {"at": take("<i8"), "event_time": take("<i8"), "score": take("<f8")}
    document["prediction_id"] = [_id_text(raw.hex()) for raw in take(f"V{_ID_BYTES}").tolist()]
    document["request_id"] = [raw.decode(errors="replace") for raw in take(f"S{width}").tolist()]
    columns: dict[str, Any] = {name: take("<f8") for name in numbers}
    if texts:
        columns |= _text_columns(fields.get(b"texts", b""), rows, texts)
    document["columns"] = columns
    return document  # type: ignore[no-any-return]


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
