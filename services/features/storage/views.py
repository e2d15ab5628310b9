"""Feature views in the service's database."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from services.features.domain.model import View
from services.features.domain.ports import Change
from tenon.core.specs import FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.spec_store import SpecStore, StoredSpec, spec_table
from tenon.kit.sql import NAMING, Database

METADATA = sa.MetaData(naming_convention=NAMING)
VIEW_REVISIONS = spec_table(METADATA, "feature_view_revisions")


class SqlViews:
    """See `ports.Views`."""

    def __init__(self, database: Database) -> None:
        self._specs = SpecStore(database, VIEW_REVISIONS, FeatureViewSpec, "feature view")

    def apply(self, tenant: TenantId, spec: FeatureViewSpec, *, dry_run: bool) -> tuple[Change, View]:
        """See `ports.Views`."""
        change, stored = self._specs.apply(tenant, spec, dry_run=dry_run)
        return change, _view(stored)

    def get(self, tenant: TenantId, name: str) -> View:
        """See `ports.Views`."""
        return _view(self._specs.get(tenant, name))

    def with_digest(self, tenant: TenantId, name: str, digest: str) -> View:
        """See `ports.Views`."""
        return _view(self._specs.with_digest(tenant, name, digest))

    def list(self, tenant: TenantId) -> Sequence[View]:
        """See `ports.Views`."""
        return [_view(stored) for stored in self._specs.list(tenant)]

    def list_all(self) -> Sequence[View]:
        """See `ports.Views`."""
        return [_view(stored) for stored in self._specs.list(None)]


def _view(stored: StoredSpec[FeatureViewSpec]) -> View:
    return View(stored.tenant, stored.name, stored.revision, stored.digest, stored.spec)
