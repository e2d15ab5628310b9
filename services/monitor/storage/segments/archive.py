"""The prediction log as lake tables, one a tenant and model: where rows go that monitor's database need not hold any longer.

Columns: `prediction_id`, `request_id`, `at`, `event_time`, `score`, `version`, `role`, `level`, `segment` and `part` (which segment a row belongs to, and which
one it came in), `taken_at`, and the model's own as `in_NAME` (numbers) or `text_NAME`. Anything that reads Delta tables can read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from deltalake import (
    CommitProperties,
    DeltaTable,
    Field,
    QueryBuilder,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType

from services.monitor.domain.kept.prediction_ids import PredictionIds
from services.monitor.domain.model import Column, NumericColumn, TextColumn
from services.monitor.storage.segments.payload import KeptRows
from tenon.core.errors import Unavailable

if TYPE_CHECKING:
    from tenon.core.tenancy import TenantId
    from tenon.kit.blobs import BlobStore

_WRITER = "tenon-monitor-archive"
_NUMBER, _TEXT = "in_", "text_"
# The table's own log names the least and the greatest value of each file's columns, also of files that are gone. By segment and part rows are
# looked for; of what is about people it must say nothing.
_BOUNDS = {"delta.dataSkippingStatsColumns": "segment,part"}
# A file that is so old and that nobody names is not being written any more.
_STRAY_HOURS = 1
_FIXED = ("segment", "part", "prediction_id", "at", "event_time", "score")


_SCHEMA = Schema([
    Field(name, PrimitiveType(kind))
    for name, kind in [
        ("segment", "long"), ("part", "long"), ("place", "long"), ("taken_at", "long"), ("prediction_id", "string"),
        ("request_id", "string"), ("at", "timestamp"), ("event_time", "timestamp"), ("score", "double"),
        ("version", "long"), ("role", "string"), ("level", "string"),
    ]
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """A state of the table, and what it has of some parts: of each its segment, rows, and when it was taken."""

    table: DeltaTable
    parts: dict[int, tuple[int, int, int]]


class Archive:
    """The tables; every call may raise `Unavailable`."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        options = blobs.storage_options()
        self._options = options | ({"timeout": "60s", "connect_timeout": "5s"} if options else {})

    def uri(self, tenant: TenantId, model: str) -> str:
        """Where a model's table is."""
        return self._blobs.uri(f"predictions/{tenant}/{model}")

    def known(self, tenant: TenantId, model: str, parts: Sequence[int]) -> Known:
        """The table as it is now, made when there is none, and what it has of these parts and of segments with their numbers."""
        with _reaching(model):
            table = self._table(tenant, model)
            if table is None:
                # Whoever adds rows first must find a table: two that make one do not see each other's rows.
                DeltaTable.create(
                    self.uri(tenant, model),
                    _SCHEMA,
                    mode="ignore",
                    configuration=_BOUNDS,
                    storage_options=self._options,
                )
                table = DeltaTable(self.uri(tenant, model), storage_options=self._options)
            found = _query(
                table,
                f"SELECT part, segment, taken_at, COUNT(*) AS n FROM t WHERE part IN ({_listed(parts)}) OR segment IN ({_listed(parts)}) GROUP BY part, segment, taken_at",  # noqa: S608 - whole numbers
            )
            parts_there = {row["part"]: (row["segment"], row["n"], row["taken_at"]) for row in found.to_dicts()}
        return Known(table, parts_there)

    def append(self, model: str, known: Known, frames: Sequence[pl.DataFrame], last: int) -> None:
        """Add rows in one commit. Of all that have seen the table as it is one succeeds: what the others have seen is no longer so."""
        with _reaching(model):
            rows = pl.concat(frames, how="diagonal_relaxed")
            write_deltalake(
                known.table, rows, mode="append", schema_mode="merge",
                writer_properties=WriterProperties(compression="ZSTD", compression_level=3),
                commit_properties=CommitProperties(app_transactions=[Transaction(_WRITER, last)]),
            )  # fmt: skip

    def segments(self, tenant: TenantId, model: str) -> set[tuple[int, int]]:
        """All segments and parts that the table has rows of."""
        with _reaching(model):
            table = self._table(tenant, model)
            if table is None:
                return set()
            found = _query(table, "SELECT DISTINCT segment, part FROM t")
        return {(row[0], row[1]) for row in found.rows()}

    def tidy(self, tenant: TenantId, model: str) -> None:
        """Delete files that no state of the table names: their writer was killed before it could say so."""
        with _reaching(model):
            table = self._table(tenant, model)
            if table is not None:
                if not _BOUNDS.items() <= table.metadata().configuration.items():
                    table.alter.set_table_properties(_BOUNDS)
                table.create_checkpoint()
                table.cleanup_metadata()
                table.vacuum(
                    retention_hours=_STRAY_HOURS, dry_run=False, enforce_retention_duration=False, full=True
                )  # fmt: skip

    def read(
        self, tenant: TenantId, model: str, by: str, numbers: Sequence[int], columns: Sequence[str] | None
    ) -> dict[int, KeptRows]:
        """Rows of segments (or of parts), with the named columns (None: all)."""
        with _reaching(model):
            table = self._table(tenant, model)
            if table is None or not numbers:
                return {}
            names = [field.name for field in table.schema().fields]
            model_names = [name for name in names if name.startswith((_NUMBER, _TEXT))]
            if columns is not None:
                model_names = [name for name in model_names if _plain(name) in columns]
            wanted = [*_FIXED, *(["request_id"] if columns is None else []), *model_names]
            listed = ", ".join(f'"{name}"' for name in wanted)
            found = _query(table, f'SELECT {listed} FROM t WHERE "{by}" IN ({_listed(numbers)}) ORDER BY part, place')  # noqa: S608 - names of columns, whole numbers
        return {int(key[0]): _kept(frame) for key, frame in found.partition_by(by, as_dict=True).items()}

    def delete(self, tenant: TenantId, model: str, predicate: str) -> int:
        """Take rows out, also from former states of the table; gives how many."""
        with _reaching(model):
            table = self._table(tenant, model)
            if table is None:
                return 0
            gone = int(table.delete(predicate)["num_deleted_rows"] or 0)
            if gone:
                table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
            return gone

    def columns(self, tenant: TenantId, model: str) -> list[str]:
        """The names of the table's columns; none when there is no table."""
        with _reaching(model):
            table = self._table(tenant, model)
            return [] if table is None else [field.name for field in table.schema().fields]

    def _table(self, tenant: TenantId, model: str) -> DeltaTable | None:
        try:
            return DeltaTable(self.uri(tenant, model), storage_options=self._options)
        except TableNotFoundError:
            return None


