"""The words of quality in depth: estimates before labels, calibration, changed errors, slices, and what answers were worth."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from services.monitor.domain.model import Quality, Window


class Basis(enum.StrEnum):
    """What an estimate rests on."""

    LABELS = "labels"  # a model of the errors (or of the calibration), fitted on labels that were known before
    PROBABILITIES = "probabilities"  # the model's own probabilities, taken as they are
    INTERVAL = "interval"  # the regression's interval, as its test gave it


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of a window as it is estimated before labels come, beside what came true by now.

    `low` and `high`: where the figure would lie in 95 of 100 windows like this one, if the concept has not changed.
    `realised` is on the labels that are known, None without any.
    """

    metric: str
    version: int
    rows: int
    value: float
    low: float
    high: float
    expected: float | None
    basis: Basis
    basis_rows: int
    verdict: Quality
    realised: float | None = None
    realised_low: float | None = None
    realised_high: float | None = None
    realised_rows: int = 0


class Calibrated(enum.StrEnum):
    """Whether the answers mean what they say."""

    CALIBRATED = "calibrated"
    TOO_HIGH = "too_high"
    TOO_LOW = "too_low"
    MISCALIBRATED = "miscalibrated"  # too high here and too low there
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Answers of about one size: their mean, and the mean of what was true with its 95 % interval."""

    rows: int
    answer: float
    truth: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A version's answers against matured labels.

    `error`: mean distance of answers from truths over the bins (binary: ECE); `noise`: what perfectly calibrated answers
    would show with so many rows. `in_the_large`: mean answer less mean truth. `slope`, `intercept`: of the logistic (binary)
    or straight (regression) line of truths on answers: 1 and 0 if calibrated. `coverage`: share of truths inside the
    answers' intervals (regression), beside the `nominal` one.
    """

    version: int
    rows: int
    verdict: Calibrated
    bins: tuple[CalibrationBin, ...]
    error: float
    noise: float
    in_the_large: float
    in_the_large_low: float
    in_the_large_high: float
    slope: float
    intercept: float
    coverage: float | None
    nominal: float | None
    summary: str


class Concept(enum.StrEnum):
    """Whether the errors are as they were: the same inputs may mean something else now."""

    WORSE = "worse"
    BETTER = "better"
    UNCHANGED = "unchanged"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


@dataclass(frozen=True, slots=True)
class ErrorChange:
    """The mean error changed: found when the label of `known_at` came in; the older errors were then left out."""

    known_at: int
    before: float
    after: float
    before_rows: int
    after_rows: int


@dataclass(frozen=True, slots=True)
class ConceptDrift:
    """A version's errors in the order in which they became known. `error` is what was followed."""

    version: int
    rows: int
    error: str
    verdict: Concept
    changes: tuple[ErrorChange, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class SliceReport:
    """One level of a declared column, against all other rows of the version in the window.

    `loss` is the mean error (binary: squared difference of probability and truth; regression: absolute) here, `rest` elsewhere;
    `p_value` of their difference after Benjamini-Hochberg over all slices. `share` of the window's rows, and of training's.
    `drifted`: columns that differ in this slice from the window before.
    """

    column: str
    level: str
    version: int
    rows: int
    labels: int
    share: float
    baseline_share: float | None
    metric: str
    value: float | None
    low: float | None
    high: float | None
    loss: float | None
    rest: float | None
    p_value: float
    verdict: Quality
    drifted: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of rows whose label is known."""
        return self.labels / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Worth:
    """What a version's labelled answers were worth, in the declared unit.

    `without` is what the best constant answer would have been worth on the same rows (binary only).
    """

    version: int
    unit: str
    rows: int
    total: float
    low: float
    high: float
    per_answer: float
    threshold: float | None
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    without: float | None
    without_answer: Literal["yes", "no", ""]
    summary: str


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Quality of a model in a window, in depth. `examined` of `rows` were looked at: every n-th of very many."""

    tenant: str
    model: str
    window: Window
    known_at: int | None
    rows: int
    examined: int
    estimates: tuple[Estimate, ...]
    calibration: tuple[Calibration, ...]
    concept: tuple[ConceptDrift, ...]
    slices: tuple[SliceReport, ...]
    worth: tuple[Worth, ...]
    notes: tuple[str, ...] = field(default=())
