"""The entity-keyed door's own words: what its requests may say beside instances, and what its answers say beside values."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from services.predictor.domain.explaining import RowExplanation, by_row
from services.predictor.domain.model import Answer
from tenon.core.errors import Invalid, Place, did_you_mean

KEYS = ("instances", "request_id", "explain")
_YES, _NO = ("true", "1", ""), ("false", "0")


def wants_explanation(request: dict[str, Any], query: bytes) -> bool:
    """Whether `?explain=true` or `"explain": true` is there. Raises `Invalid` for other words, and other parameters."""
    explain = request.get("explain", False)
    if type(explain) is not bool:
        raise Invalid("REQUEST_INVALID", "`explain` is true or false", place=Place(field="explain"))
    if not query:
        return explain
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name != "explain":
            near = did_you_mean(name, ["explain"])
            raise Invalid(
                "PARAMETER_UNKNOWN",
                f"query parameter {name[:80]!r} is not read here",
                place=Place(field=name[:80]),
                hint=f"did you mean {near!r}?" if near else "parameters: explain",
            )
        if value.lower() not in (*_YES, *_NO):
            raise Invalid(
                "REQUEST_INVALID", "`explain` is true or false", place=Place(field="explain"), hint="?explain=true"
            )
        explain = explain or value.lower() in _YES
    return explain


def details_of(answer: Answer) -> list[dict[str, Any]] | None:
    """For each row of an answer: interval, label and explanation, where there are any; None: none has."""
    served = answer.served
    if answer.explained is None and served.interval is None and served.threshold is None:
        return None
    scores = answer.scores.tolist()
    found: list[dict[str, Any]] = [{} for _ in scores]
    for row, (line, score) in enumerate(zip(found, scores, strict=True)):
        interval = answer.interval_of(row, score)
        if interval is not None:
            line["interval"] = dict(zip(("low", "high", "coverage"), interval, strict=True))
        if served.threshold is not None:
            line["label"] = score >= served.threshold
    if answer.explained is not None:
        for line, explanation in zip(found, by_row(served, answer.explained, len(scores)), strict=True):
            line["explanation"] = None if explanation is None else _plain(explanation)
    return found


def _plain(explanation: RowExplanation) -> dict[str, Any]:
    return {
        "space": explanation.space,
        "base": explanation.base,
        "margin": explanation.margin,
        "contributions": [
            {"column": part.column, "value": part.value, "contribution": part.contribution}
            for part in explanation.contributions
        ],
    }
