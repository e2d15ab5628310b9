"""Pushed rows beside a table: what of them is fresh, and what the table has by now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from services.features.domain.frames import ENTITY, blobs_of, with_entity
from services.features.domain.known_keys import KnownKeys
from services.features.domain.model import LakeTable
from services.features.domain.plan import Plan
from services.features.domain.ports import PushedRows
from services.features.domain.read_pushed import column_types, frame_of, key_texts, pushed_version, stored_row
from tenon.core.specs import DatasetSpec
from tenon.core.tenancy import TenantId
from tenon.windows.blob import EntityBlob

Rows = Mapping[int, bytes]


def blobs_of_pushed(plan: Plan, rows: Rows, *, table_version: int, horizon: int) -> Iterator[EntityBlob]:
    """The rows' events by entity."""
    keys, frame = _readable(plan, rows)
    yield from blobs_of(plan, frame, table_version=table_version, horizon=horizon, pushed=np.array(keys, np.int64))


def entities_of_pushed(plan: Plan, rows: Rows) -> dict[str, frozenset[int]]:
    """The rows' keys by entity."""
    keys, frame = _readable(plan, rows)
    found: dict[str, set[int]] = {}
    for key, entity in zip(keys, with_entity(frame, plan.entity).rename(ENTITY).to_list(), strict=True):
        if entity is not None:
            found.setdefault(entity, set()).add(key)
    return {entity: frozenset(of_it) for entity, of_it in found.items()}


def known_rows(known: KnownKeys, spec: DatasetSpec, table: LakeTable | None, rows: Rows) -> set[int]:
    """The keys of the rows that the table has, or had since they were pushed, and of those that cannot be read any more."""
    types = {name: kind for name, kind in column_types(spec).items() if name in spec.primary_key}
    keys, frame = _rows(types, rows)
    texts = key_texts(spec, frame)
    left = {
        key: text for key, text, is_known in zip(keys, texts, known.known(table, texts), strict=True) if not is_known
    }
    since = {key: version for key in left if (version := pushed_version(rows[key])) is not None}
    if table is not None and since and min(since.values()) < table.version:
        # What a commit brought and a later one removed, as an erasure does, was the table's: the push is over.
        removed = known.removed(table, min(since.values()))
        left = {key: text for key, text in left.items() if removed.get(text, -1) <= since.get(key, table.version)}
    return rows.keys() - left.keys()


class PendingOf:
    """See `ports.Pending`: of one data set, for one plan, beside one version of the table."""

    def __init__(
        self, pushed: PushedRows, known: KnownKeys, tenant: TenantId, spec: DatasetSpec, table: LakeTable | None,
        plan: Plan, horizon: int,
    ) -> None:  # fmt: skip
        self._pushed, self._known, self._tenant, self._spec = pushed, known, tenant, spec
        self._table, self._plan, self._horizon = table, plan, horizon
        self._seen = -1
        self._fresh: dict[str, EntityBlob] = {}
        self._settled: dict[str, frozenset[int]] = {}

    @property
    def dataset(self) -> str:
        """See `ports.Pending`."""
        return self._spec.name

    def fresh(self) -> Mapping[str, EntityBlob]:
        """See `ports.Pending`."""
        self._look()
        return self._fresh

    def settled(self) -> Mapping[str, frozenset[int]]:
        """See `ports.Pending`."""
        self._look()
        return self._settled

    def _look(self) -> None:
        changes = self._pushed.changes(self._tenant, self.dataset)
        if changes == self._seen:
            return
        rows = self._pushed.all(self._tenant, self.dataset)
        settled = known_rows(self._known, self._spec, self._table, rows) if rows else set()
        version = self._table.version if self._table else -1
        fresh = {key: row for key, row in rows.items() if key not in settled}
        blobs = blobs_of_pushed(self._plan, fresh, table_version=version, horizon=self._horizon) if fresh else ()
        self._fresh = {blob.entity: blob for blob in blobs}
        gone = {key: row for key, row in rows.items() if key in settled}
        self._settled = entities_of_pushed(self._plan, gone) if gone else {}
        self._seen = changes


def _readable(plan: Plan, rows: Rows) -> tuple[list[int], pl.DataFrame]:
    return _rows({name: plan.types[name] for name in plan.source_columns}, rows)


def _rows(types: Mapping[str, Any], rows: Rows) -> tuple[list[int], pl.DataFrame]:
    """The rows as a frame; those that do not fit the types any more, as after a change of the data set, are left out."""
    read = {key: stored_row(data)[1] for key, data in rows.items()}
    try:
        return list(read), frame_of(types, list(read.values()))
    except (ValueError, OverflowError):
        fitting = [key for key, row in read.items() if _fits(types, [row])]
        return fitting, frame_of(types, [read[key] for key in fitting])


def _fits(types: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    try:
        frame_of(types, rows)
    except (ValueError, OverflowError):
        return False
    return True
