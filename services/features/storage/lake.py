"""Tables of the lake, read with Polars at a pinned version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from services.features.domain.frames import micros
from services.features.domain.model import LakeTable
from services.features.domain.ports import REPLACED_AT, REPLACED_IN
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
_CHANGED = ("num_target_rows_updated", "num_target_rows_deleted", "num_deleted_rows")
"""In a commit's figures: rows that it replaced or removed."""
_COMMITS_KNOWN = 1000
_BATCH, _COMMIT_BATCH = "_batch_id", "tenon.batch_id"
"""What ingest writes beside each row, and to each commit."""
_YEAR_ONE = -62_135_596_800_000_000


def _dtype(spec: DatasetSpec, name: str) -> pl.DataType:
    column = spec.columns[name]
    return pl.Decimal(18, column.scale or 0) if column.type is ColumnType.DECIMAL else _DTYPES[column.type]


class DeltaLake:
    """See `ports.Lake`."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._corrections: dict[str, tuple[int, tuple[int, ...]]] = {}

    def read(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """See `ports.Lake`."""
        return self._collect(table, self._scan(table, columns).select(columns))

    def scan(self, table: LakeTable, columns: Sequence[str]) -> pl.LazyFrame:
        """See `ports.Lake`."""
        return self._scan(table, columns).select(columns)

    def rows(self, table: LakeTable) -> int:
        """See `ports.Lake`."""
        return int(self._collect(table, self._scan(table, []).select(pl.len())).item())

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

    def read_replaced(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """See `ports.Lake`: the table's change feed has them. What was changed before a table had one is not known."""
        found = self._old_rows(table, columns, -1)
        if not found:
            return pl.DataFrame(schema={name: _dtype(table.spec, name) for name in columns})
        at = pl.col("_commit_timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(REPLACED_AT)
        version = pl.col("_commit_version").cast(pl.Int64).alias(REPLACED_IN)
        rows = pl.concat([rows.select(*columns, version, at, "_change_type") for rows in found])
        removed = rows.filter(pl.col("_change_type") == "delete").drop("_change_type", REPLACED_AT)
        keys = list(table.spec.primary_key)
        # A row that was removed leaves nothing behind, also when a row with its key came again.
        removed = removed.group_by(keys).agg(pl.col(REPLACED_IN).max().alias("__removed_in"))
        left = rows.filter(pl.col("_change_type") != "delete").join(removed, on=keys, how="left")
        after = pl.col("__removed_in").is_null() | (pl.col(REPLACED_IN) > pl.col("__removed_in"))
        return left.filter(after).select(*columns, REPLACED_IN, REPLACED_AT)

    def read_removed(self, table: LakeTable, since: int) -> pl.DataFrame:
        """See `ports.Lake`."""
        keys = list(table.spec.primary_key)
        version = pl.col("_commit_version").cast(pl.Int64).alias(REPLACED_IN)
        removed = (pl.col("_change_type") == "delete") & (pl.col("_commit_version") > since)
        found = [rows.filter(removed).select(*keys, version) for rows in self._old_rows(table, keys, since)]
        empty = {name: _dtype(table.spec, name) for name in keys} | {REPLACED_IN: pl.Int64}
        return pl.concat(found) if found else pl.DataFrame(schema=empty)

    def count_removed(self, table: LakeTable, version: int) -> int | None:
        """See `ports.Lake`. Files of that version may be gone, so the change feed tells: of each removed row what it was
        when it was first changed after `version`, and the log, which commit brought the batch that this came with."""
        keys = list(table.spec.primary_key)
        found = [rows for rows in self._old_rows(table, keys, version) if _BATCH in rows.columns]
        if not found:
            return None
        rows = pl.concat([rows.select(*keys, _BATCH, "_change_type", "_commit_version") for rows in found])
        rows = rows.filter(pl.col("_commit_version") > version).sort("_commit_version")
        removed = rows.filter(pl.col("_change_type") == "delete").select(keys).unique()
        first = rows.join(removed, on=keys, how="semi").unique(keys, keep="first", maintain_order=True)
        try:
            delta = DeltaTable(table.uri, version=table.version, storage_options=self._blobs.storage_options())
            came = {entry[_COMMIT_BATCH]: int(entry["version"]) for entry in delta.history() if _COMMIT_BATCH in entry}
        except (DeltaError, OSError) as err:
            raise Unavailable("LAKE_UNAVAILABLE", f"the commits of {table.spec.name!r} cannot be read") from err
        versions = [came.get(batch) for batch in first[_BATCH].to_list()]
        if None in versions:
            return None
        return sum(1 for brought in versions if brought is not None and brought <= version)

    def _old_rows(self, table: LakeTable, columns: Sequence[str], since: int) -> list[pl.DataFrame]:
        """The change feed's rows that were replaced or removed, from the commits after version `since`."""
        options, found = self._blobs.storage_options(), []
        try:
            delta = DeltaTable(table.uri, version=table.version, storage_options=options)
            for first, last in self._corrected(table, delta):
                changes = _changes(delta, first, last) if last > since else None
                if changes is not None:
                    old = pl.col("_change_type").is_in(["update_preimage", "delete"])
                    found.append(self._with_later(table, changes.lazy().filter(old), columns).collect())
        except (DeltaError, OSError) as err:
            raise Unavailable(
                "LAKE_UNAVAILABLE", f"the changes of {table.spec.name!r} up to version {table.version} cannot be read"
            ) from err
        return found

    def _corrected(self, table: LakeTable, delta: DeltaTable) -> list[tuple[int, int]]:
        """The versions in which rows were replaced or removed, as spans."""
        # The log is read once: of a table known up to some version only what came after it.
        table_id = str(delta.metadata().id)
        known, versions = self._corrections.get(table_id, (-1, ()))
        if known < table.version:
            entries = delta.history(table.version - known)
            fresh = [int(entry["version"]) for entry in entries if _changes_rows(entry)]
            versions = (*versions, *sorted(version for version in fresh if known < version <= table.version))
            self._corrections[table_id] = table.version, versions
        spans: list[tuple[int, int]] = []
        for version in versions:
            if version > table.version:
                break
            joined = bool(spans) and spans[-1][1] == version - 1
            spans[-1:] = [(spans[-1][0], version)] if joined else [*spans[-1:], (version, version)]
        return spans

    def version_at(self, table: LakeTable, as_of: int | None) -> int:
        """See `ports.Lake`: by the times that the commits say of themselves."""
        if as_of is None:
            return table.version
        try:
            delta = DeltaTable(table.uri, version=table.version, storage_options=self._blobs.storage_options())
            entries = delta.history(_COMMITS_KNOWN)
        except (DeltaError, OSError) as err:
            raise Unavailable(
                "LAKE_UNAVAILABLE", f"the commits of {table.spec.name!r} up to version {table.version} cannot be read"
            ) from err
        found = [int(entry["version"]) for entry in entries if int(entry.get("timestamp", 0)) * 1000 <= as_of]
        return max((version for version in found if version <= table.version), default=-1)

    def files(self, table: LakeTable) -> list[str]:
        """The Parquet files of the table at its version, for whoever reads them otherwise."""
        options = self._blobs.storage_options()
        return sorted(DeltaTable(table.uri, version=table.version, storage_options=options).file_uris())

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


def _changes_rows(entry: Mapping[str, Any]) -> bool:
    figures = entry.get("operationMetrics") or {}
    return any(figures.get(name) for name in _CHANGED)


def _changes(delta: DeltaTable, first: int, last: int) -> pl.DataFrame | None:
    """What commits changed; None when the table had no change feed then."""
    try:
        return pl.DataFrame(delta.load_cdf(first, last).read_all())
    except DeltaError as err:
        if "change data" in str(err):
            return None
        raise
