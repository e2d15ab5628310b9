"""What each input adds to a version's margin: Shapley values, exact, in log-odds (binary) or in the answer's own unit.

A forest is explained by path-dependent TreeSHAP (Lundberg et al. 2018 and 2020), as XGBoost's `pred_contribs=True` does it:
what is not known of a row goes both ways at a split, in the proportion of the training rows' cover. A linear model is
explained by coefficient times (transformed value - its mean over the training rows). One-hot columns, indicators and the
like are added up to the input they were made of. base + sum of contributions = margin.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tenon.bundle.archive import COVER, WITHOUT_HISTORY, Bundle
from tenon.bundle.compiled import explainer_type
from tenon.bundle.evaluator import Evaluator, load_evaluator, load_without_history
from tenon.bundle.forest import Forest
from tenon.bundle.linear import Linear
from tenon.bundle.pipeline import Columns, Numeric, OneHot, Pipeline
from tenon.bundle.tree_shap import NumpyExplainer
from tenon.core.errors import Invalid, Precondition
from tenon.core.manifest import CategoricalBaseline, NumericBaseline, TrainingBaseline

FloatArray = npt.NDArray[np.float64]
CoverArray = npt.NDArray[np.float32]
Space = Literal["log-odds", "value"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of some rows: one column of `contributions` for each of `columns`."""

    columns: tuple[str, ...]
    contributions: FloatArray
    base: float
    margin: FloatArray
    space: Space


class ForestExplainer:
    """TreeSHAP of a forest's matrix columns, by the compiled kernel where it could be built, else by numpy."""

    def __init__(self, forest: Forest, cover: CoverArray) -> None:
        if cover.shape != forest.left.shape:
            raise Invalid("COVER_INVALID", f"the forest has {len(forest.left)} nodes, and covers for {len(cover)}")
        make = explainer_type()
        self._features = forest.features
        try:
            if make is None:
                self._explainer: Any = NumpyExplainer(forest, cover)
            else:
                arrays = (forest.offsets, forest.left, forest.right, forest.feature, forest.threshold)
                base = float(forest.base_margin)
                self._explainer = make(forest.features, base, *arrays, forest.default_left, cover)
        except ValueError as err:
            raise Invalid("COVER_INVALID", f"the forest cannot be explained: {err}") from None

    @property
    def nbytes(self) -> int:
        """Bytes it takes in memory."""
        size: int = self._explainer.nbytes()
        return size

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """(rows, features + 1) for a matrix with NaN for missing; the last column is the base."""
        out = np.empty((len(matrix), self._features + 1))
        self._explainer.contributions(np.ascontiguousarray(matrix, np.float32), out)
        return out


@dataclass(frozen=True)
class Explainer:
    """Explains rows as `Evaluator.predict` takes them. Thread-safe: nothing changes after construction."""

    evaluator: Evaluator
    forest: ForestExplainer | None
    means: FloatArray | None
    """Of a linear model: each matrix column's mean over the training rows."""
    _order: npt.NDArray[np.intp] = field(init=False, repr=False)
    _starts: npt.NDArray[np.intp] = field(init=False, repr=False)
    _filled: npt.NDArray[np.intp] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        place = {name: at for at, name in enumerate(self.columns)}
        owner = [place[step.column] for step in self.evaluator.pipeline.transforms for _ in range(step.width)]
        order = np.argsort(owner, kind="stable")
        filled, starts = np.unique(np.array(owner, np.intp)[order], return_index=True)
        for name, value in (("_order", order), ("_starts", starts), ("_filled", filled)):
            object.__setattr__(self, name, value.astype(np.intp))

    @property
    def columns(self) -> tuple[str, ...]:
        """The inputs that contributions are given for, in the pipeline's order."""
        return self.evaluator.pipeline.columns

    @property
    def space(self) -> Space:
        """What the contributions are measured in."""
        model = self.evaluator.model
        link = model.objective if isinstance(model, Forest) else model.link
        return "log-odds" if link == "logistic" else "value"

    @property
    def nbytes(self) -> int:
        """Roughly how many bytes it takes in memory, beside the evaluator."""
        return self.forest.nbytes if self.forest is not None else 8 * self.evaluator.pipeline.width

    def explain(self, columns: Columns) -> Explanation:
        """The contributions of every row. `columns` are as for `Evaluator.predict`."""
        matrix, model = self.evaluator.pipeline.transform(columns), self.evaluator.model
        parts: FloatArray
        if isinstance(model, Linear):
            means = np.zeros(len(model.coefficients)) if self.means is None else self.means
            weights = np.asarray(model.coefficients, np.float64)
            parts, base = (matrix - means) * weights, model.intercept + float(np.sum(weights * means))
        elif self.forest is not None:
            raw = self.forest.contributions(matrix)
            parts, base = raw[:, :-1], float(raw[0, -1]) if len(raw) else 0.0
        else:
            raise unavailable("it has no explainer")
        out = np.zeros((len(matrix), len(self.columns)))
        if len(self._order):
            out[:, self._filled] = np.add.reduceat(parts[:, self._order], self._starts, axis=1)
        return Explanation(self.columns, out, base, self.evaluator.margin(columns), self.space)


