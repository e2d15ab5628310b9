"""Use case: bring the online store's copy of a view up to the lake."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import monotonic

import polars as pl

from services.features.domain.frames import blobs_of, micros
from services.features.domain.known_keys import KnownKeys
from services.features.domain.model import LakeTable, OnlineState, View, pinned_name
from services.features.domain.pending import PendingOf
from services.features.domain.plan import Plan, compile_view
from services.features.domain.ports import Datasets, Lake, Meter, OnlineStore, PushedRows, Views
from services.features.domain.push_events import PushEvents
from services.features.domain.read_events import read_events
from tenon.core.errors import TenonError
from tenon.core.specs import DatasetSpec
from tenon.core.tenancy import TenantId
from tenon.windows.blob import EntityBlob

KEEP = 7 * 86_400_000_000
"""How long a definition that is not the newest is kept after it was last asked for."""
GRACE = 3_600_000_000
"""How long one is kept that nobody is known to ask for: a model that was not asked lately may be trained on it."""


@dataclass(frozen=True, slots=True)
class Pushes:
    """The rows that were pushed, the keys that tables have, and who settles the ones by the others."""

    rows: PushedRows
    known: KnownKeys
    events: PushEvents


@dataclass(frozen=True, slots=True)
class _Source:
    """What a view is built from: its data set's latest table (None: nothing was ever committed)."""

    table: LakeTable | None
    dataset: DatasetSpec
    plan: Plan

    @property
    def uri(self) -> str:
        """The table's place; empty without one."""
        return self.table.uri if self.table else ""

    @property
    def version(self) -> int:
        """The table's version; -1 without one."""
        return self.table.version if self.table else -1


