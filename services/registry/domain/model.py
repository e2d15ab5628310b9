"""What the registry knows: tenants, keys, versions, releases, replicas, audit entries. Values only, no behaviour of storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenon.core.errors import Invalid
from tenon.core.roles import Role as Role  # noqa: PLC0414 - one of the nouns of this module, as before
from tenon.core.tenancy import Scope, TenantId


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as of its latest revision."""

    id: TenantId
    spec: Mapping[str, Any]
    revision: int
    created_at: int
    updated_at: int

    @property
    def display_name(self) -> str:
        """The name for people; empty when none was given."""
        return str(self.spec.get("displayName", ""))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without the key. Times are microseconds since the epoch."""

    key_id: str
    key_sha256: str
    tenant: TenantId
    name: str
    scopes: frozenset[Scope]
    created_at: int
    created_by: str
    expires_at: int | None = None
    revoked_at: int | None = None

    def is_valid(self, now: int) -> bool:
        """Whether the key opens a door now."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Version:
    """A model version: a bundle in the blob store and its manifest, word for word."""

    tenant: TenantId
    model: str
    number: int
    bundle_sha256: str
    size_bytes: int
    run_id: str
    created_at: int
    created_by: str
    manifest_json: bytes = field(repr=False)
    failed_gates: tuple[str, ...] = ()

    @property
    def gates_passed(self) -> bool:
        """Whether every gate of the model's spec was met."""
        return not self.failed_gates


@dataclass(frozen=True, slots=True)
class Track:
    """One version at work in a release. `weight_permille` is the share of a canary or an arm in thousandths, else 0."""

    role: Role
    version: int
    bundle_sha256: str
    weight_permille: int = 0


@dataclass(frozen=True, slots=True)
class Automatic:
    """How a canary goes on by itself; see `automatic`. `steps` are its shares in thousandths, growing; after the last it is
    promoted. `probation_until` and `before` are of a version that was."""

    steps: tuple[int, ...]
    step_seconds: int
    step_answers: int
    needs: tuple[str, ...]
    probation_seconds: int
    probation_until: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class Release:
    """One immutable numbered revision of what a tenant's model serves.

    `change` numbers the releases of all tenants in the order of their commits; watchers follow it.
    """

    tenant: TenantId
    model: str
    revision: int
    tracks: tuple[Track, ...]
    action: str  # set, advance, promote or rollback
    created_at: int
    created_by: str
    from_revision: int = 0
    reason: str = ""
    change: int = 0
    automatic: Automatic | None = None

    def track(self, role: Role) -> Track | None:
        """The track of a role, if the release has one."""
        return next((track for track in self.tracks if track.role == role), None)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What one replica really serves of one model, by the digests of the bytes it loaded."""

    tenant: TenantId
    model: str
    revision: int
    tracks: tuple[Track, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Replica:
    """A predictor process and its last report.

    `serves_only` holds the tenants (`clinic`) and models (`clinic/cost`) that are its concern; empty: all there are. A replica
    that was told its versions instead of following releases names those (`clinic/cost@7`).
    """

    name: str
    reported_at: int
    models: tuple[ServedModel, ...]
    serves_only: tuple[str, ...] = ()

    def concerns(self, tenant: TenantId, model: str) -> bool:
        """Whether this replica is meant to serve a model."""
        return not self.serves_only or tenant.value in self.serves_only or f"{tenant}/{model}" in self.serves_only

    def pins(self) -> dict[tuple[TenantId, str], set[int]]:
        """The versions that it was told to serve, by tenant and model."""
        found: dict[tuple[TenantId, str], set[int]] = {}
        for scope in self.serves_only:
            place, _, version = scope.partition("@")
            tenant, _, model = place.partition("/")
            if not version.isdecimal() or not model:
                continue
            try:
                found.setdefault((TenantId(tenant), model), set()).add(int(version))
            except Invalid:
                # What no tenant can be called belongs to none.
                continue
        return found


@dataclass(frozen=True, slots=True)
class ServingChange:
    """One line of history: from `at` on, this replica served this. Empty tracks: it served nothing any more."""

    replica: str
    at: int
    served: ServedModel
    cause: str  # reported, left or silent


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of a tenant's audit log; `hash` covers the line and, through `previous`, every line before it."""

    tenant: TenantId
    seq: int
    at: int
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]
    previous: str
    hash: str
