"""The bundle's manifest: what a model version is, where it comes from and how well it did.

Only what follows from the inputs is in it: the same data, document, seed and libraries give the same manifest and so
the same bundle, to the byte. Which run made a version, and when, is the registry's to say. (Manifests of format 1 held
both; they are still read.)
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from tenon.core.specs.fallback import Fallback


class Part(BaseModel):
    """Base of all manifest parts: unknown keys of later formats are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InputColumn(Part):
    """One column of the signature; see `tenon.core.specs.checks.Input`."""

    name: str
    type: str
    source: Literal["request", "history", "entity", "event_time"]
    nullable: bool


class Signature(Part):
    """What goes in and what comes out."""

    inputs: list[InputColumn]
    output: str = Field(description="`probability` (binary) or `prediction` (regression); float64.")
    views: dict[str, list[str]] = Field(
        default_factory=dict, description="Each history view with the entity columns it is looked up by."
    )


class Lineage(Part):
    """Where the version comes from."""

    run_id: str | None = Field(default=None, description="Format 1 only: the run that made it.")
    spec_digest: str
    dataset: str
    dataset_version: int = Field(description="Version of the lake table the training set was read at.")
    dataset_versions: dict[str, int] = Field(default_factory=dict, description="Every data set read, with its version.")
    feature_views: dict[str, str] = Field(default_factory=dict, description="View name to digest of its definition.")
    training_set_digest: str
    corrections: int | None = Field(default=None, description="Rows whose label is an expert's; left out when none.")
    corrections_digest: str | None = Field(default=None, description="sha256 over those labels; left out when none.")
    code_version: str
    environment: dict[str, str] = Field(description="Python and library versions of the training process.")
    seed: int

    @model_serializer(mode="wrap")
    def _leave_out_the_run(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data = _without(handler(self), "run_id", self.run_id)
        # Left out when there are none: readers of before this key refuse what they do not know.
        data = _without(data, "corrections", self.corrections)
        return _without(data, "corrections_digest", self.corrections_digest)


class Evaluation(Part):
    """Figures of one judged predictor on one test set."""

    rows: int
    positives: int | None = None
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = Field(
        default_factory=dict,
        description="95 % bootstrap interval (low, high) of each metric: how far off it may be with these few rows.",
    )


class PredictionInterval(Part):
    """How far a regression's answers may be off: what is added to an answer to get the ends of its interval.

    An answer belongs to bin i when i edges are not above it; its interval is (answer + low[i], answer + high[i]), within
    `least` and `greatest`.
    """

    coverage: float = Field(gt=0, lt=1, description="Share of the truths that shall lie inside: nominal.")
    edges: list[float] = Field(description="Where the bins of the answers part, ascending.")
    low: list[float]
    high: list[float]
    least: float | None = Field(default=None, description="No label can be below this, by its data set's contract.")
    greatest: float | None = None
    calibration_rows: int = Field(description="Test rows whose residuals it was made from.")
    measured_coverage: float = Field(
        description="Share of the test rows' truths inside intervals that were made from the other blocks of time."
    )
    measured_blocks: list[float] = Field(
        default_factory=list,
        description="The same of each block of the test period, in order of time; empty: not kept.",
    )
    measured_rows: int
    mean_width: float = Field(description="Mean width of the intervals that were measured.")

    @model_validator(mode="after")
    def _check_bins(self) -> Self:
        bins = len(self.edges) + 1
        if len(self.low) != bins or len(self.high) != bins or sorted(self.edges) != self.edges:
            raise ValueError("the interval's bins do not fit together")
        if not all(math.isfinite(value) for value in (*self.edges, *self.low, *self.high)):
            raise ValueError("the interval's numbers are not finite")
        return self

    def around(self, answer: float) -> tuple[float, float]:
        """The ends of an answer's interval."""
        place = bisect_right(self.edges, answer)
        return self._within(answer + self.low[place]), self._within(answer + self.high[place])

    def _within(self, value: float) -> float:
        if self.least is not None and value < self.least:
            return self.least
        return self.greatest if self.greatest is not None and value > self.greatest else value


class Evidence(Part):
    """How well it did, and how that was found out."""

    estimator: str
    train_rows: int
    train_from: str
    train_to: str
    test_from: str
    test_to: str
    gap: str
    model: Evaluation
    baseline: Evaluation = Field(description="Naive: the training rate or mean for everyone.")
    random_split: Evaluation | None = Field(
        default=None, description="The same model under a random split: how flattering that would have been."
    )
    without_history: Evaluation | None = Field(
        default=None, description="The second model of the fallback ladder, which sees request columns alone."
    )
    interval: PredictionInterval | None = Field(default=None, description="Regression models with test rows enough.")
    candidates: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="Each estimator's figures on the validation period."
    )
    warnings: list[str] = Field(default_factory=list)


