"""The registry's ports in memory. A transaction works on a copy, which becomes the state when it ends well."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from services.registry.domain.model import ApiKey, AuditEntry, Release, Replica, ServingChange, Tenant, Version
from services.registry.domain.ports import NumberTaken, Transaction
from tenon.core.errors import NotFound
from tenon.core.manifest import Manifest
from tenon.core.tenancy import TenantId

T = TypeVar("T")


class ManualClock:
    """A clock that moves when told, and one microsecond at each look, so that no two events share a moment."""

    def __init__(self, now: int = 1_700_000_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def advance(self, micros: int) -> None:
        """Let time pass."""
        self.now += micros


class FakeTenants:
    """See `ports.Tenants`."""

    def __init__(self) -> None:
        self._revisions: dict[TenantId, list[tuple[int, dict[str, Any], int]]] = {}

    def latest(self, tenant: TenantId) -> Tenant | None:
        revisions = self._revisions.get(tenant)
        if not revisions:
            return None
        revision, spec, at = revisions[-1]
        return Tenant(tenant, spec, revision, revisions[0][2], at)

    def all(self) -> list[Tenant]:
        return [found for name in sorted(self._revisions) if (found := self.latest(name))]

    def add_revision(self, tenant: TenantId, revision: int, spec: Mapping[str, Any], at: int) -> None:
        revisions = self._revisions.setdefault(tenant, [])
        if revision <= len(revisions):
            raise NumberTaken
        revisions.append((revision, dict(spec), at))


class FakeKeys:
    """See `ports.Keys`."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}

    def add(self, tenant: TenantId, key: ApiKey) -> None:
        if key.key_id in self._keys or self.by_hash(key.key_sha256):
            raise NumberTaken
        self._keys[key.key_id] = key

    def get(self, tenant: TenantId, key_id: str) -> ApiKey | None:
        key = self._keys.get(key_id)
        return key if key and key.tenant == tenant else None

    def of_tenant(self, tenant: TenantId) -> list[ApiKey]:
        return sorted((k for k in self._keys.values() if k.tenant == tenant), key=lambda k: -k.created_at)

    def revoke(self, tenant: TenantId, key_id: str, at: int) -> None:
        key = self.get(tenant, key_id)
        if key and key.revoked_at is None:
            self._keys[key_id] = replace(key, revoked_at=at)

    def by_hash(self, key_sha256: str) -> ApiKey | None:
        return next((key for key in self._keys.values() if key.key_sha256 == key_sha256), None)

    def valid(self, now: int) -> list[ApiKey]:
        return sorted((k for k in self._keys.values() if k.is_valid(now)), key=lambda k: -k.created_at)


class FakeVersions:
    """See `ports.Versions`."""

    def __init__(self) -> None:
        self._versions: list[Version] = []

    def latest_number(self, tenant: TenantId, model: str) -> int:
        return max((version.number for version in self.of_model(tenant, model)), default=0)

    def add(self, tenant: TenantId, version: Version) -> None:
        taken = self.get(tenant, version.model, version.number)
        if taken or self.of_run(tenant, version.model, version.run_id, version.bundle_sha256):
            raise NumberTaken
        self._versions.append(version)

    def get(self, tenant: TenantId, model: str, number: int) -> Version | None:
        return next((version for version in self.of_model(tenant, model) if version.number == number), None)

    def of_run(self, tenant: TenantId, model: str, run_id: str, bundle_sha256: str) -> Version | None:
        wanted = (run_id, bundle_sha256)
        return next((v for v in self.of_model(tenant, model) if (v.run_id, v.bundle_sha256) == wanted), None)

    def of_model(self, tenant: TenantId, model: str, limit: int | None = None) -> list[Version]:
        found = (version for version in self._versions if version.tenant == tenant and version.model == model)
        return sorted(found, key=lambda version: -version.number)[:limit]

    def counts(self, tenant: TenantId) -> dict[str, int]:
        names = [version.model for version in self._versions if version.tenant == tenant]
        return {name: names.count(name) for name in names}


class FakeReleases:
    """See `ports.Releases`."""

    def __init__(self) -> None:
        self._releases: list[Release] = []

    def current(self, tenant: TenantId, model: str) -> Release | None:
        return next(iter(self.history(tenant, model, 1)), None)

    def get(self, tenant: TenantId, model: str, revision: int) -> Release | None:
        return next((r for r in self.history(tenant, model, len(self._releases)) if r.revision == revision), None)

    def history(self, tenant: TenantId, model: str, limit: int) -> list[Release]:
        found = (release for release in self._releases if release.tenant == tenant and release.model == model)
        return sorted(found, key=lambda release: -release.revision)[:limit]

    def add(self, tenant: TenantId, release: Release) -> None:
        if self.get(tenant, release.model, release.revision):
            raise NumberTaken
        self._releases.append(release)

    def current_of(self, tenant: TenantId) -> list[Release]:
        return [release for release in self.all_current() if release.tenant == tenant]

    def all_current(self) -> list[Release]:
        places = sorted({(release.tenant, release.model) for release in self._releases})
        return [found for place in places if (found := self.current(*place))]

    def changed_since(self, change: int) -> list[Release]:
        return sorted((r for r in self._releases if r.change > change), key=lambda release: release.change)


