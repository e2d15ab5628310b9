"""The feed of releases: every watcher first gets all current ones, then each change, then nothing but heartbeats.

One refresh reads the database for all watchers; they wait on a condition and read from memory. A watcher that is slow
skips what has been replaced in the meantime: only the current release of a model matters.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.registry.domain.model import Release
from services.registry.domain.ports import Monotonic, Transact
from tenon.core.errors import RateLimited, Unavailable
from tenon.core.tenancy import TenantId

HEARTBEAT_SECONDS = 5.0
WATCHES_PER_TENANT = 8
"""How many watches a tenant's own keys may hold at once; the platform's predictors must always find a place."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to a watcher; no release: a heartbeat (or, with `synced`, an empty first set)."""

    release: Release | None = None
    synced: bool = False


class ReleaseFeed:
    """Current releases in memory, refreshed by whoever calls `refresh` (a timer, and each commit of this process)."""

    def __init__(
        self,
        transact: Transact,
        monotonic: Monotonic,
        *,
        max_watchers: int,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._transact = transact
        self._monotonic = monotonic
        self._max_watchers = max_watchers
        self._heartbeat = heartbeat_seconds
        self._news = threading.Condition()
        self._refreshing = threading.Lock()
        self._current: dict[tuple[TenantId, str], Release] = {}
        self._change = 0
        self._loaded = False
        self._closed = False
        self.watchers = 0
        self._guests: Counter[TenantId] = Counter()

    def refresh(self) -> None:
        """Read what has been committed since the last time, by any process, and wake the watchers."""
        with self._refreshing:
            if self._loaded:
                known = self._change
                fresh = self._transact(lambda tx: tx.releases.changed_since(known))
            else:
                fresh = self._transact(lambda tx: tx.releases.all_current())
            with self._news:
                for release in sorted(fresh, key=lambda release: release.change):
                    self._current[release.tenant, release.model] = release
                    self._change = max(self._change, release.change)
                if fresh or not self._loaded:
                    self._loaded = True
                    self._news.notify_all()

    def problem(self) -> str | None:
        """Why no watch can begin yet, or None."""
        return None if self._loaded else "the releases have not been read yet"

    def wake(self) -> None:
        """Let every watcher look whether its client is still there."""
        with self._news:
            self._news.notify_all()

    def close(self) -> None:
        """End every watch: the process is stopping, and watchers should go elsewhere."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def watch(
        self, tenants: frozenset[TenantId] | None, alive: Callable[[], bool], *, guest: TenantId | None = None
    ) -> Iterator[Notice]:
        """Notices for these tenants (None: all), until `alive` says no; `guest` is whose key watches, if a tenant's.

        Raises `Unavailable` when full or stopping, and `RateLimited` when guests hold too many watches.
        """
        with self._news:
            if guest is not None and (
                self._guests[guest] >= WATCHES_PER_TENANT or self._guests.total() >= self._max_watchers // 2
            ):
                raise RateLimited(
                    "WATCHES_TOO_MANY", f"tenants' keys hold too many watches; one tenant has at most {WATCHES_PER_TENANT}",
                    hint="end some, or watch several models in one stream",
                )  # fmt: skip
            if self.watchers >= self._max_watchers:
                raise Unavailable(
                    "WATCHERS_FULL",
                    f"this registry process has {self._max_watchers} watchers already",
                    hint="start another registry process, or raise TENON_MAX_WATCHERS",
                )
            self.watchers += 1
            if guest is not None:
                self._guests[guest] += 1
        try:
            yield from self._notices(tenants, alive)
        finally:
            with self._news:
                self.watchers -= 1
                if guest is not None:
                    self._guests[guest] -= 1

    def _notices(self, tenants: frozenset[TenantId] | None, alive: Callable[[], bool]) -> Iterator[Notice]:
        seen = -1
        while alive():
            with self._news:
                next_heartbeat = self._monotonic() + self._heartbeat
                while not self._closed and alive() and not (self._loaded and self._change > seen):
                    left = next_heartbeat - self._monotonic()
                    if left <= 0:
                        break
                    # Waking each second costs nothing and finds clients that vanished without a word.
                    self._news.wait(min(left, 1.0))
                if self._closed:
                    raise Unavailable("REGISTRY_STOPPING", "this registry process is stopping; watch another")
                first, loaded = seen < 0, self._loaded
                fresh = sorted(
                    (r for r in self._current.values() if r.change > seen and (tenants is None or r.tenant in tenants)),
                    key=lambda release: release.change,
                )
                advanced = self._change > seen
                if loaded:
                    seen = self._change
            if not alive():
                return
            if first and loaded:
                yield from (Notice(release) for release in fresh[:-1])
                yield Notice(fresh[-1] if fresh else None, synced=True)
            elif fresh:
                yield from (Notice(release) for release in fresh)
            elif not advanced or not loaded:
                yield Notice()
