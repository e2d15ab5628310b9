"""Delta Lake tables: one per tenant and data set, one version per batch, each carrying its batch's id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
from arro3.core import RecordBatchReader
from arro3.core import Table as ArrowTable
from deltalake import CommitProperties, DeltaTable, Field, QueryBuilder, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType

from services.ingest.domain.model import ErasedRows, Table, lake_schema
from services.ingest.domain.ports import Frames
from tenon.core.errors import Unavailable
from tenon.core.specs import ColumnType, DatasetSpec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import BlobStore

BATCH_ID = "tenon.batch_id"
ERASED = "tenon.erased"
_ERASE_ATTEMPTS = 5
# A predicate of 50,000 places overflows the stack of the library, which ends the process.
_MOST_PLACES = 2_000
HISTORY = 20
_CHANGE_FEED = "delta.enableChangeDataFeed"
"""Rows that are replaced are kept beside the table: a feature's value in the past is what was believed then."""
PRUNED_ROWS = 200_000
_PRUNED_TYPES = (ColumnType.STRING, ColumnType.INTEGER, ColumnType.DATE, ColumnType.TIMESTAMP)


class DeltaLake:
    """See `domain.ports.Lake`."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        options = blobs.storage_options()
        self._options = options | ({"timeout": "60s", "connect_timeout": "5s"} if options else {})

    def find(self, tenant: TenantId, dataset: str, batch_id: str) -> Table | None:
        """See `Lake`."""
        uri = self.uri(tenant, dataset)
        table = self._existing(uri)
        if table is None:
            return None
        # The transaction id stays in every snapshot, while the history may have been cleaned up.
        if table.transaction_version(_app_id(batch_id)) is None:
            return None
        # One batch at a time is loaded into a table, so the commit is among the newest; the whole history could be long.
        recent = table.history(HISTORY)
        made = next((int(entry["version"]) for entry in recent if entry.get(BATCH_ID) == batch_id), None)
        if made is not None and made != table.version():
            table.load_as_version(made)
        return _described(uri, table)

    def upsert(self, tenant: TenantId, spec: DatasetSpec, batch_id: str, rows: int, frames: Frames) -> Table:
        """See `Lake`."""
        uri = self.uri(tenant, spec.name)
        properties = CommitProperties(
            custom_metadata={BATCH_ID: batch_id, "tenon.rows": str(rows)},
            # Two loaders that both believe to hold the batch cannot both commit it.
            app_transactions=[Transaction(_app_id(batch_id), 1)],
        )
        try:
            table = self._open(uri, spec)
            schema = _schema_of(table, spec)
            if _prunes(spec, rows) and table.count() > 0:
                _merge(table, spec, _whole(schema, frames()), properties)
            elif _any_known(table, spec, frames):
                _merge(table, spec, _stream(schema, frames()), properties)
            else:
                write_deltalake(table, _stream(schema, frames()), mode="append", commit_properties=properties)
        except CommitFailedError as err:
            raise Unavailable(
                "LAKE_BUSY", f"the lake table of data set {spec.name!r} was written by another loader"
            ) from err
        except (DeltaError, OSError) as err:
            raise _unavailable(spec, err) from err
        except BaseException as err:
            # The library panics where it cannot read its source; a panic is no `Exception` and would end the loader.
            if type(err).__name__ == "PanicException":
                raise _unavailable(spec, err) from err
            raise
        return _described(uri, DeltaTable(uri, storage_options=self._options))

    def erase(self, tenant: TenantId, spec: DatasetSpec, column: str, value: str | int) -> ErasedRows | None:
        """See `Lake`."""
        uri, rows, batches = self.uri(tenant, spec.name), 0, set[str]()
        if self._existing(uri) is None:
            return None
        try:
            for _ in range(_ERASE_ATTEMPTS):
                table = self._open(uri, spec)
                found = _places_of(table, column, value)
                if found.is_empty():
                    break
                for some in found.sort("_batch_id", "_line").iter_slices(_MOST_PLACES):
                    table.delete(_at_places(some), commit_properties=CommitProperties(custom_metadata={ERASED: "1"}))
                    rows, batches = rows + some.height, batches | set(some["_batch_id"])
            # Only files that the log says are not needed any more: those that a load is writing are not among them.
            table.vacuum(0, dry_run=False, enforce_retention_duration=False)
        except (DeltaError, OSError) as err:
            raise Unavailable(
                "LAKE_BUSY", f"the lake table of data set {spec.name!r} was written by a loader; ask again"
            ) from err
        return ErasedRows(rows, tuple(sorted(batches)), _described(uri, DeltaTable(uri, storage_options=self._options)))

    def uri(self, tenant: TenantId, dataset: str) -> str:
        """Where a data set's table is."""
        return self._blobs.uri(f"lake/{tenant}/{dataset}")

    def _existing(self, uri: str) -> DeltaTable | None:
        # `is_deltatable` would do, but it keeps the whole process waiting for the bucket.
        try:
            return DeltaTable(uri, storage_options=self._options)
        except TableNotFoundError:
            return None

    def _open(self, uri: str, spec: DatasetSpec) -> DeltaTable:
        schema = lake_schema(spec)
        table = self._existing(uri)
        if table is None:
            fields = [Field(name, PrimitiveType(_delta_type(dtype)), nullable=True) for name, dtype in schema.items()]
            return DeltaTable.create(
                uri, Schema(fields), mode="ignore", storage_options=self._options,
                configuration={"delta.logRetentionDuration": "interval 3650 days", _CHANGE_FEED: "true"},
            )  # fmt: skip
        if table.metadata().configuration.get(_CHANGE_FEED) != "true":
            # Of a table from before corrections were kept.
            table.alter.set_table_properties({_CHANGE_FEED: "true"})
        present = {field.name for field in table.schema().fields}
        new = [
            Field(name, PrimitiveType(_delta_type(dtype)), nullable=True)
            for name, dtype in schema.items()
            if name not in present
        ]
        if new:
            table.alter.add_columns(new)
            table = DeltaTable(uri, storage_options=self._options)
        return table


