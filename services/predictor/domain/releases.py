"""Following releases: what is desired is loaded beside what serves, tested, and swapped in; a version that fails is
refused and the old one stays. With a memory budget, what does not fit stays on disk until somebody asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from services.predictor.domain.cold import Cold, Trouble, unavailable
from services.predictor.domain.entries import EntryBuilder, Refused
from services.predictor.domain.ledger import Ledger
from services.predictor.domain.model import Entry, ModelKey, Release
from services.predictor.domain.ports import Known, Loader, Observer, ReleaseStore
from services.predictor.domain.residence import Residence
from services.predictor.domain.routing import Table
from tenon.core.errors import Precondition, TenonError

_NOTICE_SECONDS = 2.0
_RESIDENCE_NOTICE_SECONDS = 1.0


class Follower(Ledger):
    """Puts desired releases into effect, one after the other, on a thread of its own; cold models on a few others."""

    def __init__(
        self,
        loader: Loader,
        store: ReleaseStore,
        table: Table,
        observer: Observer,
        *,
        on_change: Callable[[], object] = lambda: None,
        on_trouble: Callable[[Release, Exception], None] = lambda _release, _err: None,
        grace_seconds: float = 60.0,
        residence: Residence | None = None,
        strict: bool = False,
        run: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        super().__init__(table, EntryBuilder(loader, grace_seconds), strict=strict)
        self._store = store
        self._observer = observer
        self.on_change = on_change
        self._on_trouble = on_trouble
        self._residence = residence or Residence()
        # Bundles that are at hand are loaded by threads that never wait for the registry.
        self._pools = [
            ThreadPoolExecutor(2, thread_name_prefix="cold"),
            ThreadPoolExecutor(4, thread_name_prefix="fetch"),
        ]
        self._run = run
        self._building: dict[ModelKey, threading.Lock] = {}
        self._arriving: dict[ModelKey, Release] | None = None
        self._dirty: dict[ModelKey, None] = {}
        self._unloaded: set[ModelKey] = set()
        self._ending = False
        self._changed = self._moved = False
        self._noticed = 0.0
        self._thread: threading.Thread | None = None
        table.on_missing = self._missing

    # --- from the source

    def restore(self) -> None:
        """Begin with the last known releases, if there are any; what was used last comes first."""
        known = self._store.load()
        if known is None:
            return
        with self._lock:
            self._desired = {release.key: release for release in known.desired}
            self._good = {release.key: release for release in known.served if release.key in self._desired}
            first = [key for key in self._desired if self._residence.always(key)]
            recent = [key for key in known.recent if key in self._desired]
            self._dirty = dict.fromkeys([*first, *recent, *self._desired])
            self._known = True

    def begin_sync(self) -> None:
        """A new stream begins: until `synced`, releases arrive that make up the whole set."""
        with self._lock:
            self._arriving = {}

    def receive(self, release: Release) -> None:
        """A release arrived. It is put into effect in a moment."""
        with self._lock:
            if self._arriving is not None:
                self._arriving[release.key] = release
            self._want(release)
            if self._known and self._arriving is None:
                self._save()
            self._lock.notify_all()

    def synced(self) -> bool:
        """The set is complete: what did not come is no longer released.

        An empty set while something is served is not believed (a registry that lost its database says this; one that
        withdraws says so for each model): everything stays, and the answer is False.
        """
        with self._lock:
            arriving = self._arriving if self._arriving is not None else dict(self._desired)
            self._arriving = None
            believed = bool(arriving) or not any(release.tracks for release in self._desired.values())
            if believed:
                for key in [key for key in self._desired if key not in arriving]:
                    self._want(Release(key.tenant, key.model, self._desired[key].revision + 1, ()))
            self._known = True
            self._save()
            self._lock.notify_all()
            return believed

    # --- from the repository's doors

    def load(self, key: ModelKey) -> Future[None] | None:
        """Begin to load what is desired of a model, also when it failed a moment ago; None: it is in memory, or there is
        no such model."""
        with self._lock:
            release, entry, trouble = self.release_of(key), self._table.get(key), self._trouble.get(key)
            if release is None:
                return None
            if trouble is not None:
                self._trouble[key] = replace(trouble, retry_at=0.0)
            elif entry is not None and entry.revision == release.revision:
                entry.used[0] = True
                return None
        return self._flights.join(
            key, partial(self._load_cold if entry is None else self.settle, key), self._threads(release)
        )

    def unload(self, key: ModelKey) -> None:
        """Take a model out of memory until somebody asks for it again. Raises `Precondition` for one that must stay."""
        if self._residence.always(key):
            raise Precondition(
                "MODEL_ALWAYS_LOADED",
                f"model {key.model!r} must always be in memory on this predictor",
                hint="TENON_PREDICTOR_ALWAYS_LOADED names it; an operator can take it off",
            )
        with self._lock:
            if self._table.get(key) is not None:
                self._unloaded.add(key)
                self._install(key, None, absent=True)
                self._builder.forget(all_of_it=True)

    # --- the thread

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="releases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        with self._lock:
            self._ending = True
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=5)
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def _loop(self) -> None:
        while True:
            with self._lock:
                key = self._next()
                while key is None and not self._ending:
                    self._lock.wait(self._pause())
                    self._builder.forget()
                    self._residence.used(self._table.take_used())
                    self._notify()
                    key = self._next()
                if self._ending or key is None:
                    return
            self.settle(key)
            self._notify()

    def settle(self, key: ModelKey, *, asked: bool = False) -> None:
        """Put what is desired of a model into effect, or note why it cannot be. `asked`: somebody waits for it."""
        with self._lock:
            building = self._building.setdefault(key, threading.Lock())
        with building:
            with self._lock:
                release, before = self._desired.get(key), self._table.get(key)
                trouble = self._trouble.get(key)
                # A model that somebody waits for again while its release is known to fail: the last good one will do.
                hopeless = asked and trouble is not None and trouble.retry_at > time.monotonic()
            if release is None or (asked and before is not None):
                return
            if not release.tracks:
                self._withdraw(key, before)
                return
            load = asked or before is not None or self._residence.always(key) or self._has_room(key)
            if not load and self._builder.is_at_hand(release):
                self._leave_on_disk(release)
                return
            entry = None if hopeless else self._try(release, before)
            if entry is None and before is None:
                entry = self._last_good(release)
            if entry is not None and entry is not before:
                self._builder.remember(key, before)
                self._keep(key, entry, asked=asked, there=before is not None)

    def _try(self, release: Release, before: Entry | None) -> Entry | None:
        try:
            entry, trouble = self._builder.build(release, before)
        except TenonError as err:
            self._note(release, err, permanent=isinstance(err, Refused))
            return None
        except Exception as err:  # noqa: BLE001
            # A background loop is a door: what a bundle may provoke must not end the loading of all others.
            self._note(release, err, permanent=False)
            return None
        if trouble is not None:
            self._note(release, trouble, permanent=isinstance(trouble, Refused))
            return entry
        with self._lock:
            self._trouble.pop(release.key, None)
            good = self._good.get(release.key)
            self._good[release.key] = release
            # Also when it will not stay in memory: the registry hears at once what is in effect.
            self._changed = self._changed or good != release
            if good not in (None, release):
                self._save()
        return entry

    def _last_good(self, release: Release) -> Entry | None:
        """What was in effect before, loaded again; what is desired has just failed."""
        with self._lock:
            good = self._good.get(release.key)
        if good is None or good.revision == release.revision:
            return None
        try:
            return self._builder.build(good, None)[0]
        except TenonError as err:
            self._on_trouble(good, err)
            return None

    def _keep(self, key: ModelKey, entry: Entry, *, asked: bool, there: bool) -> None:
        nbytes = sum({id(served): served.nbytes for served in entry.versions()}.values())
        with self._lock:
            if asked:
                self._unloaded.discard(key)
            free = key not in self._unloaded and self._residence.has_room(nbytes)
            if not (asked or there or free or self._residence.always(key)):
                # It was loaded to be tested; nobody has asked for it, and what is used is not taken out for it.
                self._install(key, None, absent=True)
                return
            self._install(key, entry)
            self._residence.used(self._table.take_used())
            self._residence.put(key, nbytes, used=asked)
            kept = self._builder.kept_bytes
            if not self._residence.has_room(kept):
                self._builder.forget(all_of_it=True)
            victims = self._residence.victims(key)
            for victim in victims:
                self._install(victim, None, absent=True)
        if victims:
            self._observer.evicted(len(victims))

    def _withdraw(self, key: ModelKey, before: Entry | None) -> None:
        with self._lock:
            for of_model in (self._trouble, self._good):
                of_model.pop(key, None)
            self._install(key, None)
            self._builder.remember(key, before)

    def _leave_on_disk(self, release: Release) -> None:
        with self._lock:
            self._changed = self._changed or self._good.get(release.key) != release
            self._good[release.key] = release
            self._trouble.pop(release.key, None)
            self._install(release.key, None, absent=True)

    def _install(self, key: ModelKey, entry: Entry | None, *, absent: bool = False) -> None:
        """Under the lock: the only place that writes the table."""
        if entry is None or self._table.is_absent(key):
            self._moved = True  # only in or out of memory; what is in effect is the same
        else:
            self._changed = True
        self._table.put(key, entry, absent=absent)
        if entry is None:
            self._residence.drop(key)
        self._lock.notify_all()

    def _has_room(self, key: ModelKey) -> bool:
        with self._lock:
            return key not in self._unloaded and self._residence.has_room(self._residence.expected(key))

    def _missing(self, key: ModelKey) -> TenonError | None:
        """What a request hears whose model is not in memory; None: there is no such model."""
        with self._lock:
            release = self.release_of(key)
            if release is None:
                return None
            trouble, good = self._trouble.get(key), self._good.get(key)
            if trouble is not None and trouble.retry_at > time.monotonic() and good in (None, release):
                return unavailable(key.model, trouble.error)
        return Cold(key.model, self._flights.join(key, partial(self._load_cold, key), self._threads(release)))

    def _threads(self, release: Release) -> Callable[[Callable[[], None]], object]:
        return self._run or self._pools[0 if self._builder.is_at_hand(release) else 1].submit

    def _load_cold(self, key: ModelKey) -> None:
        started = time.perf_counter()
        self.settle(key, asked=True)
        outcome = "failed" if self._table.get(key) is None else "loaded"
        self._observer.cold_load(outcome, time.perf_counter() - started)

    def _note(self, release: Release, err: Exception, *, permanent: bool) -> None:
        with self._lock:
            old = self._trouble.get(release.key)
            self._trouble[release.key] = Trouble.after(old, release.revision, err, permanent=permanent)
            self._changed = True
            self._lock.notify_all()
        self._on_trouble(release, err)

    def _want(self, release: Release) -> None:
        current = self._desired.get(release.key)
        if current is not None and current == release:
            return
        self._desired[release.key] = release
        self._unloaded.discard(release.key)
        self._dirty[release.key] = None

    def _save(self) -> None:
        desired = [release for release in self._desired.values() if release.tracks]
        good = [self._good[release.key] for release in desired if self._good.get(release.key) not in (None, release)]
        self._store.save(Known(desired, good, self._recent_first()))

    def _recent_first(self) -> Iterable[ModelKey]:
        return self._residence.order[::-1] if self._residence.budget is not None else ()

    def _notify(self) -> None:
        """Tell of changes: at once when there is nothing more to do, else now and then."""
        with self._lock:
            now, changed = time.monotonic(), self._changed
            gap = (_NOTICE_SECONDS if self._dirty else 0.0) if changed else _RESIDENCE_NOTICE_SECONDS
            if not (changed or self._moved) or now < self._noticed + gap:
                return
            self._changed, self._moved, self._noticed = False, False, now
        self._observer.serving(self.state(), self.loaded())
        if changed:
            self.on_change()

    def _next(self) -> ModelKey | None:
        for key in self._dirty:
            del self._dirty[key]
            return key
        now = time.monotonic()
        for key, trouble in self._trouble.items():
            if trouble.retry_at <= now and key in self._desired:
                return key
        return None

    def _pause(self) -> float:
        now = time.monotonic()
        longest = 1.0 if self._moved or self._residence.budget is not None else 30.0
        return max(0.05, min([longest, *(trouble.retry_at - now for trouble in self._trouble.values())]))
