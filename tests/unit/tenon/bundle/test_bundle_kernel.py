"""The compiled evaluator answers with the bits of the numpy one, and of XGBoost behind a fitted scikit-learn pipeline."""

from __future__ import annotations

import importlib
import json
import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tenon.bundle import Evaluator, Forest, Linear, Numeric, OneHot, Ordinal, Pipeline, compiled
from tenon.bundle.kernel.build import digest_of_sources
from tenon.bundle.pipeline import Transform
from tenon.core.errors import Invalid
from tenon.core.manifest import Signature
from tests.support.properties import examples

ODD = [
    0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, -5e-324, 1e-40, 1.17549435e-38, 3.4028235e38, 3.4028236e38,
    -3.4028235677973366e38, 1e300, -1e300, 1.7976931348623157e308, 0.1, 0.5, 1.0, 16777217.0,
]  # fmt: skip
WORDS = ["a", "b", "c", "ä", "", "a\0b", "\ud800", "日本", "None", "nan"]
PROPERTY = settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))


def random_tree(random: np.random.Generator, depth: int, features: int, full: float) -> tuple[list[Any], ...]:
    """Node arrays of one tree, level by level as XGBoost writes them."""
    left, right, feature, threshold, default = [], [], [], [], []
    level, levels = [0], 0
    count = 1
    while level:
        following = []
        for _ in level:
            inner = levels < depth and features > 0 and random.random() < full
            left.append(count if inner else -1)
            right.append(count + 1 if inner else -1)
            feature.append(int(random.integers(features)) if inner else 0)
            odd = random.random() < 0.3
            value = np.float32(random.choice([0, -0.0, 1e-45, 1e-40, 1, 0.5, 3e38, -3e38])) if odd else random.normal()
            threshold.append(value if inner else random.normal() * 10.0 ** random.integers(-3, 4))
            default.append(bool(random.integers(2)))
            if inner:
                following += [count, count + 1]
                count += 2
        level, levels = following, levels + 1
    return left, right, feature, threshold, default


def random_forest(random: np.random.Generator, features: int, trees: int, depth: int) -> Forest:
    """Trees of any shape, complete ones and lone leaves among them."""
    parts = [
        random_tree(random, int(random.integers(depth + 1)), features, float(random.choice([0.6, 0.9, 1.0])))
        for _ in range(trees)
    ]
    offsets = np.cumsum([0, *(len(part[0]) for part in parts)], dtype=np.int32)
    kinds: tuple[Any, ...] = (np.int32, np.int32, np.int32, np.float32, np.bool_)
    arrays = [np.array([x for part in parts for x in part[at]], kind) for at, kind in enumerate(kinds)]
    objective = str(random.choice(["logistic", "identity"]))
    return Forest(features, np.float32(random.normal()), objective, offsets, *arrays)


def random_pipeline(random: np.random.Generator, columns: int) -> Pipeline:
    """Every kind of transform; some columns are read twice."""
    steps: list[Transform] = []
    for at in range(columns):
        name = f"c{at}"
        for _ in range(int(random.integers(1, 3))):
            if at % 3 < 2:
                impute, mean, scale = (float(random.normal()) if random.integers(2) else None for _ in range(3))
                steps.append(Numeric(name, impute, mean, scale, bool(random.integers(2))))
                continue
            words = tuple(str(word) for word in random.permutation(WORDS)[: random.integers(1, 7)])
            if random.integers(2):
                steps.append(OneHot(name, words, str(random.choice(WORDS)) if random.integers(2) else None))
            else:
                unknown, missing = (float(random.normal()) if random.integers(2) else None for _ in range(2))
                steps.append(Ordinal(name, words, unknown, missing))
    return Pipeline(tuple(steps))


def random_columns(random: np.random.Generator, pipeline: Pipeline, rows: int) -> dict[str, np.ndarray]:
    """Columns with missing and odd values, contiguous or not."""
    columns: dict[str, np.ndarray] = {}
    for step in pipeline.transforms:
        if isinstance(step, Numeric):
            values = random.normal(size=(rows, 2))
            odd = random.random(values.shape) < 0.3
            values[odd] = random.choice(ODD, int(odd.sum()))
            columns[step.column] = values[:, 0] if random.integers(2) else values[:, 0].copy()
        else:
            words = np.empty(rows, object)
            words[:] = [[*WORDS, None, "unseen"][int(i)] for i in random.integers(len(WORDS) + 2, size=rows)]
            columns[step.column] = words
    return columns


