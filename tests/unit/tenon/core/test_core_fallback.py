"""The fallback ladder of a Model document: what may be declared, and how a mistake is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tenon.core.errors import Invalid
from tenon.core.specs import DatasetSpec, FeatureViewSpec, ModelSpec, check_model, parse_spec
from tenon.core.specs.fallback import Fallback

MODEL: dict[str, Any] = {
    "name": "death",
    "spine": "visits",
    "label": {"column": "died"},
    "task": "binary",
    "features": {"request": ["age", "ward"], "views": ["history"]},
    "split": {"test": "90d", "gap": "21d"},
}
SPINE = parse_spec(
    DatasetSpec,
    {
        "name": "visits",
        "primaryKey": ["id"],
        "eventTime": "at",
        "columns": {
            "id": {"type": "string"},
            "at": {"type": "timestamp"},
            "left_at": {"type": "timestamp", "nullable": True},
            "patient": {"type": "string"},
            "age": {"type": "integer"},
            "ward": {"type": "string"},
            "died": {"type": "boolean", "nullable": True, "knownAt": "left_at"},
        },
    },
)
VIEW = parse_spec(
    FeatureViewSpec,
    {
        "name": "history",
        "dataset": "visits",
        "entity": ["patient"],
        "aggregates": [{"functions": ["count"], "windows": ["1y"]}],
    },
)
WHOLE = {
    "maxAge": {"history": "2d"},
    "steps": [
        {"stale": "7d"},
        {"rule": [{"when": {"age": {"above": 80}, "ward": {"in": ["icu"]}}, "value": 0.5}]},
        "without_history",
    ],
}


def model(fallback: Any, **changes: Any) -> ModelSpec:
    """A model with a ladder."""
    return parse_spec(ModelSpec, MODEL | {"fallback": fallback} | changes)


def test_a_ladder_reads_back_as_it_was_written() -> None:
    """The canonical form, the one inside a manifest and the document mean the same; a model without says nothing of it."""
    spec = model(WHOLE)
    assert spec.canonical()["fallback"] == WHOLE
    assert parse_spec(ModelSpec, spec.canonical()) == spec
    assert spec.fallback is not None
    assert Fallback.model_validate(spec.fallback.model_dump(mode="json")) == spec.fallback
    assert "fallback" not in parse_spec(ModelSpec, MODEL).canonical()
    check_model(spec, SPINE, {"history": VIEW})


@pytest.mark.parametrize(
    ("fallback", "path", "words"),
    [
        ({"steps": []}, ["fallback", "steps"], "at least 1"),
        ({"steps": ["without_histori"]}, ["fallback", "steps", 0], "did you mean 'without_history'?"),
        ({"steps": ["stale"]}, ["fallback", "steps", 0], "`stale: 7d`"),
        ({"steps": [{"stale": "7"}]}, ["fallback", "steps", 0, "stale"], "not a duration"),
        ({"steps": [{"prior": True}]}, ["fallback", "steps", 0], "takes no argument"),
        ({"steps": [{"konstant": 1}]}, ["fallback", "steps", 0], "did you mean 'constant'?"),
        ({"steps": [3]}, ["fallback", "steps", 0], "one word"),
        ({"steps": [{"constant": 1.2}]}, ["fallback", "steps", 0, "constant"], "not a probability"),
        ({"steps": ["prior", "refuse"]}, ["fallback", "steps", 1], "never reached"),
        ({"steps": [{"stale": "1h"}, {"stale": "2h"}]}, ["fallback", "steps", 1], "twice"),
        ({"maxAge": {"histori": "1h"}, "steps": ["prior"]}, ["fallback", "maxAge", "histori"], "did you mean 'history'?"),
        ({"maxAge": "soon", "steps": ["prior"]}, ["fallback", "maxAge"], "not a duration"),
        ({"steps": [{"rule": [{"when": {"agee": {"above": 1}}, "value": 1}]}]}, ["fallback", "steps", 0, "rule"], "'age'"),
        ({"steps": [{"rule": [{"when": {"age": {}}, "value": 1}]}]}, ["fallback", "steps", 0, "rule", 0, "when", "age"], "needs"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(fallback: Any, path: list[Any], words: str) -> None:
    """Every refusal names the key and, where something near exists, what was meant."""
    with pytest.raises(Invalid) as refused:
        model(fallback)
    problem = refused.value.data["problems"][0]
    assert problem["path"] == path
    assert words in problem["message"]


def test_a_ladder_needs_what_it_speaks_of() -> None:
    """Without views there is no history to go without; without request columns no model can be trained without it."""
    with pytest.raises(Invalid, match="no views"):
        model({"steps": ["prior"]}, features={"request": ["age"]})
    with pytest.raises(Invalid, match="nothing to learn from"):
        model({"steps": ["without_history"]}, features={"views": ["history"]})


@pytest.mark.parametrize("condition", [{"age": {"in": ["old"]}}, {"ward": {"above": 3}}, {"ward": {"in": [3]}}])
def test_conditions_fit_the_types_of_their_columns(condition: Any) -> None:
    """Text is not compared with numbers; the place of the condition is named."""
    spec = model({"steps": [{"rule": [{"when": condition, "value": 0.5}]}]})
    with pytest.raises(Invalid) as refused:
        check_model(spec, SPINE, {"history": VIEW})
    assert refused.value.data["problems"][0]["path"][:5] == ["fallback", "steps", 0, "rule", 0]


def test_editors_are_told_every_step() -> None:
    """The JSON Schema knows words and keys, and nothing else."""
    step = ModelSpec.model_json_schema(by_alias=True)["$defs"]["Step"]
    words = [one["const"] for one in step["anyOf"] if "const" in one]
    keys = [one["required"][0] for one in step["anyOf"] if "required" in one]
    assert words == ["without_history", "missing", "prior", "refuse"]
    assert keys == ["stale", "rule", "constant"]
    assert '"word"' not in json.dumps(step)
