"""When a model should be trained anew, why, and whether that would help."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from services.monitor.domain.model import Drift, Quality, Role
from services.monitor.domain.quality.measure import judge_quality, plain
from tenon.core.specs.model import METRICS, Task
from tenon.core.specs.monitor import Retrain, RetrainReason
from tenon.core.timestamps import parse_duration, parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.monitor.domain.model import LabelledRows, QualityFigure, VerdictRecord
    from services.monitor.domain.quality.measure import QualityPolicy
    from tenon.core.manifest import Evidence, Manifest
    from tenon.core.tenancy import TenantId

QUALITY_HELD = 7
"""A version must be worse for a seventh of the evaluator's window (a day of a week): one look of many may be wrong by chance."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One reason to train anew, in words."""

    reason: RetrainReason
    text: str


class State(enum.StrEnum):
    """What became of a request."""

    ASKED = "asked"  # waits for a person to start it or to dismiss it
    STARTED = "started"  # the trainer is at it
    BETTER = "better"  # there is a new version, and it is ahead of the old one on the same period
    NOT_BETTER = "not_better"  # there is a new version, and it is not ahead
    UNCLEAR = "unclear"  # there is a new version, and too little is known to compare them
    FAILED = "failed"  # the training failed
    DISMISSED = "dismissed"  # a person said no

    @property
    def is_open(self) -> bool:
        """Whether something is still to happen."""
        return self in (State.ASKED, State.STARTED)


@dataclass(frozen=True, slots=True)
class Request:
    """That a model should be trained anew. Times are microseconds since the epoch."""

    id: str
    tenant: TenantId
    model: str
    version: int
    asked_at: int
    signs: tuple[Sign, ...]
    state: State = State.ASKED
    run_id: str = ""
    new_version: int = 0
    note: str = ""
    """What the backtest found, or why there is none."""
    changed_at: int = 0
    changed_by: str = ""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A run of the trainer. `evidence` is there when it succeeded."""

    finished: bool
    version: int = 0
    evidence: Evidence | None = None
    problem: str = ""


class Requests(Protocol):
    """Where requests are kept."""

    def add(self, tenant: TenantId, request: Request) -> bool:
        """Keep a new one; False when one of its id is kept (another replica was faster)."""
        ...

    def get(self, tenant: TenantId, request_id: str) -> Request | None:
        """One by its id."""
        ...

    def known(self, tenant: TenantId, model: str, limit: int) -> list[Request]:
        """Newest first; of all models when `model` is empty."""
        ...

    def started(self) -> list[Request]:
        """Of all tenants, those whose training goes on (the background loop only)."""
        ...

    def change(self, tenant: TenantId, request: Request, *, was: State) -> bool:
        """Keep what became of it; False when it was no longer in the state `was`."""
        ...


class Trainings(Protocol):
    """The trainer."""

    def learns_nothing_new(self, tenant: TenantId, model: str) -> str:
        """Why a training of today would learn from the same rows as before; empty when it would not."""
        ...

    def start(self, tenant: TenantId, model: str, key: str) -> str:
        """Start a run, once for each key, however often it is asked; gives the run's id."""
        ...

    def run(self, tenant: TenantId, run_id: str) -> TrainingRun:
        """How a run stands."""
        ...


