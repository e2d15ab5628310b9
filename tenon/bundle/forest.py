"""A flat forest of XGBoost's trees, evaluated in numpy with the same bits as XGBoost itself.

XGBoost adds float32 leaves to the float32 base margin in the order of the trees; so does this. A split sends x left
when float32(x) < threshold, and a missing value to the split's default side.

Trick: each row is looked at through a vector twice as wide as its features, first with missing values as -inf and then
with missing values as +inf. A split whose default is left reads the first half and one whose default is right the
second, so that one gather and one comparison decide for present and missing values alike.
"""

from __future__ import annotations

import ctypes
import functools
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tenon.core.errors import Invalid

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]

_ARRAYS = ("features", "base_margin", "objective", "offsets", "left", "right", "feature", "threshold", "default_left")
_OBJECTIVES = {
    "binary:logistic": "logistic",
    "reg:logistic": "logistic",
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
}
_CELLS = 1 << 16
"""Rows are evaluated in chunks of about this many (tree, row) cells, so that the work stays in the cache."""


@dataclass(frozen=True)
class Forest:
    """Trees as flat arrays. A node is a leaf when `left` is -1; then `threshold` holds its value."""

    features: int
    base_margin: np.float32
    objective: str
    offsets: npt.NDArray[np.int32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: Float32Array
    default_left: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        _check(self)

    @functools.cached_property
    def _layout(self) -> _Layout:
        """What numpy walks; made when it is first asked, for where the compiled kernel serves it is never needed."""
        return _lay_out(self)

    @property
    def trees(self) -> int:
        """How many trees there are."""
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """Bytes that its arrays take in memory."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))

    def margin(self, matrix: FloatArray) -> Float32Array:
        """The raw margins, float32, of a (rows, features) matrix with NaN for missing.

        Bit-equal to `Booster.predict(DMatrix(matrix), output_margin=True)`, for one row and for many.
        """
        rows = len(matrix)
        if matrix.shape[1] != self.features:
            raise ValueError(f"the forest takes {self.features} features, the matrix has {matrix.shape[1]}")
        out = np.empty(rows, np.float32)
        step = max(1, _CELLS // max(1, self.trees))
        for start in range(0, rows, step):
            out[start : start + step] = self._margin(matrix[start : start + step])
        return out

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Probabilities (logistic objectives) or values, as float64 of XGBoost's float32 answer."""
        margin = self.margin(matrix)
        if self.objective == "identity":
            return margin.astype(np.float64)
        return sigmoid32(margin).astype(np.float64)

    def _margin(self, matrix: FloatArray) -> Float32Array:
        rows, width, layout = len(matrix), self.features, self._layout
        values = np.empty((rows, 2 * width), np.float32)
        low, high = values[:, :width], values[:, width:]
        low[:] = matrix
        high[:] = low
        missing = np.isnan(low)
        if missing.any():
            low[missing] = -np.inf
            high[missing] = np.inf
        flat = values.ravel()
        trees = self.trees
        total = np.empty((trees + 1, rows), np.float32)
        total[0] = self.base_margin
        if rows == 1:
            node = layout.roots
            for _ in range(layout.depth):
                node = layout.child.take(node) - (flat.take(layout.gather.take(node)) < layout.split.take(node))
            total[1:, 0] = layout.leaf.take(node)
        else:
            base = np.arange(0, rows * 2 * width, 2 * width)
            node = np.repeat(layout.roots, rows)
            base = np.tile(base, trees)
            for _ in range(layout.depth):
                place = layout.gather.take(node)
                place += base
                node = layout.child.take(node) - (flat.take(place) < layout.split.take(node))
            total[1:] = layout.leaf.take(node).reshape(trees, rows)
        # An accumulation is strictly sequential, as XGBoost's additions are; a reduction may add in pairs.
        np.add.accumulate(total, axis=0, out=total)
        last: Float32Array = total[-1].copy()
        return last

    def to_npz(self) -> bytes:
        """The forest as `forest.npz`: stored, not deflated, and with the same bytes for the same forest."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name in _ARRAYS:
                value = getattr(self, name)
                array = np.frombuffer(value.encode(), np.uint8) if name == "objective" else np.asarray(value)
                member = io.BytesIO()
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
                info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                info.create_system = 3
                archive.writestr(info, member.getvalue())
        return buffer.getvalue()

    @classmethod
    def from_npz(cls, data: bytes) -> Forest:
        """The forest of a `forest.npz`. Raises `Invalid` (FOREST_INVALID)."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                infos = archive.infolist()
                if any(info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data) for info in infos):
                    raise ValueError("its arrays must be stored, not compressed")
                if sorted(info.filename for info in infos) != sorted(f"{name}.npy" for name in _ARRAYS):
                    raise ValueError("it does not hold the arrays of a forest")
                arrays = {
                    name: np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
                    for name in _ARRAYS
                }
            return cls(
                int(arrays["features"]),
                np.float32(arrays["base_margin"][()]),
                arrays["objective"].astype(np.uint8).tobytes().decode("ascii"),
                *(np.ascontiguousarray(arrays[name], kind) for name, kind in _KINDS.items()),
            )
        except (ValueError, TypeError, KeyError, EOFError, OverflowError, zipfile.BadZipFile, MemoryError) as err:
            raise Invalid("FOREST_INVALID", f"forest.npz is not valid: {err}") from None

    @classmethod
    def from_booster_json(cls, model: Mapping[str, Any], *, iterations: int | None = None) -> Forest:
        """The forest of XGBoost's JSON model, `json.loads(booster.save_raw("json"))`; needs no xgboost.

        `iterations` keeps only the first boosting rounds (`best_iteration + 1` after early stopping).
        Raises `Invalid` (FOREST_UNSUPPORTED) for what is not a plain forest with one output: dart, linear boosters,
        several classes or targets, categorical splits, other objectives.
        """
        learner = model["learner"]
        booster, params = learner["gradient_booster"], learner["learner_model_param"]
        name = learner["objective"]["name"]
        if booster.get("name") != "gbtree":
            raise _unsupported(f"booster {booster.get('name')!r}")
        if name not in _OBJECTIVES:
            raise _unsupported(f"objective {name!r}")
        if int(params.get("num_class", 0)) > 1 or int(params.get("num_target", 1)) > 1:
            raise _unsupported("several outputs")
        trees = booster["model"]["trees"]
        if iterations is not None:
            parallel = int(booster["model"]["gbtree_model_param"].get("num_parallel_tree", 1) or 1)
            trees = trees[: iterations * parallel]
        for tree in trees:
            if any(tree.get("split_type", ())) or int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
                raise _unsupported("categorical splits or leaves with several values")
        offsets = np.cumsum([0, *(len(tree["left_children"]) for tree in trees)], dtype=np.int32)
        objective = _OBJECTIVES[name]
        return cls(
            int(params["num_feature"]),
            _base_margin(params["base_score"], objective),
            objective,
            offsets,
            _joined(trees, "left_children", np.int32),
            _joined(trees, "right_children", np.int32),
            _joined(trees, "split_indices", np.int32),
            _joined(trees, "split_conditions", np.float32),
            _joined(trees, "default_left", np.bool_),
        )


