"""The words of train/serve skew: what was compared, what came of it, and what is said of a model."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.monitor.domain.model import Window
    from tenon.core.tenancy import TenantId


Logged = float | str | None
"""A value as the log has it: a number, NaN where missing, or a text, None where missing."""


class SkewResult(enum.StrEnum):
    """What came of comparing one logged row with what the training path gives for it now."""

    SAME = "same"  # every value is the training path's, bit for bit
    SKEW = "skew"  # a value is another, and no data that came in later explains it
    LATE = "late"  # data that came in after the answer explain the difference: the value was right when it was used
    STALE = "stale"  # the answer rested on remembered values, and said so
    MISSING = "missing"  # the answer had to do without its history, and said so
    NO_ENTITY = "no_entity"  # the row does not say whom it is about, so that nothing can be looked up
    UNCHECKED = "unchecked"  # features could not be asked in time, or the definition is gone


COMPARED = (SkewResult.SAME, SkewResult.SKEW, SkewResult.LATE)


class Skew(enum.StrEnum):
    """Whether a model is served the values that it was trained on."""

    SKEW = "skew"
    NO_SKEW = "no_skew"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


@dataclass(frozen=True, slots=True)
class SampledRow:
    """A logged row that waits to be compared. `values` has numbers and texts by column; None is missing."""

    tenant: TenantId
    model: str
    version: int
    at: int
    event_time: int
    level: str
    values: Mapping[str, Logged]


@dataclass(frozen=True, slots=True)
class SkewedFeature:
    """A feature that was served with another value, with one row as the example. NaN and None are missing."""

    feature: str
    version: int
    rows: int
    served: Logged
    trained: Logged
    at: int


@dataclass(frozen=True, slots=True)
class SkewCheck:
    """What one comparison of some rows of a version found."""

    model: str
    version: int
    checked_at: int
    counts: Mapping[SkewResult, int]
    features: tuple[SkewedFeature, ...]


@dataclass(frozen=True, slots=True)
class SkewReport:
    """All comparisons of a window together. `highest_share`: with 95 % confidence at most so many rows are skewed."""

    tenant: str
    model: str
    window: Window
    verdict: Skew
    counts: Mapping[SkewResult, int]
    features: tuple[SkewedFeature, ...]
    highest_share: float
    summary: str


class TrainedValues(Protocol):
    """Values as the training path computes them."""

    def recompute(
        self, tenant: TenantId, digests: Mapping[str, str], views: Sequence[str],
        rows: Sequence[tuple[Mapping[str, str], int]], *, as_of: int | None = None, commits_before: int = 0,
    ) -> Mapping[str, Sequence[Logged]]:  # fmt: skip
        """By feature, one value for each row of (keys, time), with the data of `as_of` (None: all there are), or so many
        commits before. Raises `NotFound` for a view or definition that is gone, `Unavailable`, `DeadlineExceeded`."""
        ...


class SkewChecks(Protocol):
    """Comparisons as they were made."""

    def add(self, tenant: TenantId, check: SkewCheck) -> None:
        """Keep one."""
        ...

    def between(self, tenant: TenantId, model: str, window: Window) -> list[SkewCheck]:
        """Those made in a window, oldest first."""
        ...

    def drop_before(self, moment: int) -> int:
        """Forget what was found before a time; gives how many."""
        ...
