"""What goes out as JSON, and what may come in."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field

from services.registry.domain.agreement import Disagreement, serves
from services.registry.domain.model import (
    ApiKey,
    AuditEntry,
    Automatic,
    Release,
    Replica,
    Role,
    ServedModel,
    ServingChange,
    Tenant,
    Track,
    Version,
)
from services.registry.domain.release_rules import Arm, Wish
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.core.timestamps import parse_duration, rfc3339
from tenon.kit.http import admin_only, allow, principal_of

Reader = Annotated[TenantId, Depends(allow(Scope.READ))]
Writer = Annotated[TenantId, Depends(allow(Scope.WRITE))]
Caller = Annotated[Principal, Depends(principal_of)]
Admin = Annotated[Principal, Depends(admin_only)]


class Body(BaseModel):
    """Base of all request bodies: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class KeyBody(Body):
    """A key to make."""

    scopes: list[str] = Field(description="predict, read, write.", max_length=10)
    name: str = Field(default="", description="For people, at most 100 characters.")
    expires_in: str | None = Field(default=None, description="A duration such as 90d; left out: never.")


class ArmBody(Body):
    """An arm of an A/B test."""

    name: str = Field(description="Its role in answers, metrics and the prediction log.", max_length=100)
    version: int = Field(le=2**31 - 1)
    weight: Decimal = Field(description="Its share in percent, 0.1 to 99.9, in steps of 0.1.")


class AutomaticBody(Body):
    """How the canary goes on by itself, by monitor's verdicts."""

    steps: list[Decimal] = Field(
        default_factory=lambda: [Decimal(5), Decimal(25), Decimal(50)],
        max_length=20,
        description="Its shares in percent, growing; those above its weight follow it, and after the last it is promoted.",
    )
    every: str = Field(default="10m", description="A step lasts at least so long, such as 10m or 1d.")
    answers: int = Field(default=100, ge=1, le=2**40, description="So often the canary must have answered in a step.")
    needs: list[str] = Field(
        default_factory=lambda: ["errors", "latency", "scores"],
        max_length=10,
        description="What must have passed; each of errors, latency, scores and quality can always say no.",
    )
    probation: str = Field(
        default="7d", description="After its promotion it goes back by itself for so long; 0s: it does not."
    )

    def wanted(self) -> Automatic:
        """The body as the domain knows it. Raises `Invalid`."""
        return Automatic(
            tuple(_permille(step, "AUTOMATIC_INVALID", "automatic.steps") for step in self.steps),
            parse_duration(self.every, "automatic.every") // 10**6,
            self.answers,
            tuple(self.needs),
            0 if self.probation in ("0", "0s") else parse_duration(self.probation, "automatic.probation") // 10**6,
        )


class ReleaseBody(Body):
    """A release to set."""

    stable: int = Field(description="The version that answers.", le=2**31 - 1)
    canary: int | None = Field(default=None, description="The version that answers its share.", le=2**31 - 1)
    canary_weight: Decimal | None = Field(
        default=None, description="The canary's share in percent, 0.1 to 99.9, in steps of 0.1."
    )
    shadow: int | None = Field(default=None, description="The version that is asked too.", le=2**31 - 1)
    arms: list[ArmBody] = Field(
        default_factory=list, description="Versions that answer a share each, beside stable and canary.", max_length=100
    )
    force: bool = Field(default=False, description="Release versions that failed a gate, too.")
    reason: str = ""
    expected_revision: int = Field(default=0, ge=0, description="The revision the caller has seen; 0: no check.")
    automatic: AutomaticBody | None = Field(
        default=None, description="Let the canary go on, or back, by monitor's verdicts; left out: nothing by itself."
    )

    def wish(self) -> Wish:
        """The body as the domain knows it. Raises `Invalid` for a weight that is not a multiple of 0.1 percent."""
        weight = _permille(self.canary_weight or Decimal(0), "CANARY_WEIGHT_INVALID", "canary_weight")
        arms = tuple(
            Arm(arm.name, arm.version, _permille(arm.weight, "ARM_WEIGHT_INVALID", "arms")) for arm in self.arms
        )
        return Wish(self.stable, self.canary or 0, weight, self.shadow or 0, arms)


def _permille(percent: Decimal, reason: str, field: str) -> int:
    permille = percent * 10
    if not permille.is_finite() or permille != permille.to_integral_value():
        raise Invalid(reason, f"{field} {str(percent)[:20]} is not a multiple of 0.1 percent", place=Place(field=field))
    return int(permille)


class PromoteBody(Body):
    """A promotion."""

    arm: str = Field(default="", description="The arm that becomes stable; left out: the canary, or the only arm.")
    reason: str = ""
    expected_revision: int = Field(default=0, ge=0)


