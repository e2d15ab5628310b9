"""Contracts in the database."""

from __future__ import annotations

import json

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.ingest.domain.define_dataset import check_change
from services.ingest.domain.model import Change, Dataset, Table
from services.ingest.storage.tables import batches, lake_tables, spec_revisions
from tenon.core.errors import Conflict, NotFound
from tenon.core.specs import DatasetSpec, parse_spec
from tenon.core.tenancy import TenantId
from tenon.kit.spec_store import SpecStore, StoredSpec
from tenon.kit.sql import Database


class SqlDatasets:
    """See `domain.ports.Datasets`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._specs: SpecStore[DatasetSpec] = SpecStore(database, spec_revisions, DatasetSpec, "dataset")

    def apply(self, tenant: TenantId, spec: DatasetSpec, *, dry_run: bool) -> tuple[Change, Dataset]:
        """See `Datasets`."""

        def check(session: Session, stored: StoredSpec[DatasetSpec]) -> None:
            if stored.revision > 1 and self._has_rows(session, tenant, spec.name):
                before = self._revision(session, tenant, spec.name, stored.revision - 1)
                check_change(before.spec, spec)

        try:
            change, stored = self._specs.apply(tenant, spec, dry_run=dry_run, also=check)
        except sa.exc.IntegrityError as err:
            raise Conflict("DATASET_CHANGED", f"data set {spec.name!r} was changed by somebody else just now") from err
        if dry_run and change != "unchanged":
            with self._database.session() as session:
                check(session, stored)
        return Change(change), _dataset(stored)

    def get(self, tenant: TenantId, name: str, revision: int | None = None) -> Dataset:
        """See `Datasets`."""
        if revision is None:
            return _dataset(self._specs.get(tenant, name))
        with self._database.session() as session:
            return self._revision(session, tenant, name, revision)

    def list(self, tenant: TenantId) -> list[Dataset]:
        """See `Datasets`."""
        return [_dataset(stored) for stored in self._specs.list(tenant)]

    def table(self, tenant: TenantId, name: str) -> Table | None:
        """See `Datasets`."""
        where = (lake_tables.c.tenant == tenant.value, lake_tables.c.dataset == name)
        with self._database.session() as session:
            row = session.execute(sa.select(lake_tables).where(*where)).first()
        return Table(row.uri, row.version, row.rows) if row else None

    @staticmethod
    def _has_rows(session: Session, tenant: TenantId, name: str) -> bool:
        """Whether rows are in the lake or a file is on its way there."""
        wanted = (batches.c.tenant == tenant.value, batches.c.dataset == name, batches.c.state != "refused")
        return session.execute(sa.select(batches.c.id).where(*wanted).limit(1)).first() is not None

    @staticmethod
    def _revision(session: Session, tenant: TenantId, name: str, revision: int) -> Dataset:
        table = spec_revisions
        wanted = (table.c.tenant == tenant.value, table.c.name == name, table.c.revision == revision)
        text = session.scalar(sa.select(table.c.spec_json).where(*wanted))
        if text is None:
            raise NotFound("REVISION_NOT_FOUND", f"data set {name!r} has no revision {revision}")
        return Dataset(tenant, revision, parse_spec(DatasetSpec, json.loads(text)))


def _dataset(stored: StoredSpec[DatasetSpec]) -> Dataset:
    return Dataset(stored.tenant, stored.revision, stored.spec)
