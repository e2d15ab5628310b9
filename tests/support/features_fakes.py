"""The features service's ports in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import polars as pl

from services.features.domain.lookup import nothing_in_pieces
from services.features.domain.model import ErasedBy, LakeTable, LoadedFile, OnlineState, TrainingSet, View, with_sizes
from services.features.domain.plan import Plan, compile_view
from services.features.domain.ports import REPLACED_AT, REPLACED_IN, Change, EntityNames, Pending, ServedView
from tenon.core.errors import NotFound, RateLimited, Unavailable
from tenon.core.specs import DatasetSpec, FeatureViewSpec, spec_digest
from tenon.core.tenancy import TenantId
from tenon.windows.blob import EntityBlob, decode_blob, encode_blob, laid_over, with_more, without_pushed
from tenon.windows.held import HeldBlobs


@dataclass
class FakeViews:
    """See `ports.Views`."""

    views: dict[tuple[TenantId, str], View] = field(default_factory=dict)
    revisions: list[View] = field(default_factory=list)

    def apply(self, tenant: TenantId, spec: FeatureViewSpec, *, dry_run: bool) -> tuple[Change, View]:
        """See `ports.Views`."""
        current = self.views.get((tenant, spec.name))
        if current and current.digest == spec_digest(spec):
            return "unchanged", current
        view = View(tenant, spec.name, current.revision + 1 if current else 1, spec_digest(spec), spec)
        if not dry_run:
            self.views[tenant, spec.name] = view
            self.revisions.append(view)
        return "updated" if current else "created", view

    def get(self, tenant: TenantId, name: str) -> View:
        """See `ports.Views`."""
        if (tenant, name) not in self.views:
            raise NotFound("FEATURE_VIEW_NOT_FOUND", f"there is no feature view {name!r}")
        return self.views[tenant, name]

    def with_digest(self, tenant: TenantId, name: str, digest: str) -> View:
        """See `ports.Views`."""
        for view in self.revisions:
            if (view.tenant, view.name, view.digest) == (tenant, name, digest):
                return view
        raise NotFound("FEATURE_VIEW_REVISION_NOT_FOUND", f"there is no such revision of {name!r}")

    def list(self, tenant: TenantId) -> Sequence[View]:
        """See `ports.Views`."""
        return [view for view in self.list_all() if view.tenant == tenant]

    def list_all(self) -> Sequence[View]:
        """See `ports.Views`."""
        return [self.views[key] for key in sorted(self.views)]


@dataclass
class FakeLake:
    """Ingest and the lake in one: see `ports.Datasets` and `ports.Lake`. Every commit is kept."""

    specs: dict[tuple[TenantId, str], DatasetSpec] = field(default_factory=dict)
    commits: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    times: dict[tuple[str, int], int] = field(default_factory=dict)
    reads: int = 0
    down: bool = False

    def commit(self, tenant: TenantId, dataset: str, frame: pl.DataFrame) -> None:
        """The whole table at its next version."""
        self.commits.setdefault(f"fake://{tenant}/{dataset}", []).append(frame)

    def definition(self, tenant: TenantId, dataset: str) -> DatasetSpec:
        """See `ports.Datasets`."""
        if self.down:
            raise Unavailable("SERVICE_UNAVAILABLE", "ingest is down")
        if (tenant, dataset) not in self.specs:
            raise NotFound("DATASET_NOT_FOUND", f"there is no data set {dataset!r}")
        return self.specs[tenant, dataset]

    def table(self, tenant: TenantId, dataset: str) -> LakeTable | None:
        """See `ports.Datasets`."""
        spec, uri = self.definition(tenant, dataset), f"fake://{tenant}/{dataset}"
        return LakeTable(uri, len(self.commits[uri]) - 1, spec) if uri in self.commits else None

    def files(self, tenant: TenantId, dataset: str) -> Sequence[LoadedFile]:
        """See `ports.Datasets`: a file for each commit."""
        uri = f"fake://{tenant}/{dataset}"
        found = enumerate(self.commits.get(uri, []))
        return [LoadedFile(f"b{n}", f"file{n}.csv", "0" * 64, frame.height, n, n) for n, frame in reversed(list(found))]

    def read(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """See `ports.Lake`."""
        self.reads += 1
        return self.commits[table.uri][table.version].select(columns)

    def scan(self, table: LakeTable, columns: Sequence[str]) -> pl.LazyFrame:
        """See `ports.Lake`."""
        return self.read(table, columns).lazy()

    def rows(self, table: LakeTable) -> int:
        """See `ports.Lake`."""
        return self.commits[table.uri][table.version].height

    def newest(self, table: LakeTable, column: str) -> int | None:
        """See `ports.Lake`."""
        return self.read(table, [column]).select(pl.col(column).cast(pl.Int64).max()).item()

    def read_since(self, table: LakeTable, columns: Sequence[str], column: str, since: int) -> pl.DataFrame:
        """See `ports.Lake`."""
        return self.read(table, columns).filter(pl.col(column).cast(pl.Int64) >= since)

    def read_added(self, table: LakeTable, columns: Sequence[str], since: int) -> pl.DataFrame | None:
        """See `ports.Lake`: a commit that begins with all of the earlier one only added rows."""
        commits = self.commits[table.uri][since : table.version + 1]
        if not all(new.head(old.height).equals(old) for old, new in pairwise(commits)):
            return None
        return commits[-1][commits[0].height :].select(columns)

    def read_removed(self, table: LakeTable, since: int) -> pl.DataFrame:
        """See `ports.Lake`."""
        keys, commits = table.spec.primary_key, self.commits[table.uri]
        gone = [
            commits[version - 1].join(commits[version], on=keys, how="anti").select(*keys, pl.lit(version).alias(REPLACED_IN))
            for version in range(max(since, 0) + 1, table.version + 1)
        ]  # fmt: skip
        return pl.concat(gone) if gone else commits[0].head(0).select(*keys, pl.lit(0).alias(REPLACED_IN))

    def count_removed(self, table: LakeTable, version: int) -> int | None:
        """See `ports.Lake`."""
        removed = self.read_removed(table, version)
        return self.commits[table.uri][version].join(removed, on=table.spec.primary_key, how="semi").height

    def read_replaced(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """See `ports.Lake`: a row that the next commit has otherwise was replaced by it."""
        keys, commits, found = table.spec.primary_key, self.commits[table.uri], list[pl.DataFrame]()
        for version in range(1, table.version + 1):
            old, new = commits[version - 1], commits[version]
            gone = old.join(new, on=old.columns, how="anti", nulls_equal=True).join(new, on=keys, how="semi")
            at = pl.lit(self.times.get((table.uri, version), version)).cast(pl.Datetime("us", "UTC"))
            erased = old.select(keys).join(new, on=keys, how="anti")
            found = [rows.join(erased, on=keys, how="anti") for rows in found]
            found.append(gone.select(*columns, pl.lit(version).alias(REPLACED_IN), at.alias(REPLACED_AT)))
        return pl.concat([commits[0].select(columns).clear(), *found], how="diagonal")

    def version_at(self, table: LakeTable, as_of: int | None) -> int:
        """See `ports.Lake`."""
        times = [self.times.get((table.uri, version), version) for version in range(table.version + 1)]
        return table.version if as_of is None else max((v for v, time in enumerate(times) if time <= as_of), default=-1)

    def read_distinct(self, table: LakeTable, columns: Sequence[str]) -> pl.DataFrame:
        """See `ports.Lake`."""
        return self.read(table, columns).unique()


@dataclass
class FakeOnlineStore:
    """See `ports.OnlineStore`."""

    states: dict[tuple[TenantId, str], OnlineState] = field(default_factory=dict)
    plans: dict[tuple[TenantId, str], Plan] = field(default_factory=dict)
    blobs: dict[tuple[TenantId, str], dict[str, bytes]] = field(default_factory=dict)
    digests: dict[tuple[TenantId, str], dict[str, int]] = field(default_factory=dict)
    damaged: set[tuple[TenantId, str]] = field(default_factory=set)
    extended: int = 0
    down: bool = False

    def serve(self, tenant: TenantId, views: Sequence[str], entities: EntityNames) -> dict[str, ServedView | None]:
        """See `ports.OnlineStore`."""
        self._reach()
        served: dict[str, ServedView | None] = {}
        for view in views:
            key = tenant, view
            if key not in self.states:
                served[view] = None
                continue
            plan = self.plans[key]
            names = entities(plan)
            served[view] = ServedView(
                plan, self.states[key], HeldBlobs.of([self.blobs[key].get(name) for name in names]), nothing_in_pieces
            )
        return served

    def state(self, tenant: TenantId, view: str) -> OnlineState | None:
        """See `ports.OnlineStore`."""
        self._reach()
        return self.states.get((tenant, view))

    def publish(
        self,
        tenant: TenantId,
        view: str,
        source: tuple[FeatureViewSpec, DatasetSpec],
        state: OnlineState,
        blobs: Iterable[EntityBlob],
        pending: Pending | None = None,
    ) -> OnlineState:
        """See `ports.OnlineStore`."""
        self._reach()
        below = {blob.entity: blob for blob in blobs}
        above = pending.fresh() if pending else {}
        whole = {name: laid_over(below.get(name), above.get(name)) for name in below.keys() | above.keys()}
        written = {name: encode_blob(blob) for name, blob in whole.items() if blob is not None}
        sizes = [len(data) for data in written.values()]
        state = with_sizes(state, len(written), sum(sizes), sizes)
        self.states[tenant, view], self.blobs[tenant, view] = state, written
        self.plans[tenant, view] = compile_view(*source)
        self.damaged.discard((tenant, view))
        return state

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
        """See `ports.OnlineStore`."""
        self._reach()
        if self.states.get((tenant, view)) != before:
            return None
        held = self.blobs[tenant, view]
        for entity, keys in (pending.settled() if pending else {}).items():
            self._hold(held, entity, without_pushed(decode_blob(held[entity]), keys) if entity in held else None)
        for blob in fresh:
            old = held.get(blob.entity)
            held[blob.entity] = encode_blob(blob if old is None else with_more(decode_blob(old), blob, since))
        self.extended += 1
        for entity, data in [*held.items()]:
            held_blob = decode_blob(data)
            if held_blob.pushed is None and not (held_blob.events.time >= since).any():
                del held[entity]
        sizes = [len(data) for data in held.values()]
        state = with_sizes(state, len(held), sum(sizes), sizes)
        self.states[tenant, view] = state
        return state

    def lay_over(
        self,
        tenant: TenantId,
        view: str,
        version: int,
        keys: frozenset[int],
        touched: Callable[[Plan], Iterable[str]],
        events: Callable[[Plan], Mapping[str, EntityBlob]],
    ) -> bool:
        """See `ports.OnlineStore`."""
        self._reach()
        state = self.states.get((tenant, view))
        if state is None:
            return True
        if state.table_version > version:
            return False
        plan, held = self.plans[tenant, view], self.blobs[tenant, view]
        fresh = events(plan)
        for entity in touched(plan):
            old = without_pushed(decode_blob(held[entity]), keys) if entity in held else None
            new = fresh.get(entity)
            if new is not None:
                new = replace(new, table_version=state.table_version, horizon=state.horizon)
            self._hold(held, entity, laid_over(old, new))
        return True

    @staticmethod
    def _hold(held: dict[str, bytes], entity: str, blob: EntityBlob | None) -> None:
        held.pop(entity, None)
        if blob is not None:
            held[entity] = encode_blob(blob)

    def note_damaged(self, tenant: TenantId, view: str) -> None:
        """See `ports.OnlineStore`."""
        self.damaged.add((tenant, view))

    def is_damaged(self, tenant: TenantId, view: str, state: OnlineState) -> bool:
        """See `ports.OnlineStore`."""
        return (tenant, view) in self.damaged

    def retire(self, tenant: TenantId, view: str) -> None:
        """See `ports.OnlineStore`."""
        self._reach()
        for held in (self.states, self.plans, self.blobs):
            held.pop((tenant, view), None)

    def asked(self, tenant: TenantId, view: str) -> dict[str, int]:
        """See `ports.OnlineStore`."""
        return dict(self.digests.get((tenant, view), {}))

    def note_asked(self, tenant: TenantId, view: str, digest: str, at: int) -> None:
        """See `ports.OnlineStore`."""
        held = self.digests.setdefault((tenant, view), {})
        held[digest] = at
        if not at:
            del held[digest]

    def lock(self, tenant: TenantId, view: str) -> Any:
        """See `ports.OnlineStore`."""
        return nullcontext()

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("REDIS_UNAVAILABLE", "Redis is down")


@dataclass
class FakePushedRows:
    """See `ports.PushedRows`."""

    rows: dict[tuple[TenantId, str], dict[int, bytes]] = field(default_factory=dict)
    changed: int = 0
    runs: int = 1

    def run(self) -> str:
        """See `ports.PushedRows`."""
        return f"run {self.runs}"

    def put(self, tenant: TenantId, dataset: str, rows: Mapping[int, bytes], most: int) -> None:
        """See `ports.PushedRows`."""
        held = self.rows.setdefault((tenant, dataset), {})
        if len(held) + len(rows) > most:
            raise RateLimited("PUSHES_WAITING", "too many rows wait")
        held |= rows
        self.changed += 1

    def get(self, tenant: TenantId, dataset: str, keys: Sequence[int]) -> dict[int, bytes]:
        """See `ports.PushedRows`."""
        held = self.all(tenant, dataset)
        return {key: held[key] for key in keys if key in held}

    def changes(self, tenant: TenantId, dataset: str) -> int:
        """See `ports.PushedRows`."""
        return self.changed

    def all(self, tenant: TenantId, dataset: str) -> dict[int, bytes]:
        """See `ports.PushedRows`."""
        return dict(self.rows.get((tenant, dataset), {}))

    def remove(self, tenant: TenantId, dataset: str, rows: Mapping[int, bytes]) -> None:
        """See `ports.PushedRows`."""
        held = self.rows.get((tenant, dataset), {})
        for key, data in rows.items():
            if held.get(key) == data:
                del held[key]
        self.changed += 1


@dataclass
class FakeTrainingFiles:
    """See `ports.TrainingFiles`."""

    frames: dict[tuple[TenantId, str], pl.DataFrame] = field(default_factory=dict)
    sets: dict[tuple[TenantId, str], TrainingSet] = field(default_factory=dict)
    noted: dict[tuple[TenantId, str], int] = field(default_factory=dict)

    def find(self, tenant: TenantId, fingerprint: str) -> TrainingSet | None:
        """See `ports.TrainingFiles`."""
        return self.sets.get((tenant, fingerprint))

    def write(self, tenant: TenantId, made: TrainingSet, frame: pl.DataFrame | pl.LazyFrame) -> TrainingSet:
        """See `ports.TrainingFiles`."""
        frame = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
        made = replace(made, uri=f"fake://{made.fingerprint}", rows=frame.height, file_sha256="0" * 64)
        self.frames[tenant, made.fingerprint], self.sets[tenant, made.fingerprint] = frame, made
        return made

    def list(self, tenant: TenantId) -> Sequence[TrainingSet]:
        """See `ports.TrainingFiles`."""
        return [made for (owner, _), made in self.sets.items() if owner == tenant]

    def erase(self, tenant: TenantId, training_set: TrainingSet, why: ErasedBy) -> None:
        """See `ports.TrainingFiles`."""
        self.frames.pop((tenant, training_set.fingerprint), None)
        self.sets[tenant, training_set.fingerprint] = replace(training_set, erased=why)

    def note_checked(self, tenant: TenantId, dataset: str, version: int) -> None:
        """See `ports.TrainingFiles`."""
        self.noted[tenant, dataset] = version

    def checked(self, tenant: TenantId, dataset: str) -> int | None:
        """See `ports.TrainingFiles`."""
        return self.noted.get((tenant, dataset))

    def list_checked(self) -> Sequence[tuple[TenantId, str]]:
        """See `ports.TrainingFiles`."""
        return list(self.noted)


@dataclass
class FakeMeter:
    """See `ports.Meter`."""

    builds: list[tuple[str, int]] = field(default_factory=list)
    lag: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    ages: list[tuple[str, float]] = field(default_factory=list)
    waits: dict[str, int] = field(default_factory=dict)

    def built(self, tenant: TenantId, view: str, state: OnlineState, seconds: float) -> None:
        """See `ports.Meter`."""
        self.builds.append((view, state.table_version))

    def behind(self, tenant: TenantId, view: str, versions: int) -> None:
        """See `ports.Meter`."""
        self.lag[view] = versions

    def failed(self, tenant: TenantId, view: str, reason: str) -> None:
        """See `ports.Meter`."""
        self.failures.append(reason)

    def waiting(self, tenant: TenantId, dataset: str, rows: int) -> None:
        """See `ports.Meter`."""
        self.waits[dataset] = rows

    def pushed(self, tenant: TenantId, dataset: str, rows: int) -> None:
        """See `ports.Meter`."""

    def trained(self, rows: int, seconds: float, *, reused: bool) -> None:
        """See `ports.Meter`."""

    def aged(self, tenant: TenantId, view: str, seconds: float) -> None:
        """See `ports.Meter`."""
        self.ages.append((view, seconds))

    def looked_up(self, rows: int, seconds: float) -> None:
        """See `ports.Meter`."""
