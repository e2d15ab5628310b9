"""What a canary of a model must show before it is promoted: the section `canary` of a Monitor document."""

from __future__ import annotations

from pydantic import Field

from tenon.core.specs.base import Strict
from tenon.core.specs.feature_view import Duration


class CanaryRules(Strict):
    """How a canary is judged against the stable version. Silence is never a pass."""

    horizon: Duration = Field(default="14d", description="How long evidence is gathered at most; then it is a hold.")
    wrong_rollbacks: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="Share of canaries no worse than stable that may be rolled back wrongly.",
    )
    worse_errors: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="Share of failed requests above stable's that is too much (0.01: one in 100).",
    )
    worse_latency: float = Field(
        default=1.5, gt=1, le=100, description="Times stable's latency (the 95th percentile) that is too slow."
    )
    worse_quality: float = Field(
        default=0.05, gt=0, le=1, description="Loss of quality that is too much: points of AUC (binary), share of the error "
        "(regression)."
    )  # fmt: skip
    shifted_scores: float = Field(
        default=0.2, gt=0, le=1, description="KS distance between the answers of both from which a person must look."
    )
