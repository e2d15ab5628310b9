"""What the predictor reads from an answer of features."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.clients.features import _history
from services.predictor.domain.ports import HistoryQuery
from tenon.api.features.v1 import features_pb2 as pb

SECOND = 1_000_000
NOON = 1_700_000_000 * SECOND


def test_ages_ends_and_what_cannot_be_told() -> None:
    """By view: when each row's newest event was known, where the data end, and which rows ask for too long ago."""
    answer = pb.GetOnlineFeaturesResponse(features=["visits.cost", "visits.count", "stays.count"])
    first = answer.rows.add(values=[1.0, 2.0, 3.0], statuses=["FEATURE_STATUS_PRESENT"] * 3)
    first.known_until.add().FromMicroseconds(NOON - 40 * SECOND)
    first.known_until.add().FromMicroseconds(NOON - 10 * SECOND)
    second = answer.rows.add(
        values=[np.nan, np.nan, 0.0],
        statuses=["FEATURE_STATUS_BEFORE_HORIZON"] * 2 + ["FEATURE_STATUS_UNKNOWN_ENTITY"],
    )
    second.known_until.add()
    second.known_until.add()
    answer.data_until.add().FromMicroseconds(NOON - SECOND)
    answer.data_until.add()
    found = _history(answer, HistoryQuery(("visits", "stays"), [{}, {}], [NOON, NOON]))
    assert found.values["visits.cost"][0] == 1.0
    assert found.age_seconds[0] == 10.0
    assert np.isnan(found.age_seconds[1])
    assert found.known_until["visits"].tolist() == [NOON - 40 * SECOND, -1]
    assert dict(found.data_until) == {"visits": NOON - SECOND}
    assert {view: rows.tolist() for view, rows in found.untold.items()} == {"visits": [False, True]}


def test_columns_say_what_rows_say() -> None:
    """A packed answer means the same; one that is cut short is no answer."""
    answer = pb.GetOnlineFeaturesResponse(features=["visits.cost", "visits.count", "stays.count"])
    answer.columns.values = np.array([[1, np.nan], [2, np.nan], [3, 0]], "<f8").tobytes()
    answer.columns.statuses = bytes([1, 4, 1, 4, 1, 3])
    nothing = np.iinfo(np.int64).min
    answer.columns.known_until = np.array(
        [[NOON - 40 * SECOND, nothing], [NOON - 10 * SECOND, nothing]], "<i8"
    ).tobytes()
    query = HistoryQuery(("visits", "stays"), [{}, {}], [NOON, NOON])
    found = _history(answer, query)
    assert [found.values[name][0] for name in answer.features] == [1.0, 2.0, 3.0]
    assert found.values["stays.count"][1] == 0.0
    assert found.age_seconds[0] == 10.0
    assert np.isnan(found.age_seconds[1])
    assert found.known_until["stays"].tolist() == [NOON - 10 * SECOND, -1]
    assert {view: rows.tolist() for view, rows in found.untold.items()} == {"visits": [False, True]}
    answer.columns.values = answer.columns.values[:-1]
    with pytest.raises(ValueError, match="multiple"):
        _history(answer, query)


def test_texts_are_texts_and_missing_ones_none() -> None:
    """The values of a text feature are places in the answer's texts; a place without one is no answer."""
    answer = pb.GetOnlineFeaturesResponse(
        features=["plane.maker_latest", "plane.count"], text_features=[0], texts=["boeing", "airbus"]
    )
    answer.columns.values = np.array([[1, np.nan, 0], [3, 0, 0]], "<f8").tobytes()
    answer.columns.statuses = bytes([1, 2, 1, 1, 3, 1])
    answer.columns.known_until = np.zeros(3, "<i8").tobytes()
    query = HistoryQuery(("plane",), [{}] * 3, [NOON] * 3)
    assert _history(answer, query).values["plane.maker_latest"].tolist() == ["airbus", None, "boeing"]
    assert _history(answer, query).values["plane.count"].tolist() == [3, 0, 0]
    del answer.texts[1:]
    with pytest.raises(ValueError, match="text"):
        _history(answer, query)


def test_a_features_service_of_before_says_less() -> None:
    """Without ends of data and statuses everything it gives is fresh."""
    answer = pb.GetOnlineFeaturesResponse(features=["visits.cost"])
    answer.rows.add(values=[1.0]).known_until.add().FromMicroseconds(NOON)
    found = _history(answer, HistoryQuery(("visits",), [{}], [NOON]))
    assert (dict(found.data_until), dict(found.untold)) == ({}, {})