class FakeServing:
    """See `ports.Serving`."""

    def __init__(self) -> None:
        self._replicas: dict[str, Replica] = {}
        self._changes: list[ServingChange] = []

    def last_report(self, replica: str) -> Replica | None:
        return self._replicas.get(replica)

    def save_report(self, replica: Replica) -> None:
        self._replicas[replica.name] = replica

    def forget(self, replica: str) -> None:
        self._replicas.pop(replica, None)

    def reported_since(self, at: int) -> list[Replica]:
        return sorted((r for r in self._replicas.values() if r.reported_at >= at), key=lambda r: r.name)

    def silent_since(self, at: int) -> list[Replica]:
        return sorted((r for r in self._replicas.values() if r.reported_at < at), key=lambda r: r.name)

    def add_change(self, tenant: TenantId, change: ServingChange) -> None:
        self._changes.append(change)

    def history(self, tenant: TenantId, model: str, limit: int) -> list[ServingChange]:
        found = [c for c in self._changes if c.served.tenant == tenant and c.served.model == model]
        return found[::-1][:limit]


class FakeAudit:
    """See `ports.Audit`; `lines` may be tampered with."""

    def __init__(self) -> None:
        self.lines: list[AuditEntry] = []

    def last(self, tenant: TenantId) -> AuditEntry | None:
        return next(iter(self.entries(tenant, before=None, limit=1)), None)

    def add(self, tenant: TenantId, entry: AuditEntry) -> None:
        if any(line.tenant == tenant and line.seq == entry.seq for line in self.lines):
            raise NumberTaken
        self.lines.append(entry)

    def entries(self, tenant: TenantId, *, before: int | None, limit: int) -> list[AuditEntry]:
        found = [line for line in self.lines if line.tenant == tenant and (before is None or line.seq < before)]
        return sorted(found, key=lambda line: -line.seq)[:limit]

    def chain(self, tenant: TenantId) -> Iterator[AuditEntry]:
        yield from sorted((line for line in self.lines if line.tenant == tenant), key=lambda line: line.seq)


class FakeCounters:
    """See `ports.Counters`."""

    def __init__(self) -> None:
        self._values: dict[str, int] = {}

    def value(self, name: str) -> int:
        return self._values.get(name, 0)

    def advance(self, name: str) -> int:
        self._values[name] = self.value(name) + 1
        return self._values[name]


@dataclass
class FakeState:
    """Everything; see `ports.Transaction`."""

    tenants: FakeTenants = field(default_factory=FakeTenants)
    keys: FakeKeys = field(default_factory=FakeKeys)
    versions: FakeVersions = field(default_factory=FakeVersions)
    releases: FakeReleases = field(default_factory=FakeReleases)
    serving: FakeServing = field(default_factory=FakeServing)
    audit: FakeAudit = field(default_factory=FakeAudit)
    counters: FakeCounters = field(default_factory=FakeCounters)


class FakeTransact:
    """See `ports.Transact`: one at a time, all or nothing."""

    def __init__(self) -> None:
        self.state = FakeState()
        self._lock = threading.RLock()

    def __call__(self, work: Callable[[Transaction], T]) -> T:
        with self._lock:
            draft = copy.copy(self.state)
            for name, part in vars(self.state).items():
                setattr(draft, name, _copy_of(part))
            result = work(draft)
            self.state = draft
            return result


def _copy_of(part: Any) -> Any:
    """A copy whose containers are its own; the values in them are immutable."""
    twin = copy.copy(part)
    for name, container in vars(part).items():
        setattr(twin, name, copy.copy(container))
        if isinstance(container, dict):
            setattr(twin, name, {k: list(v) if isinstance(v, list) else v for k, v in container.items()})
    return twin


class FakeBundles:
    """See `ports.Bundles`."""

    def __init__(self) -> None:
        self.saved: dict[tuple[TenantId, str, str], bytes] = {}

    def save(self, tenant: TenantId, model: str, bundle_sha256: str, data: bytes) -> None:
        self.saved[tenant, model, bundle_sha256] = data

    @contextmanager
    def read(self, tenant: TenantId, model: str, bundle_sha256: str) -> Iterator[Iterator[bytes]]:
        try:
            data = self.saved[tenant, model, bundle_sha256]
        except KeyError:
            raise NotFound("BLOB_NOT_FOUND", "there is no such bundle") from None
        yield iter([data])


@dataclass(frozen=True)
class FakeOpened:
    """See `ports.OpenedBundle`."""

    manifest: Manifest
    manifest_json: bytes


def open_fake_bundle(data: bytes) -> FakeOpened:
    """A bundle that is nothing but its manifest."""
    return FakeOpened(Manifest.model_validate_json(data), data)
