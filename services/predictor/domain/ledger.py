"""What is desired of each model, what is in effect, and what is wrong: the follower's state, for those who ask."""

from __future__ import annotations

import threading

from services.predictor.domain.cold import Flights, Trouble
from services.predictor.domain.entries import EntryBuilder
from services.predictor.domain.model import ModelKey, Release, Served, ServedModel
from services.predictor.domain.routing import Table
from tenon.core.tenancy import TenantId


class Ledger:
    """Read by any thread; written by the follower, under the lock."""

    def __init__(self, table: Table, builder: EntryBuilder, *, strict: bool) -> None:
        self._table = table
        self._builder = builder
        self._strict = strict
        self._flights = Flights()
        self._lock = threading.Condition(threading.RLock())
        self._desired: dict[ModelKey, Release] = {}
        self._good: dict[ModelKey, Release] = {}
        """The release that was in effect last, wholly."""
        self._trouble: dict[ModelKey, Trouble] = {}
        self._known = False
        self.unknown = "the releases are not known yet"

    def problems(self) -> dict[str, str]:
        """Why this replica cannot answer what it must; empty when it can.

        It must answer what is released: all of it has been loaded, as far as the budget goes. A model that still serves
        an earlier revision does not make the replica unready, and one whose bytes are refused is quarantined alone, as
        long as something else is served: taking a replica out for one tenant's bad version would take all replicas out
        for everybody. A replica that is pinned to its versions (`strict`) has nothing else to serve, and is not ready.
        """
        with self._lock:
            if not self._known:
                return {"releases": self.unknown}
            found = {}
            serving = bool(self._table) or self._table.has_absent
            for key, release in self._desired.items():
                if not release.tracks or self._table.get(key) is not None or self._table.is_absent(key):
                    continue
                trouble = self._trouble.get(key)
                if trouble is None:
                    found[f"{key.tenant}/{key.model}"] = "loading"
                elif self._strict or not (trouble.permanent and serving):
                    found[f"{key.tenant}/{key.model}"] = trouble.text
            return found

    def state(self) -> list[ServedModel]:
        """What is in effect for each model, and what is wrong with it. What is on disk only, and was loaded and tested
        before, is in effect: it is what the next request is answered by."""
        with self._lock:
            keys = {key for key, release in self._desired.items() if release.tracks}
            keys |= self._table.keys()
            found = []
            for key in sorted(keys, key=lambda key: (key.tenant.value, key.model)):
                entry, trouble = self._table.get(key), self._trouble.get(key)
                on_disk = self._good.get(key) if entry is None and self._table.is_absent(key) else None
                if entry is not None:
                    revision, tracks = entry.revision, entry.tracks()
                else:
                    revision, tracks = (on_disk.revision, on_disk.tracks) if on_disk else (0, ())
                found.append(ServedModel(key.tenant, key.model, revision, tracks, trouble.text if trouble else ""))
            return found

    def loaded(self) -> list[Served]:
        """Every version in memory, once."""
        found = {id(served): served for entry in self._table.entries() for served in entry.versions()}
        return list(found.values())

    def needed(self) -> set[str]:
        """The digests of every bundle that may have to be loaded again, from disk if nothing else is there."""
        with self._lock:
            releases = [*self._desired.values(), *self._good.values()]
            found = {track.bundle_sha256 for release in releases for track in release.tracks}
        return found | {served.sha256 for served in self.loaded()} | self._builder.kept

    def release_of(self, key: ModelKey) -> Release | None:
        """What is desired of a model."""
        with self._lock:
            release = self._desired.get(key)
            return release if release is not None and release.tracks else None

    def models(self, tenant: TenantId) -> list[str]:
        """The names of a tenant's released models."""
        with self._lock:
            return [key.model for key, release in self._desired.items() if key.tenant == tenant and release.tracks]

    def trouble_of(self, key: ModelKey) -> Exception | None:
        """Why what is desired of a model is not in effect, if it was tried."""
        with self._lock:
            trouble = self._trouble.get(key)
            return None if trouble is None else trouble.error

    def is_loading(self, key: ModelKey) -> bool:
        """Whether it is being loaded, or about to be."""
        with self._lock:
            undecided = self._table.get(key) is None and not self._table.is_absent(key) and key not in self._trouble
            return key in self._flights or (undecided and self.release_of(key) is not None)
