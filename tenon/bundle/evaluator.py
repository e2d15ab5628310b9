"""A bundle's pipeline and model as one thing that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tenon.bundle.archive import FOREST, LINEAR, ONNX, PIPELINE, WITHOUT_HISTORY, Bundle
from tenon.bundle.compiled import Kernel, compile_kernel
from tenon.bundle.forest import Forest
from tenon.bundle.linear import Linear
from tenon.bundle.onnx_evaluator import OnnxEvaluator
from tenon.bundle.pipeline import Columns, Pipeline
from tenon.core.errors import Invalid
from tenon.core.manifest import Signature

FloatArray = npt.NDArray[np.float64]
MODEL_INPUT_SOURCES = ("request", "history")


@dataclass(frozen=True)
class Evaluator:
    """Answers rows. Thread-safe: nothing changes after construction.

    The compiled kernel answers where it could be built, else numpy; `kernel` says which. The bits are the same.
    """

    signature: Signature
    pipeline: Pipeline
    model: Forest | Linear
    _kernel: Kernel | None = field(init=False, repr=False, compare=False)
    _first: str | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = {item.name for item in self.signature.inputs if item.source in MODEL_INPUT_SOURCES}
        for column in self.pipeline.columns:
            if column not in known:
                raise Invalid("PIPELINE_INVALID", f"the pipeline reads {column!r}, which the signature does not have")
        if self.pipeline.width != self.model.features:
            raise Invalid(
                "PIPELINE_INVALID",
                f"the pipeline makes {self.pipeline.width} columns, the model takes {self.model.features}",
            )

        try:
            kernel = compile_kernel(self.pipeline, self.model)
        except (ValueError, OverflowError) as err:
            raise Invalid("FOREST_INVALID", f"pipeline and model cannot be compiled: {err}") from None
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_first", next(iter(self.pipeline.columns), None))

    @property
    def compiled(self) -> Kernel | None:
        """The compiled kernel, where it could be built."""
        return self._kernel

    @property
    def kernel(self) -> Literal["c", "numpy"]:
        """What computes the answers: the compiled kernel, or numpy."""
        return "numpy" if self._kernel is None else "c"

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns in the order of `predict_matrix`; empty for a model that reads text, which has no matrix."""
        return () if self.pipeline.lookups else self.pipeline.columns

    @property
    def row_reads(self) -> tuple[str, ...]:
        """The columns in the order of `predict_row`, text among them."""
        return self.pipeline.columns

    @property
    def nbytes(self) -> int:
        """Roughly how many bytes the model takes in memory."""
        own = self.model.nbytes if isinstance(self.model, Forest) else 8 * self.model.features
        return own + (0 if self._kernel is None else self._kernel.nbytes())

    def predict(self, columns: Columns) -> FloatArray:
        """One float64 for each row: a probability, or a value.

        Numbers and booleans are float64 arrays with NaN for missing, strings object arrays of str or None; lists with
        None for missing do as well. Only request and history inputs are read. One row or many at once: the answers
        are the same bits.
        """
        if self._kernel is None:
            return self.model.predict(self.pipeline.transform(columns))
        out = np.empty(self._rows(columns))
        self._kernel.predict(columns, out, False)
        return out

    def margin(self, columns: Columns) -> FloatArray:
        """What `predict` gives before the objective's link, of the same code; for a forest, exactly float32 numbers."""
        if self._kernel is None:
            return self.model.margin(self.pipeline.transform(columns)).astype(np.float64)
        out = np.empty(self._rows(columns))
        self._kernel.predict(columns, out, True)
        return out

    def predict_row(self, values: Sequence[Any]) -> float:
        """The answer for one row: a list or tuple of float, str or None, in the order of `pipeline.columns`.

        The fastest way for one row; the bits are those of `predict`.
        """
        if self._kernel is not None:
            return self._kernel.predict_row(values)
        names = self.pipeline.columns
        if len(values) != len(names):
            raise ValueError(f"the row has {len(values)} values, not {len(names)}")
        return float(self.predict({name: [value] for name, value in zip(names, values, strict=True)})[0])

    def predict_matrix(self, matrix: FloatArray) -> FloatArray:
        """`predict` for a float64 matrix in the order of `pipeline.columns`, where all of them are numbers."""
        if self._kernel is None:
            return self.predict({name: matrix[:, at] for at, name in enumerate(self.pipeline.columns)})
        out = np.empty(len(matrix))
        self._kernel.predict_matrix(matrix, out, False)
        return out

    def _rows(self, columns: Columns) -> int:
        return 0 if self._first is None else len(columns[self._first])


def load_evaluator(bundle: Bundle) -> Evaluator | OnnxEvaluator:
    """The evaluator of a verified bundle, of the engine that its manifest names and no other. Raises `Invalid` when its
    parts do not fit together, or the engine is not installed here (ENGINE_NOT_INSTALLED)."""
    return _load(bundle, "", bundle.manifest.engine)


def load_without_history(bundle: Bundle) -> Evaluator | OnnxEvaluator | None:
    """The second model, which reads request columns alone; None where the bundle has none. Raises as `load_evaluator`."""
    ladder = bundle.manifest.fallback
    if ladder is None or ladder.without_history is None:
        return None
    evaluator = _load(bundle, WITHOUT_HISTORY, ladder.without_history.engine)
    request = {item.name for item in evaluator.signature.inputs if item.source == "request"}
    for column in evaluator.pipeline.columns:
        if column not in request:
            raise Invalid("PIPELINE_INVALID", f"the model without history reads {column!r}, which is history")
    return evaluator


def _load(bundle: Bundle, prefix: str, engine: str) -> Evaluator | OnnxEvaluator:
    pipeline = Pipeline.from_json(bundle.files[prefix + PIPELINE])
    if engine == "onnxruntime":
        return OnnxEvaluator(bundle.manifest.signature, pipeline, bundle.files[prefix + ONNX])
    model: Forest | Linear
    if engine == "tenon-forest":
        model = Forest.from_npz(bundle.files[prefix + FOREST])
    else:
        model = Linear.from_json(bundle.files[prefix + LINEAR])
    return Evaluator(bundle.manifest.signature, pipeline, model)
