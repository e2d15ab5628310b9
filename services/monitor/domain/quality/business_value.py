"""What a version's answers were worth on the rows whose truth is known: outcomes times what they are declared to be worth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from services.monitor.domain.quality.words import Worth

if TYPE_CHECKING:
    import numpy.typing as npt

    from tenon.core.specs.monitor import BusinessValue

    Floats = npt.NDArray[np.float64]

_Z95 = 1.959963984540054
DEFAULT_THRESHOLD = 0.5


def price_answers(
    version: int, score: Floats, value: Floats, declared: BusinessValue, threshold: float | None
) -> Worth | None:
    """The worth of labelled rows, which are finite, with the 95 % interval that as many other rows of this kind would give; None
    without rows. `threshold` is the model's own, which the declared one outranks."""
    rows = len(score)
    if not rows:
        return None
    if declared.per_unit_of_error is not None:
        worth = declared.per_unit_of_error * np.abs(score - value)
        return _worth(version, declared.unit, worth, None, [0, 0, 0, 0], None, "")
    cut = (
        declared.threshold if declared.threshold is not None else DEFAULT_THRESHOLD if threshold is None else threshold
    )
    per = np.array(declared.per_answer)
    said, true = score >= cut, value == 1
    # True positive, false positive, false negative, true negative.
    kind = np.where(said, np.where(true, 0, 1), np.where(true, 2, 3))
    counts = np.bincount(kind, minlength=4)
    positives = int(true.sum())
    always = positives * per[0] + (rows - positives) * per[1]
    never = positives * per[2] + (rows - positives) * per[3]
    without: tuple[float, Literal["yes", "no"]] = (float(never), "no") if never >= always else (float(always), "yes")
    return _worth(version, declared.unit, per[kind], cut, counts.tolist(), *without)


def _worth(
    version: int, unit: str, worth: Floats, threshold: float | None, counts: list[int], without: float | None,
    answer: Literal["yes", "no", ""],
) -> Worth:  # fmt: skip
    rows, total = len(worth), float(worth.sum())
    half = _Z95 * float(worth.std(ddof=1)) * math.sqrt(rows) if rows > 1 else math.inf
    text = f"{total:,.0f} {unit} on {rows:,} answers whose truth is known ({total - half:,.0f} to {total + half:,.0f})"
    if without is not None:
        more = total - without
        words = "more" if more >= 0 else "less"
        text += f", {abs(more):,.0f} {words} than always saying {answer}"
    return Worth(
        version, unit, rows, total, total - half, total + half, total / rows, threshold,
        counts[0], counts[1], counts[2], counts[3], without, answer, text,
    )  # fmt: skip
