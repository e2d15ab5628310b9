"""Raw files, quarantine and the local stage."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import polars as pl

from services.ingest.domain.model import BadRow
from tenon.core.errors import NotFound
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import BlobStore


class BlobRawFiles:
    """See `domain.ports.RawFiles`."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def keep(self, tenant: TenantId, dataset: str, sha256: str, path: Path) -> None:
        """See `RawFiles`."""
        self._blobs.put_file(raw_key(tenant, dataset, sha256), path)

    def open(self, tenant: TenantId, dataset: str, sha256: str) -> BinaryIO:
        """See `RawFiles`."""
        return self._blobs.open_read(raw_key(tenant, dataset, sha256))


def raw_key(tenant: TenantId, dataset: str, sha256: str) -> str:
    """Where a raw file is."""
    return f"ingest/{tenant}/{dataset}/raw/{sha256}"


class BlobQuarantine:
    """See `domain.ports.Quarantine`: gzip'd JSON lines, the first one is the header."""

    def __init__(self, blobs: BlobStore, folder: Path) -> None:
        self._blobs, self._folder = blobs, folder

    def write(self, tenant: TenantId, dataset: str, batch_id: str, header: Sequence[str]) -> BlobQuarantineWriter:
        """See `Quarantine`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{batch_id}.jsonl.gz"
        return BlobQuarantineWriter(self._blobs, _quarantine_key(tenant, dataset, batch_id), path, header)

    def read(self, tenant: TenantId, dataset: str, batch_id: str) -> tuple[list[str], Iterator[BadRow]]:
        """See `Quarantine`."""
        try:
            stored = self._blobs.open_read(_quarantine_key(tenant, dataset, batch_id))
        except NotFound:
            return [], iter(())
        lines = gzip.open(stored, "rt", encoding="utf-8")  # noqa: SIM115 - it is read by whoever takes the rows
        header: list[str] = json.loads(next(lines))
        return header, _bad_rows(lines, stored)


class BlobQuarantineWriter:
    """See `domain.ports.QuarantineWriter`."""

    def __init__(self, blobs: BlobStore, key: str, path: Path, header: Sequence[str]) -> None:
        self._blobs, self._key, self._path = blobs, key, path
        self._out = gzip.open(path, "wt", encoding="utf-8", compresslevel=3)  # noqa: SIM115 - closed by keep()
        self._write(list(header))

    def add(self, rows: Sequence[BadRow]) -> None:
        """See `QuarantineWriter`."""
        for row in rows:
            self._write([row.line, row.reason, row.column, row.value, row.message, row.also, row.fields])

    def keep(self) -> None:
        """See `QuarantineWriter`."""
        self._out.close()
        self._blobs.put_file(self._key, self._path)
        self._path.unlink()

    def _write(self, item: list[object]) -> None:
        self._out.write(json.dumps(item, ensure_ascii=False) + "\n")


def _bad_rows(lines: Iterator[str], stored: BinaryIO) -> Iterator[BadRow]:
    with stored:
        for text in lines:
            line, reason, column, value, message, also, fields = json.loads(text)
            yield BadRow(line, reason, column, value, message, tuple(also), tuple(fields))


def _quarantine_key(tenant: TenantId, dataset: str, batch_id: str) -> str:
    return f"ingest/{tenant}/{dataset}/quarantine/{batch_id}.jsonl.gz"


class LocalStages:
    """See `domain.ports.Stages`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, tenant: TenantId, batch_id: str) -> LocalStage:
        """See `Stages`."""
        return LocalStage(self._folder / f"{tenant}-{batch_id}")


class LocalStage:
    """See `domain.ports.Stage`: one Parquet file a chunk."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._parts: list[Path] = []

    def add(self, frame: pl.DataFrame) -> None:
        """See `Stage`."""
        path = self._folder / f"{len(self._parts):06}.parquet"
        frame.write_parquet(path, compression="lz4")
        self._parts.append(path)

    def frames(self) -> Iterator[pl.DataFrame]:
        """See `Stage`."""
        for path in self._parts:
            yield pl.read_parquet(path)

    def close(self) -> None:
        """See `Stage`."""
        shutil.rmtree(self._folder, ignore_errors=True)
