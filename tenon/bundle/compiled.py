"""The compiled evaluator (tenon/bundle/kernel, C), where it could be built; the numpy one gives the same bits."""

from __future__ import annotations

import functools
import importlib
import logging
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tenon.bundle.forest import Forest
from tenon.bundle.kernel.build import digest_of_sources
from tenon.bundle.linear import Linear
from tenon.bundle.pipeline import Columns, Numeric, OneHot, Pipeline

FloatArray = npt.NDArray[np.float64]
_log = logging.getLogger("tenon.bundle")
_NAN = math.nan


class Kernel(Protocol):
    """A pipeline and its model, compiled. Thread-safe."""

    def predict(self, columns: Columns, out: FloatArray, raw: bool, /) -> None:
        """Answers, or with `raw` margins, of all rows; a column is a float64 or object array, or a list."""
        ...

    def predict_matrix(self, matrix: FloatArray, out: FloatArray, raw: bool, /) -> None:
        """The same of a matrix of numbers, in the order of the pipeline's columns."""
        ...

    def predict_row(self, values: Sequence[Any], /) -> float:
        """The answer for one row, in the order of the pipeline's columns."""
        ...

    def nbytes(self) -> int:
        """Bytes of the compiled model."""
        ...


@functools.cache
def kernel_type() -> Any | None:
    """The compiled type; None, after a logged warning, where there is none or it was built from other sources."""
    try:
        module = importlib.import_module("tenon.bundle.kernel._kernel")
    except ImportError:
        problem = "is not built"
    else:
        built_from: str = module.SOURCE
        if built_from == digest_of_sources():
            return module.Kernel
        problem = "was built from other sources than these"
    _log.warning(
        "the compiled evaluator %s: numpy answers, with the same numbers but slower; reinstall to build it", problem
    )
    return None


def explainer_type() -> Any | None:
    """The compiled type that explains forests; None where `kernel_type` is."""
    return None if kernel_type() is None else importlib.import_module("tenon.bundle.kernel._kernel").Explainer


def compile_kernel(pipeline: Pipeline, model: Forest | Linear) -> Kernel | None:
    """A kernel with the answers of `model.predict(pipeline.transform(columns))`; None where kernels cannot be had.

    Raises `ValueError` when pipeline and model do not fit together, or the forest is none.
    """
    make = kernel_type()
    if make is None:
        return None
    names = pipeline.columns
    place = {name: index for index, name in enumerate(names)}
    steps: list[tuple[int, int, int, bool, float, float, float, float, float]] = []
    for step in pipeline.transforms:
        at = place[step.column]
        if isinstance(step, Numeric):
            impute, mean, scale = _or(step.impute, _NAN), _or(step.mean, 0.0), _or(step.scale, 1.0)
            steps.append((0, at, 0, step.indicator, impute, mean, scale, _NAN, _NAN))
        elif isinstance(step, OneHot):
            steps.append((1, at, len(step.categories), False, _NAN, 0.0, 1.0, _NAN, _NAN))
        else:
            unknown, missing = _or(step.unknown, _NAN), _or(step.missing, _NAN)
            steps.append((2, at, len(step.categories), False, _NAN, 0.0, 1.0, unknown, missing))
    forest = linear = None
    if isinstance(model, Forest):
        arrays = (model.offsets, model.left, model.right, model.feature, model.threshold, model.default_left)
        forest = (model.features, float(model.base_margin), model.objective == "logistic", *arrays)
    else:
        linear = (np.asarray(model.coefficients, np.float64), model.intercept, model.link == "logistic")
    kernel: Kernel = make(names, tuple(steps), pipeline.lookups, forest, linear)
    return kernel


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
