"""XGBoost: histogram trees, seeded, stopped early on the validation rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import xgboost
from sklearn.compose import ColumnTransformer

from services.trainer.domain.judging import evaluate
from services.trainer.domain.ports import Examples, Floats, Plan, Tick, Tuned
from services.trainer.engine import safe_skops
from services.trainer.engine.choosing import best_of, part_of
from services.trainer.engine.onnx_graph import onnx_of
from services.trainer.engine.preprocessing import columns_of, feature_names, preprocess_for_trees
from tenon.bundle import Evaluator, Forest, OnnxEvaluator, Pipeline
from tenon.bundle.archive import COVER, FOREST, NATIVE_MODEL, NATIVE_PIPELINE, PIPELINE
from tenon.bundle.contributions import cover_of_booster_json, cover_to_npy
from tenon.core.specs.model import Task

MAX_ROUNDS = 800
PATIENCE = 40
DEFAULT_ROUNDS = 150
# Two shapes are enough on data of this size: what a search finds beyond them is mostly noise of the validation period.
GRID: tuple[Mapping[str, Any], ...] = (
    {"max_depth": 6, "min_child_weight": 10.0},
    {"max_depth": 4, "min_child_weight": 3.0},
)
COMMON: Mapping[str, Any] = {
    "eta": 0.06,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "lambda": 1.0,
    "max_bin": 256,
}


# Below this many rows a second thread waits more than it works. (The trees are the same with any number of threads.)
ROWS_WORTH_THREADS = 20_000


class XGBoostEstimator:
    """Boosted trees for one plan."""

    name = "xgboost"

    def __init__(self, plan: Plan, threads: int) -> None:
        self._plan = plan
        self._threads = threads
        self.default_params: Mapping[str, Any] = {**COMMON, **GRID[1], "rounds": DEFAULT_ROUNDS}

    def tune(self, fit: Examples, validation: Examples, tick: Tick) -> Tuned:
        """See `Estimator`: each shape with early stopping, the better one by the plan's metric."""
        transformer, pipeline = preprocess_for_trees(fit.frame, self._plan.inputs)
        known = self._matrix(transformer, pipeline, fit)
        held_out = self._matrix(transformer, pipeline, validation, like=known)
        found: list[tuple[float, Tuned]] = []
        for index, shape in enumerate(GRID):
            watcher = _Watcher(part_of(tick, index, len(GRID)), MAX_ROUNDS)
            params = {**COMMON, **shape}
            booster = xgboost.train(
                self._native(params, len(fit)),
                known,
                num_boost_round=MAX_ROUNDS,
                evals=[(held_out, "validation")],
                early_stopping_rounds=PATIENCE,
                verbose_eval=False,
                callbacks=[watcher],
            )
            rounds = booster.best_iteration + 1
            predictions = booster.predict(held_out, iteration_range=(0, rounds)).astype(np.float64)
            figures = evaluate(self._plan.task, validation.label, predictions).metrics
            figure = figures.get(self._plan.metric, float("nan"))
            found.append((figure, Tuned({**params, "rounds": rounds}, predictions)))
        return best_of(self._plan, found)

    def fit(self, train: Examples, params: Mapping[str, Any], tick: Tick) -> FittedForest:
        """See `Estimator`."""
        transformer, pipeline = preprocess_for_trees(train.frame, self._plan.inputs)
        rounds = int(params["rounds"])
        booster = xgboost.train(
            self._native({name: value for name, value in params.items() if name != "rounds"}, len(train)),
            self._matrix(transformer, pipeline, train),
            num_boost_round=rounds,
            verbose_eval=False,
            callbacks=[_Watcher(tick, rounds)],
        )
        return FittedForest(transformer, pipeline, booster)

    def _threads_for(self, rows: int) -> int:
        return self._threads if rows >= ROWS_WORTH_THREADS else 1

    def _native(self, params: Mapping[str, Any], rows: int) -> dict[str, Any]:
        if self._plan.task is Task.BINARY:
            goal = {"objective": "binary:logistic", "eval_metric": "logloss"}
        elif self._plan.metric == "mae":
            goal = {"objective": "reg:absoluteerror", "eval_metric": "mae"}
        else:
            goal = {"objective": "reg:squarederror", "eval_metric": "rmse"}
        return {**goal, "tree_method": "hist", "seed": self._plan.seed, "nthread": self._threads_for(rows), **params}

    def _matrix(
        self,
        transformer: ColumnTransformer,
        pipeline: Pipeline,
        examples: Examples,
        like: xgboost.QuantileDMatrix | None = None,
    ) -> xgboost.QuantileDMatrix:
        return xgboost.QuantileDMatrix(
            float32_of(transformer, examples.frame),
            examples.label,
            feature_names=feature_names(pipeline),
            nthread=self._threads_for(len(examples)),
            max_bin=COMMON["max_bin"],
            ref=like,
        )