_KINDS: dict[str, Any] = {
    "offsets": np.int32,
    "left": np.int32,
    "right": np.int32,
    "feature": np.int32,
    "threshold": np.float32,
    "default_left": np.bool_,
}


def sigmoid32(margin: Float32Array) -> Float32Array:
    """XGBoost's float32 sigmoid: 1 / (exp(-x) + 1 + 1e-16), with -x at most 88.7 and each step in float32."""
    power = np.minimum(-margin, np.float32(88.7))
    denominator = _expf(power) + np.float32(1) + np.float32(1e-16)
    answer: Float32Array = np.float32(1) / denominator
    return answer


def _check(forest: Forest) -> None:
    """Raises `ValueError` when the trees are not trees. What passes is one: each node but the roots has one parent,
    which stands before it in the same tree."""
    count, trees = len(forest.left), forest.trees
    if forest.features < 0 or forest.objective not in set(_OBJECTIVES.values()) or not np.isfinite(forest.base_margin):
        raise ValueError("features, objective or base margin are not valid")
    offsets = forest.offsets.astype(np.intp)
    if trees < 0 or offsets.ndim != 1 or offsets[0] != 0 or offsets[-1] != count or np.any(np.diff(offsets) < 1):
        raise ValueError("tree offsets are not valid")
    arrays = (forest.left, forest.right, forest.feature, forest.threshold, forest.default_left)
    if any(array.shape != (count,) for array in arrays) or not np.all(np.isfinite(forest.threshold)):
        raise ValueError("node arrays differ in length or hold values that are not finite")
    inner = np.flatnonzero(forest.left >= 0)
    tree_of = np.repeat(np.arange(trees), np.diff(offsets))[inner]
    start, end = offsets[:-1][tree_of], offsets[1:][tree_of]
    children = np.concatenate((forest.left[inner] + start, forest.right[inner] + start))
    if np.any(children <= np.tile(inner, 2)) or np.any(children >= np.tile(end, 2)):
        raise ValueError("a node's child is not a later node of its tree")
    parents = np.bincount(children, minlength=count)
    parents[offsets[:-1]] += 1
    if np.any(parents != 1):
        raise ValueError("some nodes hang on no tree, or on two parents")
    if np.any(forest.feature[inner] < 0) or np.any(forest.feature[inner] >= forest.features):
        raise ValueError("a split's feature does not exist")


