"""Simulated canaries: what two versions answered, day by day, and when the verdict would have been which."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from services.monitor.domain.canary.judge import judge_canary
from services.monitor.domain.canary.words import (
    Arm,
    CanaryJudgement,
    CanaryPolicy,
    CanaryVerdict,
    Evidence,
    Pairs,
    Question,
    Stage,
    Trial,
)
from services.monitor.domain.model import Role
from tenon.core.tenancy import TenantId

DAY = 86_400 * 10**6
DECILES = np.arange(0.1, 0.95, 0.1)
TRIAL = Trial(TenantId("north"), "readmission", 3, 1, 2, Role.CANARY, (Stage(0, None, 0.5),), frozenset(Question))

RULES = CanaryPolicy()


@dataclass(frozen=True)
class World:
    """Two versions of a binary model: `loss` is what the candidate's area under the ROC curve lacks."""

    a_day: int = 50
    share: float = 0.5
    positives: float = 0.3
    auc: float = 0.8
    loss: float = 0.0
    errors: tuple[float, float] = (0.002, 0.002)
    slow: tuple[float, float] = (0.01, 0.01)
    delay_days: int = 0
    shadow: bool = False
    """Both versions answer every request; `alike` is how their scores' chances go together."""
    alike: float = 0.8


def distance(auc: float) -> float:
    """How far the scores' means of two normal classes are apart for an area."""
    return math.sqrt(2) * float(special.ndtri(auc))


class Simulated:
    """One canary: all its requests are drawn at once; `evidence` is what is known at the end of a day."""

    def __init__(self, world: World, days: int, rng: np.random.Generator) -> None:
        rows = world.a_day * days
        self._world = world
        self._own = rng.random(rows) < world.share
        self._value = rng.random(rows) < world.positives
        apart = np.where(self._own, distance(world.auc - world.loss), distance(world.auc))
        self._score = special.expit(rng.normal(size=rows) + apart * (self._value - world.positives) - 1)
        self._error = rng.random(rows) < np.where(self._own, world.errors[1], world.errors[0])
        self._slow = rng.random(rows) < np.where(self._own, world.slow[1], world.slow[0])
        reference = special.expit(
            rng.normal(size=4000) + distance(world.auc) * ((rng.random(4000) < world.positives) - world.positives) - 1
        )
        self._bounds = np.quantile(reference, DECILES)
        self._shadows = self._score
        if world.shadow:
            self._own = np.zeros(rows, dtype=bool)
            noise = rng.normal(size=(3, rows))
            self._score, self._shadows = (
                special.expit(
                    math.sqrt(world.alike) * noise[0] + math.sqrt(1 - world.alike) * noise[place]
                    + distance(auc) * (self._value - world.positives) - 1
                )
                for place, auc in ((1, world.auc), (2, world.auc - world.loss))
            )  # fmt: skip

    def evidence(self, day: int) -> Evidence:
        """What is known at the end of a day."""
        world, rows = self._world, self._world.a_day * day
        known = max(0, world.a_day * (day - world.delay_days))
        arms = []
        for own in (False, True):
            mine = self._own[:rows] == (own and not world.shadow)
            labelled = mine[:known]
            scored = self._shadows if own else self._score
            scores = scored[:rows][mine]
            arms.append(
                Arm(
                    answers=int(mine.sum()), errors=int(self._error[:rows][mine].sum()),
                    slow=int(self._slow[:rows][mine].sum()), timed=int(mine.sum()), scored=len(scores),
                    below=(scores[:, None] <= self._bounds).sum(axis=0).astype(float),
                    label_score=scored[:known][labelled], label_value=self._value[:known][labelled].astype(float),
                )
            )  # fmt: skip
        pairs: tuple[Pairs, ...] = ()
        if world.shadow:
            there, here = (scored[:rows, None] <= self._bounds for scored in (self._score, self._shadows))
            ups, downs = ((one & ~other).sum(axis=0).astype(float) for one, other in ((here, there), (there, here)))
            pairs = (Pairs(rows, ups, downs),)
        return Evidence(((arms[0], arms[1]),), "binary", world.auc, world.positives, world.shadow, pairs)


def run(
    world: World, days: int, rng: np.random.Generator, *, policy: CanaryPolicy = RULES, every: int = 1
) -> tuple[CanaryJudgement, int]:
    """Judge a canary every so many days until it is rolled back; the last verdict, and its day."""
    simulated = Simulated(world, days, rng)
    trial = replace(TRIAL, stages=(Stage(0, None, world.share),), role=Role.SHADOW if world.shadow else Role.CANARY)
    day, judged = 0, None
    while day < days:
        day = min(day + every, days)
        judged = judge_canary(trial, simulated.evidence(day), policy, day * DAY)
        if judged.verdict is CanaryVerdict.ROLL_BACK:
            break
    assert judged is not None
    return judged, day


def first_horizon(world: World, rng: np.random.Generator, policy: CanaryPolicy = RULES) -> int:
    """Days until the labels that the first verdict said would show a loss of twice the margin."""
    trial = replace(TRIAL, role=Role.SHADOW) if world.shadow else TRIAL
    before_labels = replace(world, delay_days=max(1, world.delay_days))
    first = judge_canary(trial, Simulated(before_labels, 1, rng).evidence(1), policy, DAY)
    quality = next(one for one in first.questions if one.question is Question.QUALITY)
    assert quality.needed is not None, quality.text
    return (
        math.ceil((quality.needed + quality.rows) / (world.a_day * (1 if world.shadow else world.share)))
        + world.delay_days
    )
