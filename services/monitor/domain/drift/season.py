"""What changed only because it is December, or Sunday: a window beside windows of the past as well as beside training.

A column that is not as in training is an alarm, unless the past says that this comes again and again: in the same season a year before (52
weeks, so that weekdays meet weekdays), or on the same weekdays of the four weeks before, the column was as it is now, *and* in the whole time between
it was nearer to training. What has only lasted is not excused: a shift that came two years ago is like the year before, and so is the time between.

The claim "not as in training, nor as in the past that may excuse it" has the largest of their p-values (an intersection-union test), and false
discoveries are controlled over the claims of all columns. A past that could not have shown a difference of half the size has no say.

Berger, R. (1982). Multiparameter hypothesis testing and acceptance sampling. Technometrics 24(4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.monitor.domain.drift.judge import (
    examine,
    judge_finding,
    logged,
    statistic_text,
    unlogged,
    worst_first,
)
from services.monitor.domain.drift.statistics import benjamini_hochberg
from services.monitor.domain.model import SCORE, Compared, Drift, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.monitor.domain.drift.judge import DriftPolicy, Finding
    from services.monitor.domain.drift.sketch import Sketch
    from services.monitor.domain.model import Against, ColumnReport

HOUR = 3_600_000_000
DAY = 24 * HOUR
WEEK, YEAR = 7 * DAY, 364 * DAY
WEEKS = 4
LONGEST_SEASON = YEAR // 2
NEARER = 0.5
"""How far from training the time between may lie, in parts of the window's distance, for the past to be an excuse."""


@dataclass(frozen=True, slots=True)
class Past:
    """Which windows are like a window, and the whole time from the first of them to it."""

    against: Against
    like: tuple[Window, ...]
    between: Window


@dataclass(frozen=True, slots=True)
class Reference:
    """What was counted in them."""

    past: Past
    like: Sketch
    between: Sketch
    scored: bool
    """Whether the same version answered: only then its scores can be compared."""


def pasts_of(window: Window) -> list[Past]:
    """What a window of this length can be compared with.

    >>> [past.against for past in pasts_of(Window(0, WEEK))]
    ['year', 'weeks']
    >>> pasts_of(Window(0, YEAR))
    []
    """
    length = window.end - window.start
    found = []
    if length <= LONGEST_SEASON:
        found.append(_past("year", window, [YEAR]))
    if length <= WEEK:
        found.append(_past("weeks", window, [WEEK * number for number in range(WEEKS, 0, -1)]))
    return found


def _past(against: Against, window: Window, shifts: Sequence[int]) -> Past:
    # By the time of the answer windows move on all the time: what lies in the past is cut at round hours or days, and read once.
    step = 1 if window.by == "event_time" else DAY if window.end - window.start >= WEEK else HOUR
    like = tuple(
        Window(_floor(window.start - shift, step), _floor(window.end - shift, step), window.by) for shift in shifts
    )
    return Past(against, like, Window(_floor(like[0].start, step), _floor(window.start, max(step, HOUR)), window.by))


def _floor(moment: int, step: int) -> int:
    return moment - moment % step


def judge_window(
    sketch: Sketch, policy: DriftPolicy, read: Callable[[], Sequence[Reference]], *, only_drifting: bool = False
) -> tuple[ColumnReport, ...]:  # fmt: skip
    """Every column of one version's window against its training and the past, worst first. `only_drifting`: the past is read only
    where a column is not as in training, for whoever judges many windows."""
    tallied = sketch.tallied()
    present = logged(sketch, tallied)
    trained = {name: examine(name, one, policy, len(present)) for name, one in present.items()}
    by_training = _adjusted({name: one.p_value for name, one in trained.items()})
    unlike = {
        name
        for name, one in trained.items()
        if by_training[name] <= policy.false_discovery_rate and one.severity(policy) >= 1
    }
    beside = [_beside(sketch, one, trained, policy) for one in read()] if unlike or not only_drifting else []
    claims = {name: max([one.p_value, *_excusing(name, beside)]) for name, one in trained.items()}
    by_all = _adjusted(claims) if beside else by_training
    judged = []
    for name, finding in trained.items():
        past = [found[name] for found in beside if name in found]
        told = [one for one in past if one.compared.explains]
        report = judge_finding(finding, by_all[name], policy)
        alarm = report.verdict is Drift.DRIFT and all(one.severity >= 1 for one in told)
        if alarm:
            report = replace(report, summary="; ".join([report.summary, *(one.compared.text for one in past)]))
        elif told and name in unlike:
            excuse = next((one for one in told if not one.compared.differs), told[0])
            text = f"not as in training ({statistic_text(finding)}), but {excuse.compared.text}"
            report = replace(report, verdict=Drift.SEASONAL, summary=text)
        judged.append(replace(report, raw_p_value=claims[name], compared=tuple(one.compared for one in past)))
    return worst_first(judged) + tuple(unlogged(name) for name in tallied if name not in present)


@dataclass(frozen=True, slots=True)
class _Beside:
    compared: Compared
    severity: float
    p_value: float


def _beside(
    sketch: Sketch, reference: Reference, trained: Mapping[str, Finding], policy: DriftPolicy
) -> dict[str, _Beside]:
    """The columns against one past; those of which it says too little are left out."""
    then, whole = sketch.tallied(reference.like), reference.between.tallied()
    found = {
        name: examine(name, then[name], policy, len(trained)) for name in trained if name != SCORE or reference.scored
    }
    adjusted = _adjusted({name: one.p_value for name, one in found.items()})
    beside = {}
    for name, one in found.items():
        if min(int(one.tallied.baseline.sum()), int(one.tallied.window.sum())) < policy.min_rows:
            continue
        severity, now = one.severity(policy), trained[name]
        differs = adjusted[name] <= policy.false_discovery_rate and severity >= 1
        lasting = examine(name, whole[name], policy, len(trained)).severity(policy) > NEARER * now.severity(policy)
        shows = one.smallest_effect <= min(policy.blind_above, max(policy.effect_floor, now.effect / 2))
        rows = one.tallied.baseline_rows
        since = " and all the time since" if lasting and not differs else ""
        text = f"{'not ' if differs else ''}as {_name(reference.past)}{since} ({statistic_text(one)}, n = {rows:,})"
        compared = Compared(
            reference.past.against, differs, one.effect, adjusted[name], rows, shows and not lasting, text
        )
        beside[name] = _Beside(compared, severity, one.p_value)
    return beside


def _excusing(name: str, beside: Sequence[Mapping[str, _Beside]]) -> list[float]:
    return [found[name].p_value for found in beside if name in found and found[name].compared.explains]


def _adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    return dict(zip(p_values, benjamini_hochberg(list(p_values.values())), strict=True))


def _name(past: Past) -> str:
    if past.against == "year":
        return "a year before"
    whole = past.like[0].end - past.like[0].start >= WEEK
    return "in the four weeks before" if whole else "on the same weekdays of the four weeks before"
