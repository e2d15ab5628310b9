"""Settings from the environment: one base for all services, one clear line when something is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

JWT_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Every algorithm that can be allowed: none that is symmetric, none that signs nothing."""


class Settings(BaseSettings):
    """What is read from the environment; each variable is the field's name in upper case after `TENON_`."""

    model_config = SettingsConfigDict(env_prefix="TENON_", extra="ignore", frozen=True)

    def need(self, *fields: str) -> None:
        """Refuse to start without the settings this service cannot do without; raises `SettingsError`."""
        missing = [f"TENON_{field.upper()}" for field in fields if not getattr(self, field)]
        if missing:
            raise SettingsError(f"{', '.join(missing)} must be set")


class DatabaseSettings(Settings):
    """What it takes to reach a service's database, and all that the command `migrate` reads."""

    database_url: str = Field(default="", description="sqlite:////abs/path or postgresql+psycopg://…")
    database_wait_seconds: float = Field(
        default=30.0, ge=0, description="How long the start waits for a database server that does not answer yet."
    )
    log_level: str = "INFO"

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        return _checked_url(value)


class ServiceSettings(DatabaseSettings):
    """What every service reads."""

    http_host: str = Field(default="127.0.0.1", description="Address of the HTTP door; loopback unless told otherwise.")
    http_port: int = Field(description="Port of the HTTP door.", ge=0, le=65535)
    grpc_host: str = Field(default="127.0.0.1", description="Address of the gRPC door.")
    grpc_port: int = Field(description="Port of the gRPC door.", ge=0, le=65535)
    grpc_workers: int = Field(default=16, ge=1, le=1024, description="Threads of the gRPC door.")
    grpc_max_message_mib: int = Field(default=64, ge=4, le=1024, description="Largest gRPC message, MiB.")
    max_body_mib: int = Field(default=16, ge=1, description="Largest HTTP body of ordinary calls, MiB.")
    http_head_seconds: float = Field(default=10, gt=0, description="A request's head must arrive within this.")
    http_body_seconds: float = Field(
        default=20, gt=0, description="A body must arrive within this, and a second more for each 16 KiB of it."
    )
    http_idle_seconds: float = Field(
        default=75, gt=0, description="A connection without a request is closed after this."
    )
    http_unread_seconds: float = Field(
        default=20, gt=0, description="A client that takes nothing of its answer for this long is cut off."
    )
    http_connections: int = Field(
        default=10_000,
        ge=16,
        description="Open connections of the HTTP door; above, idle ones are closed for new ones.",
    )
    data_dir: Path = Field(description="Private folder of this process: spool, caches, snapshots.")
    redis_url: str = Field(default="", description="redis://… ; empty where the service needs none.")
    blob_url: str = Field(default="", description="file:///abs/path or s3://bucket/prefix")
    registry_grpc: str = Field(default="", description="host:port of the registry's gRPC door.")
    ingest_grpc: str = ""
    features_grpc: str = ""
    trainer_grpc: str = ""
    service_token: str = Field(default="", repr=False, description="What the services show each other.")
    admin_key: str = Field(default="", repr=False, description="The operator's key; every service accepts it.")
    otlp_endpoint: str = Field(default="", description="OTLP gRPC endpoint for traces; empty: tracing exports nothing.")
    tls_cert_file: str = Field(default="", description="PEM certificate of the doors; empty: plaintext.")
    tls_key_file: str = ""
    tls_ca_file: str = Field(default="", description="PEM bundle to verify the other services with.")
    jwt_issuer: str = Field(
        default="", description="Issuer (`iss`) whose tokens are taken beside API keys; empty: none are."
    )
    jwt_audience: str = Field(default="", description="What `aud` must name.")
    jwt_jwks: str = Field(default="", description="The issuer's public keys: https://… or file:///abs/path (JWKS).")
    jwt_ca_file: str = Field(
        default="", description="PEM bundle to verify the issuer's address with; empty: the system's."
    )
    jwt_algorithms: list[str] = Field(
        default=["RS256", "ES256", "EdDSA"], min_length=1, description="Allowed, as JSON."
    )
    jwt_tenant_claim: str = Field(default="tenant", description="Claim, or path with dots, that names the tenant.")
    jwt_scopes_claim: str = Field(default="scope", description="Claim with the scopes: text with spaces, or a list.")
    jwt_scope_prefix: str = Field(default="", description="What stands before predict, read, write in that claim.")
    jwt_leeway_seconds: float = Field(default=30, ge=0, le=300, description="How far clocks may be apart.")
    jwt_refresh_seconds: float = Field(default=300, ge=1, description="How often the issuer's keys are fetched.")
    migrate_at_start: bool = Field(
        default=True, description="Bring the database's tables up to date at the start; false: somebody else does."
    )
    instance: str = Field(default="", description="Named by /readyz, so that who started the process knows it again.")
    drain_seconds: float = Field(default=5.0, ge=0, description="How long running requests may finish after SIGTERM.")

    @field_validator("redis_url", "blob_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return _checked_url(value)

    @field_validator("jwt_algorithms")
    @classmethod
    def _check_algorithms(cls, value: list[str]) -> list[str]:
        for algorithm in value:
            if algorithm not in JWT_ALGORITHMS:
                raise ValueError(f"{algorithm!r} cannot be allowed; choose from {', '.join(JWT_ALGORITHMS)}")
        return value

    @field_validator("jwt_jwks")
    @classmethod
    def _check_jwks(cls, value: str) -> str:
        parts = urlsplit(value)
        # Who can change the keys on their way can make any token.
        safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
        )
        if value and not (safe or (parts.scheme == "file" and parts.path)):
            raise ValueError(f"{value!r} must be https://… or file:///abs/path; http:// only to this machine itself")
        return value

    @model_validator(mode="after")
    def _check_jwt(self) -> Self:
        if self.jwt_issuer and not (self.jwt_audience and self.jwt_jwks):
            raise ValueError("TENON_JWT_ISSUER needs TENON_JWT_AUDIENCE and TENON_JWT_JWKS beside it")
        return self


class SettingsError(Exception):
    """A setting is missing or wrong; the text names the variable."""


def _checked_url(value: str) -> str:
    if value and not urlsplit(value).scheme:
        raise ValueError(f"{value!r} is not a URL; it needs a scheme such as redis://, sqlite:/// or file:///")
    return value


S = TypeVar("S", bound=Settings)


def load_settings(cls: type[S], *needed: str) -> S:
    """Read the settings, or end the process with one clear line and exit code 2."""
    try:
        settings = cls()
        settings.need(*needed)
    except ValidationError as err:
        for error in err.errors():
            name = "TENON_" + "_".join(str(part) for part in error["loc"]).upper() + ": " if error["loc"] else ""
            sys.stderr.write(f"error: {name}{error['msg'].removeprefix('Value error, ')}\n")
        sys.exit(2)
    except SettingsError as err:
        sys.stderr.write(f"error: {err}\n")
        sys.exit(2)
    return settings