def _merge(table: DeltaTable, spec: DatasetSpec, source: Any, properties: CommitProperties) -> None:
    """Replace rows with the same keys and add the others, in one commit."""
    merger = table.merge(
        source,
        " AND ".join(f't."{name}" = s."{name}"' for name in spec.primary_key),
        source_alias="s",
        target_alias="t",
        streamed_exec=not isinstance(source, pl.DataFrame),
        commit_properties=properties,
    )
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


def _any_known(table: DeltaTable, spec: DatasetSpec, frames: Frames) -> bool:
    """Whether the table has any of the keys. A merge holds all of both sides in memory; where nothing is replaced,
    which is how large files mostly are, the rows are appended as they come instead."""
    if table.count() == 0:
        return False
    schema = {name: lake_schema(spec)[name] for name in spec.primary_key}
    hashes = pl.concat([frame.select(list(schema)).hash_rows() for frame in frames()]).sort()
    wanted = ", ".join(f'"{name}"' for name in spec.primary_key)
    # Column names are letters, digits and underscores, and quoted.
    select = f"SELECT {wanted} FROM t"  # noqa: S608
    for batch in QueryBuilder().register("t", table).execute(select):
        present = pl.DataFrame(batch).cast(schema).hash_rows()  # type: ignore[arg-type]
        at = hashes.search_sorted(present).clip(0, len(hashes) - 1)
        # Two keys with one hash only cost a merge that was not needed.
        if (hashes.gather(at) == present).any():
            return True
    return False


def _places_of(table: DeltaTable, column: str, value: str | int) -> pl.DataFrame:
    """Batch and line of the rows that have the value: where they are, without saying whom they are about."""
    if column not in {field.name for field in table.schema().fields}:
        return pl.DataFrame(schema={"_batch_id": pl.String, "_line": pl.Int64})
    literal = str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
    # The column is a declared one, and quoted; a text's quotes are doubled.
    select = f'SELECT "_batch_id", "_line" FROM t WHERE "{column}" = {literal}'  # noqa: S608
    batches = [pl.DataFrame(batch) for batch in QueryBuilder().register("t", table).execute(select)]
    schema = {"_batch_id": pl.String, "_line": pl.Int64}
    return pl.concat([pl.DataFrame(schema=schema), *(frame.cast(schema) for frame in batches)])  # type: ignore[arg-type]


def _at_places(found: pl.DataFrame) -> str:
    """The predicate stands in the table's log for good, so it names nothing of the rows' content. One list, however many
    batches there are: a thousand terms joined by OR take 20 seconds, and more of them the process."""
    places = ", ".join(f"'{batch}:{line}'" for batch, line in found.iter_rows())
    return f'concat("_batch_id", \':\', CAST("_line" AS VARCHAR)) IN ({places})'


def _prunes(spec: DatasetSpec, rows: int) -> bool:
    """Whether a merge is best: its source held in memory, and the files skipped whose statistics cannot have its keys.

    Statistics of decimals pass through floats in the log, so that a file which has the key would be skipped.
    """
    return rows <= PRUNED_ROWS and all(spec.columns[name].type in _PRUNED_TYPES for name in spec.primary_key)


def _described(uri: str, table: DeltaTable) -> Table:
    return Table(uri, table.version(), table.count())


def _app_id(batch_id: str) -> str:
    return f"tenon-batch-{batch_id}"


def _schema_of(table: DeltaTable, spec: DatasetSpec) -> dict[str, pl.DataType]:
    """The table's columns in its order."""
    schema = lake_schema(spec)
    return {field.name: schema[field.name] for field in table.schema().fields if field.name in schema}


def _whole(schema: dict[str, pl.DataType], frames: Iterator[pl.DataFrame]) -> pl.DataFrame:
    """All frames as one; a batch received before a column was added gets it, empty."""
    return pl.concat([pl.DataFrame(schema=schema), *frames], how="diagonal").select(list(schema))


def _stream(schema: dict[str, pl.DataType], frames: Iterator[pl.DataFrame]) -> Any:
    """Frames as one Arrow stream, so that only one of them is in memory at a time."""

    def arrow_batches() -> Iterator[Any]:
        for frame in frames:
            yield from ArrowTable.from_arrow(_whole(schema, iter([frame]))).to_batches()

    return RecordBatchReader.from_batches(ArrowTable.from_arrow(_whole(schema, iter(()))).schema, arrow_batches())


def _unavailable(spec: DatasetSpec, err: BaseException) -> Unavailable:
    return Unavailable("LAKE_UNAVAILABLE", f"data set {spec.name!r} could not be written to the lake: {err}")


def _delta_type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision},{dtype.scale})"
    return _DELTA_TYPES[str(dtype.base_type())]


_DELTA_TYPES = {
    "String": "string",
    "Int64": "long",
    "Float64": "double",
    "Boolean": "boolean",
    "Datetime": "timestamp",
    "Date": "date",
}
