"""Ingest without processes: its use cases on real SQLite, folders and Delta tables, with an accident at any point."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from services.ingest.domain.define_dataset import DefineDataset
from services.ingest.domain.load_batch import LoadBatch
from services.ingest.domain.model import Batch, Change, Dataset, RawFile
from services.ingest.domain.read_quarantine import ReadQuarantine
from services.ingest.domain.receive_file import Receipt, ReceiveFile
from services.ingest.storage.batches import SqlBatches
from services.ingest.storage.datasets import SqlDatasets
from services.ingest.storage.files import BlobQuarantine, BlobRawFiles, LocalStages
from services.ingest.storage.lake import DeltaLake
from services.ingest.storage.queue import SqlLoadQueue
from services.ingest.storage.tables import outbox as outbox_rows
from tenon.core.errors import NotFound
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tenon.kit.outbox import Outbox
from tenon.kit.sql import Database, migrate

ACME = TenantId("acme")
NOBODY_LISTENS = "redis://127.0.0.1:1/0"


def visits(**changes: Any) -> dict[str, Any]:
    """A small Dataset document."""
    columns = {
        "visit": {"type": "integer"},
        "at": {"type": "timestamp"},
        "ward": {"type": "string", "nullable": True},
        "fee": {"type": "decimal", "scale": 2, "min": 0, "nullable": True},
    }
    return {"name": "visits", "primaryKey": ["visit"], "eventTime": "at", "columns": columns} | changes


def csv_of(*rows: tuple[Any, ...], header: str = "visit,at,ward,fee") -> bytes:
    """A file of visits; a row is (visit, ward, fee), all at the same time unless it has four parts."""
    lines = [header]
    for row in rows:
        visit, *rest = row
        lines.append(f"{visit},2024-01-01 08:00,{rest[0]},{rest[1]}")
    return ("\n".join(lines) + "\n").encode()


@functools.cache
def _migrated() -> bytes:
    """A SQLite file with all tables and no rows; migrating takes longer than most tests."""
    with tempfile.TemporaryDirectory(prefix="tenon-ingest-") as folder:
        path = Path(folder) / "empty.db"
        database = Database(f"sqlite:///{path}")
        migrate(database, "services.ingest.migrations")
        database.close()
        return path.read_bytes()


class Tenants:
    """Knows only acme and globex."""

    def require(self, tenant: TenantId) -> None:
        """See the port."""
        if tenant.value not in ("acme", "globex"):
            raise NotFound("TENANT_NOT_FOUND", f"there is no tenant {tenant.value!r}")


class Accident(Exception):
    """What a kill looks like to the code it hits: nothing after it happens."""


@dataclass
class World:
    """Everything of ingest in one folder. `reopen` is what a restart after a kill finds."""

    folder: Path
    database_url: str = ""
    blob_url: str = ""
    now: int = 1_700_000_000_000_000
    chunk_rows: int = 2
    accidents: dict[str, int] = field(default_factory=dict)
    """Name of a step to the number of times it may still happen before the accident."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "ingest.db"
        if not self.database_url and not path.exists():
            path.write_bytes(_migrated())
        self.database = Database(self.database_url or f"sqlite:///{path}")
        if self.database_url:
            migrate(self.database, "services.ingest.migrations")
        self.blobs = open_blobs(self.blob_url or (self.folder / "blobs").absolute().as_uri())
        self.outbox = Outbox(self.database, outbox_rows, NOBODY_LISTENS)
        self.datasets, self.batches = SqlDatasets(self.database), SqlBatches(self.database)
        self.queue = SqlLoadQueue(self.database, self.outbox, "the-instance")
        self.raw = BlobRawFiles(self.blobs)
        self.quarantine = BlobQuarantine(self.blobs, self.folder / "private" / "quarantine")
        self.lake = DeltaLake(self.blobs)
        self.define = DefineDataset(Tenants(), self.datasets)
        self.read_quarantine = ReadQuarantine(self.batches, self.quarantine)
        self._break_steps()
        self.receive = ReceiveFile(self.datasets, self.batches, self.raw, lambda: None)
        self.load = LoadBatch(
            datasets=self.datasets,
            queue=self.queue,
            raw=self.raw,
            quarantine=self.quarantine,
            stages=LocalStages(self.folder / "private" / "stages"),
            lake=self.lake,
            max_text_bytes=1 << 20,
            chunk_rows=self.chunk_rows,
            now_micros=lambda: self.now,
        )

    def reopen(self) -> World:
        """The same folder and database, as a new process sees them."""
        self.database.close()
        world = World(self.folder, self.database_url, self.blob_url, self.now, self.chunk_rows)
        world.queue.release_own()
        return world

    def apply(self, document: dict[str, Any] | None = None, tenant: TenantId = ACME) -> tuple[Change, Dataset]:
        """Apply a contract."""
        document = document or visits()
        return self.define.apply(tenant, document["name"], document)

    def send(self, data: bytes, name: str = "visits.csv", dataset: str = "visits", tenant: TenantId = ACME) -> Receipt:
        """Send a file."""
        path = self.folder / "upload"
        path.write_bytes(data)
        file = RawFile(name, hashlib.sha256(data).hexdigest(), len(data), name.endswith(".gz"))
        return self.receive.receive(tenant, dataset, file, path)

    def load_all(self) -> list[Batch]:
        """Load everything that waits; gives the outcomes."""
        done = []
        while (batch := self.queue.claim()) is not None:
            done.append(self.load.load(batch.tenant, batch))
        return done

    def rows(self, dataset: str = "visits", tenant: TenantId = ACME) -> pl.DataFrame:
        """The table as readers see it: at the version that the ledger tells."""
        table = self.datasets.table(tenant, dataset)
        assert table is not None
        frame = pl.read_delta(table.uri, version=table.version)
        assert len(frame) == table.rows
        return frame

    def _break_steps(self) -> None:
        """Put an accident before and after each step that changes the world."""
        for owner, name in [
            (self.raw, "keep"), (self.batches, "receive"), (self.queue, "report"), (self.quarantine, "write"),
            (self.lake, "upsert"), (self.queue, "commit"), (self.queue, "refuse"),
        ]:  # fmt: skip
            setattr(owner, name, self._fragile(getattr(owner, name), f"{type(owner).__name__}.{name}"))

    def _fragile(self, step: Callable[..., Any], name: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self._pass(f"before {name}")
            result = step(*args, **kwargs)
            self._pass(f"after {name}")
            return result

        return run

    def _pass(self, point: str) -> None:
        if point in self.accidents:
            if self.accidents[point] == 0:
                raise Accident(point)
            self.accidents[point] -= 1


ACCIDENTS = [
    f"{when} {step}"
    for step in (
        "BlobRawFiles.keep", "SqlBatches.receive", "SqlLoadQueue.report", "BlobQuarantine.write", "DeltaLake.upsert",
        "SqlLoadQueue.commit",
    )
    for when in ("before", "after")
]  # fmt: skip


def keys(frame: pl.DataFrame) -> Iterator[Any]:
    """The primary keys of a table, sorted."""
    return iter(sorted(frame["visit"].to_list()))
