"""The engine of versions that are neither a forest nor linear: the bundle's own ONNX form, answered by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tenon.bundle.onnx_model import OnnxModel
from tenon.bundle.pipeline import Columns, Numeric, Pipeline
from tenon.core.errors import Invalid
from tenon.core.manifest import Signature

FloatArray = npt.NDArray[np.float64]
BLOCK = 16
"""Rows of one call of the runtime, always. It works in steps of several rows, and an incomplete last step may give other
bits (measured: 22 of 997 rows); in blocks a row's answer does not depend on how many others were asked with it."""
_SESSION_BYTES = 400_000
"""What a session takes beside its graph, measured."""


class OnnxEvaluator:
    """Answers rows, as `Evaluator` does. Thread-safe: nothing changes after construction."""

    def __init__(self, signature: Signature, pipeline: Pipeline, graph: bytes) -> None:
        """Raises `Invalid`: PIPELINE_INVALID, ENGINE_NOT_INSTALLED, ONNX_INVALID, or ENGINE_UNFIT where a row's answer
        depends on its neighbours on this machine."""
        known = {item.name for item in signature.inputs if item.source in ("request", "history")}
        for column in pipeline.columns:
            if column not in known:
                raise Invalid("PIPELINE_INVALID", f"the pipeline reads {column!r}, which the signature does not have")
        self.signature = signature
        self.pipeline = pipeline
        self._model = OnnxModel(pipeline, graph)
        self._texts = {step.column for step in pipeline.transforms if not isinstance(step, Numeric)}
        self.nbytes = len(graph) + _SESSION_BYTES
        self._check_places()

    @property
    def kernel(self) -> str:
        """What computes the answers: the runtime and its version."""
        return self._model.runtime

    @property
    def reads(self) -> tuple[str, ...]:
        """See `Evaluator.reads`."""
        return () if self._texts else self.pipeline.columns

    @property
    def row_reads(self) -> tuple[str, ...]:
        """See `Evaluator.row_reads`."""
        return self.pipeline.columns

    def predict(self, columns: Columns) -> FloatArray:
        """See `Evaluator.predict`."""
        names = self.pipeline.columns
        rows = len(columns[names[0]]) if names else 0
        for name in names:
            if len(columns[name]) != rows:
                raise ValueError(f"column {name!r} has {len(columns[name])} rows, not {rows}")
        if rows == BLOCK:
            return self._model.predict(columns)
        padded = {name: self._padded(name, columns[name], -rows % BLOCK) for name in names}
        out = np.empty(rows + -rows % BLOCK)
        for at in range(0, rows, BLOCK):
            out[at : at + BLOCK] = self._model.predict({name: padded[name][at : at + BLOCK] for name in names})
        return out[:rows]

    def predict_row(self, values: Sequence[Any]) -> float:
        """See `Evaluator.predict_row`."""
        names = self.pipeline.columns
        if len(values) != len(names):
            raise ValueError(f"the row has {len(values)} values, not {len(names)}")
        return float(self.predict({name: [value] for name, value in zip(names, values, strict=True)})[0])

    def predict_matrix(self, matrix: FloatArray) -> FloatArray:
        """See `Evaluator.predict_matrix`."""
        return self.predict({name: matrix[:, at] for at, name in enumerate(self.pipeline.columns)})

    def _padded(self, name: str, values: npt.NDArray[Any] | list[Any], more: int) -> npt.NDArray[Any]:
        kind = object if name in self._texts else np.float64
        padded = np.empty(len(values) + more, kind)
        padded[: len(values)] = values
        padded[len(values) :] = None if kind is object else 0.0
        return padded

    def _check_places(self) -> None:
        """That the place in a block does not matter holds for every machine we know; this finds out for the one we are
        on, because nothing would tell otherwise."""
        numbers = np.linspace(-3.0, 3.0, BLOCK)
        columns: dict[str, Any] = {
            name: np.full(BLOCK, None, object) if name in self._texts else numbers * (1.0 + at / 7.0)
            for at, name in enumerate(self.pipeline.columns)
        }
        back = self.predict({name: values[::-1] for name, values in columns.items()})[::-1]
        if not np.array_equal(self.predict(columns), back, equal_nan=True):
            raise Invalid("ENGINE_UNFIT", f"{self.kernel} answers a row differently by its place among others here")
