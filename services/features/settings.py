"""The environment, read once by main."""

from __future__ import annotations

from pydantic import Field, field_validator

from tenon.core.errors import Invalid
from tenon.core.timestamps import parse_duration
from tenon.kit.config import ServiceSettings


class FeaturesSettings(ServiceSettings):
    """What the features service reads beside the common settings."""

    features_online_slack: str = Field(
        default="90d",
        description="How far behind the newest event online values can still be asked for.",
    )
    features_keep_definitions: str = Field(
        default="7d",
        description="How long an older definition is kept online after a model last asked for it.",
    )
    features_reconcile_seconds: float = Field(
        default=15.0, gt=0, description="How often every view is compared with the lake, beside the events."
    )
    features_parallel_training_sets: int = Field(default=1, ge=1, description="Training sets built at the same time.")
    features_training_set_mib: int = Field(
        default=2048,
        ge=64,
        description="About how much memory a training set may take; a larger one is made through files.",
    )
    features_redis_timeout_seconds: float = Field(
        default=0.5, gt=0, description="How long a lookup waits for Redis before it answers UNAVAILABLE."
    )

    features_pushed_rows: int = Field(
        default=100_000, ge=1, description="How many pushed rows of one data set may wait for their commit."
    )
    features_keep_pushed: str = Field(
        default="3d", description="How long a pushed row waits for its commit before it is forgotten."
    )

    @field_validator("features_online_slack", "features_keep_definitions", "features_keep_pushed")
    @classmethod
    def _check_slack(cls, value: str) -> str:
        try:
            parse_duration(value)
        except Invalid as err:
            raise ValueError(f"{err.message}; {err.hint}") from None
        return value
