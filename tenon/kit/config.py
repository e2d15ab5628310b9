"""Settings from the environment: one base for all services, one clear line when something is wrong."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

JWT_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Every algorithm that can be allowed: none that is symmetric, none that signs nothing."""


MAY_BE_A_FILE = "may be given as a file"


class Settings(BaseSettings):
    """What is read from the environment; each variable is the field's name in upper case after `TENON_`.

    A secret may stand in a file instead, which is named by the same variable with `_FILE` after it.
    """

    model_config = SettingsConfigDict(env_prefix="TENON_", extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library names them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """See `BaseSettings`."""
        return init_settings, SecretFiles(settings_cls), env_settings

    def need(self, *fields: str) -> None:
        """Refuse to start without the settings this service cannot do without, or with a file that is not there; raises
        `SettingsError`."""
        ca_file = getattr(self, "tls_ca_file", "")
        if ca_file and not os.access(ca_file, os.R_OK):
            raise SettingsError(f"TENON_TLS_CA_FILE: {ca_file} cannot be read")
        missing = [f"TENON_{field.upper()}" for field in fields if not getattr(self, field)]
        if missing:
            raise SettingsError(f"{', '.join(missing)} must be set")


def secret(description: str) -> Any:
    """A setting that nobody may see, and that may be given as a file."""
    return Field(default="", repr=False, description=description, json_schema_extra={MAY_BE_A_FILE: True})


class SecretFiles(PydanticBaseSettingsSource):
    """Reads `TENON_X_FILE` for every secret `TENON_X`: what an orchestrator mounts need not be in the environment, which
    children inherit and error reports print."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """See `PydanticBaseSettingsSource`. Raises `SettingsError`."""
        variable = f"TENON_{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE", "")
        extra = field.json_schema_extra
        if not path or not isinstance(extra, dict) or MAY_BE_A_FILE not in extra:
            return None, field_name, False
        if os.environ.get(variable):
            raise SettingsError(f"{variable} and {variable}_FILE are both set; keep one of them")
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as err:
            why = err.strerror if isinstance(err, OSError) else "it is not text"
            raise SettingsError(f"{variable}_FILE: {path} cannot be read: {why}") from err
        if not text:
            raise SettingsError(f"{variable}_FILE: {path} is empty")
        return text, field_name, False

    def __call__(self) -> dict[str, Any]:
        """What was found."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class DatabaseSettings(Settings):
    """What it takes to reach a service's database, and all that the command `migrate` reads."""

    database_url: str = secret("sqlite:////abs/path or postgresql+psycopg://…")
    database_wait_seconds: float = Field(
        default=30.0, ge=0, description="How long the start waits for a database server that does not answer yet."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

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
    redis_url: str = secret("redis://… ; empty where the service needs none.")
    blob_url: str = Field(default="", description="file:///abs/path or s3://bucket/prefix")
    registry_grpc: str = Field(default="", description="host:port of the registry's gRPC door.")
    ingest_grpc: str = Field(default="", description="host:port of ingest's.")
    features_grpc: str = Field(default="", description="host:port of the features service's.")
    monitor_grpc: str = Field(default="", description="host:port of monitor's.")
    trainer_grpc: str = Field(default="", description="host:port of the trainer's.")
    service_token: str = secret(
        "What the services show each other; several while it is changed: the first is shown, all are accepted."
    )
    admin_key: str = secret("The operator's key, which every service accepts; several while it is changed.")
    otlp_endpoint: str = Field(default="", description="OTLP gRPC endpoint for traces; empty: tracing exports nothing.")
    tls_cert_file: str = Field(default="", description="PEM certificate of the doors; empty: plaintext.")
    tls_key_file: str = Field(default="", description="PEM private key of that certificate.")
    tls_ca_file: str = Field(
        default="",
        description="PEM bundle to verify the other services' doors with; empty: they are asked in plaintext.",
    )
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
    drain_seconds: float = Field(
        default=0.0, ge=0, description="After SIGTERM: not ready, but answering, until nobody sends anything any more."
    )
    finish_seconds: float = Field(default=5.0, ge=0, description="Then: how long running requests may take to finish.")

    @property
    def service_tokens(self) -> tuple[str, ...]:
        """All that are accepted from other services; the first is shown to them."""
        return keys_of(self.service_token)

    @property
    def admin_keys(self) -> tuple[str, ...]:
        """All that the operator may show."""
        return keys_of(self.admin_key)

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
    def _check_tls(self) -> Self:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("TENON_TLS_CERT_FILE and TENON_TLS_KEY_FILE need each other")
        return self

    @model_validator(mode="after")
    def _check_jwt(self) -> Self:
        if self.jwt_issuer and not (self.jwt_audience and self.jwt_jwks):
            raise ValueError("TENON_JWT_ISSUER needs TENON_JWT_AUDIENCE and TENON_JWT_JWKS beside it")
        return self


class SettingsError(Exception):
    """A setting is missing or wrong; the text names the variable."""


def keys_of(text: str) -> tuple[str, ...]:
    """The keys in a secret that may hold several, separated by spaces, lines or commas."""
    return tuple(key for key in re.split(r"[\s,]+", text) if key)


def _checked_url(value: str) -> str:
    if value and not (urlsplit(value).scheme and "://" in value):
        # Not repeated: it may hold a password.
        raise ValueError("this is not a URL; it needs a scheme such as redis://, sqlite:/// or file:///")
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