def archived_frame(
    rows: KeptRows, *, segment: int, part: int, taken_at: int, version: int, role: str, level: str
) -> pl.DataFrame:  # fmt: skip
    """Rows of one part as the table holds them."""
    count = len(rows)
    data: dict[str, Any] = {
        "segment": np.full(count, segment), "part": np.full(count, part), "place": np.arange(count, dtype=np.int64),
        "taken_at": np.full(count, taken_at), "prediction_id": rows.ids.texts(),
        "request_id": [one.decode(errors="replace") for one in rows.request_ids.tolist()],
        "at": pl.Series(rows.at).cast(pl.Datetime("us", "UTC")),
        "event_time": pl.Series(rows.event_time).cast(pl.Datetime("us", "UTC")), "score": rows.score,
        "version": np.full(count, version), "role": [role] * count, "level": [level] * count,
    }  # fmt: skip
    for name, column in rows.columns.items():
        if isinstance(column, NumericColumn):
            # NaN says missing; NULL says that the column was not known at all.
            data[_NUMBER + name] = column.values
        else:
            levels = np.array([*column.levels, ""], dtype=object)
            # A missing text is no text at all, so it stands as a mark that no text can be.
            data[_TEXT + name] = [
                _MISSING if code < 0 else text
                for code, text in zip(column.codes.tolist(), levels[column.codes].tolist(), strict=True)
            ]
    return pl.DataFrame(data)


_MISSING = "\x00"


def _kept(frame: pl.DataFrame) -> KeptRows:
    columns: dict[str, Column] = {}
    for name in frame.columns:
        series = frame[name]
        if not name.startswith((_NUMBER, _TEXT)) or series.null_count() == len(series):
            continue
        if name.startswith(_NUMBER):
            columns[_plain(name)] = NumericColumn(series.drop_nulls().to_numpy())
        else:
            texts = series.drop_nulls()
            levels = texts.filter(texts != _MISSING).unique(maintain_order=True).to_list()
            places = {text: place for place, text in enumerate(levels)} | {_MISSING: -1}
            columns[_plain(name)] = TextColumn(
                np.array([places[text] for text in texts.to_list()], np.int32), tuple(levels)
            )
    requests = frame["request_id"].to_list() if "request_id" in frame.columns else [""] * len(frame)
    return KeptRows(
        PredictionIds.of_texts(frame["prediction_id"].to_list()),
        frame["at"].dt.epoch("us").to_numpy(), frame["event_time"].dt.epoch("us").to_numpy(), frame["score"].to_numpy(), columns,
        np.array([one.encode() for one in requests], dtype=np.bytes_),
    )  # fmt: skip


def _plain(name: str) -> str:
    return name.removeprefix(_NUMBER) if name.startswith(_NUMBER) else name.removeprefix(_TEXT)


def _query(table: DeltaTable, select: str) -> pl.DataFrame:
    batches = list(QueryBuilder().register("t", table).execute(select))
    frames = [pl.DataFrame(batch) for batch in batches]
    return pl.concat(frames) if frames else pl.DataFrame()


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(int(number)) for number in numbers)


@contextmanager
def _reaching(model: str) -> Iterator[None]:
    try:
        yield
    except CommitFailedError as err:
        raise Unavailable("ARCHIVE_BUSY", f"the archive of model {model!r} was written by another program") from err
    except (DeltaError, OSError) as err:
        raise Unavailable("ARCHIVE_UNAVAILABLE", f"the archive of model {model!r} cannot be reached: {err}") from err
