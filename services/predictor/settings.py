"""What the predictor reads from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from services.predictor.domain.model import ModelKey
from services.predictor.domain.pins import Pin, check_pins
from tenon.core.errors import Invalid
from tenon.core.roles import Role
from tenon.core.tenancy import TenantId
from tenon.kit.config import ServiceSettings


class PinnedVersion(BaseModel):
    """One of `TENON_PREDICTOR_PINNED`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    version: int = Field(ge=1)
    tenant: str = Field(default="", description="Left out: the only one of TENON_PREDICTOR_TENANTS.")
    role: str = "stable"
    weight: float = Field(default=0, ge=0, le=99.9, description="The share of a canary or arm, percent.")
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$", description="Left out: the registry is asked.")
    bundle: str = Field(
        default="", description="A file, or a folder with MODEL-VERSION.bundle, instead of the registry."
    )


class PredictorSettings(ServiceSettings):
    """Settings of the predictor, beside those of every service."""

    verify_key_file: str = Field(
        default="", description="PEM file of the Ed25519 public key that bundles are verified with."
    )
    predictor_workers: int = Field(
        default=1, ge=1, le=256, description="Processes behind the ports; a parent of their own keeps them running."
    )
    worker: int = Field(default=-1, description="Which of them this is; set by the parent, as the next two.")
    workers_home: Path | None = None
    workers_alive_fd: int = -1
    predictor_tenants: list[str] = Field(
        default_factory=list, description='Only these tenants, as JSON: ["clinic"]; empty: all.'
    )
    predictor_operations_seconds: float = Field(
        default=5.0, gt=0, le=300, description="How often monitor is told what versions answered and how it ended."
    )
    predictor_history_timeout_ms: float = Field(
        default=200, gt=0, le=60_000, description="How long a prediction waits for features."
    )
    predictor_max_rows: int = Field(default=10_000, ge=1, description="Most rows of one request.")
    predictor_max_inflated_mib: int = Field(
        default=64, ge=1, description="Most MiB that a compressed body may unpack to."
    )
    predictor_max_json_mib: int = Field(
        default=8, ge=1, le=64, description="Most MiB of JSON in one request; tensors may be binary behind it."
    )
    predictor_requests_per_second: float | None = Field(
        default=None, gt=0, description="Requests a second of a tenant that declares no quota; empty: no limit."
    )
    predictor_burst: float | None = Field(default=None, ge=1, description="And how many of them may come at once.")
    predictor_rows_per_second: float | None = Field(default=None, gt=0, description="The same of rows.")
    predictor_concurrency: int | None = Field(default=None, ge=1, description="The same of requests that run together.")
    predictor_quota_replicas: int = Field(
        default=1, ge=1, description="Quotas hold for each replica; declared ones are divided by this."
    )
    predictor_spool_max_mib: int = Field(default=1024, ge=1, description="Cap of the prediction spool on disk.")
    predictor_log_held_seconds: float = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="How long Redis must keep running before rows that it took leave the spool: it may lose its last ones.",
    )
    predictor_stream_max_mib: int = Field(
        default=256,
        ge=1,
        description="Cap of what may wait on the stream for its readers; beyond it rows stay in the spool.",
    )
    predictor_inline_rows: int = Field(
        default=256, ge=1, description="Requests with more rows are computed beside the event loop."
    )
    predictor_explain_rows: int = Field(default=256, ge=1, description="Most rows of one request with explain=true.")
    predictor_explain_mib: int = Field(
        default=64, ge=1, description="Memory for explainers; the least recently used go first."
    )
    predictor_shadow_queue: int = Field(
        default=1000, ge=1, description="Shadow evaluations that may wait; more are dropped."
    )
    predictor_grace_seconds: float = Field(
        default=60, ge=0, description="How long a replaced version is kept for a quick rollback."
    )
    predictor_pinned: list[PinnedVersion] = Field(
        default_factory=list,
        description='Serve exactly these versions, and follow no releases, as JSON: [{"model": "cost", "version": 3}].',
    )
    predictor_model_memory_mib: int = Field(
        default=0,
        ge=0,
        description="Memory for models: what does not fit stays on disk until it is asked for; 0: everything is in memory.",
    )
    predictor_always_loaded: list[str] = Field(
        default_factory=list,
        description='Models that never leave memory, as JSON: ["clinic/cost", "airline"] (a tenant: all its models).',
    )
    predictor_cold_wait_ms: float = Field(
        default=5_000, gt=0, le=60_000, description="How long a request waits for a model that is being loaded."
    )
    predictor_last_known_entities: int = Field(
        default=20_000,
        ge=0,
        description="Entities whose history is remembered for models with a `stale` step; the longest unasked go first.",
    )
    predictor_host_suffix: str = Field(
        default="", description="Hosts below it name the tenant: predict.example.org for clinic.predict.example.org."
    )


def pins_of(settings: PredictorSettings) -> list[Pin]:
    """The pinned versions. Raises `Invalid` for what cannot be served together."""
    alone = settings.predictor_tenants[0] if len(settings.predictor_tenants) == 1 else ""
    pins = []
    for item in settings.predictor_pinned:
        tenant = item.tenant or alone
        if not tenant:
            raise Invalid("PINS_INVALID", f"{item.model} has no tenant")
        try:
            role = Role(item.role)
        except ValueError:
            raise Invalid("PINS_INVALID", f"{item.role[:40]!r} is not a role") from None
        weight = round(item.weight * 10)
        pins.append(Pin(ModelKey(TenantId(tenant), item.model), item.version, role, weight, item.sha256, item.bundle))
    check_pins(pins)
    return pins
