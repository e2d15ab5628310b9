"""The authenticator of every service but the registry: credentials fetched from there, kept over its absence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.auth import CachedAuthenticator, Credential, TokenReader, platform_credentials
from tenon.kit.grpc_client import open_channel

if TYPE_CHECKING:
    from tenon.kit.config import ServiceSettings


def build_tokens(settings: ServiceSettings) -> TokenReader | None:
    """What reads the issuer's tokens; None where no issuer is trusted."""
    if not settings.jwt_issuer:
        return None
    # Its library costs megabytes that a platform without tokens need not pay.
    from tenon.kit import jwt

    return jwt.build_tokens(settings)


def build_authenticator(settings: ServiceSettings) -> CachedAuthenticator:
    """An authenticator fed by the registry at `settings.registry_grpc`; add its `.background` to the service's."""
    stub = registry_pb2_grpc.CredentialServiceStub(open_channel(settings, settings.registry_grpc))

    def fetch(known_revision: int) -> tuple[int, list[Credential]] | None:
        answer = stub.ListCredentials(registry_pb2.ListCredentialsRequest(known_revision=known_revision), timeout=3)
        if answer.unchanged:
            return None
        return answer.revision, [_credential(item) for item in answer.credentials]

    return CachedAuthenticator(
        fetch,
        snapshot=settings.data_dir / "credentials-snapshot.json",
        platform=platform_credentials(settings.admin_keys, settings.service_tokens),
        tokens=build_tokens(settings),
    )


def _credential(item: registry_pb2.Credential) -> Credential:
    return Credential(
        key_id=item.key_id,
        key_sha256=item.key_sha256,
        tenant=TenantId(item.tenant) if item.tenant else None,
        scopes=frozenset(Scope(scope) for scope in item.scopes),
        expires_at=item.expires_at.ToMicroseconds() / 1e6 if item.HasField("expires_at") else None,
    )
