"""From a manifest's ladder to rungs that answer."""

from __future__ import annotations

from services.predictor.domain.rungs import (
    Condition,
    Constant,
    Ladder,
    Level,
    Missing,
    Refuse,
    Rule,
    Rung,
    Stale,
    WithoutHistory,
)
from tenon.bundle import Bundle, lean, load_without_history
from tenon.core.errors import Invalid
from tenon.core.specs.fallback import Case, Step
from tenon.core.timestamps import parse_duration


def ladder_of(bundle: Bundle) -> Ladder | None:
    """The ladder of a verified bundle; None where none is declared. Raises `Invalid` when its parts do not fit."""
    manifest = bundle.manifest
    if manifest.fallback is None:
        return None
    declared = manifest.fallback.declared
    max_age = {}
    for view in manifest.signature.views:
        limit = declared.max_age_of(view)
        if limit is not None:
            max_age[view] = _seconds(limit)
    known = {item.name for item in manifest.signature.inputs if item.source == "request"}
    for step in declared.steps:
        for case in step.rule or []:
            if not case.when.keys() <= known:
                raise Invalid("LADDER_INVALID", "a rule of the fallback ladder asks for a column that nobody sends")
    return Ladder(tuple(_rung(step, bundle) for step in declared.steps), max_age)


def _rung(step: Step, bundle: Bundle) -> Rung:
    if step.stale is not None:
        return Stale(_seconds(step.stale))
    if step.constant is not None:
        return Constant(step.constant)
    if step.rule is not None:
        return Rule(tuple(_case(case) for case in step.rule))
    match step.word:
        case "missing":
            return Missing()
        case "refuse":
            return Refuse()
        case "prior":
            prior = bundle.manifest.fallback.prior if bundle.manifest.fallback is not None else None
            if prior is None:
                raise Invalid("LADDER_INVALID", "the fallback ladder names the prior, which the manifest does not give")
            return Constant(prior, Level.PRIOR)
        case _:
            evaluator = load_without_history(bundle)
            if evaluator is None:
                raise Invalid("LADDER_INVALID", "the fallback ladder names a second model, which the bundle lacks")
            return WithoutHistory(lean(evaluator))


def _case(case: Case) -> tuple[tuple[Condition, ...], float]:
    conditions = tuple(
        Condition(
            column, condition.above, condition.below, None if condition.one_of is None else frozenset(condition.one_of)
        )
        for column, condition in case.when.items()
    )
    return conditions, case.value


def _seconds(duration: str) -> float:
    return parse_duration(duration) / 1e6
