"""The registry's environment; the only place that reads it."""

from __future__ import annotations

from pydantic import Field

from tenon.kit.config import ServiceSettings


class RegistrySettings(ServiceSettings):
    """What the registry reads besides what every service reads."""

    verify_key_file: str = Field(default="", description="Ed25519 public key (PEM) that bundles are verified with.")
    max_bundle_mib: int = Field(default=256, ge=1, le=1024, description="Largest bundle, MiB.")
    max_watchers: int = Field(
        default=200,
        ge=1,
        le=4096,
        description="Release watches at once; each has a gRPC thread of its own on top of TENON_GRPC_WORKERS.",
    )
    watch_poll_seconds: float = Field(
        default=0.25, gt=0, le=5, description="How often releases of other registry processes are looked for."
    )
    compare_seconds: float = Field(
        default=10.0, gt=0, le=300, description="How often releases are compared with what all replicas report."
    )


NEEDED = ("database_url", "blob_url", "verify_key_file", "service_token", "admin_key")