def evaluator_of(pipeline: Pipeline, model: Forest | Linear) -> Evaluator:
    """An evaluator, which must be compiled."""
    text = {step.column for step in pipeline.transforms if not isinstance(step, Numeric)}
    inputs = [
        {"name": name, "type": "string" if name in text else "float", "source": "request", "nullable": True}
        for name in pipeline.columns
    ]
    evaluator = Evaluator(Signature.model_validate({"inputs": inputs, "output": "prediction"}), pipeline, model)
    assert evaluator.kernel == "c"
    return evaluator


def part(columns: Mapping[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
    """Some of the rows."""
    return {name: values[rows] for name, values in columns.items()}


def assert_same_bits(evaluator: Evaluator, columns: dict[str, np.ndarray], random: np.random.Generator) -> None:
    """The kernel against numpy: all rows, split anywhere, one by one, as lists, as rows."""
    with np.errstate(all="ignore"):
        matrix = evaluator.pipeline.transform(columns)
        margin = np.asarray(evaluator.model.margin(matrix), np.float64)
        answer = evaluator.model.predict(matrix)
    rows = len(answer)
    same = lambda found, wanted: np.array_equal(_bits(found), _bits(wanted))  # noqa: E731
    assert same(evaluator.margin(columns), margin)
    assert same(evaluator.predict(columns), answer)
    cut = int(random.integers(rows + 1))
    halves = [evaluator.predict(part(columns, some)) for some in (slice(0, cut), slice(cut, rows))]
    assert same(np.concatenate(halves), answer)
    lists = {
        name: [None if isinstance(x, float) and math.isnan(x) else x for x in values.tolist()]
        for name, values in columns.items()
    }
    assert same(evaluator.predict(lists), answer)
    for row in range(min(rows, 12)):
        assert same(evaluator.predict(part(columns, slice(row, row + 1))), answer[row : row + 1])
        values = [lists[name][row] for name in evaluator.pipeline.columns]
        assert same(np.array([evaluator.predict_row(values)]), answer[row : row + 1])


def _bits(values: np.ndarray) -> np.ndarray:
    """Bits, with one NaN for all: what the sign of a NaN is, no arithmetic promises."""
    return np.where(np.isnan(values), np.nan, values).astype(np.float64).view(np.uint64)


@PROPERTY
@given(
    seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 8), trees=st.integers(0, 40), depth=st.integers(0, 12),
    rows=st.integers(0, 70),
)  # fmt: skip
def test_any_pipeline_with_any_forest_has_the_bits_of_numpy(
    seed: int, columns: int, trees: int, depth: int, rows: int
) -> None:
    """Missing and unseen categories, infinities, denormals and huge numbers, shallow and deep trees, any split."""
    random = np.random.default_rng(seed)
    pipeline = random_pipeline(random, columns)
    evaluator = evaluator_of(pipeline, random_forest(random, pipeline.width, trees, min(depth, 400 // (trees + 1))))
    assert_same_bits(evaluator, random_columns(random, pipeline, rows), random)


@PROPERTY
@given(seed=st.integers(0, 2**32 - 1), trees=st.integers(0, 40), depth=st.integers(0, 8), rows=st.integers(0, 140))
def test_vector_instructions_change_no_bit(seed: int, trees: int, depth: int, rows: int) -> None:
    """With each choice that this processor has; shallow forests, and such as have deeper trees among them."""
    random = np.random.default_rng(seed)
    pipeline = random_pipeline(random, 5)
    evaluator = evaluator_of(pipeline, random_forest(random, pipeline.width, trees, min(depth, 400 // (trees + 1))))
    columns = random_columns(random, pipeline, rows)
    use_vectors = importlib.import_module("tenon.bundle.kernel._kernel").use_vectors
    try:
        for most in {use_vectors(-1), 1, 0}:
            use_vectors(most)
            assert_same_bits(evaluator, columns, random)
    finally:
        use_vectors(-1)


@PROPERTY
@given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 8), rows=st.integers(0, 70))
def test_any_linear_model_has_the_bits_of_numpy(seed: int, columns: int, rows: int) -> None:
    """Both links."""
    random = np.random.default_rng(seed)
    pipeline = random_pipeline(random, columns)
    coefficients = tuple((random.normal(size=pipeline.width) * 10.0 ** random.integers(-3, 4)).tolist())
    link = str(random.choice(["logistic", "identity"]))
    evaluator = evaluator_of(pipeline, Linear(coefficients, float(random.normal()), link))
    assert_same_bits(evaluator, random_columns(random, pipeline, rows), random)


@settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), depth=st.integers(1, 12), rounds=st.integers(1, 40), lossguide=st.booleans())
def test_a_fitted_pipeline_and_booster_are_answered_bit_for_bit(
    seed: int, depth: int, rounds: int, lossguide: bool
) -> None:
    """scikit-learn's transformer and XGBoost's `inplace_predict`, on rows with missing and unseen values."""
    random = np.random.default_rng(seed)
    frame = np.empty((400, 4), object)
    frame[:, 0] = random.normal(size=400) * 10.0 ** random.integers(-20, 20)
    frame[:, 1] = random.normal(size=400)
    frame[:, 2] = random.choice(["a", "b", "c"], 400)
    frame[:, 3] = random.choice(["x", "y"], 400)
    frame[random.random(400) < 0.1, 1] = np.nan
    frame[random.random(400) < 0.1, 0] = np.nan
    transformer = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), [0]),
            ("p", "passthrough", [1]),
            ("w", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [2]),
            ("o", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), [3]),
        ],
        sparse_threshold=0,
    )
    dense = transformer.fit_transform(frame).astype(np.float64)
    label = random.random(400) < 0.4
    params = {"objective": "binary:logistic", "max_depth": depth, "nthread": 1, "min_child_weight": 0.1}
    if lossguide:
        params |= {"grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0}
    booster = xgb.train(params, xgb.DMatrix(dense, label=label), rounds)
    scaled = transformer.named_transformers_["n"]
    pipeline = Pipeline(
        (
            Numeric("n", float(scaled[0].statistics_[0]), float(scaled[1].mean_[0]), float(scaled[1].scale_[0])),
            Numeric("p"),
            OneHot("w", ("a", "b", "c")),
            Ordinal("o", ("x", "y")),
        )
    )
    evaluator = evaluator_of(pipeline, Forest.from_booster_json(json.loads(booster.save_raw("json"))))
    asked = frame.copy()
    asked[random.random(400) < 0.2, 2] = "unseen"
    asked[random.random(400) < 0.2, 3] = "unseen"
    asked[random.random(400) < 0.2, 1] = np.nan
    columns = {name: asked[:, at] for at, name in enumerate(pipeline.columns)}
    columns |= {name: columns[name].astype(np.float64) for name in ("n", "p")}
    expected = transformer.transform(asked).astype(np.float64)
    for raw, given_ in (("value", evaluator.predict(columns)), ("margin", evaluator.margin(columns))):
        wanted = booster.inplace_predict(expected, predict_type=raw)
        assert given_.astype(np.float32).tobytes() == wanted.tobytes()
    assert_same_bits(evaluator, part(columns, slice(0, 40)), random)


def test_a_matrix_is_answered_as_its_columns_are() -> None:
    """Also one that is not contiguous."""
    random = np.random.default_rng(5)
    evaluator = evaluator_of(Pipeline((Numeric("b"), Numeric("a"))), random_forest(random, 2, 20, 5))
    matrix = random.normal(size=(50, 5))[::2, 1::2]
    expected = evaluator.predict({"b": matrix[:, 0], "a": matrix[:, 1]})
    assert evaluator.predict_matrix(matrix).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="2 columns"):
        evaluator.predict_matrix(matrix[:, :1])


