"""Following releases: what is desired is loaded beside what serves, tested, and swapped in; a version that fails is
refused and the old one stays."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.predictor.domain.model import Arm, Entry, ModelKey, Release, Role, Served, ServedModel, Track
from services.predictor.domain.ports import Loader, Observer, ReleaseStore
from services.predictor.domain.routing import Table
from tenon.core.errors import Invalid, TenonError


class Refused(Invalid):
    """A version's bytes will never do: damaged, not signed by us, of another model, or its self-test failed."""


@dataclass(slots=True)
class _Trouble:
    revision: int
    text: str
    permanent: bool
    attempts: int
    retry_at: float


class Follower:
    """Puts desired releases into effect, one after the other, on a thread of its own."""

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
    ) -> None:
        self._loader = loader
        self._store = store
        self._table = table
        self._observer = observer
        self.on_change = on_change
        self._on_trouble = on_trouble
        self._grace = grace_seconds
        self._lock = threading.Condition()
        self._desired: dict[ModelKey, Release] = {}
        self._arriving: dict[ModelKey, Release] | None = None
        self._dirty: dict[ModelKey, None] = {}
        self._trouble: dict[ModelKey, _Trouble] = {}
        self._recent: dict[tuple[ModelKey, str], tuple[Served, float]] = {}
        self._known = False
        self._ending = False
        self._thread: threading.Thread | None = None

    # --- from the source

    def restore(self) -> None:
        """Begin with the last known releases, if there are any."""
        releases = self._store.load()
        if releases is not None:
            with self._lock:
                self._desired = {release.key: release for release in releases}
                self._dirty = dict.fromkeys(self._desired)
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

    # --- to those who ask

    def problems(self) -> dict[str, str]:
        """Why this replica cannot answer what it must; empty when it can.

        A model that still serves an earlier revision does not make the replica unready, and one whose bytes are refused
        is quarantined alone, as long as something else is served: taking a replica out for one tenant's bad version
        would take all replicas out for everybody.
        """
        with self._lock:
            if not self._known:
                return {"releases": "the releases are not known yet"}
            found = {}
            serving = bool(self._table)
            for key, release in self._desired.items():
                if not release.tracks or self._table.get(key) is not None:
                    continue
                trouble = self._trouble.get(key)
                if trouble is None:
                    found[f"{key.tenant}/{key.model}"] = "loading"
                elif not (trouble.permanent and serving):
                    found[f"{key.tenant}/{key.model}"] = trouble.text
            return found

    def state(self) -> list[ServedModel]:
        """What is in effect for each model, and what is wrong with it."""
        with self._lock:
            keys = {key for key, release in self._desired.items() if release.tracks}
            keys |= self._table.keys()
            found = []
            for key in sorted(keys, key=lambda key: (key.tenant.value, key.model)):
                entry, trouble = self._table.get(key), self._trouble.get(key)
                revision, tracks = (entry.revision, entry.tracks()) if entry else (0, ())
                found.append(ServedModel(key.tenant, key.model, revision, tracks, trouble.text if trouble else ""))
            return found

    def loaded(self) -> list[Served]:
        """Every version in memory, once."""
        found: dict[int, Served] = {}
        for entry in self._table.entries():
            for served in entry.versions():
                found[id(served)] = served
        return list(found.values())

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

    def _loop(self) -> None:
        while True:
            with self._lock:
                key = self._next()
                while key is None and not self._ending:
                    self._lock.wait(self._pause())
                    self._forget()
                    key = self._next()
                if self._ending or key is None:
                    return
                release = self._desired[key]
            self.apply(release)

    def apply(self, release: Release) -> None:
        """Put one release into effect, or note why it cannot be."""
        key = release.key
        before = self._table.get(key)
        try:
            entry, trouble = self._build(release, before)
        except TenonError as err:
            self._note(release, err, permanent=isinstance(err, Refused))
            entry = before
        except Exception as err:  # noqa: BLE001
            # A background loop is a door: what a bundle may provoke must not end the loading of all others.
            self._note(release, err, permanent=False)
            entry = before
        else:
            if trouble is None:
                with self._lock:
                    self._trouble.pop(key, None)
            else:
                self._note(release, trouble, permanent=isinstance(trouble, Refused))
        if entry is not before:
            self._table.put(key, entry)
            self._remember(key, before)
        self._forget()
        self._observer.serving(self.state(), self.loaded())
        self.on_change()

    def _build(self, release: Release, before: Entry | None) -> tuple[Entry | None, TenonError | None]:
        by_role = {track.role: track for track in release.tracks if not track.role.is_arm}
        if not by_role:
            return None, None
        if Role.STABLE not in by_role:
            raise Refused("RELEASE_INVALID", f"revision {release.revision} names no stable version")
        stable = self._load(release, by_role[Role.STABLE], before)
        extra: dict[Role, Served] = {}
        arms: list[Arm] = []
        trouble: TenonError | None = None
        for role in (Role.CANARY, Role.SHADOW):
            if role not in by_role:
                continue
            try:
                extra[role] = self._load(release, by_role[role], before)
            except TenonError as err:
                if before is not None:
                    raise
                # With nothing to fall back to, the stable version alone is better than no answer. It takes the place
                # of what failed, so that no other arm answers entities that are not its own.
                trouble = err
                arms += [Arm(Role.STABLE, stable, by_role[role].weight_permille)] if role == Role.CANARY else []
        for track in release.tracks:
            if not track.role.is_arm:
                continue
            try:
                arms.append(Arm(track.role, self._load(release, track, before), track.weight_permille))
            except TenonError as err:
                if before is not None:
                    raise
                trouble = err
                arms.append(Arm(Role.STABLE, stable, track.weight_permille))
        weight = by_role[Role.CANARY].weight_permille if Role.CANARY in extra else 0
        entry = Entry(release.revision, stable, extra.get(Role.CANARY), weight, extra.get(Role.SHADOW), tuple(arms))
        return entry, trouble

    def _load(self, release: Release, track: Track, before: Entry | None) -> Served:
        if before is not None:
            for served in before.versions():
                if served.sha256 == track.bundle_sha256 and served.version == track.version:
                    return served
        recent = self._recent.get((release.key, track.bundle_sha256))
        if recent is not None and recent[0].version == track.version:
            return recent[0]
        return self._loader.load(release.tenant, release.model, track)

    def _remember(self, key: ModelKey, before: Entry | None) -> None:
        """Keep what was just replaced for a while, so that rolling back takes no time."""
        until = time.monotonic() + self._grace
        for served in before.versions() if before else ():
            self._recent[(key, served.sha256)] = (served, until)

    def _forget(self) -> None:
        now = time.monotonic()
        for place in [place for place, (_, until) in self._recent.items() if until < now]:
            del self._recent[place]

    def _note(self, release: Release, err: Exception, *, permanent: bool) -> None:
        text = f"{err.reason}: {err.message}" if isinstance(err, TenonError) else f"{type(err).__name__} while loading"
        with self._lock:
            old = self._trouble.get(release.key)
            attempts = old.attempts + 1 if old is not None and old.revision == release.revision else 1
            pause = min(30.0, 0.5 * 2 ** min(attempts, 6)) * random.uniform(0.75, 1.25)
            self._trouble[release.key] = _Trouble(
                release.revision, text[:500], permanent, attempts, time.monotonic() + (60.0 if permanent else pause)
            )
        self._on_trouble(release, err)

    def _want(self, release: Release) -> None:
        current = self._desired.get(release.key)
        if current is not None and current == release:
            return
        self._desired[release.key] = release
        self._dirty[release.key] = None

    def _save(self) -> None:
        self._store.save([release for release in self._desired.values() if release.tracks])

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
        return max(0.05, min([30.0, *(trouble.retry_at - now for trouble in self._trouble.values())]))