class BuildOnline:
    """Brings views to one version of their table. Where rows were only added since, their events are added to what is
    held of their entities, in the place where they belong, however late they come; where rows were changed, the view is
    built whole. Both ways give the same values, and building the same version again changes nothing."""

    def __init__(
        self,
        views: Views,
        datasets: Datasets,
        lake: Lake,
        online: OnlineStore,
        meter: Meter,
        *,
        slack: int,
        now: Callable[[], int],
        keep: int = KEEP,
        pushes: Pushes | None = None,
    ) -> None:
        self._views, self._datasets, self._lake, self._online, self._meter = views, datasets, lake, online, meter
        self._slack, self._now, self._keep, self._pushes = slack, now, keep, pushes
        # Two builds at once in one process would only double the memory.
        self._busy = threading.Lock()

    def build(self, tenant: TenantId, name: str) -> OnlineState:
        """Build a view unless it is up to date, and beside it the definitions that models keep asking for: these first, so
        that nobody waits when the newest takes their place. Raises `Unavailable` when another replica is at it."""
        view = self._views.get(tenant, name)
        self._outlast(tenant, view)
        kept, same, failed = self._kept(tenant, view)
        for older in kept:
            try:
                self._bring(tenant, older, pinned_name(name, older.digest), ())
            except TenonError as err:
                failed = failed or err
        state = self._bring(tenant, view, name, same)
        for digest in (view.digest, *same):
            # What the newest answers for is not held twice.
            if self._online.state(tenant, pinned_name(name, digest)) is not None:
                self._online.retire(tenant, pinned_name(name, digest))
        if failed is not None:
            raise failed
        return state

    def _outlast(self, tenant: TenantId, view: View) -> None:
        """Keep what is served until now, though nobody is known to ask for it: the store that knew may have been emptied."""
        served = self._online.state(tenant, view.name)
        if served is None or served.view_digest in (view.digest, *self._online.asked(tenant, view.name)):
            return
        try:
            self._source(tenant, self._views.with_digest(tenant, view.name, served.view_digest))
        except TenonError:
            # Its data set has no longer what it is made of.
            return
        self._online.note_asked(tenant, view.name, served.view_digest, self._now() - max(self._keep - GRACE, 0))

    def _kept(self, tenant: TenantId, view: View) -> tuple[list[View], tuple[str, ...], TenonError | None]:
        """Older definitions to be built beside the newest, digests of those that mean the same, and what went wrong."""
        kept: list[View] = []
        same: list[str] = []
        failed = None
        for digest, at in sorted(self._online.asked(tenant, view.name).items()):
            if at < self._now() - self._keep:
                self._online.retire(tenant, pinned_name(view.name, digest))
                self._online.note_asked(tenant, view.name, digest, 0)
            elif digest != view.digest:
                try:
                    older = self._views.with_digest(tenant, view.name, digest)
                    means_the_same = self._source(tenant, older).plan.digest == self._source(tenant, view).plan.digest
                except TenonError as err:
                    failed = err
                    continue
                if means_the_same:
                    same.append(digest)
                else:
                    kept.append(older)
        return kept, tuple(same), failed

    def _bring(self, tenant: TenantId, view: View, name: str, same: tuple[str, ...]) -> OnlineState:
        """Bring one definition up to date, under its name in the store."""
        try:
            source = self._source(tenant, view)
            current = self._current(tenant, view, name, source, same)
            if current is not None:
                return current
            with self._busy, self._online.lock(tenant, name):
                # Somebody may have built it while this one waited, or the table may have moved on.
                source = self._source(tenant, view)
                return self._current(tenant, view, name, source, same) or self._build(tenant, view, name, source, same)
        except TenonError as err:
            self._meter.failed(tenant, name, err.reason)
            raise

    def build_for(self, tenant: TenantId, dataset: str) -> Mapping[str, TenonError]:
        """Build each of the tenant's views of a data set; gives the views that could not be built, with the reason."""
        failed: dict[str, TenonError] = {}
        for view in self._views.list(tenant):
            if view.spec.dataset == dataset:
                try:
                    self.build(tenant, view.name)
                except TenonError as err:
                    failed[view.name] = err
        self._settle(tenant, dataset)
        return failed

    def build_all(self) -> Mapping[str, TenonError]:
        """Build everything that is behind: after a start, an empty Redis, a lost event."""
        failed: dict[str, TenonError] = {}
        for view in self._views.list_all():
            try:
                self.build(view.tenant, view.name)
            except TenonError as err:
                failed[f"{view.tenant}/{view.name}"] = err
        for tenant, dataset in dict.fromkeys((view.tenant, view.spec.dataset) for view in self._views.list_all()):
            try:
                self._settle(tenant, dataset)
            except TenonError as err:
                failed[f"{tenant}/{dataset}"] = err
        return failed

    def _settle(self, tenant: TenantId, dataset: str) -> None:
        if self._pushes is not None:
            self._meter.waiting(tenant, dataset, self._pushes.events.settle(tenant, dataset))

    def _source(self, tenant: TenantId, view: View) -> _Source:
        table = self._datasets.table(tenant, view.spec.dataset)
        dataset = table.spec if table else self._datasets.definition(tenant, view.spec.dataset)
        return _Source(table, dataset, compile_view(view.spec, dataset))

    def _current(
        self, tenant: TenantId, view: View, name: str, source: _Source, same: tuple[str, ...]
    ) -> OnlineState | None:  # fmt: skip
        """What is online, if that is up to date."""
        state = self._held(tenant, name)
        held = state and (state.plan_digest, state.table_uri, state.table_version)
        if state is not None and held == (source.plan.digest, source.uri, source.version):
            self._meter.behind(tenant, name, 0)
            since = state.horizon - source.plan.longest_window
            called = replace(state, view_digest=view.digest, revision=view.revision, same=same)
            # The same values under another name: a definition that was worded anew, or an older one asked for again.
            return state if called == state else self._online.extend(tenant, name, state, called, (), since)
        self._meter.behind(tenant, name, source.version - (state.table_version if state else -1))
        return None

    def _build(
        self, tenant: TenantId, view: View, name: str, source: _Source, same: tuple[str, ...]
    ) -> OnlineState:  # fmt: skip
        began = monotonic()
        table, plan = source.table, source.plan
        before = self._held(tenant, name)
        added = None
        if before is not None and table and (before.plan_digest, before.table_uri) == (plan.digest, table.uri):
            added = self._added(table, plan, before)
        if added is None or before is None:
            newest = self._lake.newest(table, plan.event_time) if table else None
        else:
            moments = [moment for moment in (before.newest_event, _newest(added, plan)) if moment is not None]
            newest = max(moments, default=None)
        # Events may be ahead of the clock (what is scheduled is an event too); requests are asked at about now.
        horizon = min(newest if newest is not None else 0, self._now()) - self._slack
        state = OnlineState(
            plan_digest=plan.digest,
            view_digest=view.digest,
            revision=view.revision,
            table_uri=source.uri,
            table_version=source.version,
            horizon=horizon,
            newest_event=newest,
            entities=0,
            blob_bytes=0,
            built_at=self._now(),
            same=same,
        )
        extended = None

        def pending() -> PendingOf | None:
            if self._pushes is None:
                return None
            return PendingOf(self._pushes.rows, self._pushes.known, tenant, source.dataset, table, plan, horizon)

        # A horizon further back, as after a change of the slack, needs events that are not held any more.
        if added is not None and before is not None and horizon >= before.horizon:
            fresh = blobs_of(plan, added, table_version=source.version, horizon=horizon)
            since = horizon - plan.longest_window
            extended = self._online.extend(tenant, name, before, state, fresh, since, pending())
        if extended is None:
            blobs = self._blobs(plan, table, horizon) if table else iter(())
            extended = self._online.publish(tenant, name, (view.spec, source.dataset), state, blobs, pending())
        state = extended
        self._meter.built(tenant, name, state, monotonic() - began)
        self._meter.behind(tenant, name, 0)
        return state

    def _held(self, tenant: TenantId, name: str) -> OnlineState | None:
        """What can be built on."""
        state = self._online.state(tenant, name)
        return None if state is None or self._online.is_damaged(tenant, name, state) else state

    def _added(self, table: LakeTable, plan: Plan, before: OnlineState) -> pl.DataFrame | None:
        if not 0 <= before.table_version < table.version:
            return None
        return self._lake.read_added(table, plan.source_columns, before.table_version)

    def _blobs(self, plan: Plan, table: LakeTable, horizon: int) -> Iterator[EntityBlob]:
        since = horizon - plan.longest_window
        rows = read_events(self._lake, table, [plan], since=since)
        for blob in blobs_of(plan, rows, table_version=table.version, horizon=horizon):
            # Of an entity whose events are all older nothing is held: that its windows are empty, no blob says as well.
            if len(blob.events):
                yield blob


def _newest(rows: pl.DataFrame, plan: Plan) -> int | None:
    found = rows.select(micros(plan.event_time).max()).item()
    return None if found is None else int(found)