def test_threads_share_a_kernel() -> None:
    """Long and short calls of many threads at once give the answers that each gives alone."""
    random = np.random.default_rng(6)
    pipeline = random_pipeline(random, 6)
    evaluator = evaluator_of(pipeline, random_forest(random, pipeline.width, 60, 6))
    batches = [random_columns(random, pipeline, rows) for rows in (1, 3000, 17, 900, 2, 5000)]
    expected = [evaluator.predict(batch) for batch in batches]
    wrong: list[int] = []

    def ask() -> None:
        for _ in range(10):
            wrong.extend(
                at for at, batch in enumerate(batches) if evaluator.predict(batch).tobytes() != expected[at].tobytes()
            )

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class _Hostile(str):
    """A word that shortens the list it is in while it is looked up."""

    __slots__ = ("words",)
    words: list[Any]

    def __hash__(self) -> int:
        self.words.clear()
        return 7


def test_calls_that_make_no_sense_are_errors() -> None:
    """Wrong lengths, types, names and arity; a list that changes while it is read."""
    random = np.random.default_rng(7)
    pipeline = Pipeline((Numeric("x"), OneHot("w", ("a",))))
    evaluator = evaluator_of(pipeline, random_forest(random, 2, 3, 3))
    numbers, words = np.zeros(3), np.array(["a", None, "q"], object)
    with pytest.raises(ValueError, match="column 'w' has 2 rows, not 3"):
        evaluator.predict({"x": numbers, "w": words[:2]})
    with pytest.raises(KeyError, match="w"):
        evaluator.predict({"x": numbers})
    for bad in (["q", 1.0, 2.0], [[], 1.0, 2.0], np.zeros((3, 1)), np.array(["1", "q", "2"], object), None, 3):
        with pytest.raises((TypeError, ValueError)):
            evaluator.predict({"x": bad, "w": words})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        evaluator.predict({"x": numbers, "w": [[], [], []]})
    assert evaluator.predict({"x": np.arange(3), "w": words}).tobytes() == evaluator.predict(
        {"x": [0, 1, 2], "w": ("a", None, "q")}  # type: ignore[dict-item]
    ).tobytes()  # fmt: skip
    rows: list[Any] = [(1.0,), "xw", (1.0, []), ("q", "a"), (1.0, "a", 2.0)]
    for row in rows:
        with pytest.raises((TypeError, ValueError)):
            evaluator.predict_row(row)
    hostile = _Hostile("a")
    hostile.words = [hostile, "a", "a"]
    with pytest.raises(IndexError):
        evaluator.predict({"x": numbers, "w": hostile.words})
    kernel = evaluator._kernel
    assert kernel is not None
    for out in (np.empty(3, np.float32), np.empty((3, 1)), np.empty(6)[::2], b"123", np.frombuffer(bytes(24))):
        with pytest.raises((TypeError, ValueError, BufferError)):
            kernel.predict({"x": numbers, "w": words}, out, False)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        kernel.predict_matrix(np.zeros((3, 2)), np.empty(3), False)


