"""What the domain needs from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import polars as pl

from services.features.domain.model import ErasedBy, LakeTable, LoadedFile, OnlineState, TrainingSet, View
from services.features.domain.plan import Plan
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.windows.blob import EntityBlob
from tenon.windows.held import HeldBlobs
from tenon.windows.pieces import ReadChunks

REPLACED_IN, REPLACED_AT = "__replaced_in", "__replaced_at"
"""Beside the columns of rows that were corrected: the table's version (an integer) and the time at which they were."""

Change = Literal["created", "updated", "unchanged"]


class ViewsByName(Protocol):
    """Single feature views."""

    def get(self, tenant: TenantId, name: str) -> View:
        """The newest revision. Raises `NotFound`."""
        ...

    def with_digest(self, tenant: TenantId, name: str, digest: str) -> View:
        """The revision with this digest. Raises `NotFound`."""
        ...


class Views(ViewsByName, Protocol):
    """The tenants' feature views."""

    def apply(self, tenant: TenantId, spec: FeatureViewSpec, *, dry_run: bool) -> tuple[Change, View]:
        """Store a new revision unless the newest is equal."""
        ...

    def list(self, tenant: TenantId) -> Sequence[View]:
        """The newest revision of each, by name."""
        ...

    def list_all(self) -> Sequence[View]:
        """The same for all tenants; for the service's own upkeep."""
        ...


class Datasets(Protocol):
    """Ingest's data sets."""

    def definition(self, tenant: TenantId, dataset: str) -> DatasetSpec:
        """The newest definition. Raises `NotFound`."""
        ...

    def table(self, tenant: TenantId, dataset: str) -> LakeTable | None:
        """The latest committed table; None when nothing was ever committed. Raises `NotFound` without the data set."""
        ...

    def files(self, tenant: TenantId, dataset: str) -> Sequence[LoadedFile]:
        """The newest files that were loaded into the data set, newest first; 500 at most."""
        ...


