"""The ONNX form of a version, answered by ONNX Runtime: the gate judges it in the trainer, and the predictor serves
with it the models that are neither a forest nor linear.

ONNX Runtime is large, so it is imported only where a bundle needs it; `tenon[onnx]` installs it.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
import numpy.typing as npt

from tenon.bundle.pipeline import Columns, Numeric, Pipeline
from tenon.core.errors import Invalid

FloatArray = npt.NDArray[np.float64]
METADATA = "tenon"
"""The graph's metadata entry with the words of its text columns, as JSON: `{"missing": {column: word}, "unknown": {…}}`."""


def missing_word(pipeline: Pipeline, column: str) -> str:
    """The text that stands for a missing value of a text column, because ONNX knows no missing text: empty, unless
    that is a level."""
    return _new_word("", _levels(pipeline, column))


def unknown_word(pipeline: Pipeline, column: str) -> str:
    """Text that is no level of the column, and does not stand for a missing value."""
    return _new_word("?", {*_levels(pipeline, column), missing_word(pipeline, column)})


class OnnxModel:
    """A graph that was loaded, with the pipeline whose columns it takes. Thread-safe."""

    def __init__(self, pipeline: Pipeline, data: bytes) -> None:
        """Raises `Invalid`: ENGINE_NOT_INSTALLED, or ONNX_INVALID."""
        self._session, self.runtime = _start(data)
        texts = {step.column for step in pipeline.transforms if not isinstance(step, Numeric)}
        self.columns = pipeline.columns
        self._words = {name: _words(pipeline, name) for name in texts}
        wanted = [(item.name, item.type) for item in self._session.get_inputs()]
        given = [(name, "tensor(string)" if name in texts else "tensor(double)") for name in self.columns]
        if wanted != given or len(self._session.get_outputs()) != 1:
            raise Invalid("ONNX_INVALID", "model.onnx does not take the columns of the pipeline")

    def predict(self, columns: Columns) -> FloatArray:
        """One float64 for each row, all rows in one call of the runtime."""
        feed: dict[str, Any] = {}
        for name in self.columns:
            if name in self._words:
                words, unknown = self._words[name]
                values = np.empty((len(columns[name]), 1), object)
                values[:, 0] = [words.get(value, unknown) for value in columns[name]]
                feed[name] = values
            else:
                feed[name] = np.asarray(columns[name], np.float64).reshape(-1, 1)
        try:
            found = self._session.run(None, feed)
        except Exception as err:
            raise ValueError(f"ONNX Runtime did not answer: {type(err).__name__}") from err
        return np.ascontiguousarray(found[0], np.float64).reshape(-1)


def _start(data: bytes) -> tuple[Any, str]:
    """A session, and what answers in it. One thread: with several the runtime adds a forest's leaves in another order."""
    try:
        # Tens of megabytes that most predictors never need.
        import onnxruntime
    except ImportError:
        raise Invalid(
            "ENGINE_NOT_INSTALLED",
            "this version needs ONNX Runtime, which is not installed here: pip install 'tenon[onnx]'",
            hint="pip install 'tenon[onnx]'",
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as err:  # noqa: BLE001 - as above
        raise Invalid("ONNX_INVALID", f"model.onnx cannot be loaded: {type(err).__name__}") from None
    return session, f"onnxruntime {onnxruntime.__version__}"


def _words(pipeline: Pipeline, column: str) -> tuple[dict[Any, str], str]:
    """What a text value goes in as, and what an unknown one goes in as.

    An unknown one as a fixed word, so that the runtime never sees text that it might read otherwise: it ends a string
    at its first zero character.
    """
    words: dict[Any, str] = {level: level for level in _levels(pipeline, column)}
    return {**words, None: missing_word(pipeline, column)}, unknown_word(pipeline, column)


def _new_word(first: str, known: Set[str]) -> str:
    word = first
    while word in known:
        word += "?"
    return word


def _levels(pipeline: Pipeline, column: str) -> set[str]:
    return {
        level
        for step in pipeline.transforms
        if step.column == column and not isinstance(step, Numeric)
        for level in step.categories
    }
