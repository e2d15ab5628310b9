"""What arrives from the log's stream, checked and typed column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from services.monitor.domain.kept.prediction_ids import PredictionIds
from services.monitor.domain.kept.segment import Segment, Source
from services.monitor.domain.model import Column, NumericColumn, PredictionBatch, TextColumn
from tenon.core.errors import Invalid, Place
from tenon.core.names import check_resource_name
from tenon.core.roles import ROLES, Role
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

MAX_ROWS = 5_000
_LONGEST_LEVEL = 20
_TEXTS = ("batch_id", "replica", "protocol")


def batch_from_document(document: object) -> PredictionBatch:
    """A batch from the decoded document of a log entry, with lists or arrays. Raises `Invalid` naming the field."""
    if not isinstance(document, dict):
        raise Invalid("BATCH_INVALID", "a batch of the prediction log is a JSON object")
    for field in _TEXTS:
        if not isinstance(document.get(field), str):
            raise _wrong(field, "must be text")
    version, role = _version(document), _role(document)
    ids = document.get("prediction_id")
    if not isinstance(ids, list) or not ids or len(ids) > MAX_ROWS or not all(isinstance(one, str) for one in ids):
        raise _wrong("prediction_id", f"must be a list of 1 to {MAX_ROWS:,} texts")
    rows = len(ids)
    requests = document.get("request_id")
    if not isinstance(requests, list) or len(requests) != rows:
        raise _wrong("request_id", f"must be a list of {rows} texts")
    columns = document.get("columns")
    if not isinstance(columns, dict):
        raise _wrong("columns", "must be an object of lists")
    return PredictionBatch(
        batch_id=document["batch_id"],
        replica=document["replica"],
        tenant=TenantId(str(document.get("tenant"))),
        model=check_resource_name(str(document.get("model")), "model"),
        version=version,
        role=role,
        protocol=document["protocol"],
        prediction_ids=tuple(ids),
        request_ids=tuple(str(one) for one in requests),
        at=_instants(document, "at", rows),
        event_time=_instants(document, "event_time", rows),
        score=_numbers(document.get("score"), "score", rows),
        columns={str(name): _column(values, f"columns.{name}", rows) for name, values in columns.items()},
        level=_level(document),
    )


def segment_from_arrays(
    about: Mapping[str, Any], sources: Sequence[tuple[str, int, str, str]], table: npt.NDArray[Any],
    texts: Mapping[str, list[Any]],
) -> Segment:  # fmt: skip
    """Batches that were decoded together: `table` has the fields id, request_id, at, event_time, score and numbers, row by row.

    Raises `Invalid` naming the field.
    """
    rows = len(table)
    if any(count > MAX_ROWS for _, count, _, _ in sources):
        raise _wrong("rows", f"must be 1 to {MAX_ROWS:,}")
    version, role, level = _version(about), _role(about), _level(about)
    # One copy turns rows into columns; what is no number in JSON either is missing.
    numbers = np.array(table["numbers"].T, order="C")
    numbers[~np.isfinite(numbers)] = np.nan
    score = np.ascontiguousarray(table["score"])
    columns: dict[str, Column] = {
        name: NumericColumn(values) for name, values in zip(about["numbers"], numbers, strict=True)
    }
    for name, values in texts.items():
        columns[name] = _text_column(values, f"columns.{name}", rows)
    return Segment(
        tenant=TenantId(str(about.get("tenant"))),
        model=check_resource_name(str(about.get("model")), "model"),
        version=version,
        role=role,
        level=level,
        sources=tuple(Source(name, count, replica, protocol) for name, count, replica, protocol in sources),
        ids=PredictionIds.of_bytes(np.ascontiguousarray(table["id"]).tobytes()),
        request_ids=np.ascontiguousarray(table["request_id"]),
        at=np.ascontiguousarray(table["at"]),
        event_time=np.ascontiguousarray(table["event_time"]),
        score=np.where(np.isfinite(score), score, np.nan),
        columns=columns,
    )


def _version(document: Mapping[str, Any]) -> int:
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise _wrong("version", "must be a whole number from 1")
    return version


def _role(document: Mapping[str, Any]) -> Role:
    try:
        return Role(document.get("role"))
    except ValueError:
        raise _wrong("role", f"must be {', '.join(ROLES)}, or an arm's name") from None


def _level(document: Mapping[str, Any]) -> str:
    level = document.get("level")
    if level is None:
        return ""
    if not isinstance(level, str) or len(level) > _LONGEST_LEVEL:
        raise _wrong("level", f"must be text of at most {_LONGEST_LEVEL} characters")
    return level


def _wrong(field: str, problem: str) -> Invalid:
    return Invalid("BATCH_INVALID", f"{field} of a prediction log batch {problem}", place=Place(field=field))


def _instants(document: dict[str, Any], field: str, rows: int) -> npt.NDArray[np.int64]:
    values = document.get(field)
    if isinstance(values, np.ndarray) and values.dtype == np.int64 and values.shape == (rows,):
        return values
    if not isinstance(values, list) or len(values) != rows or not all(type(one) is int for one in values):
        raise _wrong(field, f"must be a list of {rows} whole numbers (microseconds)")
    try:
        return np.asarray(values, dtype=np.int64)
    except OverflowError:
        raise _wrong(field, "holds a time beyond 64 bits") from None


def _numbers(values: object, field: str, rows: int) -> npt.NDArray[np.float64]:
    if isinstance(values, np.ndarray) and values.dtype == np.float64 and values.shape == (rows,):
        # What is no number in JSON either is missing.
        return np.where(np.isfinite(values), values, np.nan)
    if not isinstance(values, list) or len(values) != rows:
        raise _wrong(field, f"must be a list of {rows} numbers")
    try:
        # None becomes NaN, true and false become 1 and 0.
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(field, "holds something that is no number") from None


def _column(values: object, field: str, rows: int) -> Column:
    if isinstance(values, np.ndarray):
        return NumericColumn(_numbers(values, field, rows))
    if not isinstance(values, list) or len(values) != rows:
        raise _wrong(field, f"must be a list of {rows} values")
    if not any(isinstance(one, str) for one in values):
        return NumericColumn(_numbers(values, field, rows))
    return _text_column(values, field, rows)


def _text_column(values: list[Any], field: str, rows: int) -> TextColumn:
    places: dict[str, int] = {}
    try:
        codes = [
            -1 if one is None else places.setdefault(one if type(one) is str else str(one), len(places))
            for one in values
        ]
    except TypeError:
        raise _wrong(field, f"must be a list of {rows} texts") from None
    return TextColumn(np.asarray(codes, dtype=np.int32), tuple(places))