@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    changes=st.lists(
        st.tuples(
            st.sampled_from(["offsets", "left", "right", "feature"]), st.floats(0, 1),
            st.one_of(st.integers(-3, 40), st.integers(-(2**31), 2**31 - 1)),
        ), min_size=1, max_size=3,
    ),
)  # fmt: skip
def test_hostile_node_arrays_are_refused_or_harmless(seed: int, changes: list[tuple[str, float, int]]) -> None:
    """Loops, foreign children, features beyond the row: numpy's check and C's own agree, and neither ever crashes."""
    random = np.random.default_rng(seed)
    good = random_forest(random, 3, 5, 3)
    arrays = {name: getattr(good, name).copy() for name in ("offsets", "left", "right", "feature")}
    for name, where, value in changes:
        arrays[name][int(where * (len(arrays[name]) - 1))] = value
    ordered = (arrays["offsets"], arrays["left"], arrays["right"], arrays["feature"], good.threshold, good.default_left)
    make = compiled.kernel_type()
    assert make is not None
    steps = tuple((0, at, 0, False, math.nan, 0.0, 1.0, math.nan, math.nan) for at in range(3))
    try:
        forest = Forest(3, np.float32(0), "identity", *ordered)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            make(("a", "b", "c"), steps, (), (3, 0.0, False, *ordered), None)
        return
    kernel = make(("a", "b", "c"), steps, (), (3, 0.0, False, *ordered), None)
    matrix, out = random.normal(size=(40, 3)), np.empty(40)
    kernel.predict_matrix(matrix, out, True)
    assert out.astype(np.float32).tobytes() == forest.margin(matrix).tobytes()


