"""What the use cases need from outside. One request is one transaction: `Transact` runs the whole of it, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from services.registry.domain.model import (
    ApiKey,
    AuditEntry,
    Release,
    Replica,
    ServingChange,
    Tenant,
    Version,
)
from tenon.core.manifest import Manifest
from tenon.core.tenancy import TenantId

T = TypeVar("T")

Clock = Callable[[], int]
"""Now, in microseconds since the epoch."""

Monotonic = Callable[[], float]
"""Seconds on a clock that never goes back."""


class NumberTaken(Exception):
    """Somebody else has just taken the number (or name) this transaction wanted; `Transact` begins it again."""


class Tenants(Protocol):
    """Tenant documents by revision."""

    def latest(self, tenant: TenantId) -> Tenant | None:
        """The latest revision."""
        ...

    def all(self) -> list[Tenant]:
        """Every tenant, by name."""
        ...

    def add_revision(self, tenant: TenantId, revision: int, spec: Mapping[str, Any], at: int) -> None:
        """Write a revision. Raises `NumberTaken`."""
        ...


class Keys(Protocol):
    """API keys, by hash."""

    def add(self, tenant: TenantId, key: ApiKey) -> None:
        """Write a new key. Raises `NumberTaken`."""
        ...

    def get(self, tenant: TenantId, key_id: str) -> ApiKey | None:
        """One key of a tenant."""
        ...

    def of_tenant(self, tenant: TenantId) -> list[ApiKey]:
        """A tenant's keys, revoked and expired ones too, newest first."""
        ...

    def revoke(self, tenant: TenantId, key_id: str, at: int) -> None:
        """Note that a key opens nothing any more."""
        ...

    def by_hash(self, key_sha256: str) -> ApiKey | None:
        """The key with this hash, whoever's it is."""
        ...

    def valid(self, now: int) -> list[ApiKey]:
        """Every key of every tenant that opens a door now."""
        ...


class Versions(Protocol):
    """Model versions."""

    def latest_number(self, tenant: TenantId, model: str) -> int:
        """The highest number given so far; 0 when there is none."""
        ...

    def add(self, tenant: TenantId, version: Version) -> None:
        """Write a version. Raises `NumberTaken`."""
        ...

    def get(self, tenant: TenantId, model: str, number: int) -> Version | None:
        """One version."""
        ...

    def of_run(self, tenant: TenantId, model: str, run_id: str, bundle_sha256: str) -> Version | None:
        """The version that a run registered with this bundle."""
        ...

    def of_model(self, tenant: TenantId, model: str, limit: int) -> list[Version]:
        """A model's latest versions, newest first."""
        ...

    def counts(self, tenant: TenantId) -> dict[str, int]:
        """How many versions each model has, by name."""
        ...


class Releases(Protocol):
    """Releases: only ever added."""

    def current(self, tenant: TenantId, model: str) -> Release | None:
        """The latest revision."""
        ...

    def get(self, tenant: TenantId, model: str, revision: int) -> Release | None:
        """One revision."""
        ...

    def history(self, tenant: TenantId, model: str, limit: int) -> list[Release]:
        """The latest revisions, newest first."""
        ...

    def add(self, tenant: TenantId, release: Release) -> None:
        """Write a revision. Raises `NumberTaken`."""
        ...

    def current_of(self, tenant: TenantId) -> list[Release]:
        """The current release of each of a tenant's models, by name."""
        ...

    def all_current(self) -> list[Release]:
        """The current release of every model of every tenant."""
        ...

    def changed_since(self, change: int) -> list[Release]:
        """Releases of all tenants after a change number, in the order of their commits."""
        ...


class Serving(Protocol):
    """What replicas report."""

    def last_report(self, replica: str) -> Replica | None:
        """A replica's last report."""
        ...

    def save_report(self, replica: Replica) -> None:
        """Keep a replica's report as the last one. Raises `NumberTaken` when two first reports meet."""
        ...

    def forget(self, replica: str) -> None:
        """Drop a replica's last report; its history stays."""
        ...

    def reported_since(self, at: int) -> list[Replica]:
        """Replicas that reported at this moment or later, by name."""
        ...

    def silent_since(self, at: int) -> list[Replica]:
        """Replicas that have not reported since before this moment."""
        ...

    def add_change(self, tenant: TenantId, change: ServingChange) -> None:
        """Write a line of history."""
        ...

    def history(self, tenant: TenantId, model: str, limit: int) -> list[ServingChange]:
        """A model's lines, newest first."""
        ...


class Audit(Protocol):
    """The audit log: only ever added."""

    def last(self, tenant: TenantId) -> AuditEntry | None:
        """A tenant's latest line."""
        ...

    def add(self, tenant: TenantId, entry: AuditEntry) -> None:
        """Write a line. Raises `NumberTaken`."""
        ...

    def entries(self, tenant: TenantId, *, before: int | None, limit: int) -> list[AuditEntry]:
        """Lines with a seq under `before` (None: from the end), newest first."""
        ...

    def chain(self, tenant: TenantId) -> Iterator[AuditEntry]:
        """Every line, oldest first."""
        ...


class Counters(Protocol):
    """Numbers that grow with every commit, in the order of the commits."""

    def value(self, name: str) -> int:
        """The latest number; 0 before the first."""
        ...

    def advance(self, name: str) -> int:
        """The next number; other transactions that want one wait until this one has ended."""
        ...


class Transaction(Protocol):
    """Everything one request reads and writes."""

    @property
    def tenants(self) -> Tenants:
        """Tenant documents."""
        ...

    @property
    def keys(self) -> Keys:
        """API keys."""
        ...

    @property
    def versions(self) -> Versions:
        """Model versions."""
        ...

    @property
    def releases(self) -> Releases:
        """Releases."""
        ...

    @property
    def serving(self) -> Serving:
        """Replicas."""
        ...

    @property
    def audit(self) -> Audit:
        """The audit log."""
        ...

    @property
    def counters(self) -> Counters:
        """Growing numbers."""
        ...


class Transact(Protocol):
    """Runs a piece of work as one transaction, and commits it."""

    def __call__(self, work: Callable[[Transaction], T]) -> T:
        """Give back what `work` gives back. Work may run more than once (after `NumberTaken`); only one run counts."""
        ...


class OpenedBundle(Protocol):
    """A bundle whose signature and digests have been verified."""

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""
        ...

    @property
    def manifest_json(self) -> bytes:
        """The manifest, word for word."""
        ...


class BundleOpener(Protocol):
    """Verifies bundles."""

    def __call__(self, data: bytes) -> OpenedBundle:
        """Open a bundle. Raises `Invalid` when its signature or a digest is wrong."""
        ...


class Bundles(Protocol):
    """Bundles in the blob store, by digest."""

    def save(self, tenant: TenantId, model: str, bundle_sha256: str, data: bytes) -> None:
        """Keep a bundle; the same one again changes nothing."""
        ...

    def read(self, tenant: TenantId, model: str, bundle_sha256: str) -> AbstractContextManager[Iterator[bytes]]:
        """A bundle's bytes in chunks. Raises `NotFound`."""
        ...


Announce = Callable[[], None]
"""Called after a release has been committed, so that watchers look at once."""


def no_announcement() -> None:
    """For those who have nobody to tell."""
