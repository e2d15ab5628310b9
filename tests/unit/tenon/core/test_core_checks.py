"""Checks across documents: leaks are refused before anything is trained."""

from __future__ import annotations

import pytest

from tenon.core.errors import Invalid
from tenon.core.specs import (
    DatasetSpec,
    FeatureViewSpec,
    ModelSpec,
    check_feature_view,
    check_model,
    model_signature,
    parse_spec,
)

SPINE = parse_spec(
    DatasetSpec,
    {
        "name": "visits",
        "primaryKey": ["id"],
        "eventTime": "at",
        "columns": {
            "id": {"type": "string"},
            "at": {"type": "timestamp"},
            "billed_at": {"type": "timestamp", "nullable": True},
            "patient": {"type": "string"},
            "age": {"type": "integer"},
            "weight": {"type": "float"},
            "bill": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "billed_at"},
            "stay": {"type": "integer", "nullable": True, "knownAt": "billed_at"},
            "died": {"type": "boolean", "nullable": True, "knownAt": "billed_at"},
        },
    },
)
VIEW = {
    "name": "history",
    "dataset": "visits",
    "entity": ["patient"],
    "aggregates": [
        {"column": "bill", "functions": ["mean"], "windows": ["90d"]},
        {"functions": ["count"], "windows": ["1y"]},
    ],
}
MODEL = {
    "name": "cost",
    "spine": "visits",
    "label": {"column": "bill"},
    "task": "regression",
    "features": {"request": ["age"], "views": ["history"]},
    "split": {"test": "90d", "gap": "21d"},
}


def view(**changes) -> FeatureViewSpec:
    return parse_spec(FeatureViewSpec, VIEW | changes)


def model(**changes) -> ModelSpec:
    return parse_spec(ModelSpec, MODEL | changes)


def refused(spec: ModelSpec, views=None) -> Invalid:
    with pytest.raises(Invalid) as caught:
        check_model(spec, SPINE, views if views is not None else {"history": view()})
    return caught.value


def test_a_sound_model_passes() -> None:
    """What is known in time may be used."""
    check_feature_view(view(), SPINE)
    check_model(model(), SPINE, {"history": view()})


def test_a_column_known_later_is_refused_as_request_feature() -> None:
    """The leak: `stay` is known only when the patient has gone, so nobody can send it when asking."""
    error = refused(model(features={"request": ["age", "stay"]}))
    assert error.place is not None
    assert error.place.field == "features.request.1"
    assert "stay" in error.message
    assert "billed_at" in error.message


def test_the_label_is_refused_as_request_feature() -> None:
    """A model may not be given its own answer."""
    assert "label" in refused(model(features={"request": ["bill"]})).message


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"features": {"request": ["agee"]}}, "agee"),
        ({"features": {"request": ["at"]}}, "timestamp"),
        ({"features": {"views": ["histry"]}}, "histry"),
        ({"label": {"column": "age"}, "features": {"views": ["history"]}}, "knownAt"),
        ({"label": {"column": "died"}}, "number"),
        ({"task": "binary", "label": {"column": "bill"}}, "above"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict, word: str) -> None:
    """Unknown names, labels without a time and labels of the wrong kind are named."""
    assert word in refused(model(**changes)).message


def test_sums_of_instants_are_refused_those_of_floats_are_not() -> None:
    """An instant has no mean; the message says what it can be asked instead."""
    check_feature_view(view(aggregates=[{"column": "weight", "functions": ["mean"], "windows": ["1d"]}]), SPINE)
    with pytest.raises(Invalid) as caught:
        check_feature_view(view(aggregates=[{"column": "at", "functions": ["mean"], "windows": ["1d"]}]), SPINE)
    assert "distinct" in (caught.value.hint or "")


def test_the_signature_lists_features_and_what_is_needed_to_look_history_up() -> None:
    """Request columns, history features, then entity and event time."""
    inputs = model_signature(model(), SPINE, {"history": view()})
    assert [(item.name, item.source) for item in inputs] == [
        ("age", "request"),
        ("history.bill_mean_90d", "history"),
        ("history.count_1y", "history"),
        ("patient", "entity"),
        ("at", "event_time"),
    ]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"split": {"gap": "1d"}}, "test"),
        ({"split": {"test": "90d", "testFrom": "2017-01-01"}}, "either"),
        ({"split": {"test": "90 days"}}, "90 days"),
        ({"split": {"testFrom": "soon"}}, "soon"),
        ({"estimators": ["logistic"]}, "logistic"),
        ({"optimise": "auc"}, "auc"),
        ({"label": {"column": "bill", "above": 3}}, "binary"),
        ({"gates": [{"metric": "mae"}]}, "beatsBaseline"),
        ({"features": {}}, "at least one"),
        ({"features": {"request": ["age", "age"]}}, "twice"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(changes: dict, word: str) -> None:
    """Contradictions inside one document are found when it is read."""
    with pytest.raises(Invalid) as caught:
        model(**changes)
    assert word in caught.value.message
