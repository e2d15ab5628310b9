"""The part of `make bench-engine` on ONNX Runtime: the ONNX form of the same versions, and a network that it serves."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import polars as pl
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from services.trainer.engine.onnx_graph import Network, onnx_of
from services.trainer.engine.threads import one_thread
from tenon.bundle import Evaluator, Forest, Numeric, OnnxEvaluator, Pipeline
from tenon.bundle.onnx_model import OnnxModel
from tenon.core.manifest import Signature
from tests.bench import frame

Timer = Callable[[Callable[[Any], object], list[Any]], Callable[[], float]]
HIDDEN = (64, 32)
NUMBERS = 30
DIFFERENT = 64


class Asked(Protocol):
    """What is needed of the bench's case."""

    evaluator: Evaluator
    table: pl.DataFrame

    def requests(self, rows: int) -> list[pl.DataFrame]:
        """Tables of so many rows."""
        ...

    def columns(self, table: pl.DataFrame) -> dict[str, Any]:
        """As the predictor holds a request."""
        ...


def form_figures(name: str, case: Asked, timer: Timer, pairs: int) -> list[frame.Figure]:
    """The case's ONNX form beside its compiled one, which is the yardstick; and how far the answers are apart."""
    assert isinstance(case.evaluator.model, Forest)
    model = OnnxModel(case.evaluator.pipeline, onnx_of(case.evaluator.pipeline, case.evaluator.model, "probability"))
    figures = []
    for rows in (1, 64):
        columns = [case.columns(table) for table in case.requests(rows)]
        ours, theirs = timer(model.predict, columns), timer(case.evaluator.predict, columns)
        value, yardstick = frame.pairs(pairs, ours, theirs)
        label = f"{name}, {rows} row{'s' * (rows > 1)}: ONNX Runtime, columns"
        figures.append(frame.figure(label, value, "µs", yardstick=("C", yardstick)))
    every = case.columns(case.table)
    given, expected = model.predict(every), case.evaluator.predict(every)
    figures.append(
        frame.figure(f"{name}: largest difference of ONNX", float(np.abs(given - expected).max()), "", at_most=1e-5)
    )
    off = float(np.count_nonzero(given != expected))
    figures.append(frame.figure(f"{name}: of {case.table.height:,} rows, ONNX has other bits in", off, "rows"))
    return figures


def network_figures(timer: Timer, pairs: int) -> list[frame.Figure]:
    """A perceptron as the predictor serves it, beside the fitted scikit-learn pipeline on a DataFrame."""
    random = np.random.default_rng(7)
    matrix = random.normal(size=(8000, NUMBERS))
    names = [f"x{at}" for at in range(NUMBERS)]
    label = matrix[:, 0] * matrix[:, 1] + random.normal(size=len(matrix)) > 0
    table = pl.DataFrame({name: matrix[:, at] for at, name in enumerate(names)})
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # How good it is does not matter here.
        fitted = make_pipeline(StandardScaler(), MLPClassifier(HIDDEN, random_state=7, max_iter=5)).set_output(
            transform="default"
        )
        fitted.fit(table, label)
    scaler, network = fitted[0], fitted[1]
    steps = [Numeric(name, None, float(scaler.mean_[at]), float(scaler.scale_[at])) for at, name in enumerate(names)]
    layers = Network(tuple(zip(network.coefs_, network.intercepts_, strict=True)), "logistic")
    pipeline = Pipeline(tuple(steps))
    inputs = [{"name": name, "type": "float", "source": "request", "nullable": True} for name in names]
    signature = Signature.model_validate({"inputs": inputs, "output": "probability"})
    evaluator = OnnxEvaluator(signature, pipeline, onnx_of(pipeline, layers, "probability"))
    figures = []
    for rows in (1, 64):
        tables = [table[at * rows : (at + 1) * rows] for at in range(DIFFERENT)]
        columns = [{name: some[name].to_numpy() for name in names} for some in tables]
        with one_thread():
            value, yardstick = frame.pairs(
                pairs, timer(evaluator.predict, columns), timer(lambda some: fitted.predict_proba(some)[:, 1], tables)
            )
        label_ = f"network {'-'.join(map(str, HIDDEN))}, {rows} row{'s' * (rows > 1)}: ONNX Runtime"
        figures.append(frame.figure(label_, value, "µs", yardstick=("scikit-learn", yardstick)))
    every = {name: table[name].to_numpy() for name in names}
    with one_thread():
        apart = np.abs(evaluator.predict(every) - fitted.predict_proba(table)[:, 1]).max()
    figures.append(frame.figure("network: largest difference", float(apart), "", at_most=1e-5))
    alone = np.array([evaluator.predict_row(row) for row in matrix[:500].tolist()])
    other = float(np.count_nonzero(alone != evaluator.predict(every)[:500]))
    figures.append(frame.figure("network: of 500 rows alone, other bits in", other, "rows", at_most=0))
    return figures
