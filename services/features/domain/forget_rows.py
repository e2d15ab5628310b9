"""Use case: rows that were erased from a data set leave the training sets that were made from them.

A training set holds what its tables had at its versions. When rows are removed from a table later, the files of the training
sets that read them are deleted; the record stays, with when and why. Asking again gives another training set: the table's
version is part of what is asked. Doing it twice does nothing twice, so events may come late, often or never.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import polars as pl

from services.features.domain.model import ErasedBy, LakeTable, TrainingSet
from services.features.domain.ports import REPLACED_IN, Datasets, Lake, TrainingFiles
from tenon.core.errors import TenonError
from tenon.core.tenancy import TenantId


class ForgetRows:
    """Deletes the files of training sets that read rows which were removed since."""

    def __init__(self, datasets: Datasets, lake: Lake, files: TrainingFiles, now: Callable[[], int]) -> None:
        self._datasets, self._lake, self._files, self._now = datasets, lake, files, now
        self._checked: dict[tuple[TenantId, str], int] = {}
        self._busy = threading.Lock()

    def forget(self, tenant: TenantId, dataset: str) -> list[TrainingSet]:
        """Hold the tenant's training sets against what was removed from a data set; gives those that were erased."""
        table = self._datasets.table(tenant, dataset)
        if table is None:
            return []
        with self._busy:
            done = self._checked.get((tenant, dataset))
            if done is None:
                noted = self._files.checked(tenant, dataset)
                done = -1 if noted is None else noted
            if done >= table.version:
                return []
            removed = self._lake.read_removed(table, done)
            erased = [] if removed.is_empty() else self._erase(tenant, table, removed, self._files.list(tenant))
            # Only now: what was cut off before is done again.
            self._files.note_checked(tenant, dataset, table.version)
            self._checked[tenant, dataset] = table.version
        return erased

    def forget_all(self) -> tuple[list[TrainingSet], dict[str, TenonError]]:
        """The same for every data set that a training set was ever made from, for events that were lost; and what failed."""
        erased: list[TrainingSet] = []
        failed: dict[str, TenonError] = {}
        for tenant, dataset in list(self._files.list_checked()):
            try:
                erased += self.forget(tenant, dataset)
            except TenonError as err:
                failed[f"{tenant}/{dataset}"] = err
        return erased, failed

    def may_be_given(self, tenant: TenantId, made: TrainingSet, tables: Iterable[LakeTable]) -> bool:
        """Whether a training set that was just written may be given out. Rows that were removed while it was made did not
        find it in the list of what to erase: then it is erased here."""
        for before in tables:
            name = before.spec.name
            if (tenant, name) not in self._checked and self._files.checked(tenant, name) is None:
                self._files.note_checked(tenant, name, -1)
            table = self._datasets.table(tenant, name)
            if table is not None and table.version > before.version:
                removed = self._lake.read_removed(table, before.version)
                if not removed.is_empty() and self._erase(tenant, table, removed, [made]):
                    return False
        return True

    def _erase(
        self, tenant: TenantId, table: LakeTable, removed: pl.DataFrame, found: Iterable[TrainingSet]
    ) -> list[TrainingSet]:
        erased, name = [], table.spec.name
        reasons: dict[int, ErasedBy | None] = {}
        for training_set in found:
            version = training_set.dataset_versions.get(name)
            if training_set.erased is not None or version is None or version >= table.version:
                continue
            if version not in reasons:
                reasons[version] = self._reason(table, version, removed)
            if (why := reasons[version]) is not None:
                self._files.erase(tenant, training_set, why)
                erased.append(training_set)
        return erased

    def _reason(self, table: LakeTable, version: int, removed: pl.DataFrame) -> ErasedBy | None:
        """Why what was made from a version of a table has to go; None where that had none of the removed rows."""
        later = removed.filter(pl.col(REPLACED_IN) > version)
        rows = 0 if later.is_empty() else self._lake.count_removed(table, version)
        if rows == 0:
            return None
        return ErasedBy(table.spec.name, int(later.select(pl.col(REPLACED_IN).max()).item()), rows, self._now())
