"""The ONNX form of a version: one graph from named columns to the answer, made of our own pipeline and model.

Preprocessing is float64, and only the trees are given float32, as XGBoost is: a graph that scales in float32 moves
values across tree thresholds. Everything is an operator of opset 17 and ai.onnx.ml 3, which all common runtimes have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tenon.bundle import Forest, Linear, Numeric, OneHot, Ordinal, Pipeline
from tenon.bundle.onnx_model import METADATA, missing_word, unknown_word

Array = npt.NDArray[Any]
OPSETS = {"": 17, "ai.onnx.ml": 3}
IR_VERSION = 8  # of opset 17; the newest one that onnx would write is refused by older runtimes.
ROWS = "rows"
SPLIT, LEAF = "BRANCH_LT", "LEAF"


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron in float64: weights and biases layer by layer, ReLU between, then the link."""

    layers: tuple[tuple[Array, Array], ...]
    link: str


def onnx_of(pipeline: Pipeline, model: Forest | Linear | Network, output: str) -> bytes:
    """The graph as `model.onnx`; equal models give equal bytes.

    Each column is an input of shape (rows, 1): numbers and booleans float64 with NaN for missing, strings as text. What
    stands for a missing or an unknown string is in the model's metadata, under `tenon`. The output, float64 (rows, 1), is named as
    in the signature.
    """
    graph = _Graph()
    matrix = _preprocess(graph, pipeline)
    if isinstance(model, Forest):
        answer = _forest(graph, model, matrix)
    elif isinstance(model, Linear):
        answer = _link(graph, model.link, _linear(graph, model, matrix))
    else:
        answer = _link(graph, model.link, _network(graph, model, matrix))
    graph.add("Identity", [answer], output)
    texts = {step.column for step in pipeline.transforms if not isinstance(step, Numeric)}
    inputs = [
        helper.make_tensor_value_info(
            name, TensorProto.STRING if name in texts else TensorProto.DOUBLE, [ROWS, 1]
        )
        for name in pipeline.columns
    ]  # fmt: skip
    outputs = [helper.make_tensor_value_info(output, TensorProto.DOUBLE, [ROWS, 1])]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "tenon", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        ir_version=IR_VERSION,
        producer_name="tenon",
    )
    about = {
        "missing": {name: missing_word(pipeline, name) for name in texts},
        "unknown": {name: unknown_word(pipeline, name) for name in texts},
    }
    helper.set_model_props(made, {METADATA: json.dumps(about, sort_keys=True)})
    onnx.checker.check_model(made)
    data: bytes = made.SerializeToString(deterministic=True)
    return data


class _Graph:
    """Nodes and constants, with names that are never an input's."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(
        self, operator: str, inputs: Sequence[str], output: str = "", *, domain: str = "", **attributes: Any
    ) -> str:
        name = output or f"/{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def constant(self, value: Any, kind: Any = np.float64) -> str:
        name = f"/c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def cast(self, value: str, kind: int) -> str:
        return self.add("Cast", [value], to=kind)


def _preprocess(graph: _Graph, pipeline: Pipeline) -> str:
    """The float64 matrix (rows, width), as `Pipeline.transform` makes it."""
    parts: list[str] = []
    together: list[Numeric] = []
    for step in pipeline.transforms:
        if isinstance(step, Numeric):
            together.append(step)
            if not step.indicator:
                continue
        if together:
            parts.append(_numbers(graph, together))
            together = []
        if isinstance(step, Numeric):
            parts.append(graph.cast(graph.add("IsNaN", [step.column]), TensorProto.DOUBLE))
        elif isinstance(step, OneHot):
            place = _place(graph, step, _imputed(step, missing_word(pipeline, step.column)))
            places = graph.constant(np.arange(len(step.categories)).reshape(1, -1), np.int64)
            parts.append(graph.cast(graph.add("Equal", [place, places]), TensorProto.DOUBLE))
        else:
            parts.append(_rank(graph, step, missing_word(pipeline, step.column)))
    if together:
        parts.append(_numbers(graph, together))
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, axis=1)


def _numbers(graph: _Graph, steps: list[Numeric]) -> str:
    values = graph.add("Concat", [step.column for step in steps], axis=1)
    impute = [np.nan if step.impute is None else step.impute for step in steps]
    if not np.all(np.isnan(impute)):
        values = graph.add("Where", [graph.add("IsNaN", [values]), graph.constant([impute]), values])
    mean, scale = [step.mean or 0.0 for step in steps], [1.0 if step.scale is None else step.scale for step in steps]
    if any(mean) or any(item != 1.0 for item in scale):
        values = graph.add("Div", [graph.add("Sub", [values, graph.constant([mean])]), graph.constant([scale])])
    return values


def _place(graph: _Graph, step: OneHot | Ordinal, further: Mapping[str, int]) -> str:
    """Each row's level as its number, -1 for one that is not known."""
    numbers = {level: number for number, level in enumerate(step.categories)} | dict(further)
    for level in numbers:
        if "\0" in level or any("\ud800" <= letter <= "\udfff" for letter in level):
            raise ValueError(f"a level of {step.column!r} has a character that ONNX text cannot hold")
    return graph.add(
        "LabelEncoder", [step.column], domain="ai.onnx.ml",
        keys_strings=list(numbers), values_int64s=list(numbers.values()), default_int64=-1,
    )  # fmt: skip


