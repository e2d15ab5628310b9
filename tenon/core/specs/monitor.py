"""The Monitor document: how one model is watched, what its answers are worth, and who is told.

    kind: Monitor
    name: visit_cost                   # the model
    slices: [department]
    value: {unit: EUR, perUnitOfError: -0.05}
    retrain: {automatic: true, coolDown: 14d, reasons: [quality, drift]}
    alerts: {webhooks: [ward_chat], quiet: {from: "20:00", to: "07:00", timezone: Europe/Vienna}}
    canary: {worseQuality: 0.03}

Every section may be left out; a model without a document is watched with the defaults.
"""

from __future__ import annotations

import enum
import re
from typing import Annotated, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, StringConstraints, field_validator, model_validator

from tenon.core.names import ResourceName
from tenon.core.specs.base import Spec, Strict, register
from tenon.core.specs.feature_view import Duration
from tenon.core.specs.model import Task
from tenon.core.specs.monitor_canary import CanaryRules

InputName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A column the model takes: a request column, or a feature as `view.name`."""

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_PER_ANSWER = {"per_true_positive": "perTruePositive", "per_false_positive": "perFalsePositive",
               "per_false_negative": "perFalseNegative", "per_true_negative": "perTrueNegative"}  # fmt: skip


class Severity(enum.StrEnum):
    """How much an alert matters."""

    WARNING = "warning"  # look at it in working hours
    CRITICAL = "critical"  # answers are wrong now


class IncidentKind(enum.StrEnum):
    """What an incident is about."""

    INPUTS = "inputs"  # a feature is not as it was in training, or its values are missing
    SCORES = "scores"  # the answers are not as they were
    QUALITY = "quality"  # the answers are worse than they were on the test
    SKEW = "skew"  # a feature is served with another value than training would have given it
    OPERATIONS = "operations"  # errors, latency, no traffic, stale history
    CANARY = "canary"  # a canary must not be promoted


class BusinessValue(Strict):
    """What answers are worth. Gains are positive, costs negative.

    Binary: each of the four outcomes that matters; the others are worth nothing. Regression: each unit by which an
    answer is off.
    """

    unit: str = Field(min_length=1, max_length=20, description="What the amounts are in, such as EUR or minutes.")
    per_true_positive: float | None = Field(default=None, allow_inf_nan=False, description="Binary: said yes, rightly.")
    per_false_positive: float | None = Field(
        default=None, allow_inf_nan=False, description="Binary: said yes, wrongly."
    )
    per_false_negative: float | None = Field(default=None, allow_inf_nan=False, description="Binary: said no, wrongly.")
    per_true_negative: float | None = Field(default=None, allow_inf_nan=False, description="Binary: said no, rightly.")
    per_unit_of_error: float | None = Field(
        default=None, allow_inf_nan=False, description="Regression: per unit of |answer − truth|; a cost is negative."
    )
    threshold: float | None = Field(
        default=None, gt=0, lt=1,
        description="Binary: the probability from which an answer is a yes; left out: the model's threshold, or 0.5.",
    )  # fmt: skip

    @property
    def per_answer(self) -> tuple[float, float, float, float]:
        """The worth of a true positive, a false positive, a false negative and a true negative."""
        true_positive, false_positive, false_negative, true_negative = (
            getattr(self, name) or 0.0 for name in _PER_ANSWER
        )
        return true_positive, false_positive, false_negative, true_negative

    @property
    def task(self) -> Task:
        """The task whose answers can be priced by it."""
        return Task.BINARY if self.per_unit_of_error is None else Task.REGRESSION

    @model_validator(mode="after")
    def _check_one_task(self) -> Self:
        binary = [alias for name, alias in _PER_ANSWER.items() if getattr(self, name) is not None]
        if self.per_unit_of_error is None:
            if not binary:
                raise ValueError(
                    f"what is an answer worth? give {', '.join(_PER_ANSWER.values())} (binary) or perUnitOfError (regression)"
                )
            return self
        if binary:
            raise ValueError(
                f"perUnitOfError: is for task regression, {binary[0]} for task binary; give one or the other"
            )
        if self.threshold is not None:
            raise ValueError("threshold: makes a yes/no answer of a probability; use it with task binary")
        if self.per_unit_of_error > 0:
            raise ValueError(f"perUnitOfError: an error costs, so write -{self.per_unit_of_error:g}")
        return self


class RetrainReason(enum.StrEnum):
    """What may ask for a new training."""

    QUALITY = "quality"  # worse than on the test, on labels that are known
    ESTIMATED_QUALITY = "estimated_quality"  # worse by estimate, before labels are known
    CONCEPT = "concept"  # the errors changed: the same inputs mean something else now
    DRIFT = "drift"  # the inputs are not those of the training
    AGE = "age"  # trained longer ago than `maxAge`


class Retrain(Strict):
    """When a new training is asked for, and whether it starts by itself."""

    automatic: bool = Field(default=False, description="Start the training; otherwise only ask for it.")
    cool_down: Duration = Field(default="7d", description="Time after a request in which there is no other.")
    reasons: list[RetrainReason] = Field(
        default=[RetrainReason.QUALITY, RetrainReason.ESTIMATED_QUALITY, RetrainReason.CONCEPT, RetrainReason.DRIFT],
        description="What may ask for it; an empty list: nothing does.",
    )
    max_age: Duration | None = Field(default=None, description="With reason `age`: how old a training may become.")

    @model_validator(mode="after")
    def _check_reasons(self) -> Self:
        twice = {reason.value for reason in self.reasons if self.reasons.count(reason) > 1}
        if twice:
            raise ValueError(f"reasons: {min(twice)!r} is listed twice")
        if (RetrainReason.AGE in self.reasons) != (self.max_age is not None):
            raise ValueError(
                "maxAge: is for reason `age`; add it to `reasons`"
                if self.max_age is not None
                else "reasons: `age` needs `maxAge`, such as `maxAge: 90d`"
            )
        return self


class Quiet(Strict):
    """Hours in which only critical alerts are sent; the others wait."""

    start: str = Field(alias="from", description="Hour and minute, such as 20:00.")
    end: str = Field(alias="to", description="Hour and minute; before `from`, it is the next day's.")
    timezone: str = Field(default="UTC", description="A name such as Europe/Vienna.")
    weekend: bool = Field(default=False, description="Saturday and Sunday are quiet all day.")

    @field_validator("start", "end")
    @classmethod
    def _check_clock(cls, value: str) -> str:
        if not _CLOCK.fullmatch(value):
            raise ValueError(f'{value!r} is not an hour and minute; write "20:00", in quotes')
        return value

    @field_validator("timezone")
    @classmethod
    def _check_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # Unknown; not a name at all; a folder of the database.
            # A machine without the time zone database cannot tell; monitor brings its own.
            if available_timezones():
                raise ValueError(f"{value!r} is not a time zone; write a name such as Europe/Vienna") from None
        return value

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.start == self.end:
            raise ValueError(
                f"to: is {self.end} like `from`, so it would be quiet always or never; choose another hour"
            )
        return self


class Route(Strict):
    """Alerts that go elsewhere than to `alerts.webhooks`."""

    severity: Severity | None = Field(default=None, description="Only these; left out: of any severity.")
    kinds: list[IncidentKind] = Field(default_factory=list, description="Only these; left out: of any kind.")
    webhooks: list[ResourceName] = Field(description="Where they go; an empty list: nowhere.")


class Alerts(Strict):
    """Who is told of incidents.

    A webhook is named here and its address, which is a secret, is in the operator's file
    (`TENON_MONITOR_WEBHOOKS_FILE`): documents can be read by everybody who may read the tenant.
    """

    webhooks: list[ResourceName] = Field(default_factory=list, description="Names of the operator's webhooks.")
    severity: Severity = Field(default=Severity.WARNING, description="Nothing less is sent.")
    routes: list[Route] = Field(
        default_factory=list, description="The first that fits says where an alert goes; none fits: to `webhooks`."
    )
    quiet: Quiet | None = Field(default=None, description="Hours in which only critical alerts are sent.")
    remind: Duration | None = Field(
        default="1d", description="An open incident that nobody acknowledged is sent again after so long; null: never."
    )
    ignore: list[InputName] = Field(
        default_factory=list, description="Columns that are expected to move: they open no incident."
    )

    @field_validator("webhooks")
    @classmethod
    def _check_once(cls, value: list[str]) -> list[str]:
        twice = {name for name in value if value.count(name) > 1}
        if twice:
            raise ValueError(f"{min(twice)!r} is listed twice")
        return value

    def webhooks_for(self, severity: Severity, kind: IncidentKind) -> list[str]:
        """Where an alert goes."""
        if self.severity is Severity.CRITICAL and severity is not Severity.CRITICAL:
            return []
        for route in self.routes:
            if route.severity in (None, severity) and (not route.kinds or kind in route.kinds):
                return route.webhooks
        return self.webhooks


@register
class MonitorSpec(Spec):
    """How one model is watched; its name is the model's."""

    KIND: ClassVar[str] = "Monitor"

    name: ResourceName = Field(description="The model's name; a model has one Monitor document.")
    slices: list[InputName] = Field(
        default_factory=list, max_length=20, description="Columns of the model; quality is shown for each of their values too."
    )  # fmt: skip
    value: BusinessValue | None = Field(default=None, description="What answers are worth.")
    retrain: Retrain = Field(default_factory=Retrain, description="When a new training is asked for.")
    alerts: Alerts = Field(default_factory=Alerts, description="Who is told of incidents.")
    canary: CanaryRules = Field(default_factory=CanaryRules, description="How a canary is judged.")
    importance: Literal["normal", "high"] = Field(
        default="normal", description="Of a model of high importance every incident is critical."
    )

    @field_validator("slices")
    @classmethod
    def _check_slices(cls, value: list[str]) -> list[str]:
        twice = {name for name in value if value.count(name) > 1}
        if twice:
            raise ValueError(f"{min(twice)!r} is listed twice")
        return value
