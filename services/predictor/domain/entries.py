"""From a release to an entry that answers: its versions loaded, those that are in memory already taken as they are."""

from __future__ import annotations

import threading
import time

from services.predictor.domain.model import Arm, Entry, ModelKey, Release, Role, Served, Track
from services.predictor.domain.ports import Loader
from tenon.core.errors import Invalid, TenonError


class Refused(Invalid):
    """A version's bytes will never do: damaged, not signed by us, of another model, or its self-test failed."""


class EntryBuilder:
    """Builds entries, and keeps what was replaced for a while, so that rolling back takes no time. Thread-safe."""

    def __init__(self, loader: Loader, grace_seconds: float) -> None:
        self._loader = loader
        self._grace = grace_seconds
        self._lock = threading.Lock()
        self._recent: dict[tuple[ModelKey, str], tuple[Served, float]] = {}

    def build(self, release: Release, before: Entry | None) -> tuple[Entry, TenonError | None]:
        """The entry, and what is wrong with it. Raises `TenonError` when there can be none.

        With an entry before, a release is put into effect whole or not at all; with nothing to fall back to, the stable
        version alone is better than no answer.
        """
        by_role = {track.role: track for track in release.tracks}
        if Role.STABLE not in by_role:
            raise Refused("RELEASE_INVALID", f"revision {release.revision} names no stable version")
        loaded: list[Served] = list(before.versions()) if before is not None else []
        stable = self._load(release, by_role[Role.STABLE], loaded)
        trouble: TenonError | None = None
        canary = shadow = None
        arms: list[Arm] = []
        for track in release.tracks:
            if track.role == Role.STABLE:
                continue
            try:
                served = self._load(release, track, loaded)
            except TenonError as err:
                if before is not None:
                    raise
                trouble = err
                if track.role != Role.SHADOW:
                    # The stable version holds its place: no other arm answers entities that are not its own.
                    arms.append(Arm(Role.STABLE, stable, track.weight_permille))
                continue
            if track.role == Role.SHADOW:
                shadow = served
            elif track.role == Role.CANARY:
                canary = served
            else:
                arms.append(Arm(track.role, served, track.weight_permille))
        weight = by_role[Role.CANARY].weight_permille if canary is not None else 0
        return Entry(release.revision, stable, canary, weight, shadow, tuple(arms)), trouble

    def is_at_hand(self, release: Release) -> bool:
        """Whether every bundle of a release is on this machine (and so has been loaded and tested once)."""
        return all(self._loader.is_at_hand(track) for track in release.tracks)

    def remember(self, key: ModelKey, before: Entry | None) -> None:
        """Keep what was just replaced for a while."""
        if before is None or self._grace <= 0:
            return
        until = time.monotonic() + self._grace
        with self._lock:
            for served in before.versions():
                self._recent[(key, served.sha256)] = (served, until)

    def forget(self, *, all_of_it: bool = False) -> None:
        """Let go of what was kept long enough."""
        now = time.monotonic()
        with self._lock:
            for place in [place for place, (_, until) in self._recent.items() if all_of_it or until < now]:
                del self._recent[place]

    @property
    def kept_bytes(self) -> int:
        """Memory of what is kept."""
        with self._lock:
            return sum(served.nbytes for served, _ in self._recent.values())

    @property
    def kept(self) -> set[str]:
        """Digests of what is kept."""
        with self._lock:
            return {sha256 for _, sha256 in self._recent}

    def _load(self, release: Release, track: Track, loaded: list[Served]) -> Served:
        for served in loaded:
            if served.sha256 == track.bundle_sha256 and served.version == track.version:
                return served
        with self._lock:
            recent = self._recent.get((release.key, track.bundle_sha256))
        if recent is not None and recent[0].version == track.version:
            served = recent[0]
        else:
            served = self._loader.load(release.tenant, release.model, track)
        loaded.append(served)
        return served
