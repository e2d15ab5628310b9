"""Between messages and values."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from services.registry.domain.automatic import Judged, Trial, Verdict
from services.registry.domain.model import (
    ApiKey,
    Automatic,
    Release,
    Replica,
    Role,
    ServedModel,
    Tenant,
    Track,
    Version,
)
from tenon.api.registry.v1 import registry_pb2
from tenon.core.errors import Forbidden, Invalid, Place
from tenon.core.tenancy import Principal, TenantId
from tenon.kit.grpc import current_principal

_ROLE_TO_WIRE = {
    Role.STABLE: registry_pb2.ROLE_STABLE,
    Role.CANARY: registry_pb2.ROLE_CANARY,
    Role.SHADOW: registry_pb2.ROLE_SHADOW,
}
_ROLE_FROM_WIRE = {wire: role for role, wire in _ROLE_TO_WIRE.items()}


def platform_principal() -> Principal:
    """Who calls, if it is a service or an operator. Raises `Forbidden`."""
    principal = current_principal()
    if not principal.is_platform:
        raise Forbidden("PLATFORM_ONLY", "this is for the platform's own services")
    return principal


def timestamp(micros: int) -> Timestamp:
    """Microseconds since the epoch as a message."""
    message = Timestamp()
    message.FromMicroseconds(micros)
    return message


def credential_message(key: ApiKey) -> registry_pb2.Credential:
    """A key's hash and rights."""
    return registry_pb2.Credential(
        key_id=key.key_id,
        key_sha256=key.key_sha256,
        tenant=key.tenant.value,
        scopes=sorted(key.scopes),
        expires_at=None if key.expires_at is None else timestamp(key.expires_at),
    )


def tenant_message(tenant: Tenant) -> registry_pb2.Tenant:
    """A tenant."""
    return registry_pb2.Tenant(name=tenant.id.value, display_name=tenant.display_name, revision=tenant.revision)


def version_message(version: Version) -> registry_pb2.Version:
    """A version with its manifest."""
    return registry_pb2.Version(
        tenant=version.tenant.value,
        model=version.model,
        version=version.number,
        bundle_sha256=version.bundle_sha256,
        size_bytes=version.size_bytes,
        run_id=version.run_id,
        created_at=timestamp(version.created_at),
        manifest_json=version.manifest_json,
        gates_passed=version.gates_passed,
    )


def release_message(release: Release) -> registry_pb2.Release:
    """A release."""
    return registry_pb2.Release(
        tenant=release.tenant.value,
        model=release.model,
        revision=release.revision,
        tracks=[_track_message(track) for track in release.tracks],
        created_at=timestamp(release.created_at),
        created_by=release.created_by,
        action=release.action,
        from_revision=release.from_revision,
        reason=release.reason,
        automatic=None if release.automatic is None else automatic_message(release.automatic),
    )


def automatic_message(plan: Automatic) -> registry_pb2.Automatic:
    """How a release goes on by itself."""
    return registry_pb2.Automatic(
        steps_permille=plan.steps,
        step_seconds=plan.step_seconds,
        step_answers=plan.step_answers,
        needs=plan.needs,
        probation_seconds=plan.probation_seconds,
        probation_until=timestamp(plan.probation_until) if plan.probation_until else None,
        version_before=plan.before,
    )


def automatic_from_message(message: registry_pb2.Automatic) -> Automatic:
    """The wish of a caller."""
    return Automatic(
        tuple(message.steps_permille),
        message.step_seconds,
        message.step_answers,
        tuple(message.needs),
        message.probation_seconds,
    )


def trial_message(trial: Trial) -> registry_pb2.Trial:
    """What is tried."""
    release = trial.release
    return registry_pb2.Trial(
        tenant=release.tenant.value,
        model=release.model,
        revision=release.revision,
        stable_version=trial.stable,
        candidate_version=trial.candidate,
        role=_ROLE_TO_WIRE[trial.role],
        stages=[
            registry_pb2.TrialStage(
                start=timestamp(stage.start),
                end=None if stage.end is None else timestamp(stage.end),
                weight_permille=stage.weight_permille,
            )
            for stage in trial.stages
        ],
        automatic=None if release.automatic is None else automatic_message(release.automatic),
    )


_VERDICTS: dict[int, Verdict] = {
    registry_pb2.TRIAL_VERDICT_PROMOTE: "promote",
    registry_pb2.TRIAL_VERDICT_HOLD: "hold",
    registry_pb2.TRIAL_VERDICT_ROLL_BACK: "roll_back",
    registry_pb2.TRIAL_VERDICT_NOT_ENOUGH_EVIDENCE: "not_enough_evidence",
}


def judged_from_message(message: registry_pb2.ReportVerdictRequest) -> Judged:
    """What monitor found. Raises `Invalid`."""
    verdict = _VERDICTS.get(message.verdict)
    if verdict is None:
        raise Invalid("VERDICT_INVALID", "a verdict is needed", place=Place(field="verdict"))
    return Judged(
        message.revision,
        message.candidate_version,
        verdict,
        message.summary,
        message.judged_at.ToMicroseconds(),
        message.stage_answers,
    )


def replica_message(replica: Replica) -> registry_pb2.ReplicaServing:
    """A replica's last report."""
    return registry_pb2.ReplicaServing(
        replica=replica.name,
        reported_at=timestamp(replica.reported_at),
        models=[
            registry_pb2.ServedModel(
                tenant=served.tenant.value,
                model=served.model,
                revision=served.revision,
                tracks=[_track_message(track) for track in served.tracks],
                problem=served.problem,
            )
            for served in replica.models
        ],
    )


def served_from_message(message: registry_pb2.ServedModel) -> ServedModel:
    """What a replica says it serves. Raises `Invalid`."""
    return ServedModel(
        TenantId(message.tenant),
        message.model,
        message.revision,
        tuple(_track_from_message(track) for track in message.tracks),
        message.problem[:2000],
    )


def _track_message(track: Track) -> registry_pb2.Track:
    return registry_pb2.Track(
        role=_ROLE_TO_WIRE.get(track.role, registry_pb2.ROLE_ARM),
        arm=track.role if track.role.is_arm else "",
        version=track.version,
        bundle_sha256=track.bundle_sha256,
        weight_permille=track.weight_permille,
    )


def _track_from_message(message: registry_pb2.Track) -> Track:
    role = _ROLE_FROM_WIRE.get(message.role)
    if role is None:
        try:
            role = Role(message.arm)
        except ValueError:
            raise Invalid("ROLE_MISSING", "a track needs a role", place=Place(field="tracks.role")) from None
    return Track(role, message.version, message.bundle_sha256, message.weight_permille)