def _imputed(step: OneHot, missing: str) -> dict[str, int]:
    """The level that a missing value counts as, if there is one."""
    return {missing: step.categories.index(step.impute)} if step.impute in step.categories else {}


def _rank(graph: _Graph, step: Ordinal, missing: str) -> str:
    """Ranks are looked up in a table, whose last entry is also that of -1: the unknown."""
    values = [*map(float, range(len(step.categories))), step.missing, step.unknown]
    table = graph.constant([np.nan if value is None else value for value in values])
    return graph.add("Gather", [table, _place(graph, step, {missing: len(step.categories)})], axis=0)


def _forest(graph: _Graph, forest: Forest, matrix: str) -> str:
    """XGBoost begins with the base margin and adds the leaves in the order of the trees, in float32. The runtime begins
    with nothing and adds `base_values` last, so the base margin is the first tree, of one leaf."""
    counts = np.diff(forest.offsets)
    inner = forest.left >= 0
    node = np.arange(len(forest.left)) - np.repeat(forest.offsets[:-1], counts)
    tree = np.repeat(np.arange(1, forest.trees + 1), counts)
    leaves = np.flatnonzero(~inner)
    attributes: dict[str, Any] = {
        "nodes_treeids": [0, *tree.tolist()],
        "nodes_nodeids": [0, *node.tolist()],
        "nodes_featureids": [0, *np.where(inner, forest.feature, 0).tolist()],
        "nodes_values": [0.0, *np.where(inner, forest.threshold, np.float32(0)).tolist()],
        "nodes_modes": [LEAF, *np.where(inner, SPLIT, LEAF).tolist()],
        "nodes_truenodeids": [0, *np.where(inner, forest.left, 0).tolist()],
        "nodes_falsenodeids": [0, *np.where(inner, forest.right, 0).tolist()],
        "nodes_missing_value_tracks_true": [0, *(forest.default_left & inner).astype(int).tolist()],
        "target_treeids": [0, *tree[leaves].tolist()],
        "target_nodeids": [0, *node[leaves].tolist()],
        "target_ids": [0] * (len(leaves) + 1),
        "target_weights": [float(forest.base_margin), *forest.threshold[leaves].tolist()],
    }
    margin = graph.add(
        "TreeEnsembleRegressor", [graph.cast(matrix, TensorProto.FLOAT)], domain="ai.onnx.ml",
        n_targets=1, aggregate_function="SUM", post_transform="NONE", **attributes,
    )  # fmt: skip
    if forest.objective == "logistic":
        margin = _sigmoid32(graph, margin)
    return graph.cast(margin, TensorProto.DOUBLE)


def _sigmoid32(graph: _Graph, margin: str) -> str:
    """XGBoost's: 1 / (exp(-x) + 1 + 1e-16) in float32. The exponential is taken in float64 and rounded, because a
    runtime's own float32 one is only nearly right, and its Sigmoid another formula."""
    power = graph.add("Min", [graph.add("Neg", [margin]), graph.constant(88.7, np.float32)])
    wide = graph.add("Exp", [graph.cast(power, TensorProto.DOUBLE)])
    one = graph.constant(1, np.float32)
    below = graph.add("Add", [graph.cast(wide, TensorProto.FLOAT), one])
    below = graph.add("Add", [below, graph.constant(1e-16, np.float32)])
    return graph.add("Div", [one, below])


def _linear(graph: _Graph, model: Linear, matrix: str) -> str:
    """The terms are added from left to right by a running sum, as our evaluator adds them; a product would not."""
    terms = graph.add("Mul", [matrix, graph.constant([model.coefficients])])
    first = np.zeros((1, model.features))
    first[0, 0] = model.intercept
    sums = graph.add("CumSum", [graph.add("Add", [graph.constant(first), terms]), graph.constant(1, np.int64)])
    return graph.add("Gather", [sums, graph.constant([-1], np.int64)], axis=1)


def _network(graph: _Graph, model: Network, matrix: str) -> str:
    values = matrix
    for index, (weights, biases) in enumerate(model.layers):
        if index:
            values = graph.add("Relu", [values])
        values = graph.add("MatMul", [values, graph.constant(weights)])
        values = graph.add("Add", [values, graph.constant(biases.reshape(1, -1))])
    return values


def _link(graph: _Graph, link: str, margin: str) -> str:
    if link == "identity":
        return margin
    # The exponential of a number that is never positive, as in our evaluator: no overflow on either side.
    one = graph.constant(1)
    power = graph.add("Exp", [graph.add("Neg", [graph.add("Abs", [margin])])])
    above = graph.add("Where", [graph.add("GreaterOrEqual", [margin, graph.constant(0)]), one, power])
    return graph.add("Div", [above, graph.add("Add", [one, power])])
