"""What estimators share while they tune."""

from __future__ import annotations

from collections.abc import Sequence

from services.trainer.domain.judging import is_better
from services.trainer.domain.ports import Plan, Tick, Tuned


def best_of(plan: Plan, found: Sequence[tuple[float, Tuned]]) -> Tuned:
    """The one with the best figure of the plan's metric; the first of equals, so that the order decides and not luck."""
    best_figure, best = found[0]
    for figure, tuned in found[1:]:
        if is_better(plan.task, plan.metric, figure, best_figure):
            best_figure, best = figure, tuned
    return best


def part_of(tick: Tick, index: int, parts: int) -> Tick:
    """A tick for one of several equal parts of the work."""
    return lambda done: tick((index + done) / parts)