def load_explainer(bundle: Bundle, evaluator: Evaluator | None = None, *, without_history: bool = False) -> Explainer:
    """The explainer of a verified bundle, or of the second model in it, which has no history.

    Raises `Precondition` (EXPLANATION_UNAVAILABLE) for one that cannot explain, and `Invalid` (COVER_INVALID) for a
    damaged one.
    """
    engine, cover = bundle.manifest.engine, COVER
    if without_history:
        ladder = bundle.manifest.fallback
        if ladder is None or ladder.without_history is None:
            raise unavailable("it has no model without history")
        engine, cover = ladder.without_history.engine, WITHOUT_HISTORY + COVER
    if engine not in ("tenon-forest", "tenon-linear"):
        raise unavailable("contributions are computed for forests and linear models only")
    if evaluator is None:
        loaded = load_without_history(bundle) if without_history else load_evaluator(bundle)
        assert isinstance(loaded, Evaluator)  # noqa: S101 the ladder has it, and the engine is one of these two
        evaluator = loaded
    model = evaluator.model
    if isinstance(model, Linear):
        return Explainer(evaluator, None, training_means(evaluator.pipeline, bundle.manifest.baseline))
    if cover not in bundle.files:
        raise unavailable("its bundle was made before covers were kept, which forests are explained by")
    return Explainer(evaluator, ForestExplainer(model, cover_from_npy(bundle.files[cover])), None)


def unavailable(why: str) -> Precondition:
    """What is raised when a version cannot be explained."""
    return Precondition(
        "EXPLANATION_UNAVAILABLE", f"this version cannot be explained: {why}", hint="train and release a new version"
    )


def training_means(pipeline: Pipeline, baseline: TrainingBaseline) -> FloatArray:
    """The mean over the training rows of each column of the pipeline's matrix, from what the manifest says of them.

    Raises `Precondition` (EXPLANATION_UNAVAILABLE) when the manifest does not say it.
    """
    means: list[float] = []
    for step in pipeline.transforms:
        column = baseline.columns.get(step.column)
        if isinstance(step, Numeric) and isinstance(column, NumericBaseline):
            present = column.rows - column.missing
            total, rows = (column.mean or 0.0) * present, present
            if step.impute is not None:
                total, rows = total + step.impute * column.missing, column.rows
            centre, scale = step.mean or 0.0, 1.0 if step.scale is None else step.scale
            means.append(((total / rows if rows else centre) - centre) / scale)
            if step.indicator:
                means.append(column.missing / max(1, column.rows))
        elif isinstance(step, OneHot) and isinstance(column, CategoricalBaseline):
            if column.other and any(level not in column.counts for level in step.categories if level != step.impute):
                raise unavailable(f"the shares of some levels of {step.column!r} in training are not known")
            for level in step.categories:
                counted = column.counts.get(level, 0) + (column.missing if level == step.impute else 0)
                means.append(counted / max(1, column.rows))
        else:
            raise unavailable(f"what {step.column!r} was like in training is not known")
    return np.array(means, np.float64)


def cover_of_booster_json(model: Mapping[str, Any]) -> CoverArray:
    """The cover (sum of the Hessians, `sum_hess`) of each node of XGBoost's JSON model, in the order of `Forest`'s nodes."""
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    parts = [np.asarray(tree["sum_hessian"], np.float32) for tree in trees]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def cover_to_npy(cover: CoverArray) -> bytes:
    """The bundle's `cover.npy`."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(cover, np.float32), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def cover_from_npy(data: bytes) -> CoverArray:
    """The cover of a `cover.npy`. Raises `Invalid` (COVER_INVALID)."""
    try:
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        if array.ndim != 1 or array.dtype != np.float32:
            raise ValueError("it does not hold one float32 for each node")
    except (ValueError, TypeError, KeyError, EOFError, OverflowError, MemoryError) as err:
        raise Invalid("COVER_INVALID", f"cover.npy is not valid: {err}") from None
    return np.ascontiguousarray(array)
