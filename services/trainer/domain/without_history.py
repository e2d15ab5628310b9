"""The second model of a fallback ladder: the same kind of estimator, which sees request columns alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from services.trainer.domain.examples import Labelled, can_learn
from services.trainer.domain.intervals import with_intervals
from services.trainer.domain.judging import evaluate
from services.trainer.domain.ports import Estimators, Examples, Fitted, Floats, Plan
from services.trainer.domain.split import TimeSplit, split_validation
from tenon.core.manifest import Evaluation, Ladder, PredictionInterval, SecondModel
from tenon.core.specs.fallback import Fallback
from tenon.core.specs.model import Task


@dataclass(frozen=True)
class Second:
    """The fitted second model, and how it did on the very test rows that the first one was judged on."""

    fitted: Fitted
    engine: str
    figures: Evaluation
    scores: Floats


def train_without_history(
    estimators: Estimators,
    name: str,
    plan: Plan,
    labelled: Labelled,
    split: TimeSplit,
    *,
    gap: int,
    fewest: tuple[int, int],
    tick: Callable[[float], None],
) -> Second:
    """Tune and fit on request columns as the first model was on all; `fewest` rows to fit and to validate, or no tuning."""
    plan = replace(plan, inputs=[item for item in plan.inputs if item.source == "request"])
    names = [item.name for item in plan.inputs]
    examples = Examples(labelled.examples.frame.select(names), labelled.examples.label)
    estimator = estimators.build(name, plan)
    inner = split_validation(labelled.event_time[split.train], labelled.known_at[split.train], gap=gap)
    fit, validation = (examples.take(split.train[rows]) for rows in (inner.train, inner.test))
    params = estimator.default_params
    if can_learn(plan.task, fit, fewest[0]) and can_learn(plan.task, validation, fewest[1]):
        params = estimator.tune(fit, validation, lambda done: tick(0.7 * done)).params
    fitted = estimator.fit(examples.take(split.train), params, lambda done: tick(0.7 + 0.3 * done))
    test = examples.take(split.test)
    scores = fitted.predict(test.frame)
    figures = with_intervals(
        plan.task, evaluate(plan.task, test.label, scores), test.label, scores, seed=plan.seed
    )  # fmt: skip
    return Second(fitted, estimators.engine_of(name), figures, scores)


def ladder_of(
    declared: Fallback | None,
    task: Task,
    train_label: Floats,
    second: Second | None,
    interval: PredictionInterval | None = None,
) -> Ladder | None:
    """The ladder as it goes into the manifest, with what training found out."""
    if declared is None:
        return None
    prior = None
    if declared.has("prior"):
        prior = float(train_label.mean() if task is Task.BINARY else np.median(train_label))
    model = None
    if second is not None:
        model = SecondModel(engine=second.engine, interval=interval)  # type: ignore[arg-type]  # it checks it
    return Ladder(declared=declared, prior=prior, without_history=model)
