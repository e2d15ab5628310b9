"""The nouns of the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.windows.events import IntArray


@dataclass(frozen=True, slots=True)
class View:
    """One revision of a feature view."""

    tenant: TenantId
    name: str
    revision: int
    digest: str
    spec: FeatureViewSpec


@dataclass(frozen=True, slots=True)
class LakeTable:
    """A data set's committed rows at one version, and the definition they were held to."""

    uri: str
    version: int
    spec: DatasetSpec


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file whose rows went into a data set's table. `committed_at` in microseconds."""

    batch_id: str
    name: str
    sha256: str
    rows: int
    table_version: int
    committed_at: int


@dataclass(frozen=True, slots=True)
class OnlineState:
    """What the online store holds of a view: which plan, of which version of the table (-1: of no table at all), and
    which other definitions (digests) mean the same.

    `horizon`: values at earlier times cannot be told from it. `newest_event`: the table's latest event time, None
    without rows. `built_at` is when it was finished. Times are microseconds. How many bytes single entities take is told
    of some of them, chosen by chance: of all where there are no more.
    """

    plan_digest: str
    view_digest: str
    revision: int
    table_uri: str
    table_version: int
    horizon: int
    newest_event: int | None
    entities: int
    blob_bytes: int
    built_at: int
    same: tuple[str, ...] = ()
    median_bytes: int = 0
    p99_bytes: int = 0
    largest_bytes: int = 0

    def answers(self, digest: str) -> bool:
        """Whether the values are those of this definition."""
        return digest == self.view_digest or digest in self.same


def with_sizes(state: OnlineState, entities: int, blob_bytes: int, some: Sequence[int]) -> OnlineState:
    """The state of so many entities, of which some have blobs of these sizes."""
    ordered = sorted(some) or [0]
    median, p99 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.99))
    return replace(
        state, entities=entities, blob_bytes=blob_bytes,
        median_bytes=median, p99_bytes=p99, largest_bytes=ordered[-1],
    )  # fmt: skip


def pinned_name(view: str, digest: str) -> str:
    """Under which name the online store has a view's definition beside the newest one."""
    return f"{view}@{digest[:16]}"


class EntityKeys(NamedTuple):
    """One row of a lookup: key columns by name, as text, and the time asked for (microseconds)."""

    keys: dict[str, str]
    at: int


@dataclass(frozen=True, slots=True)
class AskedRows:
    """The rows of a lookup in columns: key columns by name, as text (None: missing), and the times (microseconds)."""

    keys: Mapping[str, Sequence[str | None]]
    at: IntArray

    @classmethod
    def of(cls, rows: Sequence[EntityKeys]) -> AskedRows:
        """From single rows."""
        names = dict.fromkeys(name for row in rows for name in row.keys)
        keys = {name: [row.keys.get(name) for row in rows] for name in names}
        return cls(keys, np.array([row.at for row in rows], np.int64))

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True)
class ErasedBy:
    """Why a training set's file was deleted: rows that it was made from were removed from a data set. `rows`: how many
    of them it had read; None where that cannot be told any more. `at` in microseconds."""

    dataset: str
    table_version: int
    rows: int | None
    at: int


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A training set in the blob store. `erased`: its file is gone; what it was made from stays known."""

    uri: str
    rows: int
    fingerprint: str
    file_sha256: str
    dataset_versions: dict[str, int]
    view_digests: dict[str, str]
    spine: str = ""
    columns: tuple[str, ...] = ()
    made_at: int = 0
    erased: ErasedBy | None = None
