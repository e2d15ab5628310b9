"""The Dataset document: the contract a tenant's files are held to."""

from __future__ import annotations

import enum
import re
import zoneinfo
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from tenon.core.errors import did_you_mean
from tenon.core.names import Identifier
from tenon.core.specs.base import Spec, Strict, register


class ColumnType(enum.StrEnum):
    """How a column's text is read, and what it is in the lake."""

    STRING = "string"
    INTEGER = "integer"  # int64; `7.5`, `1e3` and `007x` are refused, `+7` and `007` are read
    FLOAT = "float"  # float64; NaN and infinities are refused
    DECIMAL = "decimal"  # fixed point, `scale` digits after the point; more digits are an error, nothing is rounded
    BOOLEAN = "boolean"  # true/false, t/f, yes/no, y/n, 1/0, in any case
    TIMESTAMP = "timestamp"  # an instant; text without an offset is in the column's `timezone`
    DATE = "date"


class Column(Strict):
    """One column of the contract."""

    type: ColumnType
    description: str = Field(default="", max_length=500)
    nullable: bool = Field(default=False, description="Whether the value may be missing.")
    scale: int | None = Field(
        default=None, ge=0, le=9, description="Digits after the point; only and always for decimal."
    )
    min: float | None = Field(default=None, description="Smallest value allowed (numbers).")
    max: float | None = Field(default=None, description="Largest value allowed (numbers).")
    values: list[str] | None = Field(default=None, min_length=1, description="The only values allowed (strings).")
    pattern: str | None = Field(
        default=None, max_length=200, description="Regular expression the whole text must match (strings)."
    )
    max_length: int | None = Field(default=None, ge=1, description="Longest text allowed, in characters (strings).")
    timezone: str = Field(default="UTC", description="IANA zone of timestamps that carry no offset.")
    known_at: Identifier | None = Field(
        default=None,
        description="The timestamp column that says when this value became known; without it, it is known at the event time.",
    )

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as err:
                raise ValueError(f"is not a regular expression: {err}") from None
        return value

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {value!r}; use an IANA name such as Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        numeric = self.type in (ColumnType.INTEGER, ColumnType.FLOAT, ColumnType.DECIMAL)
        if (self.type is ColumnType.DECIMAL) != (self.scale is not None):
            raise ValueError("`scale` goes with type decimal, and decimal needs it (2 for cents)")
        if not numeric and (self.min is not None or self.max is not None):
            raise ValueError(f"`min` and `max` are for numbers, not for {self.type.value}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"`min` {self.min:g} is above `max` {self.max:g}")
        if self.type is not ColumnType.STRING and (self.values or self.pattern or self.max_length):
            raise ValueError(f"`values`, `pattern` and `maxLength` are for strings, not for {self.type.value}")
        return self

    @property
    def is_exact(self) -> bool:
        """Whether sums of this column are the same number in every order (integers and fixed point)."""
        return self.type in (ColumnType.INTEGER, ColumnType.DECIMAL)


class CsvDialect(Strict):
    """How the tenant's CSV files are written. Nothing is guessed."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    encoding: Literal["utf-8", "latin-1", "cp1252", "utf-16"] = "utf-8"
    missing: list[str] = Field(default_factory=lambda: [""], description="Texts that mean a missing value.")


@register
class DatasetSpec(Spec):
    """A table of events, one row each, under a contract."""

    KIND: ClassVar[str] = "Dataset"

    primary_key: list[Identifier] = Field(
        min_length=1, description="Columns that identify a row; a later row replaces an earlier one."
    )
    event_time: Identifier = Field(description="The timestamp column that says when the event happened.")
    columns: dict[Identifier, Column] = Field(min_length=1)
    csv: CsvDialect = CsvDialect()
    extra_columns: Literal["refuse", "ignore"] = Field(
        default="refuse", description="What to do with columns of the file that are not declared."
    )
    max_bad_rows: float = Field(
        default=1.0, ge=0, le=1, description="Share of quarantined rows above which the whole file is refused."
    )

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        for key in self.primary_key:
            if self._column(key, "primaryKey").nullable:
                raise ValueError(f"primaryKey: column {key!r} may not be nullable")
        event_time = self._column(self.event_time, "eventTime")
        if event_time.type is not ColumnType.TIMESTAMP or event_time.nullable:
            raise ValueError(f"eventTime: column {self.event_time!r} must be a timestamp that is not nullable")
        for name, column in self.columns.items():
            if column.known_at is None:
                continue
            known = self._column(column.known_at, f"columns.{name}.knownAt")
            if known.type is not ColumnType.TIMESTAMP:
                raise ValueError(
                    f"columns.{name}.knownAt: {column.known_at!r} must be a timestamp, not {known.type.value}"
                )
            if name in self.primary_key or name == self.event_time:
                raise ValueError(
                    f"columns.{name}: a key or the event time is known at the event time; drop its knownAt"
                )
        return self

    def _column(self, name: str, where: str) -> Column:
        if name not in self.columns:
            near = did_you_mean(name, self.columns)
            raise ValueError(f"{where}: there is no column {name!r}" + (f"; did you mean {near!r}?" if near else ""))
        return self.columns[name]
