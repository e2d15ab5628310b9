"""The words of monitoring: batches of the prediction log, labels, windows, figures and verdicts."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tenon.core.roles import Role as Role  # noqa: PLC0414 - one of the nouns of this module, as before

if TYPE_CHECKING:
    import numpy.typing as npt

    from tenon.core.tenancy import TenantId

SCORE = "score"
"""How the model's own answers are called among the columns of a report."""


class Drift(enum.StrEnum):
    """Whether what comes in differs from what the version was trained on."""

    DRIFT = "drift"
    SEASONAL = "seasonal"  # of a column: not as in training, but as in the same season or on the same weekdays before
    NO_DRIFT = "no_drift"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


class Quality(enum.StrEnum):
    """Whether the answers were as good as on the version's time-split test."""

    WORSE = "worse"
    AS_EXPECTED = "as_expected"
    BETTER = "better"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """Numbers (and booleans as 0 and 1); NaN is missing."""

    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Text as codes into `levels`; -1 is missing."""

    codes: npt.NDArray[np.int32]
    levels: tuple[str, ...]


Column = NumericColumn | TextColumn


@dataclass(frozen=True, slots=True)
class PredictionBatch:
    """Rows that one replica answered with one version, column by column. Times are microseconds since the epoch."""

    batch_id: str
    replica: str
    tenant: TenantId
    model: str
    version: int
    role: Role
    protocol: str
    prediction_ids: tuple[str, ...]
    request_ids: tuple[str, ...]
    at: npt.NDArray[np.int64]
    event_time: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    columns: dict[str, Column]
    level: str = ""
    """What the answers rest on (see `tenon.core.levels`); empty: no history had to be looked up."""

    def __len__(self) -> int:
        return len(self.prediction_ids)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of the log without their ids: what the statistics need. A column holds the rows in which it was known, which
    may be fewer than there are scores."""

    score: npt.NDArray[np.float64]
    columns: dict[str, Column]


@dataclass(frozen=True, slots=True)
class Label:
    """The true value for a prediction, and when it became known."""

    prediction_id: str
    value: float
    known_at: int


@dataclass(frozen=True, slots=True)
class Window:
    """Rows with `start` <= time < `end`, by the time of the answer (`at`) or of the event."""

    start: int
    end: int
    by: Literal["at", "event_time"] = "at"


@dataclass(frozen=True, slots=True)
class Series:
    """Everything one version answered in one role, since the log began."""

    model: str
    version: int
    role: Role
    predictions: int
    first_at: int
    last_at: int
    first_event: int | None = None
    last_event: int | None = None
    """Between which times of events; None: only programs that did not note it have taken rows."""


@dataclass(frozen=True, slots=True)
class SeenModel:
    """A model that monitor has predictions or labels of."""

    model: str
    series: tuple[Series, ...]
    labels: int

    @property
    def predictions(self) -> int:
        """Rows of all versions and roles."""
        return sum(one.predictions for one in self.series)

    @property
    def last_at(self) -> int | None:
        """When the last of them was answered."""
        return max((one.last_at for one in self.series), default=None)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The labelled predictions of one version in a window, as known at a time."""

    score: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]
    delay: npt.NDArray[np.int64]
    moment: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """When each was answered, or happened: the time that the window is by."""
    label: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Which of the labels: a shadow's rows have the same numbers as those it was asked beside."""

    def take(self, chosen: npt.NDArray[Any]) -> LabelledRows:
        """Some of them."""
        label = self.label[chosen] if len(self.label) else self.label
        return LabelledRows(self.score[chosen], self.value[chosen], self.delay[chosen], self.moment[chosen], label)

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True, slots=True)
class Histogram:
    """A column in a numbered set of bins or levels: what a report draws."""

    labels: tuple[str, ...]
    baseline: tuple[float, ...]
    window: tuple[float, ...]


Change = Literal["none", "higher", "lower", "spread", "levels", "missing", "unseen"]
"""What of a column changed most: its place, its spread, its levels' shares, its missing or its unseen values."""


Against = Literal["year", "weeks"]
"""Which past a window is compared with beside training: the same season a year before, or the same weekdays of the weeks before."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One column against a window of the past. `rows` are those of the past."""

    against: Against
    differs: bool
    effect: float
    p_value: float
    """Adjusted over the report's columns."""
    rows: int
    explains: bool
    """Whether this past could show that the difference from training comes again and again, and so has a say in the verdict."""
    text: str


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """One column against training. `statistic`, `effect` and `psi` say how much, `p_value` (adjusted) how surely."""

    column: str
    verdict: Drift
    test: Literal["ks", "chi2", "none"]
    statistic: float
    p_value: float
    effect: float
    psi: float
    rows: int
    baseline_rows: int
    missing_ratio: float
    baseline_missing_ratio: float
    unseen_ratio: float
    smallest_effect: float
    summary: str
    histogram: Histogram | None = field(default=None, compare=False)
    raw_p_value: float = 1.0
    """Before it is adjusted for the report's other columns: for those who judge many reports together. The largest of those
    against training and against each past that has a say."""
    severity: float = 0.0
    """The largest effect, in units of the floor from which it matters."""
    change: Change = "none"
    jensen_shannon: float = 0.0
    """Distance from 0 to 1, less its noise floor."""
    wasserstein: float | None = None
    """Numbers: how far values moved on average, in units of the middle half's width in training."""
    median_ratio: float | None = None
    """Numbers: the window's median over training's."""
    compared: tuple[Compared, ...] = ()
    """The same column against windows of the past."""

    @property
    def moved(self) -> float:
        """About which share of the rows lies elsewhere than in training (0 to 1): by values, by missing, or by unseen ones."""
        return max(self.effect, abs(self.missing_ratio - self.baseline_missing_ratio), self.unseen_ratio)


@dataclass(frozen=True, slots=True)
class QualityFigure:
    """One metric of one version on its matured labels, beside the figure of its time-split test."""

    metric: str
    version: int
    rows: int
    value: float
    low: float
    high: float
    expected: float
    verdict: Quality


@dataclass(frozen=True, slots=True)
class VersionReport:
    """One version in one role inside the window. The delay is from the event to the day its label was known, in seconds."""

    version: int
    role: Role
    predictions: int
    labels: int
    label_delay_median_seconds: float | None
    label_delay_p90_seconds: float | None
    quality: Quality
    summary: str


@dataclass(frozen=True, slots=True)
class Report:
    """What monitor thinks of a tenant's model in a window."""

    tenant: str
    model: str
    window: Window
    known_at: int | None
    predictions: int
    labels: int
    drift_version: int
    drift: Drift
    columns: tuple[ColumnReport, ...]
    quality: Quality
    figures: tuple[QualityFigure, ...]
    versions: tuple[VersionReport, ...]
    summary: str
    levels: tuple[tuple[str, int], ...] = ()
    """Answers for which history had to be looked up, by what they rest on, the best first."""

    @property
    def label_coverage(self) -> float:
        """Share of the window's predictions whose label is known."""
        return self.labels / self.predictions if self.predictions else 0.0

    @property
    def worst_column(self) -> ColumnReport | None:
        """The column that drifts most, None when none does."""
        return next((column for column in self.columns if column.verdict is Drift.DRIFT), None)


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """A verdict as it was given at a moment: history is kept."""

    model: str
    judged_at: int
    window_start: int
    window_end: int
    version: int
    drift: Drift
    quality: Quality
    predictions: int
    labels: int
    drifted_columns: tuple[str, ...]
    summary: str
