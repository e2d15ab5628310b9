"""The words of a canary's verdict: what is tried, what is known of it, what was found, and what follows."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.model import Role

if TYPE_CHECKING:
    import numpy.typing as npt

    from tenon.core.specs.monitor_canary import CanaryRules
    from tenon.core.tenancy import TenantId

    Floats = npt.NDArray[np.float64]


class Question(enum.StrEnum):
    """What is asked of a candidate, beside the stable version."""

    ERRORS = "errors"
    LATENCY = "latency"
    SCORES = "scores"
    QUALITY = "quality"


ANSWERING = frozenset(Question) - {Question.QUALITY}
"""What is needed of a version that answers, when nobody says otherwise. Quality can always say no; that it must have said
yes is for those to declare whose labels come in time."""


class Finding(enum.StrEnum):
    """The answer to one question."""

    PASSES = "passes"
    WORSE = "worse"
    UNDECIDED = "undecided"
    """There were enough rows, and it is neither: worse by less than counts, or right at the margin."""
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


class CanaryVerdict(enum.StrEnum):
    """What should become of the candidate."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll_back"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


@dataclass(frozen=True, slots=True)
class CanaryPolicy:
    """What counts as worse, and how surely it must be. A wrong rollback, ever, in at most `alpha` of the canaries that are as
    good as the stable version; shared out over the four questions."""

    alpha: float = 0.05
    pass_alpha: float = 0.05
    """How often a question lets a candidate pass that is worse by its margin."""
    error_margin: float = 0.02
    latency_ms: float = 50.0
    slow_margin: float = 0.05
    score_shift: float = 0.3
    quality_margin: float = 0.05
    """Points of the area under the ROC curve (binary), share of the stable version's mean error (regression)."""
    min_class: int = 10
    """Labels of each class that each version must have before areas are compared; numbers: that many labels."""

    @classmethod
    def of(cls, rules: CanaryRules) -> CanaryPolicy:
        """As a tenant declared it."""
        return cls(
            alpha=rules.wrong_rollbacks,
            pass_alpha=rules.wrong_passes,
            error_margin=rules.worse_errors,
            latency_ms=rules.slow_ms,
            slow_margin=rules.worse_latency,
            score_shift=rules.shifted_scores,
            quality_margin=rules.worse_quality,
        )

    def alpha_of(self, question: Question) -> float:
        """The part of `alpha` that is one question's own; quality, which has the fewest rows, gets the most."""
        return self.alpha * (0.4 if question is Question.QUALITY else 0.2)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of time in which the candidate had one share of the requests (0..1). `end` None: it lasts."""

    start: int
    end: int | None
    share: float


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate beside a stable version, as the registry's releases have it."""

    tenant: TenantId
    model: str
    revision: int
    stable: int
    candidate: int
    role: Role
    stages: tuple[Stage, ...]
    needs: frozenset[Question] = ANSWERING
    automatic: bool = False
    probation_until: int = 0
    """The candidate was promoted, and is still looked at until then; 0: it was not."""

    @property
    def key(self) -> tuple[TenantId, str]:
        """Whose it is."""
        return self.tenant, self.model


@dataclass(frozen=True, slots=True)
class Arm:
    """What one version did in one stage. `below`: scores at or below each of the stable version's deciles."""

    answers: int = 0
    errors: int = 0
    slow: int = 0
    timed: int = 0
    scored: int = 0
    below: Floats = field(default_factory=lambda: np.zeros(0))
    label_score: Floats = field(default_factory=lambda: np.zeros(0))
    label_value: Floats = field(default_factory=lambda: np.zeros(0))
    label_of: Floats = field(default_factory=lambda: np.zeros(0))
    """A number of each labelled request, the same for both versions."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Requests that both versions answered: how many, and at each of the stable version's deciles, on how many only the
    candidate's score was not above it (`ups`), and on how many only the stable version's (`downs`)."""

    rows: int
    ups: Floats
    downs: Floats

    @classmethod
    def none(cls, bounds: int) -> Pairs:
        """Before the first request."""
        return cls(0, np.zeros(bounds), np.zeros(bounds))

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(self.rows + other.rows, self.ups + other.ups, self.downs + other.downs)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known of a trial: (stable, candidate) of each stage."""

    stages: tuple[tuple[Arm, Arm], ...]
    task: str = "binary"
    expected_auc: float = 0.8
    """Of the stable version's test, and its share of positives: what says how many labels will be needed while there are none."""
    positives: float = 0.2
    paired: bool = False
    """The labels of both arms are those of the same requests, in the same order: a shadow's."""
    pairs: tuple[Pairs, ...] = ()
    """Of each stage, where they are paired."""

    def total(self, what: str) -> tuple[int, int]:
        """A count over all stages: the stable version's, the candidate's."""
        return (
            sum(int(getattr(stable, what)) for stable, _ in self.stages),
            sum(int(getattr(candidate, what)) for _, candidate in self.stages),
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to one question, with its figures. `needed`: how many more of the candidate's answers (for quality: with
    labels) it will take, None where nothing says."""

    question: Question
    finding: Finding
    text: str
    rows: int
    stable_rows: int
    value: float | None
    stable_value: float | None
    needed: int | None = None
    finds: float | None = None
    """Quality: a loss of this size would have been found by now in 80 of 100 runs."""


@dataclass(frozen=True, slots=True)
class CanaryJudgement:
    """A verdict on a trial."""

    trial: Trial
    verdict: CanaryVerdict
    judged_at: int
    questions: tuple[Judgement, ...]
    answers: int
    """Of the candidate, since the trial began, and of these in the stage that lasts."""
    stage_answers: int
    more_answers: int | None
    more_requests: int | None
    more_seconds: float | None
    summary: str
