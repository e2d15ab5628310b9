"""Labels by entity and time from a body, and whole files of labels of either kind: JSON that is decoded, CSV text, Parquet."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from services.monitor.domain.label_words import KeyedLabel, KeyValue
from services.monitor.domain.labels.read import labels_from_csv
from services.monitor.domain.model import Label
from tenon.core.errors import Invalid, Place, TenonError, TooLarge, did_you_mean
from tenon.core.timestamps import micros_from_datetime, parse_duration, parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_FILE_LABELS = 1_000_000
_FIELDS = ("entity", "event_time", "value", "known_at", "within")
_RESERVED = ("event_time", "value", "known_at")
_TRUTH = {"true": 1.0, "false": 0.0}

Labels = list[Label] | list[KeyedLabel]


def is_keyed(document: object) -> bool:
    """Whether a JSON body has labels by entity and time: its first one has no prediction id but an entity."""
    items = document.get("labels") if isinstance(document, dict) else None
    first = items[0] if isinstance(items, list) and items else None
    return isinstance(first, dict) and "entity" in first and "prediction_id" not in first


def keyed_from_document(document: Mapping[str, Any], now: int, within: int = 0) -> list[KeyedLabel]:
    """Labels of `{"labels": [{"entity": {column: value}, "event_time", "value", "known_at"?, "within"?}]}`; `within` holds for
    those that say none."""
    for key in document:
        if key != "labels":
            raise Invalid(
                "FIELD_UNKNOWN", f"unknown field {str(key)[:60]!r} beside `labels`", place=Place(field=str(key)[:60]),
                hint="`within` belongs to each label, or into the address as ?within=1h" if key == "within" else None,
            )  # fmt: skip
    return [_keyed(item, f"labels[{place}]", now, within) for place, item in enumerate(document["labels"])]


def _keyed(item: object, where: str, now: int, otherwise: int) -> KeyedLabel:
    if not isinstance(item, dict):
        raise Invalid("LABEL_INVALID", f"{where} must be an object", place=Place(field=where))
    for key in item:
        if key not in _FIELDS:
            near = did_you_mean(str(key), _FIELDS)
            raise Invalid(
                "FIELD_UNKNOWN", f"unknown field {str(key)[:60]!r}; there are: {', '.join(_FIELDS)}",
                place=Place(field=f"{where}.{str(key)[:60]}"), hint=f"did you mean {near!r}?" if near else None,
            )  # fmt: skip
    entity, value, within = item.get("entity"), item.get("value"), item.get("within")
    if not isinstance(entity, dict) or not all(isinstance(one, KeyValue) for one in entity.values()):
        raise _wrong(f"{where}.entity", "must be an object of texts and numbers, a column each")
    if not isinstance(value, bool | int | float):
        raise _wrong(f"{where}.value", "must be a number, or true or false")
    if within is not None and not isinstance(within, str):
        raise _wrong(f"{where}.within", "must be a length such as 1h")
    moments: list[int | None] = []
    for field in ("event_time", "known_at"):
        text = item.get(field)
        if text is not None and not isinstance(text, str):
            raise _wrong(f"{where}.{field}", "must be a time such as 2024-03-01T08:30:00Z")
        moments.append(None if text is None else parse_rfc3339(text, f"{where}.{field}"))
    if moments[0] is None:
        raise _wrong(f"{where}.event_time", "is missing: a label without a prediction id says when its event was")
    try:
        number = float(value)
    except OverflowError:
        raise _wrong(f"{where}.value", "is too large a number") from None
    length = otherwise if within is None else parse_duration(within, f"{where}.within")
    return KeyedLabel(entity, moments[0], number, now if moments[1] is None else moments[1], length)


def _wrong(field: str, problem: str) -> Invalid:
    return Invalid("LABEL_INVALID", f"{field} {problem}", place=Place(field=field))


def labels_from_csv_file(body: bytes, now: int, within: int = 0) -> Labels:
    """Labels of a CSV file: with a column prediction_id they are by id, with event_time by entity and time, where every
    other column is one of the entity."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return labels_from_csv(body, now)
    header = next(csv.reader(io.StringIO(text, newline="")), [])
    names = [name.strip() for name in header]
    if "prediction_id" in names or "event_time" not in names:
        by_id = labels_from_csv(body, now)
        if len(by_id) > MAX_FILE_LABELS:
            raise _too_many(len(by_id))
        return by_id
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    next(reader)

    def rows() -> Iterable[tuple[int, Sequence[Any]]]:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]

    try:
        return _keyed_table(names, rows(), now, within)
    except csv.Error as err:
        raise Invalid("CSV_INVALID", f"line {reader.line_num}: {err}", place=Place(line=reader.line_num)) from None


