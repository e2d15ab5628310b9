"""The ladder of a model: what it answers with when an entity's history cannot be had, or is too old.

    fallback:
      maxAge: 2d                       # of all views, or one for each: {visit_history: 2d}
      steps:
        - stale: 7d                    # history as it was last known, at most so old
        - without_history              # a second model, trained on the request columns alone
        - rule:                        # the first case that holds
            - {when: {age: {above: 80}}, value: 0.6}
        - constant: 0.2                # or `prior`: the training rate (binary) or median (regression)

Fresh history comes first by itself; the steps are tried in order; what no step answers is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import Field, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tenon.core.errors import did_you_mean
from tenon.core.names import Identifier, ResourceName
from tenon.core.specs.base import Strict
from tenon.core.specs.condition import Condition
from tenon.core.specs.feature_view import Duration

WORDS: Final = {
    "without_history": "Answer with a second model of the same kind, trained on the request columns alone.",
    "missing": "Answer with the model itself, the history as missing values: as if the entity had none.",
    "prior": "Answer with the training rate (binary) or the training median (regression).",
    "refuse": "Do not answer: 503. What no step answers is refused as well.",
}
"""Steps without an argument."""
_KEYS = ("stale", "rule", "constant")
_ANSWERS_ALWAYS = frozenset({"without_history", "missing", "prior", "refuse", "constant"})


class Case(Strict):
    """An answer, and when it is given."""

    when: dict[Identifier, Condition] = Field(
        min_length=1, description="Request column to condition; all of them must hold."
    )
    value: float = Field(description="The answer.", allow_inf_nan=False)


class Step(Strict):
    """One step of the ladder: a word, or one key with its argument."""

    word: str | None = None
    stale: Duration | None = None
    rule: list[Case] | None = Field(default=None, min_length=1)
    constant: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, str):
            if given in _KEYS:
                example = {"stale": "7d", "rule": "[…]", "constant": "0.2"}[given]
                raise ValueError(f"{given!r} needs its argument, such as `{given}: {example}`")
            if given not in WORDS:
                near = did_you_mean(given, [*WORDS, *_KEYS])
                raise ValueError(
                    f"{given!r} is not a step of a ladder; "
                    + (f"did you mean {near!r}?" if near else f"steps: {', '.join([*_KEYS, *WORDS])}")
                )
            return {"word": given}
        if isinstance(given, Mapping):
            words = [key for key in given if key in WORDS]
            if words:
                raise ValueError(f"{words[0]!r} takes no argument; write it alone: `- {words[0]}`")
            if len(given) != 1:
                raise ValueError("a step is one word, or one key with its argument")
            (key,) = given
            if key not in (*_KEYS, "word"):
                near = did_you_mean(str(key), _KEYS)
                known = f"did you mean {near!r}?" if near else f"keys: {', '.join(_KEYS)}"
                raise ValueError(f"{key!r} is not a step with an argument; {known}")
            if key == "word" and given["word"] not in WORDS:
                raise ValueError("'word' is not a step with an argument")
        elif not isinstance(given, cls):
            # Pydantic turns only a ValueError into a problem with a place.
            raise ValueError("a step is one word, or one key with its argument")  # noqa: TRY004
        return given

    @model_serializer(mode="plain")
    def _write(self) -> Any:
        if self.word is not None:
            return self.word
        if self.rule is not None:
            return {"rule": [case.model_dump(mode="json", by_alias=True, exclude_defaults=True) for case in self.rule]}
        return {"stale": self.stale} if self.stale is not None else {"constant": self.constant}

    @property
    def kind(self) -> str:
        """`stale`, `rule`, `constant`, or the word."""
        return self.word or next(key for key in _KEYS if getattr(self, key) is not None)

    @property
    def values(self) -> list[float]:
        """Every answer that the document itself gives here."""
        if self.constant is not None:
            return [self.constant]
        return [case.value for case in self.rule or []]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler.resolve_ref_schema(handler(schema))
        parts = found["properties"]
        words = [{"const": word, "description": meaning} for word, meaning in WORDS.items()]
        keys = [
            {
                "type": "object",
                "properties": {key: next(one for one in parts[key]["anyOf"] if one.get("type") != "null")},
                "required": [key],
                "additionalProperties": False,
            }
            for key in _KEYS
        ]
        found.clear()
        found.update({"title": "Step", "description": cls.__doc__, "anyOf": [*words, *keys]})
        return found


class Fallback(Strict):
    """What the model answers with when an entity's history cannot be had, or is older than `maxAge`."""

    max_age: Duration | dict[ResourceName, Duration] | None = Field(
        default=None,
        description="How old the data of the views may be and still count as fresh: from the newest event that features has "
        "of the view (of any entity) to the time asked for. One duration for all views, or one for each; left out, whatever "
        "features answers is fresh.",
    )
    steps: list[Step] = Field(min_length=1, description="What is tried, in this order, when history is not fresh.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        seen: list[str] = []
        for index, step in enumerate(self.steps):
            if seen and seen[-1] in _ANSWERS_ALWAYS:
                raise ValueError(
                    f"steps.{index}: `{step.kind}` is never reached: `{seen[-1]}` before it answers always"
                )
            if step.kind in seen:
                raise ValueError(f"steps.{index}: `{step.kind}` stands here twice")
            seen.append(step.kind)
        return self

    def has(self, kind: str) -> bool:
        """Whether the ladder has such a step."""
        return any(step.kind == kind for step in self.steps)

    def max_age_of(self, view: str) -> str | None:
        """How old the data of a view may be; None: as old as they are."""
        return self.max_age.get(view) if isinstance(self.max_age, dict) else self.max_age

    def check(self, request: list[str], views: list[str], *, probability: bool) -> None:
        """Check against what the model sees. Raises `ValueError` naming the place."""
        if not views:
            raise ValueError("fallback: the model has no views, so there is no history to go without")
        if isinstance(self.max_age, dict):
            for view in self.max_age:
                if view not in views:
                    near = did_you_mean(view, views)
                    known = f"did you mean {near!r}?" if near else f"its views: {', '.join(views)}"
                    raise ValueError(f"fallback.maxAge.{view}: the model has no view {view!r}; {known}")
        for index, step in enumerate(self.steps):
            place = f"fallback.steps.{index}"
            if step.kind == "without_history" and not request:
                raise ValueError(f"{place}: without request columns there is nothing to learn from but the history")
            for case in step.rule or []:
                for column in case.when:
                    if column not in request:
                        near = did_you_mean(column, request)
                        known = f"did you mean {near!r}?" if near else f"they are: {', '.join(request) or 'none'}"
                        raise ValueError(f"{place}.rule: {column!r} is not one of the model's request columns; {known}")
            for value in step.values:
                if probability and not 0 <= value <= 1:
                    raise ValueError(f"{place}.{step.kind}: {value:g} is not a probability; the task is binary")
                if not math.isfinite(value):
                    raise ValueError(f"{place}.{step.kind}: {value} is not a finite number")
