"""The pipeline computes what scikit-learn's ColumnTransformer computes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tenon.bundle import Linear, Numeric, OneHot, Ordinal, Pipeline
from tenon.core.errors import Invalid

NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-1000, 1000).map(float))
WORDS = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "ä", ""]))


def as_matrix(numbers: list[float | None], words: list[str | None]) -> np.ndarray:
    """Two columns as scikit-learn takes them."""
    matrix = np.empty((len(numbers), 2), object)
    matrix[:, 0] = [np.nan if value is None else value for value in numbers]
    matrix[:, 1] = words
    return matrix


def as_columns(numbers: list[float | None], words: list[str | None]) -> dict[str, np.ndarray]:
    """Two columns as the evaluator takes them."""
    strings = np.empty(len(words), object)
    strings[:] = words
    return {"x": np.array([np.nan if value is None else value for value in numbers]), "w": strings}


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(NUMBERS, WORDS), min_size=4, max_size=30),
    asked=st.lists(st.tuples(NUMBERS, WORDS), min_size=1, max_size=20),
)
def test_imputing_scaling_and_one_hot_have_the_bits_of_scikit_learn(
    rows: list[tuple[float | None, str | None]], asked: list[tuple[float | None, str | None]]
) -> None:
    """Median, standard scaler and one-hot with a category for missing, on unseen categories too."""
    numbers, words = [list(column) for column in zip(*rows, strict=True)]
    if all(value is None for value in numbers):
        numbers[0] = 1.0
    if all(value is None for value in words):
        # scikit-learn drops a column that has no value at all.
        words[0] = "a"
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    text = make_pipeline(
        SimpleImputer(missing_values=None, strategy="constant", fill_value="__missing__"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    transformer = ColumnTransformer([("n", numeric, [0]), ("w", text, [1])], sparse_threshold=0)
    transformer.fit(as_matrix(numbers, words))
    scaler = transformer.named_transformers_["n"][-1]
    median = transformer.named_transformers_["n"][0].statistics_[0]
    categories = tuple(transformer.named_transformers_["w"][-1].categories_[0])
    pipeline = Pipeline(
        (
            Numeric("x", impute=float(median), mean=float(scaler.mean_[0]), scale=float(scaler.scale_[0])),
            OneHot("w", categories, impute="__missing__"),
        )
    )
    again = Pipeline.from_json(pipeline.to_json())
    asked_numbers, asked_words = [list(column) for column in zip(*asked, strict=True)]
    expected = transformer.transform(as_matrix(asked_numbers, asked_words)).astype(np.float64)
    found = again.transform(as_columns(asked_numbers, asked_words))
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()
    for row in range(len(asked)):
        alone = again.transform(as_columns(asked_numbers[row : row + 1], asked_words[row : row + 1]))
        assert alone.tobytes() == found[row : row + 1].tobytes()


def test_ordinal_numbers_are_those_of_scikit_learn() -> None:
    """Known, unknown and missing categories."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    encoder.fit(np.array([["b"], ["a"], ["c"]], object))
    words = ["c", "a", "zz", None, "b"]
    expected = encoder.transform(np.array([[word] for word in words], object))
    pipeline = Pipeline((Ordinal("w", ("a", "b", "c")),))
    found = pipeline.transform({"w": np.array(words, object)})
    np.testing.assert_array_equal(found, expected)


def test_missing_numbers_pass_through_where_trees_take_them() -> None:
    """Without `impute` a missing value stays missing; an indicator says where it was."""
    pipeline = Pipeline((Numeric("x"), Numeric("y", impute=2.0, mean=1.0, scale=4.0, indicator=True)))
    found = pipeline.transform({"x": np.array([np.nan, 1.0]), "y": np.array([np.nan, 9.0])})
    np.testing.assert_array_equal(found, [[np.nan, 0.25, 1.0], [1.0, 2.0, 0.0]])


def test_one_hot_of_a_missing_value_without_its_own_category_is_all_zeros() -> None:
    """As for an unknown one."""
    found = Pipeline((OneHot("w", ("a", "b")),)).transform({"w": np.array([None, "b", "q"], object)})
    np.testing.assert_array_equal(found, [[0, 0], [0, 1], [0, 0]])


def test_a_linear_model_agrees_with_scikit_learn_and_with_itself() -> None:
    """Within 1e-12 of scikit-learn; one row alone has the bits it has among many."""
    random = np.random.default_rng(3)
    data = random.normal(size=(500, 7))
    label = data @ random.normal(size=7) + random.normal(size=500) > 0
    fitted = LogisticRegression().fit(data, label)
    model = Linear.from_json(Linear(tuple(fitted.coef_[0]), float(fitted.intercept_[0]), "logistic").to_json())
    np.testing.assert_allclose(model.predict(data), fitted.predict_proba(data)[:, 1], rtol=0, atol=1e-12)
    ridge = Ridge().fit(data, data[:, 0] * 3 + 1)
    plain = Linear(tuple(ridge.coef_), float(ridge.intercept_), "identity")
    np.testing.assert_allclose(plain.predict(data), ridge.predict(data), rtol=0, atol=1e-12)
    many = model.predict(data)
    assert all(model.predict(data[row : row + 1])[0] == many[row] for row in range(500))


def test_a_logistic_model_does_not_overflow() -> None:
    """At both far ends the probability is exact."""
    model = Linear((1.0,), 0.0, "logistic")
    np.testing.assert_array_equal(model.predict(np.array([[-1e6], [0.0], [1e6]])), [0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "numeric", "column": 3},
        {"kind": "numeric", "column": "x", "mean": "1"},
        {"kind": "numeric", "column": "x", "mean": True},
        {"kind": "onehot", "column": "x", "categories": "abc"},
        {"kind": "onehot", "column": "x", "categories": ["a", "a"]},
        {"kind": "hash", "column": "x"},
        {"kind": "numeric", "column": "x", "extra": 1},
        {"column": "x"},
    ],
)
def test_a_wrong_pipeline_is_refused(change: dict[str, object]) -> None:
    """Each ends in PIPELINE_INVALID with the reason."""
    with pytest.raises(Invalid) as caught:
        Pipeline.from_json(json.dumps({"transforms": [change]}))
    assert caught.value.reason == "PIPELINE_INVALID"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"transforms": 3}', '{"transforms": [1]}', "[" * 5000])
def test_what_is_no_pipeline_at_all_is_refused(text: str) -> None:
    """Also when it is not JSON or nested without end."""
    with pytest.raises(Invalid):
        Pipeline.from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"coefficients": [1e999], "intercept": 0, "link": "identity"}',
        '{"coefficients": [1], "intercept": 0, "link": "x"}',
    ],
)
def test_a_wrong_linear_model_is_refused(text: str) -> None:
    """Missing parts, infinite numbers and unknown links."""
    with pytest.raises(Invalid):
        Linear.from_json(text)