def reasons_to_retrain(
    policy: Retrain, records: Sequence[VerdictRecord], trained_to: int | None, *,
    now: int, window: int, more: Sequence[Sign] = (),
) -> tuple[Sign, ...]:  # fmt: skip
    """The declared reasons that hold now. `records` are verdicts, newest first; `more` what others found (estimated quality,
    concept drift)."""
    signs = [sign for sign in more if sign.reason in policy.reasons]
    wanted = set(policy.reasons)
    if RetrainReason.QUALITY in wanted and _held(records, _worse, since=now - window // QUALITY_HELD):
        signs.append(Sign(RetrainReason.QUALITY, records[0].summary))
    if RetrainReason.DRIFT in wanted and _held(records, _drifting, since=now - window):
        signs.append(Sign(RetrainReason.DRIFT, _drift_text(records[0].drifted_columns)))
    longest = None if policy.max_age is None else parse_duration(policy.max_age)
    if longest is not None and trained_to is not None and now - trained_to > longest:
        days = (now - trained_to) // 86_400_000_000
        signs.append(Sign(RetrainReason.AGE, f"the newest row it learnt from is {days:,} days old"))
    return tuple(signs)


def _worse(record: VerdictRecord) -> bool:
    return record.quality is Quality.WORSE


def _drifting(record: VerdictRecord) -> bool:
    return record.drift is Drift.DRIFT


def _drift_text(columns: Sequence[str]) -> str:
    rest = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    return f"not as in training for a whole window: {', '.join(columns[:5])}{rest}"


def _held(records: Sequence[VerdictRecord], bad: Callable[[VerdictRecord], bool], *, since: int) -> bool:
    """Whether every verdict from `since` on, and the one that held then, is bad; verdicts on other versions say nothing."""
    for record in records:
        if record.version != records[0].version or not bad(record):
            return False
        if record.judged_at <= since:
            return True
    return False


def cooling(policy: Retrain, newest: Request | None, now: int) -> bool:
    """Whether it is too early for another request."""
    if newest is None:
        return False
    return newest.state.is_open or now - newest.asked_at < parse_duration(policy.cool_down)


def backtest(
    live: Manifest, version: int, labelled: Mapping[tuple[int, Role], LabelledRows], found: Evidence, policy: QualityPolicy
) -> tuple[State, str]:  # fmt: skip
    """Whether having the new version would have helped: its figures on the period it was tested on and had not learnt from,
    beside those of the old version's answers to events of that very period.

    It would have, if the old one is surely worse, or if the new one is ahead on every metric: they were asked about the same events, so
    that chance favours neither, and what is released still has to pass its canary. Behind on one: it would not.
    """
    parts = [rows for (number, role), rows in sorted(labelled.items()) if number == version and role is not Role.SHADOW]
    score = np.concatenate([np.empty(0), *(rows.score for rows in parts)])
    value = np.concatenate([np.empty(0), *(rows.value for rows in parts)])
    verdict, figures, text = judge_quality(live.task, version, score, value, found.model, policy)
    period = f"events from {found.test_from[:10]} to {found.test_to[:10]}"
    if verdict is Quality.NOT_ENOUGH_EVIDENCE or not figures:
        return State.UNCLEAR, f"{period}: {text}"
    more_is_better = METRICS[Task(live.task)]
    ahead = all((one.expected > one.value) == more_is_better[one.metric] for one in figures)
    shown = figures[0]
    told = (
        f"{period}: {shown.metric} {plain(shown.value)} of version {version} (95 % interval {plain(shown.low)} to "
        f"{plain(shown.high)}, n = {shown.rows:,}), {plain(shown.expected)} of the new one (n = {found.model.rows:,})"
    )
    told = f"{told}; {_gain(shown, found, more=more_is_better[shown.metric])}"
    if verdict is Quality.WORSE:
        return State.BETTER, f"{told}; the old one is surely worse"
    if ahead:
        return State.BETTER, f"{told}; the new one is ahead on every metric, though not beyond chance"
    return State.NOT_BETTER, f"{told}; the new one is not ahead on every metric"


def _gain(shown: QualityFigure, found: Evidence, *, more: bool) -> str:
    """By how much the new version would have been better, with an interval.

    Both were asked about the same events, of which only their figures are known here: as if of different events, the interval is
    rather too wide than too narrow.
    """
    gain = (shown.expected - shown.value) * (1 if more else -1)
    ends = found.model.intervals.get(shown.metric)
    half = (shown.high - shown.low) / 2
    # Without an interval of its own it is taken to be as uncertain as the old one's.
    error = math.hypot(half, half if ends is None else (ends[1] - ends[0]) / 2)
    unit = "" if more else " less"
    return (
        f"it would have helped by {gain:+.3g}{unit} (95 % interval {gain - error:+.3g} to {gain + error:+.3g} at most)"
    )


def tested_from_to(found: Evidence) -> tuple[int, int]:
    """The test period, its end included."""
    return parse_rfc3339(found.test_from, "test_from"), parse_rfc3339(found.test_to, "test_to") + 1
