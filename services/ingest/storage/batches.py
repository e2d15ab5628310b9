"""The ledger of files in the database: what the doors read and write."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import Counter
from typing import Any

import sqlalchemy as sa

from services.ingest.domain.model import Batch, BatchState, Dataset, Problem, RawFile, RowCounts
from services.ingest.storage.tables import batches
from tenon.core.errors import Conflict, NotFound, Place
from tenon.core.specs import DatasetSpec
from tenon.core.tenancy import TenantId
from tenon.kit.sql import Database


class SqlBatches:
    """See `domain.ports.Batches`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def receive(self, tenant: TenantId, dataset: Dataset, file: RawFile) -> tuple[Batch, bool]:
        """See `Batches`."""
        now = time.time_ns() // 1000
        # Ids sort by time: 48 bits of milliseconds, then 80 random bits.
        batch_id = f"{now // 1000:012x}{secrets.token_hex(10)}"
        values = {
            "id": batch_id, "tenant": tenant.value, "dataset": dataset.name, "revision": dataset.revision,
            "rules_sha256": rules_sha256(dataset.spec), "file_name": file.name, "file_sha256": file.sha256,
            "size_bytes": file.size_bytes, "gzipped": file.gzipped, "state": BatchState.RECEIVED.value,
            "received_at": now,
        }  # fmt: skip
        try:
            with self._database.session() as session:
                session.execute(batches.insert().values(**values))
        except sa.exc.IntegrityError as err:
            earlier = self.find_duplicate(tenant, dataset, file.sha256)
            if earlier is None:
                raise Conflict("FILE_CHANGED_STATE", f"{file.name} was just refused; send it again") from err
            return earlier, True
        return Batch(batch_id, tenant, dataset.name, dataset.revision, file, BatchState.RECEIVED, now), False

    def find_duplicate(self, tenant: TenantId, dataset: Dataset, sha256: str) -> Batch | None:
        """See `Batches`."""
        return self._first(
            tenant,
            batches.c.dataset == dataset.name,
            batches.c.file_sha256 == sha256,
            batches.c.rules_sha256 == rules_sha256(dataset.spec),
            batches.c.state != BatchState.REFUSED.value,
        )

    def get(self, tenant: TenantId, dataset: str, batch_id: str) -> Batch:
        """See `Batches`."""
        found = self._first(tenant, batches.c.dataset == dataset, batches.c.id == batch_id)
        if found is None:
            raise NotFound(
                "BATCH_NOT_FOUND", f"data set {dataset[:80]!r} of tenant {tenant.value!r} has no batch {batch_id[:40]!r}",
                place=Place(field="batch"),
            )  # fmt: skip
        return found

    def list(self, tenant: TenantId, dataset: str | None, limit: int) -> list[Batch]:
        """See `Batches`."""
        query = sa.select(batches).where(batches.c.tenant == tenant.value)
        if dataset is not None:
            query = query.where(batches.c.dataset == dataset)
        with self._database.session() as session:
            return [
                batch_from_row(row) for row in session.execute(query.order_by(batches.c.sequence.desc()).limit(limit))
            ]

    def _first(self, tenant: TenantId, *conditions: Any) -> Batch | None:
        query = sa.select(batches).where(batches.c.tenant == tenant.value, *conditions).limit(1)
        with self._database.session() as session:
            row = session.execute(query).first()
        return batch_from_row(row) if row else None


def rules_sha256(spec: DatasetSpec) -> str:
    """The digest of those parts of a contract that decide how a file is read; descriptions have none."""
    rules = spec.canonical()
    rules.pop("description", None)
    for column in rules["columns"].values():
        column.pop("description", None)
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


def batch_from_row(row: Any) -> Batch:
    """A batch from its row."""
    return Batch(
        id=row.id,
        tenant=TenantId(row.tenant),
        dataset=row.dataset,
        revision=row.revision,
        file=RawFile(row.file_name, row.file_sha256, row.size_bytes, row.gzipped),
        state=BatchState(row.state),
        received_at=row.received_at,
        counts=RowCounts(
            row.rows_read, row.rows_committed, row.rows_superseded, row.rows_quarantined,
            Counter(json.loads(row.reasons_json)),
        ),
        table_version=row.table_version,
        problem=Problem.from_dict(json.loads(row.problem_json)) if row.problem_json else None,
        committed_at=row.committed_at,
        attempts=row.attempts,
    )  # fmt: skip
