"""Logistic and ridge regression of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline as SklearnPipeline

from services.trainer.domain.judging import evaluate
from services.trainer.domain.ports import Examples, Floats, Plan, Tick, Tuned
from services.trainer.engine import safe_skops
from services.trainer.engine.choosing import best_of
from services.trainer.engine.onnx_graph import onnx_of
from services.trainer.engine.preprocessing import columns_of, preprocess_for_linear
from services.trainer.engine.threads import one_thread
from tenon.bundle import Evaluator, Linear, OnnxEvaluator, Pipeline
from tenon.bundle.archive import LINEAR, NATIVE_PIPELINE, PIPELINE

# Strength of the regularisation, from strong to weak: C of LogisticRegression, 1/alpha of Ridge.
STRENGTHS = (0.003, 0.03, 0.3)
TOLERANCE = 1e-12


class LinearEstimator:
    """A linear model for one plan: `logistic` (binary) or `ridge` (regression)."""

    def __init__(self, name: str, plan: Plan) -> None:
        self.name = name
        self._plan = plan
        self.default_params: Mapping[str, Any] = {"strength": STRENGTHS[1]}

    def tune(self, fit: Examples, validation: Examples, tick: Tick) -> Tuned:
        """See `Estimator`: the strength of the regularisation by the plan's metric."""
        found: list[tuple[float, Tuned]] = []
        for index, strength in enumerate(STRENGTHS):
            params = {"strength": strength}
            predictions = self.fit(fit, params, lambda _: None).predict(validation.frame)
            figure = evaluate(self._plan.task, validation.label, predictions).metrics.get(
                self._plan.metric, float("nan")
            )
            found.append((figure, Tuned(params, predictions)))
            tick((index + 1) / len(STRENGTHS))
        return best_of(self._plan, found)

    def fit(self, train: Examples, params: Mapping[str, Any], tick: Tick) -> FittedLinear:
        """See `Estimator`."""
        transformer, plain = preprocess_for_linear(train.frame, self._plan.inputs)
        strength = float(params["strength"])
        if self.name == "logistic":
            model = LogisticRegression(C=strength, max_iter=2000, tol=1e-6)
        else:
            model = Ridge(alpha=1 / strength)
        with one_thread():
            model.fit(transformer.transform(train.frame), train.label)
        tick(1.0)
        return FittedLinear(SklearnPipeline([("preprocessing", transformer), ("model", model)]), plain)


class FittedLinear:
    """A fitted scikit-learn pipeline with a linear model at its end."""

    engine = "tenon-linear"

    def __init__(self, native: SklearnPipeline, plain: Pipeline) -> None:
        self._native = native
        self.pipeline = plain
        model = native.named_steps["model"]
        self._link = "logistic" if isinstance(model, LogisticRegression) else "identity"
        self._coefficients = np.ravel(model.coef_).astype(np.float64)
        self._intercept = float(np.ravel(model.intercept_)[0])

    def predict(self, frame: pl.DataFrame) -> Floats:
        """See `Fitted`."""
        with one_thread():
            if self._link == "logistic":
                answer: Floats = self._native.predict_proba(frame)[:, 1]
            else:
                answer = self._native.predict(frame)
        return np.asarray(answer, dtype=np.float64)

    def files(self) -> dict[str, bytes]:
        """The members of the bundle: what is served, and the native form."""
        return {
            PIPELINE: self.pipeline.to_json(),
            LINEAR: self._linear().to_json(),
            NATIVE_PIPELINE: safe_skops.dumps(self._native),
        }

    def onnx(self, output: str) -> bytes:
        """The ONNX form, with its output's name."""
        return onnx_of(self.pipeline, self._linear(), output)

    def _linear(self) -> Linear:
        return Linear(tuple(self._coefficients.tolist()), self._intercept, self._link)

    def differences(self, evaluator: Evaluator | OnnxEvaluator, frame: pl.DataFrame) -> dict[str, Any]:
        """How far the bundle's evaluator is from this pipeline, relative to the sizes of the terms that are added."""
        assert isinstance(evaluator, Evaluator)  # noqa: S101 - its engine is the manifest's
        columns = columns_of(frame)
        matrix = self._native.named_steps["preprocessing"].transform(frame)
        with one_thread():
            margin = matrix @ self._coefficients + self._intercept
            size = 1.0 + np.abs(matrix) @ np.abs(self._coefficients) + abs(self._intercept)
        # Of the compiled evaluator, where it could be built, and of numpy, which serves where it could not.
        reference = evaluator.model.margin(evaluator.pipeline.transform(columns))
        difference = np.maximum(np.abs(margin - evaluator.margin(columns)), np.abs(margin - reference))
        return {
            "rows": frame.height,
            "kernel": evaluator.kernel,
            "max_margin_difference": float(difference.max(initial=0.0)),
            "max_relative_difference": float((difference / size).max(initial=0.0)),
            "max_difference": float(np.abs(self.predict(frame) - evaluator.predict(columns)).max(initial=0.0)),
        }

    @staticmethod
    def holds(found: Mapping[str, Any]) -> bool:
        """Whether `differences` are small enough."""
        return found["max_relative_difference"] <= TOLERANCE
