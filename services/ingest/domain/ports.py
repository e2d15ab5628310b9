"""What the use cases need from the world. The tenant comes first everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import polars as pl

from services.ingest.domain.model import BadRow, Batch, Change, Dataset, ErasedRows, Problem, RawFile, RowCounts, Table
from tenon.core.specs import DatasetSpec
from tenon.core.tenancy import TenantId

Frames = Callable[[], Iterator[pl.DataFrame]]
"""Rows that can be gone through more than once; they may be more than fit in memory."""


class Tenants(Protocol):
    """Knows which tenants there are."""

    def require(self, tenant: TenantId) -> None:
        """Raises `NotFound` when there is no such tenant, `Unavailable` when nobody can say."""
        ...


class Datasets(Protocol):
    """Contracts and their revisions."""

    def apply(self, tenant: TenantId, spec: DatasetSpec, *, dry_run: bool) -> tuple[Change, Dataset]:
        """Store a contract unless it is the current one, in one transaction with the check of what it changes.

        Raises `Precondition` when data that is there, or on its way, would not fit it.
        """
        ...

    def get(self, tenant: TenantId, name: str, revision: int | None = None) -> Dataset:
        """A revision, by default the newest. Raises `NotFound`."""
        ...

    def list(self, tenant: TenantId) -> list[Dataset]:
        """The newest revision of each data set, by name."""
        ...

    def table(self, tenant: TenantId, name: str) -> Table | None:
        """The lake table as of the last acknowledged batch; None before the first."""
        ...


class Batches(Protocol):
    """The ledger of files: what was received, and what became of it."""

    def receive(self, tenant: TenantId, dataset: Dataset, file: RawFile) -> tuple[Batch, bool]:
        """Write a new batch, or give the earlier one (and True) when the same content was taken under the same rules."""
        ...

    def find_duplicate(self, tenant: TenantId, dataset: Dataset, sha256: str) -> Batch | None:
        """The earlier batch with the same content under the same rules, refused ones aside."""
        ...

    def get(self, tenant: TenantId, dataset: str, batch_id: str) -> Batch:
        """One batch. Raises `NotFound`."""
        ...

    def list(self, tenant: TenantId, dataset: str | None, limit: int) -> list[Batch]:
        """Newest first."""
        ...


class LoadQueue(Protocol):
    """The loading side of the ledger. A batch is claimed for a while, and the claim renewed while it is worked on."""

    def claim(self) -> Batch | None:
        """The next batch to load: of each data set the oldest unfinished one, if nobody holds it."""
        ...

    def report(self, tenant: TenantId, batch_id: str, counts: RowCounts) -> None:
        """How far the load is."""
        ...

    def move(self, tenant: TenantId, dataset: str, table: Table) -> None:
        """Write that the table is at a later version without a batch, and the event, in one transaction."""
        ...

    def commit(self, tenant: TenantId, batch: Batch, counts: RowCounts, table: Table, at: int) -> bool:
        """Write the outcome and the event in one transaction; False when the claim was lost meanwhile."""
        ...

    def refuse(self, tenant: TenantId, batch_id: str, counts: RowCounts, problem: Problem) -> bool:
        """Write why the file was refused; False when the claim was lost meanwhile."""
        ...

    def postpone(self, tenant: TenantId, batch_id: str, seconds: float, *, counted: bool) -> None:
        """Give the claim back; the batch is tried again after a while. Only `counted` attempts lead to giving up."""
        ...


class RawFiles(Protocol):
    """Files as they were received, by content."""

    def keep(self, tenant: TenantId, dataset: str, sha256: str, path: Path) -> None:
        """Store a local file durably."""
        ...

    def open(self, tenant: TenantId, dataset: str, sha256: str) -> BinaryIO:
        """A stream of the stored bytes."""
        ...


class QuarantineWriter(Protocol):
    """Takes the bad rows of one file."""

    def add(self, rows: Sequence[BadRow]) -> None:
        """Append rows."""
        ...

    def keep(self) -> None:
        """Store what was added durably."""
        ...


class Quarantine(Protocol):
    """Bad rows by batch."""

    def write(self, tenant: TenantId, dataset: str, batch_id: str, header: Sequence[str]) -> QuarantineWriter:
        """Begin the quarantine of a batch, replacing an earlier attempt."""
        ...

    def read(self, tenant: TenantId, dataset: str, batch_id: str) -> tuple[list[str], Iterator[BadRow]]:
        """The file's header and its bad rows in line order; empty when there are none."""
        ...


class Stage(Protocol):
    """Typed rows of one file on local disk, so that a file larger than memory can be loaded."""

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        ...

    def frames(self) -> Iterator[pl.DataFrame]:
        """What was added, in order."""
        ...

    def close(self) -> None:
        """Remove everything."""
        ...


class Stages(Protocol):
    """Makes stages."""

    def open(self, tenant: TenantId, batch_id: str) -> Stage:
        """An empty stage for a batch; what a killed predecessor left is removed."""
        ...


class Lake(Protocol):
    """The lake tables."""

    def find(self, tenant: TenantId, dataset: str, batch_id: str) -> Table | None:
        """The table as of the commit of this batch, if it was ever made."""
        ...

    def upsert(self, tenant: TenantId, spec: DatasetSpec, batch_id: str, rows: int, frames: Frames) -> Table:
        """Commit rows whose primary keys are unique, replacing rows with the same keys, in one version of the table
        that carries the batch's id. Columns new in the contract are added to the table first."""
        ...

    def erase(self, tenant: TenantId, spec: DatasetSpec, column: str, value: str | int) -> ErasedRows | None:
        """Remove the rows that have the value, for good: also from earlier versions of the table. The table's log names
        neither the value nor a key. None when there is no table. Cut off at any point, it can be done again."""
        ...
