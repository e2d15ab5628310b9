"""`make bench-engine`: what evaluating costs by itself, in one process and one thread.

Yardstick: `Booster.inplace_predict` of the same forest on rows that are already a matrix; for a whole pipeline, with
strings and missing values, it is given the matrix that the pipeline makes, so that ours does more than it. Times are of
this thread's processor, so that other programs on the machine count less; each pair is measured in turns.
"""

from __future__ import annotations

import itertools
import json
import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import xgboost as xgb
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder

from tenon.bundle import Evaluator, Forest, Numeric, OneHot, Pipeline
from tenon.bundle.pipeline import Transform
from tenon.core.manifest import Signature
from tests.bench import frame
from tests.bench.engine_onnx import form_figures, network_figures
from tests.bench.explaining import explaining

PAIRS = 15
TREES = 300
DEPTH = 6
TRAIN_ROWS = 20_000
CHECKED_ROWS = 20_000
DIFFERENT = 64
"""Requests in turn, so that a branch predictor does not learn one by heart."""
WORDS = [f"level-{at:02}" for at in range(12)]


class Case:
    """A fitted pipeline and forest, its compiled form, and rows to ask about."""

    def __init__(self, numbers: int, texts: int) -> None:
        random = np.random.default_rng(7)
        rows = TRAIN_ROWS + CHECKED_ROWS
        self.numbers, self.texts = [f"x{at}" for at in range(numbers)], [f"w{at}" for at in range(texts)]
        values = random.normal(size=(rows, numbers))
        label = values[:, 0] * values[:, 1] + values[:, 2] + random.normal(size=rows)
        if texts:
            values[random.random(values.shape) < 0.1] = np.nan
        words = {name: random.choice(WORDS, rows) for name in self.texts}
        for column in words.values():
            label += 1.0 * (column == WORDS[3]) - 1.0 * (column == WORDS[5])
        columns: dict[str, Any] = {name: values[:, at].tolist() for at, name in enumerate(self.numbers)}
        table = pl.DataFrame(columns | {name: column.tolist() for name, column in words.items()})
        train, self.table = table[:TRAIN_ROWS], table[TRAIN_ROWS:]
        encoder = OneHotEncoder(categories=[WORDS[:11]] * texts, handle_unknown="ignore", sparse_output=False)
        self.transformer = ColumnTransformer(
            [("n", "passthrough", self.numbers), ("w", encoder, self.texts)], sparse_threshold=0
        ).fit(train)
        params = {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1, "tree_method": "hist"}
        self.booster = xgb.train(params, xgb.DMatrix(self._matrix(train), label[:TRAIN_ROWS] > 0), TREES)
        self.booster.set_param({"nthread": 1})
        steps: list[Transform] = [
            *(Numeric(name) for name in self.numbers),
            *(OneHot(name, tuple(WORDS[:11])) for name in self.texts),
        ]
        self.model: dict[str, Any] = json.loads(self.booster.save_raw("json"))
        self.forest = Forest.from_booster_json(self.model)
        self.evaluator = self.evaluator_of(Pipeline(tuple(steps)))
        # The forest by itself, on the finished matrix.
        self.alone = self.evaluator_of(Pipeline(tuple(Numeric(f"m{at}") for at in range(self.forest.features))))

    def requests(self, rows: int) -> list[pl.DataFrame]:
        """Tables of so many rows."""
        return [self.table[at * rows : (at + 1) * rows] for at in range(DIFFERENT)]

    def columns(self, table: pl.DataFrame) -> dict[str, Any]:
        """As the predictor holds a request."""
        columns: dict[str, Any] = {
            name: np.array([np.nan if value is None else value for value in table[name].to_list()])
            for name in self.numbers
        }
        for name in self.texts:
            words = np.empty(table.height, object)
            words[:] = table[name].to_list()
            columns[name] = words
        return columns

    def row(self, table: pl.DataFrame) -> list[Any]:
        """As a JSON body holds one row."""
        return [None if isinstance(value, float) and value != value else value for value in table.row(0)]  # noqa: PLR0124

    def _matrix(self, table: pl.DataFrame) -> np.ndarray:
        return np.asarray(self.transformer.transform(table), np.float64)

    def fitted(self, table: pl.DataFrame) -> np.ndarray:
        """What a team deploys today: the fitted transformer on a DataFrame, then the booster."""
        answer: np.ndarray = self.booster.inplace_predict(self._matrix(table))
        return answer

    def evaluator_of(self, pipeline: Pipeline) -> Evaluator:
        """The forest behind a pipeline."""
        inputs = [
            {"name": name, "type": "string" if name in self.texts else "float", "source": "request", "nullable": True}
            for name in pipeline.columns
        ]
        signature = Signature.model_validate({"inputs": inputs, "output": "probability"})
        return Evaluator(signature, pipeline, self.forest)

    def largest_difference(self) -> float:
        """From the fitted pipeline, over all rows, together and, for some, alone."""
        expected = self.fitted(self.table).astype(np.float64)
        together = self.evaluator.predict(self.columns(self.table))
        alone = np.array([self.evaluator.predict_row(self.row(self.table[at])) for at in range(2000)])
        return float(max(np.abs(together - expected).max(), np.abs(alone - expected[:2000]).max()))