class NumericBaseline(Part):
    """A numeric column in training: `counts[i]` values lie in (edges[i-1], edges[i]]; open at both ends, so len(counts) = len(edges) + 1."""

    kind: Literal["numeric"] = "numeric"
    rows: int
    missing: int
    edges: list[float]
    counts: list[int]
    mean: float | None
    iqr: float | None


class CategoricalBaseline(Part):
    """A categorical column in training; rare levels are pooled in `other`."""

    kind: Literal["categorical"] = "categorical"
    rows: int
    missing: int
    counts: dict[str, int]
    other: int


class TrainingBaseline(Part):
    """What the training data and the model's own scores looked like: drift is measured against this."""

    columns: dict[str, NumericBaseline | CategoricalBaseline]
    score: NumericBaseline


class GateResult(Part):
    """One gate of the model's spec, judged on the time-split test."""

    gate: str
    passed: bool
    value: float | None
    message: str


class Form(Part):
    """A further form of the model, judged on all held-out rows against the fitted pipeline. One that did not pass is
    not in the bundle."""

    included: bool
    reason: str = Field(default="", description="Why it is not in the bundle; empty when it is.")
    rows: int = 0
    tolerance: str = Field(default="", description="How far an answer may be off.")
    rows_outside: int = Field(default=0, description="Rows whose answer is further off than that.")
    labels_differing: int = Field(
        default=0,
        description="Rows whose probability is on the other side of the threshold (0.5 unless declared); binary models only.",
    )
    max_difference: float | None = Field(default=None, description="The largest absolute difference of an answer.")


class SecondModel(Part):
    """The model without history; its files lie under `without_history/` in the bundle."""

    engine: Literal["tenon-forest", "tenon-linear", "onnxruntime"]
    parity: dict[str, Any] = Field(default_factory=dict, description="As the manifest's own.")
    interval: PredictionInterval | None = None


class Ladder(Part):
    """What answers when history cannot be had; see `tenon.core.specs.fallback`."""

    declared: Fallback
    prior: float | None = Field(default=None, description="Training rate (binary) or median (regression), if declared.")
    without_history: SecondModel | None = None


class Manifest(Part):
    """`manifest.json` of a bundle. `files` gives the sha256 of every other file in it."""

    format: Literal[1, 2] = 2
    tenant: str
    model: str
    task: Literal["binary", "regression"]
    created_at: str | None = Field(default=None, description="Format 1 only: when its run was asked for.")
    engine: Literal["tenon-forest", "tenon-linear", "onnxruntime"] = Field(
        description="Evaluator the predictor serves it with; passed the parity gate against the fitted pipeline."
    )
    signature: Signature
    lineage: Lineage
    evidence: Evidence
    gates: list[GateResult] = Field(default_factory=list)
    baseline: TrainingBaseline
    parity: dict[str, Any] = Field(
        description="Rows compared and the largest absolute difference from the fitted pipeline."
    )
    forms: dict[str, Form] = Field(default_factory=dict, description="Further forms by name, included or not: `onnx`.")
    threshold: float | None = Field(default=None, description="Binary: from this probability on the answer is yes.")
    fallback: Ladder | None = None
    files: dict[str, str]

    @model_serializer(mode="wrap")
    def _leave_out_the_time(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), "created_at", self.created_at)


def _without(data: dict[str, Any], name: str, value: str | int | None) -> dict[str, Any]:
    if value is None:
        data.pop(name, None)
    return data