def labels_from_parquet(body: bytes, now: int, within: int = 0) -> Labels:
    """The same of a Parquet file; times are timestamps or texts."""
    try:
        frame = pl.read_parquet(io.BytesIO(body))
    except (pl.exceptions.PolarsError, OSError) as err:
        raise Invalid("PARQUET_INVALID", f"this is not a Parquet file that can be read: {str(err)[:120]}") from None
    if frame.height > MAX_FILE_LABELS:
        raise _too_many(frame.height)
    rows = ((number, row) for number, row in enumerate(frame.iter_rows(), 1))
    if "prediction_id" in frame.columns:
        return _plain_table(frame.columns, rows, now)
    return _keyed_table(frame.columns, rows, now, within)


def _plain_table(header: Sequence[str], rows: Iterable[tuple[int, Sequence[Any]]], now: int) -> list[Label]:
    _check_header(header, ("prediction_id", "value"), ("prediction_id", "value", "known_at"))
    found = []
    for line, row in rows:
        cells = dict(zip(header, row, strict=True))
        known_at = _moment(cells.get("known_at"), "known_at", line)
        found.append(
            Label(str(cells["prediction_id"]), _number(cells["value"], line), now if known_at is None else known_at)
        )
    return found


def _keyed_table(
    header: Sequence[str], rows: Iterable[tuple[int, Sequence[Any]]], now: int, within: int
) -> list[KeyedLabel]:  # fmt: skip
    _check_header(header, ("event_time", "value"), None)
    names = [name for name in header if name not in _RESERVED]
    found: list[KeyedLabel] = []
    for line, row in rows:
        if len(row) != len(header):
            raise Invalid(
                "CSV_INVALID", f"line {line} has {len(row)} values, the header {len(header)}", place=Place(line=line)
            )
        if len(found) >= MAX_FILE_LABELS:
            raise _too_many(len(found) + 1)
        cells = dict(zip(header, row, strict=True))
        event_time, known_at = (_moment(cells.get(field), field, line) for field in ("event_time", "known_at"))
        if event_time is None:
            raise Invalid("LABEL_INVALID", f"line {line}: event_time is missing", place=Place(line=line))
        key = {name: _key(cells[name], name, line) for name in names}
        value = _number(cells["value"], line)
        found.append(KeyedLabel(key, event_time, value, now if known_at is None else known_at, within))
    return found


def _check_header(header: Sequence[str], needed: Sequence[str], known: Sequence[str] | None) -> None:
    missing = [name for name in needed if name not in header]
    if missing or len(set(header)) != len(header):
        problem = f"lacks the column {missing[0]!r}" if missing else "names a column twice"
        raise Invalid(
            "CSV_INVALID", f"the file {problem}", place=Place(line=1),
            hint="prediction_id,value[,known_at] or event_time,value[,known_at] and the columns of the entity",
        )  # fmt: skip
    for name in header:
        if known is not None and name not in known:
            near = did_you_mean(name, known)
            raise Invalid(
                "FIELD_UNKNOWN", f"unknown field {name[:60]!r}; there are: {', '.join(known)}", place=Place(field=name[:60], line=1),
                hint=f"did you mean {near!r}?" if near else None,
            )  # fmt: skip


def _key(value: Any, name: str, line: int) -> KeyValue:
    if isinstance(value, KeyValue) and value != "":
        return value
    if value is None or value == "":
        raise Invalid("LABEL_INVALID", f"line {line}: {name[:60]} is missing", place=Place(line=line, field=name[:60]))
    return str(value)


def _number(value: Any, line: int) -> float:
    truth = _TRUTH.get(value.lower()) if isinstance(value, str) else None
    try:
        return float(value) if truth is None else truth
    except (TypeError, ValueError, OverflowError):
        raise Invalid(
            "LABEL_INVALID", f"line {line}: value {str(value)[:40]!r} is not a number",
            place=Place(line=line, field="value"),
        ) from None  # fmt: skip


def _moment(value: Any, field: str, line: int) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return micros_from_datetime(value if value.tzinfo else value.replace(tzinfo=UTC))
    try:
        return parse_rfc3339(str(value), field)
    except TenonError as err:
        place = Place(line=line, field=field)
        raise Invalid(err.reason, f"line {line}: {err.message}", place=place, hint=err.hint) from None


def _too_many(rows: int) -> TooLarge:
    return TooLarge(
        "LABELS_TOO_MANY", f"{rows:,} labels in one file; send at most {MAX_FILE_LABELS:,}", hint="split the file"
    )
