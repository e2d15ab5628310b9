"""Every datatype of the protocol, as JSON and as bytes, and every way to get it wrong."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from services.predictor.domain.tensors import (
    DTYPES,
    Tensor,
    check_content_type,
    check_datatype,
    check_outputs,
    check_shape,
    columns_of,
    from_json,
    from_raw,
    join_bytes,
)
from tenon.core.errors import Invalid


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_each_datatype_is_the_same_as_json_and_as_bytes(datatype: str) -> None:
    """The smallest, the largest and some values between."""
    dtype = DTYPES[datatype]
    if dtype.kind == "b":
        values = np.array([True, False, True])
    elif dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.array([limits.min, 1, limits.max], dtype)
    else:
        values = np.array([0.1, -2.5, float(np.finfo(dtype).max)], dtype)
    raw = from_raw("x", datatype, 3, 1, values.tobytes())
    told = from_json("x", datatype, 3, 1, values.tolist())
    np.testing.assert_array_equal(np.asarray(raw.values), values)
    np.testing.assert_array_equal(np.asarray(told.values, dtype), values)
    nested = from_json("x", datatype, 3, 1, [[value] for value in values.tolist()])
    np.testing.assert_array_equal(np.asarray(nested.values, dtype), values)


def test_text_travels_behind_its_length() -> None:
    """UTF-8, empty elements, and the same back."""
    words = ["a", "", "größe", "日本"]
    data = join_bytes(words)
    assert from_raw("x", "BYTES", 4, 1, data).values == words
    assert from_raw("x", "BYTES", 4, 1, memoryview(data)).values == words


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT64", "BOOL", "BYTES"])
def test_null_is_a_missing_value(datatype: str) -> None:
    """In JSON, for every datatype."""
    values = list(from_json("x", datatype, 2, 1, [None, None]).values)
    assert all(value is None or np.isnan(value) for value in values)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT8", [1.5]), ("INT8", [128]), ("INT8", [-129]), ("UINT8", [-1]), ("UINT64", [-1]), ("INT32", [True]),
        ("INT64", [2**63]), ("INT64", ["1"]), ("BOOL", [1]), ("BOOL", [0.0]), ("BOOL", ["true"]), ("FP64", ["NaN"]),
        ("FP64", [True]), ("FP32", [{}]), ("FP64", [[1, 2]]), ("BYTES", [1]), ("BYTES", [["a", "b"]]), ("FP64", []),
        ("FP64", [1, 2]), ("FP64", "1"), ("FP64", None), ("FP64", {}), ("FP64", [10**400]), ("FP32", [None, None]),
        ("BYTES", [True]), ("FP64", [[]]),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_its_datatype_or_shape_is_refused(datatype: str, data: Any) -> None:
    """By the input's name; nothing is truncated, parsed or padded."""
    with pytest.raises(Invalid, match="'x'"):
        from_json("x", datatype, 1, 1, data)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP64", b"1234567"), ("FP64", b""), ("INT8", b"12"), ("BOOL", b"\x02"), ("BYTES", b""), ("BYTES", b"\x01\0\0"),
        ("BYTES", struct.pack("<I", 5) + b"abc"), ("BYTES", struct.pack("<I", 4_000_000_000)),
        ("BYTES", struct.pack("<I", 1) + b"a" + struct.pack("<I", 1) + b"b"), ("BYTES", struct.pack("<I", 1) + b"\xff"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_tensor_are_refused(datatype: str, data: bytes) -> None:
    """Too few, too many, lengths beyond the end, text that is not UTF-8."""
    with pytest.raises(Invalid, match="'x'"):
        from_raw("x", datatype, 1, 1, data)


@pytest.mark.parametrize("shape", [[-1], [1, -1], ["1", "30"], [1.0], [True], [], [1, 1, 1], [1, 0], [2**40], [None]])
def test_a_shape_that_is_none_is_refused(shape: list[Any]) -> None:
    """Negative, textual, boolean, too deep, empty or endless."""
    with pytest.raises(Invalid):
        check_shape("x", shape)


def test_shapes_of_columns_and_matrices() -> None:
    """[n], [n, 1] and [n, k]."""
    assert [check_shape("x", shape) for shape in ([3], [3, 1], [3, 4], [0])] == [(3, 1), (3, 1), (3, 4), (0, 1)]


@pytest.mark.parametrize(
    ("datatype", "near"), [("FP46", "FP64"), ("fp32", "FP32"), ("STRING", None), (None, None), (7, None)]
)
def test_an_unknown_datatype_is_refused_with_a_proposal(datatype: Any, near: str | None) -> None:
    """Or with the list of all."""
    with pytest.raises(Invalid) as caught:
        check_datatype("x", datatype)
    assert (near or "BYTES") in (caught.value.hint or "")


def test_text_in_a_coat_is_refused() -> None:
    """What MLServer's codecs may wrap text in is not taken literally; other content types only describe."""
    for coat in ("base64", "pd_json"):
        with pytest.raises(Invalid, match=coat) as refused:
            check_content_type("ward", coat)
        assert refused.value.reason == "CONTENT_TYPE_UNSUPPORTED"
    harmless: tuple[object, ...] = ("str", "np", "pd", "datetime", None, 7, [], {})
    for described in harmless:
        check_content_type("ward", described)


def test_columns_must_agree_in_rows_and_be_given_once() -> None:
    """Different lengths, the same name twice, a matrix among columns, and no input at all."""
    one, two, wide = Tensor("a", 1, 1, [1]), Tensor("b", 2, 1, [1, 2]), Tensor("c", 1, 2, [1, 2])
    for wrong in ([one, two], [one, one], [one, wide], []):
        with pytest.raises(Invalid):
            columns_of(wrong)
    rows, columns, matrix = columns_of([one, Tensor("b", 1, 1, [2])])
    assert (rows, list(columns), matrix) == (1, ["a", "b"], None)
    rows, columns, matrix = columns_of([wide])
    assert matrix is not None
    assert (rows, matrix.shape) == (1, (1, 2))
    with pytest.raises(Invalid):
        columns_of([Tensor("c", 1, 2, ["a", 1.0])])


def test_outputs_are_those_asked_for() -> None:
    """The one there is by default; unknown ones are refused with a proposal."""
    assert check_outputs([], "probability") == ["probability"]
    assert check_outputs(["prediction_id", "probability", "prediction_id"], "probability") == [
        "prediction_id",
        "probability",
    ]
    with pytest.raises(Invalid) as caught:
        check_outputs(["probabilty"], "probability")
    assert caught.value.hint == "did you mean 'probability'?"