class RollbackBody(Body):
    """A rollback."""

    to_revision: int = Field(default=0, ge=0, le=2**31 - 1, description="0: the content before the current one.")
    reason: str = ""
    expected_revision: int = Field(default=0, ge=0)


def tenant_json(tenant: Tenant) -> dict[str, Any]:
    """A tenant."""
    return {
        "tenant": tenant.id.value,
        "name": tenant.id.value,
        "display_name": tenant.display_name,
        "revision": tenant.revision,
        "spec": dict(tenant.spec),
        "created_at": rfc3339(tenant.created_at),
        "updated_at": rfc3339(tenant.updated_at),
    }


def key_json(key: ApiKey, now: int) -> dict[str, Any]:
    """A key without the key."""
    return {
        "key_id": key.key_id,
        "tenant": key.tenant.value,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": rfc3339(key.created_at),
        "created_by": key.created_by,
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "valid": key.is_valid(now),
    }


def version_json(version: Version) -> dict[str, Any]:
    """A version without its manifest."""
    return {
        "tenant": version.tenant.value,
        "model": version.model,
        "version": version.number,
        "bundle_sha256": version.bundle_sha256,
        "size_bytes": version.size_bytes,
        "run_id": version.run_id,
        "created_at": rfc3339(version.created_at),
        "created_by": version.created_by,
        "gates_passed": version.gates_passed,
        "failed_gates": list(version.failed_gates),
    }


def release_json(release: Release) -> dict[str, Any]:
    """A release; weights in percent."""
    stable, canary, shadow = (release.track(role) for role in (Role.STABLE, Role.CANARY, Role.SHADOW))
    return {
        "tenant": release.tenant.value,
        "model": release.model,
        "revision": release.revision,
        "stable": stable.version if stable else None,
        "canary": canary.version if canary else None,
        "canary_weight": _percent(canary.weight_permille) if canary else None,
        "shadow": shadow.version if shadow else None,
        "arms": [
            {"name": track.role.value, "version": track.version, "weight": _percent(track.weight_permille)}
            for track in release.tracks
            if track.role.is_arm
        ],
        "tracks": [_track_json(track) for track in release.tracks],
        "action": release.action,
        "from_revision": release.from_revision or None,
        "reason": release.reason,
        "created_at": rfc3339(release.created_at),
        "created_by": release.created_by,
        "automatic": None if release.automatic is None else automatic_json(release.automatic),
    }


def automatic_json(plan: Automatic) -> dict[str, Any]:
    """How a release goes on by itself; steps in percent."""
    return {
        "steps": [_percent(step) for step in plan.steps],
        "step_seconds": plan.step_seconds,
        "step_answers": plan.step_answers,
        "needs": list(plan.needs),
        "probation_seconds": plan.probation_seconds,
        "probation_until": rfc3339(plan.probation_until) if plan.probation_until else None,
        "version_before": plan.before or None,
    }


def served_json(served: ServedModel) -> dict[str, Any]:
    """What a replica serves of one model."""
    return {
        "model": served.model,
        "revision": served.revision,
        "tracks": [_track_json(track) for track in served.tracks],
        "problem": served.problem or None,
    }


def replica_json(replica: Replica, desired: list[Release]) -> dict[str, Any]:
    """A replica, and whether it serves everything desired that is its concern."""
    meant = [release for release in desired if replica.concerns(release.tenant, release.model)]
    return {
        "replica": replica.name,
        "reported_at": rfc3339(replica.reported_at),
        "settled": all(serves(replica, release) for release in meant),
        "pinned": [
            {"model": model, "version": version}
            for (_, model), versions in replica.pins().items()
            for version in sorted(versions)
        ],
        "models": [served_json(served) for served in replica.models],
    }


def disagreement_json(line: Disagreement) -> dict[str, Any]:
    """One difference between who says what is served."""
    return {"model": line.model, "kind": line.kind.value, "replica": line.replica, "text": line.text}


def change_json(change: ServingChange) -> dict[str, Any]:
    """A line of serving history."""
    return {
        "replica": change.replica,
        "at": rfc3339(change.at),
        "cause": change.cause,
        **served_json(change.served),
    }


def audit_json(entry: AuditEntry) -> dict[str, Any]:
    """A line of the audit log. `at_micros` is what the hash covers; `at` is the same for people."""
    return {
        "seq": entry.seq,
        "at": rfc3339(entry.at),
        "at_micros": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "details": dict(entry.details),
        "previous": entry.previous,
        "hash": entry.hash,
    }


def _track_json(track: Track) -> dict[str, Any]:
    return {
        "role": track.role.value,
        "version": track.version,
        "bundle_sha256": track.bundle_sha256,
        "weight": _percent(track.weight_permille) if track.weight_permille else None,
    }


def _percent(permille: int) -> float | int:
    return permille // 10 if permille % 10 == 0 else permille / 10


def _time(micros: int | None) -> str | None:
    return None if micros is None else rfc3339(micros)
