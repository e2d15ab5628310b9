"""The rows that a lookup asks for, from either form of the request."""

from __future__ import annotations

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from services.features.domain.model import AskedRows, EntityKeys
from tenon.api.features.v1 import features_pb2 as pb
from tenon.core.errors import Invalid, Place
from tenon.windows.events import IntArray

_MICROS = 1_000_000
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799


def asked_rows(request: pb.GetOnlineFeaturesRequest, now: int) -> AskedRows:
    """The rows in columns. Raises `Invalid` for a time that is none, and for columns that do not fit together."""
    if request.rows:
        if request.keys or request.at_micros:
            raise Invalid(
                "ROWS_TWICE", "a lookup names its rows in `rows` or in `keys`, not in both", place=Place(field="keys")
            )
        return AskedRows.of([
            EntityKeys(dict(row.keys), micros_of(row.at, f"rows.{index}.at") if row.HasField("at") else now)
            for index, row in enumerate(request.rows)
        ])  # fmt: skip
    keys: dict[str, list[str | None]] = {}
    for column in request.keys:
        if column.name in keys:
            raise Invalid("KEY_TWICE", f"key {column.name[:80]!r} is given twice", place=Place(field="keys"))
        texts: list[str | None] = list(column.texts)
        for place in column.missing:
            if place >= len(texts):
                raise _uneven(column.name, "says that a row is missing which is not there")
            texts[place] = None
        keys[column.name] = texts
    count = len(next(iter(keys.values()), ())) or len(request.at_micros)
    for name, texts in keys.items():
        if len(texts) != count:
            raise _uneven(name, f"has {len(texts)} texts, another column {count}")
    return AskedRows(keys, _times(request, count, now))


def _times(request: pb.GetOnlineFeaturesRequest, count: int, now: int) -> IntArray:
    given = len(request.at_micros)
    if given <= 1:
        at = np.full(count, request.at_micros[0] if given else now, np.int64)
    elif given == count:
        at = np.array(request.at_micros, np.int64)
    else:
        raise _uneven("at_micros", f"has {given} times for {count} rows")
    if given and count and not (at.min() >= _EARLIEST * _MICROS and at.max() < (_LATEST + 1) * _MICROS):
        raise Invalid("TIME_INVALID", "at_micros has a number that is not a time", place=Place(field="at_micros"))
    return at


def micros_of(moment: Timestamp, field: str) -> int:
    """Microseconds. Raises `Invalid` for what is no time."""
    if not (_EARLIEST <= moment.seconds <= _LATEST and 0 <= moment.nanos < 1_000_000_000):
        raise Invalid("TIME_INVALID", f"{field} is not a time", place=Place(field=field))
    return moment.seconds * _MICROS + moment.nanos // 1000


def _uneven(name: str, problem: str) -> Invalid:
    return Invalid("ROWS_UNEVEN", f"{name[:80]!r} {problem}", place=Place(field="keys"))
