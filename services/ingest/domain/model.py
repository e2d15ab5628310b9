"""The nouns of ingest: data sets, batches, quarantined rows, lake commits."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tenon.core.errors import Invalid, Place
from tenon.core.specs import Column, ColumnType, DatasetSpec
from tenon.core.tenancy import TenantId

SHOWN_VALUE = 200
"""Characters of a value that a quarantined row shows."""

HIDDEN_COLUMNS: dict[str, pl.DataType] = {
    "_batch_id": pl.String(),
    "_line": pl.Int64(),
    "_ingested_at": pl.Datetime("us", "UTC"),
}
"""Columns that every lake table has besides the declared ones."""


class BatchState(enum.StrEnum):
    """Where a file is on its way into the lake."""

    RECEIVED = "received"  # stored, waiting for its turn
    LOADING = "loading"
    COMMITTED = "committed"
    REFUSED = "refused"  # nothing of it is in the lake; the raw file is kept

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the batch."""
        return self in (BatchState.COMMITTED, BatchState.REFUSED)


class Change(enum.StrEnum):
    """What applying a definition did, or would do."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One revision of a data set's contract."""

    tenant: TenantId
    revision: int
    spec: DatasetSpec

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.spec.name


@dataclass(frozen=True, slots=True)
class Table:
    """A lake table as of its last acknowledged batch."""

    uri: str
    version: int
    rows: int


@dataclass(frozen=True, slots=True)
class ErasedRows:
    """What was removed from a table: how many rows, which batches had brought them, and the table after it."""

    rows: int
    batches: tuple[str, ...]
    table: Table


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file was refused."""

    reason: str
    message: str
    place: Place = field(default_factory=Place)
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The problem as JSON data."""
        out: dict[str, Any] = {"reason": self.reason, "message": self.message, "place": self.place.as_dict()}
        return out | ({"hint": self.hint} if self.hint else {})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Problem:
        """The reverse of `as_dict`."""
        return cls(data["reason"], data["message"], Place(**data["place"]), data.get("hint"))


class FileRefused(Invalid):
    """The whole file cannot be taken; nothing of it is committed."""

    def problem(self) -> Problem:
        """What is kept with the batch."""
        return Problem(self.reason, self.message, self.place or Place(), self.hint)


@dataclass(frozen=True, slots=True)
class RowCounts:
    """What became of the rows of one file: read = committed + superseded + quarantined."""

    read: int = 0
    committed: int = 0
    superseded: int = 0  # replaced by a later row of the same file with the same primary key
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file as it was received."""

    name: str
    sha256: str
    size_bytes: int
    gzipped: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """One file of one data set on its way into the lake."""

    id: str
    tenant: TenantId
    dataset: str
    revision: int
    file: RawFile
    state: BatchState
    received_at: int  # microseconds since the epoch
    counts: RowCounts = field(default_factory=RowCounts)
    table_version: int = -1
    problem: Problem | None = None
    committed_at: int | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row of a file that broke the contract. It holds tenant data: show it to the tenant only, never log it."""

    line: int
    reason: str
    column: str | None
    value: str | None
    message: str
    also: tuple[str, ...] = ()  # further problems of the row, as COLUMN:REASON
    fields: tuple[str, ...] = ()  # the row as read

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON data, its fields left out."""
        return {
            "line": self.line, "reason": self.reason, "column": self.column, "value": self.value,
            "message": self.message, "also": list(self.also),
        }  # fmt: skip


def shown(value: str) -> str:
    """A value cut to what may be shown."""
    return value if len(value) <= SHOWN_VALUE else value[:SHOWN_VALUE] + "…"


def column_dtype(column: Column) -> pl.DataType:
    """The type of a declared column in the lake."""
    if column.type is ColumnType.DECIMAL:
        return pl.Decimal(18, column.scale or 0)
    return _DTYPES[column.type]


_DTYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.STRING: pl.String(),
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.FLOAT: pl.Float64(),
    ColumnType.BOOLEAN: pl.Boolean(),
    ColumnType.TIMESTAMP: pl.Datetime("us", "UTC"),
    ColumnType.DATE: pl.Date(),
}


def lake_schema(spec: DatasetSpec) -> dict[str, pl.DataType]:
    """Every column of a data set's lake table, hidden ones last."""
    return {name: column_dtype(column) for name, column in spec.columns.items()} | HIDDEN_COLUMNS
