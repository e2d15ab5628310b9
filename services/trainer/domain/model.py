"""The nouns of this service: models as declared, and training runs."""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass, field
from typing import Any

from tenon.core.specs import ModelSpec, spec_digest
from tenon.core.tenancy import TenantId


@dataclass(frozen=True, slots=True)
class Model:
    """A Model document at one revision."""

    tenant: TenantId
    spec: ModelSpec
    revision: int

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name

    @property
    def digest(self) -> str:
        """The sha256 of the document's canonical form."""
        return spec_digest(self.spec)


class RunState(enum.StrEnum):
    """Where a run is in its life: queued → running → succeeded or failed. A lost run goes on being `running`."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows this state."""
        return self in {RunState.SUCCEEDED, RunState.FAILED}


@dataclass(frozen=True, slots=True)
class Run:
    """One training of one revision of a model. All times are microseconds since the epoch."""

    id: str
    tenant: TenantId
    model: str
    model_revision: int
    created_at: int
    idempotency_key: str = ""
    state: RunState = RunState.QUEUED
    progress: float = 0.0
    step: str = "waiting for a worker"
    attempts: int = 0
    reason: str = ""
    problem: str = ""
    hint: str = ""
    version: int = 0
    bundle_sha256: str = ""
    evidence: dict[str, Any] | None = None
    gates: list[dict[str, Any]] = field(default_factory=list)
    started_at: int | None = None
    finished_at: int | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to write to a run. It ends when another worker takes the run up."""

    run_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run that succeeded leaves behind."""

    version: int
    bundle_sha256: str
    evidence: dict[str, Any]
    gates: list[dict[str, Any]]


def new_run_id(now: int) -> str:
    """A fresh id that sorts by time: `run-`, 11 hex digits of milliseconds, 9 random hex digits."""
    return f"run-{now // 1000:011x}{secrets.token_hex(5)[:9]}"
