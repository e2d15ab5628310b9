"""What serves thousands of models: an evaluator reduced to its compiled kernel."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from tenon.bundle.compiled import Kernel
from tenon.bundle.evaluator import Evaluator
from tenon.bundle.onnx_evaluator import OnnxEvaluator
from tenon.bundle.pipeline import Columns

FloatArray = npt.NDArray[np.float64]


class LeanEvaluator:
    """`Evaluator.predict` and its kin, with the same bits, without the arrays that the kernel was made from.

    They lie in the bundle, for who explains or compares. Thread-safe: nothing changes after construction.
    """

    __slots__ = ("_first", "_kernel", "kernel", "nbytes", "predict_row", "reads", "row_reads")

    def __init__(self, evaluator: Evaluator, kernel: Kernel) -> None:
        self._kernel = kernel
        self._first = next(iter(evaluator.pipeline.columns), None)
        self.kernel = "c"
        self.reads = evaluator.reads
        self.row_reads = evaluator.row_reads
        # Without a function of our own in between: this is the shortest way for one row.
        self.predict_row = kernel.predict_row
        lookups = evaluator.pipeline.lookups
        texts = sum(sys.getsizeof(index) + sum(map(sys.getsizeof, index)) for index in lookups)
        self.nbytes = kernel.nbytes() + texts

    def predict(self, columns: Columns) -> FloatArray:
        """See `Evaluator.predict`."""
        out = np.empty(0 if self._first is None else len(columns[self._first]))
        self._kernel.predict(columns, out, False)
        return out

    def predict_matrix(self, matrix: FloatArray) -> FloatArray:
        """See `Evaluator.predict_matrix`."""
        out = np.empty(len(matrix))
        self._kernel.predict_matrix(matrix, out, False)
        return out


def lean(evaluator: Evaluator | OnnxEvaluator) -> Evaluator | OnnxEvaluator | LeanEvaluator:
    """The evaluator without what serving does not need; itself, where it has no kernel (numpy or ONNX Runtime answers)."""
    if not isinstance(evaluator, Evaluator) or evaluator.compiled is None:
        return evaluator
    return LeanEvaluator(evaluator, evaluator.compiled)
