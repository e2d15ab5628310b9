"""Rows of lake tables, for labels; and what they said, in SQL."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import polars as pl
import sqlalchemy as sa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from services.monitor.domain.model import Label
from services.monitor.storage.labels.tables import dataset_labels
from services.monitor.storage.models import insert_into
from tenon.core.errors import Unavailable
from tenon.core.specs import ColumnType, DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from services.monitor.domain.label_words import SpineTable
    from services.monitor.storage.models import ModelIds
    from tenon.core.tenancy import TenantId
    from tenon.kit.blobs import BlobStore
    from tenon.kit.sql import Database

_DTYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.STRING: pl.String(),
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.FLOAT: pl.Float64(),
    ColumnType.BOOLEAN: pl.Boolean(),
    ColumnType.TIMESTAMP: pl.Datetime("us", "UTC"),
    ColumnType.DATE: pl.Date(),
}
_IDS_A_QUERY = 1_000


class DeltaSpineRows:
    """See `domain.ports.SpineRows`."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def changed(self, table: SpineTable, columns: Sequence[str], *, since: int) -> Iterator[pl.DataFrame]:
        """See the port: new files hold every row that was added or replaced, and those that lay beside a replaced one."""
        files = self._files(table, table.version)
        if since >= 0:
            # An old version may have been cleaned up: then everything may be new.
            with suppress(Unavailable):
                files -= self._files(table, since)
        for file in sorted(files):
            with _reading(table):
                yield self._scan(table, [file], columns).collect()

    def between(self, table: SpineTable, columns: Sequence[str], first: int, last: int) -> pl.DataFrame:
        """See the port."""
        event = table.spec.event_time
        # Statistics of files end at milliseconds; the exact filter runs on what was read.
        low, high = (pl.lit(moment).cast(pl.Datetime("us", "UTC")) for moment in (first - 1_000, last + 1_000))
        with _reading(table):
            scan = self._scan(table, sorted(self._files(table, table.version)), columns)
            frame = scan.filter(pl.col(event).is_between(low, high)).collect()
        exact = pl.col(event).dt.cast_time_unit("us").cast(pl.Int64)
        return frame.filter(exact.is_between(first, last))

    def committed_at(self, table: SpineTable) -> int:
        """See the port."""
        with _reading(table):
            (entry,) = self._open(table, table.version).history(1)
            return int(entry["timestamp"]) * 1_000

    def _open(self, table: SpineTable, version: int) -> DeltaTable:
        return DeltaTable(table.uri, version=version, storage_options=self._blobs.storage_options())

    def _files(self, table: SpineTable, version: int) -> set[str]:
        local = urlsplit(table.uri).scheme in ("", "file")
        with _reading(table):
            return {unquote(uri) if local else uri for uri in self._open(table, version).file_uris()}

    def _scan(self, table: SpineTable, files: Sequence[str], columns: Sequence[str]) -> pl.LazyFrame:
        local = urlsplit(table.uri).scheme in ("", "file")
        if not files:
            return pl.LazyFrame(schema={name: _dtype(table.spec, name) for name in columns})
        options = None if local else self._blobs.storage_options()
        scan = pl.scan_parquet(list(files), missing_columns="insert", extra_columns="ignore", storage_options=options)
        present = set(scan.collect_schema().names())
        later = [name for name in columns if name not in present]
        missing = [pl.lit(None).cast(_dtype(table.spec, name)).alias(name) for name in later]
        return scan.with_columns(missing).select(columns)


def _dtype(spec: DatasetSpec, name: str) -> pl.DataType:
    column = spec.columns[name]
    return pl.Decimal(18, column.scale or 0) if column.type is ColumnType.DECIMAL else _DTYPES[column.type]


@contextmanager
def _reading(table: SpineTable) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError, pl.exceptions.PolarsError) as err:
        raise Unavailable(
            "LAKE_UNAVAILABLE", f"the table of {table.spec.name!r} at version {table.version} cannot be read for labels"
        ) from err


class SqlDatasetLabels:
    """See `domain.ports.DatasetLabels`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def newest(self, tenant: TenantId, model: str, ids: Collection[str]) -> dict[str, Label]:
        """See the port."""
        wanted, found, c = sorted(ids), dict[str, Label](), dataset_labels.c
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            for begin in range(0, len(wanted), _IDS_A_QUERY):
                some = wanted[begin : begin + _IDS_A_QUERY]
                query = sa.select(dataset_labels).where(c.model_id == model_id, c.prediction_id.in_(some))
                for row in session.execute(query):
                    found[row.prediction_id] = Label(row.prediction_id, row.value, row.known_at)
        return found

    def put(self, tenant: TenantId, model: str, labels: Sequence[Label]) -> None:
        """See the port."""
        if not labels:
            return
        with self._database.session() as session:
            model_id = self._ids.need(session, tenant, model)
            insert: Any = insert_into(session, dataset_labels)
            rows = {
                label.prediction_id: {
                    "model_id": model_id, "prediction_id": label.prediction_id, "known_at": label.known_at, "value": label.value
                }
                for label in labels
            }  # fmt: skip
            session.execute(
                insert.on_conflict_do_update(
                    index_elements=["model_id", "prediction_id"],
                    set_={"known_at": insert.excluded.known_at, "value": insert.excluded.value},
                ),
                [rows[one] for one in sorted(rows)],
            )