def main() -> None:
    """Measure and report."""
    logging.basicConfig()
    figures: list[frame.Figure] = []
    floats, whole = Case(30, 0), Case(20, 10)
    if floats.evaluator.kernel != "c":
        raise SystemExit("the compiled evaluator is not built: make install says why")
    for name, case, alone_goal in (("30 floats", floats, 3.0), ("whole pipeline", whole, None)):
        for rows in (1, 64):
            frame.tell(f"{name}, {rows} rows …")
            figures += _measured(name, case, rows, alone_goal if rows == 1 else None)
        figures.append(frame.figure(f"{name}: largest difference", case.largest_difference(), "", at_most=0))
        figures += form_figures(name, case, _timer, PAIRS)
        figures.append(_loading(name, case))
        assert case.evaluator._kernel is not None
        size = case.evaluator._kernel.nbytes() / 1e6
        figures.append(frame.figure(f"{name}: compiled model", size, "MB", at_most=0.25))
    frame.tell("explaining …")
    figures += explaining(floats.model, floats.booster, floats._matrix(floats.table))
    frame.tell("a network …")
    figures += network_figures(_timer, PAIRS)
    notes = [
        f"{TREES} trees, depth {DEPTH}; whole pipeline: 20 numbers, 10 % missing, and 10 strings of 12 levels, one of "
        "them unseen; differences over 20,000 rows",
        "times are µs of processor time of one thread for a request; the yardstick of the whole pipeline is the booster "
        "alone, given the finished matrix; that of the ONNX form is ours in C on the same columns",
    ]
    frame.report("engine", "The compiled evaluator, in process", figures, notes)


def _measured(name: str, case: Case, rows: int, goal: float | None) -> list[frame.Figure]:
    tables = case.requests(rows)
    columns, matrices = [case.columns(table) for table in tables], [case._matrix(table) for table in tables]
    evaluator = case.evaluator
    booster = _timer(case.booster.inplace_predict, matrices)
    ours: dict[str, tuple[Callable[[], float], float | None]] = {
        "C, columns": (_timer(evaluator.predict, columns), None)
    }
    if rows == 1:
        values = [case.row(table) for table in tables]
        ours["C, a row"] = (_timer(evaluator.predict_row, values), goal)
    if not case.texts:
        ours["C, matrix"] = (_timer(evaluator.predict_matrix, matrices), goal)
    ours["numpy, columns"] = (_timer(lambda x: evaluator.model.predict(evaluator.pipeline.transform(x)), columns), None)
    ours["scikit-learn on a DataFrame"] = (_timer(case.fitted, tables), None)
    figures = []
    if case.texts:
        figures.append(_share(name, case, rows, columns, matrices))
    for way, (measure, most) in ours.items():
        value, yardstick = frame.pairs(PAIRS, measure, booster)
        limit = 1.5 * yardstick if case.texts and way.startswith("C") else most
        figures.append(
            frame.figure(f"{name}, {rows} row{'s' * (rows > 1)}: {way}", value, "µs", yardstick=("booster", yardstick),
                         at_most=None if limit is None else round(limit, 1))
        )  # fmt: skip
    return figures


def _share(name: str, case: Case, rows: int, columns: list[Any], matrices: list[Any]) -> frame.Figure:
    """The whole pipeline against our own forest without one: what imputing, lookups and one-hot add."""
    if rows == 1:
        whole = _timer(case.evaluator.predict_row, [case.row(table) for table in case.requests(rows)])
    else:
        whole = _timer(case.evaluator.predict, columns)
    forest = _timer(case.alone.predict_matrix, matrices)
    value, yardstick = frame.pairs(PAIRS, whole, forest)
    label = f"{name}, {rows} row{'s' * (rows > 1)}: C, against our forest alone"
    return frame.figure(label, value, "µs", yardstick=("forest", yardstick), at_most=round(1.5 * yardstick, 1))


def _loading(name: str, case: Case) -> frame.Figure:
    """From the bundle's bytes to an evaluator that answers."""
    forest, pipeline = case.forest.to_npz(), case.evaluator.pipeline.to_json()

    def load() -> float:
        started = time.thread_time()
        Evaluator(case.evaluator.signature, Pipeline.from_json(pipeline), Forest.from_npz(forest))
        return (time.thread_time() - started) * 1e3

    middle = statistics.median(load() for _ in range(PAIRS))
    return frame.figure(f"{name}: parse, check and compile", middle, "ms", at_most=100)


def _timer(ask: Callable[[Any], object], requests: list[Any]) -> Callable[[], float]:
    """Processor time of one call, in µs: the median over some rounds of so many calls that the clock can tell."""
    turn = itertools.cycle(requests)
    started = time.thread_time()
    for _ in range(5):
        ask(next(turn))
    calls = max(5, int(0.004 / max((time.thread_time() - started) / 5, 1e-6)))

    def measure() -> float:
        rounds = []
        for _ in range(3):
            some = list(itertools.islice(turn, calls))
            started = time.thread_time()
            for request in some:
                ask(request)
            rounds.append((time.thread_time() - started) / calls * 1e6)
        return statistics.median(rounds)

    return measure


if __name__ == "__main__":
    main()
