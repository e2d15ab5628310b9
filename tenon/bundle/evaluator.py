"""A bundle's pipeline and model as one thing that answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tenon.bundle.archive import FOREST, LINEAR, PIPELINE, Bundle
from tenon.bundle.forest import Forest
from tenon.bundle.linear import Linear
from tenon.bundle.pipeline import Columns, Pipeline
from tenon.core.errors import Invalid
from tenon.core.manifest import Signature

FloatArray = npt.NDArray[np.float64]
MODEL_INPUT_SOURCES = ("request", "history")


@dataclass(frozen=True)
class Evaluator:
    """Answers rows. Thread-safe: nothing changes after construction."""

    signature: Signature
    pipeline: Pipeline
    model: Forest | Linear

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

    @property
    def nbytes(self) -> int:
        """Roughly how many bytes the model takes in memory."""
        return self.model.nbytes if isinstance(self.model, Forest) else 8 * self.model.features

    def predict(self, columns: Columns) -> FloatArray:
        """One float64 for each row: a probability, or a value.

        Numbers and booleans are float64 arrays with NaN for missing, strings object arrays of str or None; only
        request and history inputs are read. One row or many at once: the answers are the same bits.
        """
        return self.model.predict(self.pipeline.transform(columns))


def load_evaluator(bundle: Bundle) -> Evaluator:
    """The evaluator of a verified bundle. Raises `Invalid` when its parts do not fit together."""
    pipeline = Pipeline.from_json(bundle.files[PIPELINE])
    model: Forest | Linear
    if bundle.manifest.engine == "tenon-forest":
        model = Forest.from_npz(bundle.files[FOREST])
    else:
        model = Linear.from_json(bundle.files[LINEAR])
    return Evaluator(bundle.manifest.signature, pipeline, model)
