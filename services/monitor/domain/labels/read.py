"""Labels from a body: JSON that is decoded already, or CSV text. Every mistake names its line or place."""

from __future__ import annotations

import csv
import io
from typing import Any

from services.monitor.domain.model import Label
from tenon.core.errors import Invalid, Place, TenonError, did_you_mean
from tenon.core.timestamps import parse_rfc3339

_FIELDS = ("prediction_id", "value", "known_at")
_TRUTH = {"true": 1.0, "false": 0.0}


def labels_from_document(document: object, now: int) -> list[Label]:
    """Labels of `{"labels": [{"prediction_id", "value", "known_at"?}]}`."""
    if not isinstance(document, dict) or not isinstance(document.get("labels"), list):
        raise Invalid(
            "LABELS_INVALID", "the body must be an object with a list `labels`", place=Place(field="labels"),
            hint='{"labels": [{"prediction_id": "…", "value": 1}]}',
        )  # fmt: skip
    for key in document:
        if key != "labels":
            raise _unknown(str(key), ("labels",), str(key))
    return [_label(item, f"labels[{place}]", now) for place, item in enumerate(document["labels"])]


def _label(item: Any, where: str, now: int) -> Label:
    if not isinstance(item, dict):
        raise Invalid("LABEL_INVALID", f"{where} must be an object", place=Place(field=where))
    for key in item:
        if key not in _FIELDS:
            raise _unknown(str(key), _FIELDS, f"{where}.{key}")
    prediction_id, value, known_at = (item.get(field) for field in _FIELDS)
    if not isinstance(prediction_id, str):
        field = f"{where}.prediction_id"
        raise Invalid("LABEL_INVALID", f"{field} must be text", place=Place(field=field))
    if not isinstance(value, bool | int | float):
        raise Invalid(
            "LABEL_INVALID", f"{where}.value must be a number, or true or false", place=Place(field=f"{where}.value")
        )
    if known_at is not None and not isinstance(known_at, str):
        field = f"{where}.known_at"
        raise Invalid("LABEL_INVALID", f"{field} must be a time such as 2024-03-01T08:30:00Z", place=Place(field=field))
    try:
        number = float(value)
    except OverflowError:
        field = f"{where}.value"
        raise Invalid("LABEL_INVALID", f"{field} is too large a number", place=Place(field=field)) from None
    return Label(prediction_id, number, now if known_at is None else parse_rfc3339(known_at, f"{where}.known_at"))


def labels_from_csv(body: bytes, now: int) -> list[Label]:
    """Labels of CSV with the header `prediction_id,value[,known_at]`, in any order of columns, UTF-8."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = body[: err.start].count(b"\n") + 1
        raise Invalid("CSV_INVALID", f"line {line} is not UTF-8", place=Place(line=line)) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    labels: list[Label] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        labels.extend(_csv_label(row, header, reader.line_num, now) for row in reader if row)
    except csv.Error as err:
        raise Invalid("CSV_INVALID", f"line {reader.line_num}: {err}", place=Place(line=reader.line_num)) from None
    return labels


def _check_header(header: list[str]) -> None:
    for name in header:
        if name not in _FIELDS:
            raise _unknown(name, _FIELDS, name, line=1)
    missing = [name for name in _FIELDS[:2] if name not in header]
    if missing or len(set(header)) != len(header):
        problem = f"lacks the column {missing[0]!r}" if missing else "names a column twice"
        raise Invalid("CSV_INVALID", f"the header {problem}", place=Place(line=1), hint="prediction_id,value,known_at")


def _csv_label(row: list[str], header: list[str], line: int, now: int) -> Label:
    if len(row) != len(header):
        raise Invalid(
            "CSV_INVALID", f"line {line} has {len(row)} values, the header {len(header)}", place=Place(line=line)
        )
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    truth = _TRUTH.get(cells["value"].lower())
    try:
        value = float(cells["value"]) if truth is None else truth
        known_at = cells.get("known_at")
        return Label(cells["prediction_id"], value, parse_rfc3339(known_at, "known_at") if known_at else now)
    except ValueError:
        raise Invalid(
            "LABEL_INVALID", f"line {line}: value {cells['value'][:40]!r} is not a number",
            place=Place(line=line, field="value"),
        ) from None  # fmt: skip
    except TenonError as err:
        place = Place(line=line, field="known_at")
        raise Invalid(err.reason, f"line {line}: {err.message}", place=place, hint=err.hint) from None


def _unknown(name: str, known: tuple[str, ...], field: str, line: int | None = None) -> Invalid:
    near = did_you_mean(name, known)
    return Invalid(
        "FIELD_UNKNOWN", f"unknown field {name[:60]!r}; there are: {', '.join(known)}", place=Place(field=field, line=line),
        hint=f"did you mean {near!r}?" if near else None,
    )  # fmt: skip
