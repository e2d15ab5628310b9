"""The gate of the ONNX form: on every held-out row it must answer as the fitted pipeline does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import onnx
import polars as pl

from services.trainer.domain.ports import Floats
from services.trainer.engine.preprocessing import columns_of
from tenon.bundle import Pipeline
from tenon.bundle.archive import MAX_MEMBER_BYTES
from tenon.bundle.onnx_model import OnnxModel
from tenon.core.errors import Invalid
from tenon.core.manifest import Form

TOLERANCE = 1e-5
ROWS_AT_ONCE = 1 << 16


def judge_onnx(
    task: Literal["binary", "regression"],
    pipeline: Pipeline,
    build: Callable[[], bytes],
    expected: Floats,
    rows: pl.DataFrame,
    threshold: float = 0.5,
) -> tuple[bytes, Form]:
    """The graph's bytes and what the gate says of it; no bytes when it does not belong in the bundle.

    Binary: the same label (probability at least `threshold`) and a probability at most 1e-5 off. Regression: at most 1e-5 off,
    as a share of the expected answer or, for answers near zero, of the median size of all.
    """
    try:
        data = build()
        if len(data) > MAX_MEMBER_BYTES:
            return b"", Form(included=False, reason=f"it has {len(data)} bytes; a bundle takes {MAX_MEMBER_BYTES}")
        model = OnnxModel(pipeline, data)
        parts = [model.predict(columns_of(rows[at : at + ROWS_AT_ONCE])) for at in range(0, rows.height, ROWS_AT_ONCE)]
    except (Invalid, ValueError, onnx.checker.ValidationError) as err:
        return b"", Form(included=False, reason=f"it could not be made: {err}")
    form = compare(task, expected, np.concatenate(parts), threshold)
    return (data if form.included else b""), form


def compare(task: Literal["binary", "regression"], expected: Floats, given: Floats, threshold: float = 0.5) -> Form:
    """The verdict on given answers. An answer that is no number is outside whatever was expected."""
    size = np.ones(len(expected))
    if task == "regression":
        size = np.maximum(np.abs(expected), np.median(np.abs(expected)))
    difference = np.abs(given - expected)
    outside = int(np.count_nonzero(~(difference <= TOLERANCE * size)))
    labels = int(np.count_nonzero((given >= threshold) != (expected >= threshold))) if task == "binary" else 0
    largest = float(difference.max()) if np.all(np.isfinite(difference)) else None
    worst = "an answer is no number" if largest is None else f"the largest difference is {largest:.3g}"
    problems = [f"{outside} of {len(expected)} held-out rows are further off than allowed"] if outside else []
    if labels:
        problems.append(f"{labels} have another label")
    return Form(
        included=not problems,
        reason=f"{' and '.join(problems)}; {worst}" if problems else "",
        rows=len(expected),
        tolerance="labels equal and |Δp| ≤ 1e-5"
        if task == "binary"
        else "|Δ| ≤ 1e-5 of the answer, or of the median size of all answers where that is larger",
        rows_outside=outside,
        labels_differing=labels,
        max_difference=largest,
    )
