"""Tables of the lake, read with Polars at a pinned version."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote, urlsplit

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from services.features.domain.frames import micros
from services.features.domain.model import LakeTable
from tenon.core.errors import Unavailable
from tenon.core.specs import ColumnType, DatasetSpec
from tenon.kit.blobs import BlobStore

_DTYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.STRING: pl.String(),
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.FLOAT: pl.Float64(),
    ColumnType.BOOLEAN: pl.Boolean(),
    ColumnType.TIMESTAMP: pl.Datetime("us", "UTC"),
    ColumnType.DATE: pl.Date(),
}
_YEAR_ONE = -62_135_596_800_000_000


def _dtype(spec: DatasetSpec, name: str) -> pl.DataType:
    column = spec.columns[name]
    return pl.Decimal(18, column.scale or 0) if column.type is ColumnType.DECIMAL else _DTYPES[column.type]


class DeltaLake:
    """See `ports.Lake`."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def read(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """See `ports.Lake`."""
        return self._collect(table, self._scan(table, columns).select(columns))

    def newest(self, table: LakeTable, column: str) -> int | None:
        """See `ports.Lake`."""
        found = self._collect(table, self._scan(table, [column]).select(micros(column).max())).item()
        return None if found is None else int(found)

    def read_since(self, table: LakeTable, columns: Sequence[str], column: str, since: int) -> pl.DataFrame:
        """See `ports.Lake`."""
        # Delta Lake's statistics give the largest timestamp of a file cut to milliseconds, and Polars skips files by
        # them: a bound inside that millisecond would lose rows. So the scan takes one more, and the exact filter runs
        # on what was read. The year 1 is before every event, and no timestamp could be written further back.
        early = pl.lit(max(since - 1000, _YEAR_ONE)).cast(pl.Datetime("us", "UTC"))
        rows = self._collect(table, self._scan(table, columns).filter(pl.col(column) >= early).select(columns))
        return rows.filter(micros(column) >= since)

    def read_added(self, table: LakeTable, columns: Sequence[str], since: int) -> pl.DataFrame | None:
        """See `ports.Lake`: rows were only added iff no file of the old version was removed."""
        options = self._blobs.storage_options()
        try:
            old, new = (
                set(DeltaTable(table.uri, version=version, storage_options=options).file_uris())
                for version in (since, table.version)
            )
        except (DeltaError, OSError):
            # The old version may have been cleaned up.
            return None
        if not old <= new or (added := new - old) == set():
            return None
        local = urlsplit(table.uri).scheme in ("", "file")
        files = sorted(unquote(uri) if local else uri for uri in added)
        scan = pl.scan_parquet(
            files, missing_columns="insert", extra_columns="ignore", storage_options=None if local else options
        )
        return self._collect(table, self._with_later(table, scan, columns).select(columns))

    def read_distinct(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """See `ports.Lake`."""
        return self._collect(table, self._scan(table, columns).select(columns).unique())

    def _scan(self, table: LakeTable, columns: Sequence[str]) -> pl.LazyFrame:
        options = self._blobs.storage_options()
        try:
            delta = DeltaTable(table.uri, version=table.version, storage_options=options)
            local = urlsplit(table.uri).scheme in ("", "file")
            if local and quote(unquote(urlsplit(table.uri).path)) != unquote(urlsplit(table.uri).path):
                # Polars takes the quoted names of local files literally; a folder with a space would not be found.
                scan = pl.scan_parquet(
                    [unquote(uri) for uri in delta.file_uris()], missing_columns="insert", extra_columns="ignore"
                )
            else:
                scan = pl.scan_delta(delta, storage_options=options)
        except TableNotFoundError as err:
            raise Unavailable("LAKE_UNAVAILABLE", f"the table of {table.spec.name!r} is not at {table.uri}") from err
        except (DeltaError, OSError) as err:
            raise Unavailable(
                "LAKE_UNAVAILABLE", f"the table of {table.spec.name!r} at version {table.version} cannot be opened"
            ) from err
        return self._with_later(table, scan, columns)

    def _with_later(self, table: LakeTable, scan: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
        present = set(scan.collect_schema().names())
        # A column that was declared after the table's last commit: its values are missing so far.
        later = [name for name in columns if name not in present]
        return scan.with_columns(pl.lit(None).cast(_dtype(table.spec, name)).alias(name) for name in later)

    def _collect(self, table: LakeTable, query: pl.LazyFrame) -> pl.DataFrame:
        try:
            return query.collect()
        except (OSError, pl.exceptions.ComputeError) as err:
            raise Unavailable(
                "LAKE_UNAVAILABLE", f"the table of {table.spec.name!r} at version {table.version} cannot be read"
            ) from err