class Lake(Protocol):
    """Reads tables of the lake, pinned to a version."""

    def read(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """The columns of every row."""
        ...

    def scan(self, table: LakeTable, columns: Sequence[str]) -> pl.LazyFrame:
        """The same, read while it is used."""
        ...

    def rows(self, table: LakeTable) -> int:
        """How many rows there are."""
        ...

    def newest(self, table: LakeTable, column: str) -> int | None:
        """The largest value of a timestamp column, in microseconds; None without rows."""
        ...

    def read_since(self, table: LakeTable, columns: Sequence[str], column: str, since: int) -> pl.DataFrame:
        """The rows whose timestamp `column` is at or after `since` (microseconds)."""
        ...

    def read_added(self, table: LakeTable, columns: Sequence[str], since: int) -> pl.DataFrame | None:
        """The rows that were added after version `since`; None when rows were also changed or removed."""
        ...

    def read_replaced(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """The rows that were corrected up to this version, as they were before, with `REPLACED_IN` and `REPLACED_AT`;
        nothing of a row that was removed since. The primary key is among the columns."""
        ...

    def read_removed(self, table: LakeTable, since: int) -> pl.DataFrame:
        """The primary keys of the rows that were removed after version `since`, with the version in `REPLACED_IN`."""
        ...

    def count_removed(self, table: LakeTable, version: int) -> int | None:
        """Of the rows that were removed after `version`, how many the table had then; None when nobody can tell."""
        ...

    def version_at(self, table: LakeTable, as_of: int | None) -> int:
        """The version that was the newest at a time (microseconds; None: the table's own); -1 when there was none, or when
        it is longer ago than is known."""
        ...

    def read_distinct(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """The distinct combinations of the columns."""
        ...


@dataclass(frozen=True, slots=True)
class ServedView:
    """A view as the online store serves it now, with the blobs of the entities that were named, in their order (none:
    never seen). `chunks` reads those of entities in pieces."""

    plan: Plan
    state: OnlineState
    blobs: HeldBlobs
    chunks: ReadChunks


class PushedRows(Protocol):
    """Rows that were pushed and are not in their table yet, by the key of their primary key, each as bytes."""

    def put(self, tenant: TenantId, dataset: str, rows: Mapping[int, bytes], most: int) -> None:
        """Keep rows; a key's earlier row is replaced. Raises `RateLimited` where there would be more than `most`."""
        ...

    def get(self, tenant: TenantId, dataset: str, keys: Sequence[int]) -> dict[int, bytes]:
        """The rows of these keys that are kept."""
        ...

    def run(self) -> str:
        """Which run of the store answers: another one may have lost what it took in its last seconds."""
        ...

    def changes(self, tenant: TenantId, dataset: str) -> int:
        """A number that grows with every change."""
        ...

    def all(self, tenant: TenantId, dataset: str) -> dict[int, bytes]:
        """Every row that is kept."""
        ...

    def remove(self, tenant: TenantId, dataset: str, rows: Mapping[int, bytes]) -> None:
        """Forget those of the rows that are still as given."""
        ...


class Pending(Protocol):
    """Pushed rows as a build sees them; asked again, it says what is so then."""

    @property
    def dataset(self) -> str:
        """Whose rows they are."""
        ...

    def fresh(self) -> Mapping[str, EntityBlob]:
        """By entity, the events of the rows that the table, at the version that is built, has not."""
        ...

    def settled(self) -> Mapping[str, frozenset[int]]:
        """By entity, the keys of the rows that it has."""
        ...


class OnlineStore(Protocol):
    """Blobs by tenant, view and entity; a view is a name, or `pinned_name` of one of its definitions. All methods raise `Unavailable` when the store cannot be reached."""

    def serve(
        self, tenant: TenantId, views: Sequence[str], entities: EntityNames
    ) -> dict[str, ServedView | None]:  # fmt: skip
        """Each view with the blobs of the entities that `entities(plan)` names, in one round trip, never a mix of two
        definitions. None for a view that is not built."""
        ...

    def state(self, tenant: TenantId, view: str) -> OnlineState | None:
        """What is held of a view; None when nothing is."""
        ...

    def publish(
        self,
        tenant: TenantId,
        view: str,
        source: tuple[FeatureViewSpec, DatasetSpec],
        state: OnlineState,
        blobs: Iterable[EntityBlob],
        pending: Pending | None = None,
    ) -> OnlineState:
        """Write the blobs with what is pending, then let the readers see them; removes entities and definitions that are
        no more. Gives the state with the blobs counted."""
        ...

    def extend(
        self,
        tenant: TenantId,
        view: str,
        before: OnlineState,
        state: OnlineState,
        fresh: Iterable[EntityBlob],
        since: int,
        pending: Pending | None = None,
    ) -> OnlineState | None:
        """Add the events of `fresh` to what is held as `before`, and forget those from before `since` and the pushed ones
        that are settled. None when what is held is something else, or half of it is newer already: then it has to be
        published whole."""
        ...

    def lay_over(
        self,
        tenant: TenantId,
        view: str,
        version: int,
        keys: frozenset[int],
        touched: Callable[[Plan], Iterable[str]],
        events: Callable[[Plan], Mapping[str, EntityBlob]],
    ) -> bool:
        """Replace the pushed events of these keys, in the entities that `touched` names, by those that `events` then
        gives. False, with nothing promised, when something of a version after `version` is held. A view that is not
        built is passed over."""
        ...

    def note_damaged(self, tenant: TenantId, view: str) -> None:
        """Say that something of what is held of a view cannot be read, or is gone."""
        ...

    def is_damaged(self, tenant: TenantId, view: str, state: OnlineState) -> bool:
        """Whether what is held as this state has to be published whole: somebody said so since it was last, or a part
        without which nothing can be read is gone."""
        ...

    def retire(self, tenant: TenantId, view: str) -> None:
        """Remove everything that is held of a view."""
        ...

    def asked(self, tenant: TenantId, view: str) -> Mapping[str, int]:
        """The digests of the view's definitions that were asked for by digest, and when each was last."""
        ...

    def note_asked(self, tenant: TenantId, view: str, digest: str, at: int) -> None:
        """Remember that a definition was asked for by its digest; `at` 0: forget it."""
        ...

    def lock(self, tenant: TenantId, view: str) -> Lock:
        """A lock over all replicas: one builds a view at a time."""
        ...


class EntityNames(Protocol):
    """Names the entities wanted of a view."""

    def __call__(self, plan: Plan) -> list[str]:
        """Canonical texts, each once."""
        ...


class Lock(Protocol):
    """Held inside a `with` block. Entering raises `Unavailable` when another replica holds it."""

    def __enter__(self) -> object:
        """Take it."""
        ...

    def __exit__(self, *error: object) -> None:
        """Give it back."""
        ...


class TrainingFiles(Protocol):
    """Training sets in the blob store."""

    def find(self, tenant: TenantId, fingerprint: str) -> TrainingSet | None:
        """The training set that was written under a fingerprint, also one that was erased; None while it is not whole."""
        ...

    def write(self, tenant: TenantId, made: TrainingSet, frame: pl.DataFrame | pl.LazyFrame) -> TrainingSet:
        """Write one; equal frames give equal bytes, also where they are read while they are written. Gives `made` with
        what only the file says: where it is, its rows and its digest."""
        ...

    def list(self, tenant: TenantId) -> Iterable[TrainingSet]:
        """All training sets of the tenant, also those that were erased, in no order."""
        ...

    def erase(self, tenant: TenantId, training_set: TrainingSet, why: ErasedBy) -> None:
        """Delete the file; the record stays, and says why. Cut off at any point, it can be done again."""
        ...

    def note_checked(self, tenant: TenantId, dataset: str, version: int) -> None:
        """Remember up to which version of the data set's table training sets were held against what was removed."""
        ...

    def checked(self, tenant: TenantId, dataset: str) -> int | None:
        """What was noted; None when nothing was."""
        ...

    def list_checked(self) -> Iterable[tuple[TenantId, str]]:
        """The data sets of which something was noted, of all tenants."""
        ...


class Meter(Protocol):
    """Counts what happens."""

    def built(self, tenant: TenantId, view: str, state: OnlineState, seconds: float) -> None:
        """A view was built from the lake, or brought up to it."""
        ...

    def behind(self, tenant: TenantId, view: str, versions: int) -> None:
        """How many versions the online store is behind the lake."""
        ...

    def failed(self, tenant: TenantId, view: str, reason: str) -> None:
        """A view could not be built."""
        ...

    def waiting(self, tenant: TenantId, dataset: str, rows: int) -> None:
        """How many pushed rows wait for their commit."""
        ...

    def pushed(self, tenant: TenantId, dataset: str, rows: int) -> None:
        """Rows were pushed and are online."""
        ...

    def trained(self, rows: int, seconds: float, *, reused: bool) -> None:
        """A training set was asked for."""
        ...

    def aged(self, tenant: TenantId, view: str, seconds: float) -> None:
        """How long before the time asked for the newest value that counts was known, of one row of some lookups."""
        ...

    def looked_up(self, rows: int, seconds: float) -> None:
        """Online values were given."""
        ...
