"""Model documents in SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from services.trainer.domain.model import Model
from services.trainer.storage.tables import model_revisions
from tenon.core.errors import NotFound, Place
from tenon.core.specs import ModelSpec, parse_spec
from tenon.core.tenancy import TenantId
from tenon.kit.spec_store import SpecStore, StoredSpec
from tenon.kit.sql import Database


class SqlModels:
    """See `Models`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._store: SpecStore[ModelSpec] = SpecStore(database, model_revisions, ModelSpec, "model")

    def put(self, tenant: TenantId, spec: ModelSpec, *, dry_run: bool) -> tuple[str, Model]:
        """See `Models`."""
        change, stored = self._store.apply(tenant, spec, dry_run=dry_run)
        return change, _model(stored)

    def get(self, tenant: TenantId, name: str) -> Model:
        """See `Models`."""
        return _model(self._store.get(tenant, name))

    def get_revision(self, tenant: TenantId, name: str, revision: int) -> Model:
        """See `Models`."""
        table = model_revisions
        query = sa.select(table.c.spec_json).where(
            table.c.tenant == tenant.value, table.c.name == name, table.c.revision == revision
        )
        with self._database.session() as session:
            text = session.scalar(query)
        if text is None:
            raise NotFound(
                "MODEL_NOT_FOUND",
                f"tenant {tenant.value!r} has no revision {revision} of model {name!r}",
                place=Place(field="model"),
            )
        return Model(tenant, parse_spec(ModelSpec, json.loads(text)), revision)

    def list(self, tenant: TenantId) -> Sequence[Model]:
        """See `Models`."""
        return [_model(stored) for stored in self._store.list(tenant)]


def _model(stored: StoredSpec[ModelSpec]) -> Model:
    return Model(stored.tenant, stored.spec, stored.revision)
