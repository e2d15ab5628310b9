"""Between messages and values."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from services.registry.domain.model import ApiKey, Release, Replica, Role, ServedModel, Tenant, Track, Version
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