class FittedForest:
    """A fitted ColumnTransformer and Booster."""

    engine = "tenon-forest"

    def __init__(self, transformer: ColumnTransformer, pipeline: Pipeline, booster: xgboost.Booster) -> None:
        self._transformer = transformer
        self.pipeline = pipeline
        self._booster = booster

    def predict(self, frame: pl.DataFrame) -> Floats:
        """See `Fitted`."""
        answer: Floats = self._booster.predict(self._rows(frame)).astype(np.float64)
        return answer

    def files(self) -> dict[str, bytes]:
        """The members of the bundle: what is served, and the native form."""
        model = json.loads(self._booster.save_raw("json"))
        return {
            PIPELINE: self.pipeline.to_json(),
            FOREST: Forest.from_booster_json(model).to_npz(),
            COVER: cover_to_npy(cover_of_booster_json(model)),
            NATIVE_MODEL: bytes(self._booster.save_raw("ubj")),
            NATIVE_PIPELINE: safe_skops.dumps(self._transformer),
        }

    def onnx(self, output: str) -> bytes:
        """The ONNX form, with its output's name."""
        return onnx_of(self.pipeline, Forest.from_booster_json(json.loads(self._booster.save_raw("json"))), output)

    def differences(self, evaluator: Evaluator | OnnxEvaluator, frame: pl.DataFrame) -> dict[str, Any]:
        """How far the bundle's evaluator is from this pipeline: margins must have the same bits, answers at most one
        unit in the last place of float32."""
        assert isinstance(evaluator, Evaluator)  # noqa: S101 - its engine is the manifest's
        rows = self._rows(frame)
        columns = columns_of(frame)
        margin = self._booster.predict(rows, output_margin=True)
        # Of the compiled evaluator, where it could be built, and of numpy, which serves where it could not. (Margins of
        # a forest are float32 numbers.)
        compiled = evaluator.margin(columns).astype(np.float32)
        reference = evaluator.model.margin(evaluator.pipeline.transform(columns)).astype(np.float32)
        wrong = (margin.view(np.uint32) != compiled.view(np.uint32)) | (
            compiled.view(np.uint32) != reference.view(np.uint32)
        )
        answer = self._booster.predict(rows)
        given = evaluator.predict(columns)
        ulps = np.abs(given - answer.astype(np.float64)) / np.spacing(np.maximum(np.abs(answer), np.float32(1e-30)))
        return {
            "rows": frame.height,
            "kernel": evaluator.kernel,
            "margins_not_bit_equal": int(np.count_nonzero(wrong)),
            "max_margin_difference": _largest(np.abs(margin.astype(np.float64) - compiled)),
            "max_difference": _largest(np.abs(given - answer.astype(np.float64))),
            "max_ulps": _largest(ulps),
        }

    @staticmethod
    def holds(found: Mapping[str, Any]) -> bool:
        """Whether `differences` are small enough."""
        return found["margins_not_bit_equal"] == 0 and found["max_ulps"] <= 1.0

    def _rows(self, frame: pl.DataFrame) -> xgboost.DMatrix:
        names = feature_names(self.pipeline)
        return xgboost.DMatrix(float32_of(self._transformer, frame), feature_names=names, nthread=1)


class _Watcher(xgboost.callback.TrainingCallback):
    """Tells how many of the rounds are done; what the listener raises ends the training."""

    def __init__(self, tick: Tick, rounds: int) -> None:
        self._tick, self._rounds = tick, rounds

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        """Called by XGBoost after each round; True would stop it."""
        if epoch % 10 == 0:
            self._tick(min(1.0, (epoch + 1) / self._rounds))
        return False


def float32_of(transformer: ColumnTransformer, frame: pl.DataFrame) -> npt.NDArray[np.float32]:
    """XGBoost is given float32 of the float64 matrix, as the evaluator compares in float32 too."""
    return np.asarray(transformer.transform(frame), dtype=np.float64).astype(np.float32)


def _largest(values: npt.NDArray[Any]) -> float:
    return float(values.max()) if len(values) else 0.0
