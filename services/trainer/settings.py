"""What the trainer reads from the environment."""

from __future__ import annotations

import os

from pydantic import Field

from tenon.kit.config import ServiceSettings


class TrainerSettings(ServiceSettings):
    """Settings of the API and of the worker."""

    signing_key_file: str = Field(default="", description="Ed25519 private key (PEM) that signs bundles; worker only.")
    trainer_threads: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 16),
        ge=1,
        le=256,
        description="Threads one training may use; the model does not depend on it.",
    )
    trainer_concurrency: int = Field(default=1, ge=1, le=64, description="Trainings one worker does at the same time.")
    trainer_sweep_seconds: float = Field(
        default=3.0, gt=0, description="How often the API looks for runs that have no task or no living worker."
    )
    worker_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of the worker's own /metrics (loopback or pod); 0: none."
    )


class WorkerSettings(TrainerSettings):
    """The worker has no doors, so it needs no ports."""

    http_port: int = Field(default=0, ge=0, le=65535, description="Not used by the worker.")
    grpc_port: int = Field(default=0, ge=0, le=65535, description="Not used by the worker.")
