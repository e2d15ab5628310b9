"""What a canary of a model must show before it is promoted: the section `canary` of a Monitor document."""

from __future__ import annotations

from pydantic import Field

from tenon.core.specs.base import Strict


class CanaryRules(Strict):
    """How a canary is judged against the stable version. Silence is never a pass.

    Smaller margins need more requests: half the margin of a mean needs four times as many.
    """

    wrong_rollbacks: float = Field(
        default=0.05,
        gt=0,
        le=0.5,
        description="Share of canaries no worse than stable that may be rolled back wrongly, however long they run.",
    )
    wrong_passes: float = Field(
        default=0.05, gt=0, le=0.5, description="Share of canaries worse by a margin below that may pass its question."
    )
    worse_errors: float = Field(
        default=0.02,
        gt=0,
        lt=1,
        description="Share of failed requests above stable's that is too much (0.02: two in 100).",
    )
    slow_ms: float = Field(
        default=50, gt=0, le=5000, description="An answer that takes longer, in milliseconds, is slow."
    )
    worse_latency: float = Field(
        default=0.05, gt=0, lt=1, description="Share of slow answers above stable's that is too much."
    )
    worse_quality: float = Field(
        default=0.05, gt=0, le=0.5, description="Loss of quality that is too much: points of AUC (binary), share of the error "
        "(regression)."
    )  # fmt: skip
    shifted_scores: float = Field(
        default=0.3, gt=0, lt=1, description="KS distance between the answers of both that is too much."
    )
