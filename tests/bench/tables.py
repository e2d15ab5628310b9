"""Data sets' tables for the benches: see `ports.Datasets` of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.features.domain.model import LakeTable, LoadedFile
from tenon.core.specs import DatasetSpec
from tenon.core.tenancy import TenantId


@dataclass
class Tables:
    """The data sets' tables by name."""

    tables: dict[str, LakeTable]

    def definition(self, tenant: TenantId, dataset: str) -> DatasetSpec:
        """See `ports.Datasets`."""
        return self.tables[dataset].spec

    def table(self, tenant: TenantId, dataset: str) -> LakeTable:
        """See `ports.Datasets`."""
        return self.tables[dataset]

    def files(self, tenant: TenantId, dataset: str) -> Sequence[LoadedFile]:
        """See `ports.Datasets`."""
        return []