def test_a_kernel_is_made_of_what_fits_together_only() -> None:
    """Each part by itself: the constructor believes nobody."""
    make = compiled.kernel_type()
    assert make is not None
    number = (0, 0, 0, False, math.nan, 0.0, 1.0, math.nan, math.nan)
    text = (1, 0, 2, False, math.nan, 0.0, 1.0, math.nan, math.nan)
    linear = (np.ones(1), 0.0, False)
    two = (np.ones(2), 0.0, False)
    make(("x",), (number,), (), None, linear)
    make(("w",), (text,), ({"a": 0, "b": 1},), None, two)
    stump = (
        np.array([0, 1], np.int32), np.array([-1], np.int32), np.array([-1], np.int32), np.array([0], np.int32),
        np.array([1], np.float32), np.array([False]),
    )  # fmt: skip
    make(("x",), (number,), (), (1, 0.0, False, *stump), None)
    wrong: list[tuple[Any, ...]] = [
        (("x",), (number,), (), None, None),
        (("x",), (number,), (), (1, 0.0, False, *stump), linear),
        (("x",), (number,), (), None, two),
        (("x",), (number, text), ({"a": 0},), None, (np.ones(3), 0.0, False)),
        (("x", "y"), (number,), (), None, linear),
        (("x",), ((0, 1, *number[2:]),), (), None, linear),
        (("x",), ((3, *number[1:]),), (), None, linear),
        (("x",), ((1, 0, -1, *number[3:]),), ({},), None, linear),
        (("x",), ((1, 0, 2**31 - 1, *number[3:]),), ({},), None, linear),
        (("w",), (text,), ({"a": 2},), None, two),
        (("w",), (text,), ({"a": -1},), None, two),
        (("w",), (text,), (), None, two),
        (("x",), (number,), (), (2, 0.0, False, *stump), None),
        (("x",), (number,), (), (1, math.inf, False, *stump), None),
        (("x",), (number,), (), (1, 0.0, False, stump[0][:0], *stump[1:]), None),
        (("x",), (number,), (), (1, 0.0, False, stump[0].astype(np.int64), *stump[1:]), None),
        (("x",), (number,), (), (1, 0.0, False, *stump[:4], np.array([np.nan], np.float32), stump[5]), None),
        (("x",), (number,), (), (1, 0.0, False, *stump[:5], np.array([False, True])), None),
        (["x"], (number,), (), None, linear),
    ]
    for parts in wrong:
        with pytest.raises((ValueError, TypeError)):
            make(*parts)
    for strange in ((("x",), [number], (), None, linear), (("x",), (3,), (), None, linear), ()):
        with pytest.raises((ValueError, TypeError, SystemError)):
            make(*strange)


def test_a_column_is_a_number_or_text() -> None:
    """Not both."""
    with pytest.raises(Invalid, match="'x'"):
        Pipeline((Numeric("x"), OneHot("x", ("a",))))


def test_without_its_library_numpy_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same bits through the same methods, and `kernel` says so."""
    random = np.random.default_rng(8)
    pipeline = random_pipeline(random, 6)
    with_kernel = evaluator_of(pipeline, random_forest(random, pipeline.width, 20, 4))
    monkeypatch.setattr(compiled, "kernel_type", lambda: None)
    without = Evaluator(with_kernel.signature, with_kernel.pipeline, with_kernel.model)
    assert without.kernel == "numpy"
    columns = random_columns(random, pipeline, 20)
    with np.errstate(all="ignore"):
        assert without.predict(columns).tobytes() == with_kernel.predict(columns).tobytes()
        assert without.margin(columns).tobytes() == with_kernel.margin(columns).tobytes()
        row = [columns[name][3] for name in pipeline.columns]
        assert without.predict_row(row) == with_kernel.predict_row(row)


def test_a_library_from_other_sources_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stale library is as good as none, and a log line says so."""
    monkeypatch.setattr(compiled, "digest_of_sources", lambda: digest_of_sources()[::-1])
    assert compiled.kernel_type.__wrapped__() is None
    assert "built from other sources" in caplog.text