class _Layout(NamedTuple):
    """The trees renumbered level by level, so that a right child stands just after its left sibling."""

    roots: IntArray
    gather: IntArray
    split: Float32Array
    child: IntArray
    leaf: Float32Array
    depth: int


def _lay_out(forest: Forest) -> _Layout:
    count, offsets = len(forest.left), forest.offsets.astype(np.intp)
    start = np.repeat(offsets[:-1], np.diff(offsets))
    leaf = forest.left < 0
    left, right = forest.left + start, forest.right + start
    level = offsets[:-1]
    levels = [level]
    while len(parents := level[~leaf[level]]):
        level = np.column_stack((left[parents], right[parents])).ravel()
        levels.append(level)
    order = np.concatenate(levels)
    place = np.empty(count, np.intp)
    place[order] = np.arange(count)
    feature = np.where(forest.default_left, forest.feature, forest.feature + forest.features).astype(np.intp)
    # A leaf leads to itself: nothing is less than NaN, so its walk always takes `child`, which is the leaf.
    child = np.where(leaf, np.arange(count), right)
    return _Layout(
        place[offsets[:-1]],
        np.where(leaf, 0, feature)[order],
        np.where(leaf, np.float32(np.nan), forest.threshold).astype(np.float32)[order],
        place[child][order],
        np.where(leaf, forest.threshold, np.float32(0)).astype(np.float32)[order],
        len(levels) - 1,
    )


def _joined(trees: list[Mapping[str, Any]], key: str, kind: Any) -> npt.NDArray[Any]:
    parts = [np.asarray(tree[key]).astype(kind) for tree in trees]
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _base_margin(text: str, objective: str) -> np.float32:
    """XGBoost keeps the base score as text, since 3.1 as a list (`[2.86E-1]`), in the space of the answer."""
    scores = [np.float32(part) for part in str(text).strip("[] ").split(",")]
    if len(scores) != 1:
        raise _unsupported("several base scores")
    score = scores[0]
    if objective == "identity":
        return score
    if not 0 < score < 1:
        raise _unsupported(f"base score {text}")
    odds = np.float32(np.float32(1) / score - np.float32(1))
    return np.float32(-_logf(odds))


@functools.cache
def _c_function(name: str) -> Callable[[float], float] | None:
    """A float function of the C library, the very one that XGBoost calls: numpy's may differ in the last bit."""
    try:
        function = getattr(ctypes.PyDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes, function.restype = [ctypes.c_float], ctypes.c_float
    answer: Callable[[float], float] = function
    return answer


def _expf(values: Float32Array) -> Float32Array:
    expf = _c_function("expf")
    if expf is not None:
        return np.fromiter(map(expf, values.tolist()), np.float32, len(values))
    # Within half an ulp, as the C library is for almost every value.
    return np.exp(values.astype(np.float64)).astype(np.float32)


def _logf(value: np.float32) -> np.float32:
    logf = _c_function("logf")
    return np.float32(logf(float(value)) if logf is not None else np.log(np.float64(value)))


def _unsupported(what: str) -> Invalid:
    return Invalid("FOREST_UNSUPPORTED", f"the forest evaluator does not serve {what}")
