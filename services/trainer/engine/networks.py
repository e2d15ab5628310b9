"""A multilayer perceptron of scikit-learn, seeded, stopped early on the validation rows; served by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline as SklearnPipeline

from services.trainer.domain.judging import evaluate
from services.trainer.domain.ports import Examples, Floats, Plan, Tick, Tuned
from services.trainer.engine import safe_skops
from services.trainer.engine.choosing import best_of, part_of
from services.trainer.engine.onnx_gate import compare
from services.trainer.engine.onnx_graph import Network, onnx_of
from services.trainer.engine.preprocessing import columns_of, preprocess_for_linear
from services.trainer.engine.threads import one_thread
from tenon.bundle import Evaluator, OnnxEvaluator, Pipeline
from tenon.bundle.archive import NATIVE_PIPELINE, PIPELINE
from tenon.core.specs.model import Task

MAX_EPOCHS = 120
PATIENCE = 8
DEFAULT_EPOCHS = 25
# A small and a larger shape; tables of this size rarely reward more.
GRID: tuple[Mapping[str, Any], ...] = (
    {"hidden": [32], "alpha": 1e-3},
    {"hidden": [64, 32], "alpha": 1e-3},
)
COMMON: Mapping[str, Any] = {"batch_size": 128, "learning_rate_init": 1e-3}


class NetworkEstimator:
    """A perceptron for one plan."""

    name = "mlp"

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.default_params: Mapping[str, Any] = {**GRID[0], "epochs": DEFAULT_EPOCHS}

    def tune(self, fit: Examples, validation: Examples, tick: Tick) -> Tuned:
        """See `Estimator`: each shape with early stopping by the loss, the better one by the plan's metric."""
        transformer, _ = preprocess_for_linear(fit.frame, self._plan.inputs)
        known, held_out = transformer.transform(fit.frame), transformer.transform(validation.frame)
        found: list[tuple[float, Tuned]] = []
        for index, shape in enumerate(GRID):
            learner = _Learner(self._plan, shape, fit.label)
            best, epochs, predictions = np.inf, 1, np.zeros(len(validation))
            report = part_of(tick, index, len(GRID))
            for epoch in range(1, MAX_EPOCHS + 1):
                learner.learn(known)
                given = learner.predict(held_out)
                loss = self._loss(validation.label, given)
                if loss < best:
                    best, epochs, predictions = loss, epoch, given
                if epoch - epochs >= PATIENCE:
                    break
                report(epoch / MAX_EPOCHS)
            figure = evaluate(self._plan.task, validation.label, predictions).metrics.get(
                self._plan.metric, float("nan")
            )
            found.append((figure, Tuned({**shape, "epochs": epochs}, predictions)))
        return best_of(self._plan, found)

    def fit(self, train: Examples, params: Mapping[str, Any], tick: Tick) -> FittedNetwork:
        """See `Estimator`."""
        transformer, plain = preprocess_for_linear(train.frame, self._plan.inputs)
        matrix = transformer.transform(train.frame)
        learner = _Learner(self._plan, params, train.label)
        epochs = int(params["epochs"])
        for epoch in range(epochs):
            learner.learn(matrix)
            tick((epoch + 1) / epochs)
        return FittedNetwork(SklearnPipeline([("preprocessing", transformer), ("model", learner.finished())]), plain)

    def _loss(self, label: Floats, given: Floats) -> float:
        if self._plan.task is Task.BINARY:
            return evaluate(self._plan.task, label, given).metrics["log_loss"]
        return float(np.mean((given - label) ** 2))


class _Learner:
    """A perceptron that learns an epoch at a time. A regression's label is scaled while it learns."""

    def __init__(self, plan: Plan, params: Mapping[str, Any], label: Floats) -> None:
        options = {"hidden_layer_sizes": tuple(params["hidden"]), "alpha": params["alpha"], "random_state": plan.seed}
        self._label, self._mean, self._scale = label, 0.0, 1.0
        self._model: MLPClassifier | MLPRegressor
        if plan.task is Task.BINARY:
            self._model = MLPClassifier(**COMMON, **options)
        else:
            self._model = MLPRegressor(**COMMON, **options)
            self._mean, self._scale = float(label.mean()), float(label.std()) or 1.0
            self._label = (label - self._mean) / self._scale

    def learn(self, matrix: Any) -> None:
        """One epoch."""
        with one_thread():
            if isinstance(self._model, MLPClassifier):
                self._model.partial_fit(matrix, self._label, classes=[0.0, 1.0])
            else:
                self._model.partial_fit(matrix, self._label)

    def predict(self, matrix: Any) -> Floats:
        """Probabilities or values."""
        with one_thread():
            if isinstance(self._model, MLPClassifier):
                return np.asarray(self._model.predict_proba(matrix)[:, 1], np.float64)
            return np.asarray(self._model.predict(matrix), np.float64) * self._scale + self._mean

    def finished(self) -> MLPClassifier | MLPRegressor:
        """The model as it is kept: of a regression the last layer undoes the scaling, and nothing is left that only
        served learning (the optimiser holds as much again as the model)."""
        model = self._model
        if isinstance(model, MLPRegressor):
            model.coefs_[-1] = model.coefs_[-1] * self._scale
            model.intercepts_[-1] = model.intercepts_[-1] * self._scale + self._mean
        for name in ("_optimizer", "_random_state", "_best_coefs", "_best_intercepts", "loss_curve_"):
            if hasattr(model, name):
                delattr(model, name)
        return model


class FittedNetwork:
    """A fitted scikit-learn pipeline with a perceptron at its end."""

    engine = "onnxruntime"

    def __init__(self, native: SklearnPipeline, plain: Pipeline) -> None:
        self._native = native
        self.pipeline = plain
        self._model = native.named_steps["model"]

    def predict(self, frame: pl.DataFrame) -> Floats:
        """See `Fitted`."""
        with one_thread():
            if isinstance(self._model, MLPClassifier):
                answer: Floats = self._native.predict_proba(frame)[:, 1]
            else:
                answer = self._native.predict(frame)
        return np.asarray(answer, dtype=np.float64)

    def files(self) -> dict[str, bytes]:
        """The members of the bundle beside `model.onnx`, which is what is served: the columns, and the native form."""
        return {PIPELINE: self.pipeline.to_json(), NATIVE_PIPELINE: safe_skops.dumps(self._native)}

    def onnx(self, output: str) -> bytes:
        """The ONNX form, with its output's name."""
        layers = tuple(zip(self._model.coefs_, self._model.intercepts_, strict=True))
        link = "logistic" if isinstance(self._model, MLPClassifier) else "identity"
        return onnx_of(self.pipeline, Network(layers, link), output)

    def differences(self, evaluator: Evaluator | OnnxEvaluator, frame: pl.DataFrame) -> dict[str, Any]:
        """How far the bundle's evaluator is from this pipeline, by the measure of the ONNX form's gate."""
        task: Literal["binary", "regression"] = "binary" if isinstance(self._model, MLPClassifier) else "regression"
        form = compare(task, self.predict(frame), evaluator.predict(columns_of(frame)))
        return {
            "rows": frame.height,
            "kernel": evaluator.kernel,
            "rows_outside": form.rows_outside,
            "max_difference": form.max_difference,
        }

    @staticmethod
    def holds(found: Mapping[str, Any]) -> bool:
        """Whether `differences` are small enough."""
        return found["rows_outside"] == 0
