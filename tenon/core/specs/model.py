"""The Model document: what is predicted, from what, and how honestly it is judged."""

from __future__ import annotations

import enum
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from tenon.core.errors import Invalid
from tenon.core.names import Identifier, ResourceName
from tenon.core.specs.base import Spec, Strict, register
from tenon.core.specs.fallback import Fallback
from tenon.core.specs.feature_view import Duration
from tenon.core.timestamps import parse_rfc3339


class Task(enum.StrEnum):
    """What kind of answer a model gives."""

    BINARY = "binary"  # a probability
    REGRESSION = "regression"  # a number


METRICS: dict[Task, dict[str, bool]] = {
    Task.BINARY: {"roc_auc": True, "pr_auc": True, "log_loss": False, "brier": False},
    Task.REGRESSION: {"mae": False, "rmse": False, "r2": True},
}
"""Every metric of a task, and whether more is better."""

ESTIMATORS: dict[Task, tuple[str, ...]] = {
    Task.BINARY: ("xgboost", "logistic", "mlp"),
    Task.REGRESSION: ("xgboost", "ridge", "mlp"),
}


class Label(Strict):
    """The value to predict: a column of the spine, known later than the event."""

    column: Identifier
    above: float | None = Field(
        default=None, description="Binary: positive when the value is above this. A boolean column needs none."
    )


class ModelFeatures(Strict):
    """What the model sees."""

    request: list[Identifier] = Field(
        default_factory=list, description="Columns of the spine that the caller sends; known at the event time."
    )
    views: list[ResourceName] = Field(
        default_factory=list, description="Feature views whose entity columns the spine has."
    )

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if not self.request and not self.views:
            raise ValueError("a model needs at least one request column or view")
        for what, names in (("request", self.request), ("views", self.views)):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what}: {min(twice)!r} is listed twice")
        return self


class Split(Strict):
    """How the past is divided: train, a gap, test. Always by time."""

    by: Literal["time"] = "time"
    test: Duration | None = Field(default=None, description="Length of the test period, at the end of the data.")
    test_from: str | None = Field(default=None, description="Or: the day the test period starts (RFC 3339, UTC).")
    gap: Duration = Field(
        default="1d", description="Time left out between training and test; at least as long as labels are late."
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.test is None) == (self.test_from is None):
            raise ValueError("give either `test` (a length such as 90d) or `testFrom` (a day)")
        if self.test_from is not None:
            try:
                parse_rfc3339(self.test_from, "testFrom")
            except Invalid as err:
                raise ValueError(f"{err.message}; {err.hint}") from None
        return self


class Gate(Strict):
    """A condition on the time-split test that a version must meet before it may be released."""

    metric: str
    min: float | None = None
    max: float | None = None
    beats_baseline: bool = Field(default=False, description="The metric must be better than the naive baseline's.")

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if self.min is None and self.max is None and not self.beats_baseline:
            raise ValueError("a gate needs `min`, `max` or `beatsBaseline: true`")
        return self


@register
class ModelSpec(Spec):
    """A model a tenant wants."""

    KIND: ClassVar[str] = "Model"

    spine: ResourceName = Field(description="The data set whose rows are the examples.")
    label: Label
    task: Task
    features: ModelFeatures
    split: Split
    estimators: list[Literal["xgboost", "logistic", "ridge", "mlp"]] = Field(default=["xgboost"], min_length=1)
    optimise: str = Field(
        default="", description="The metric by which estimators are compared; the task's first metric when left out."
    )
    gates: list[Gate] = Field(default_factory=list)
    threshold: float | None = Field(
        default=None, gt=0, lt=1, description="Binary: from this probability on, answers say `label: true`."
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    fallback: Fallback | None = Field(
        default=None,
        description="What it answers with when history cannot be had; left out, the model itself with missing history.",
    )

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        if self.task is Task.REGRESSION and self.label.above is not None:
            raise ValueError("label.above: makes a yes/no label; use it with task binary")
        if self.task is Task.REGRESSION and self.threshold is not None:
            raise ValueError("threshold: makes a yes/no answer of a probability; use it with task binary")
        for estimator in self.estimators:
            if estimator not in ESTIMATORS[self.task]:
                raise ValueError(
                    f"estimators: {estimator!r} is not for task {self.task.value}; choose from {', '.join(ESTIMATORS[self.task])}"
                )
        for where, metric in [
            ("optimise", self.optimise or self.metric),
            *(("gates", gate.metric) for gate in self.gates),
        ]:
            if metric not in METRICS[self.task]:
                raise ValueError(
                    f"{where}: {metric!r} is not a metric of task {self.task.value}; choose from {', '.join(METRICS[self.task])}"
                )
        if self.fallback is not None:
            self.fallback.check(self.features.request, self.features.views, probability=self.task is Task.BINARY)
        return self

    @property
    def metric(self) -> str:
        """The metric by which estimators are compared."""
        return self.optimise or next(iter(METRICS[self.task]))
