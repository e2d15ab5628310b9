"""Canaries that go on by themselves, and what monitor says of them: the part of `tenon release` that is about verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tenon.cli.failures import BadUsage
from tenon.cli.paths import path_of
from tenon.core.errors import NotFound, TenonError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenon.cli.client import Client
    from tenon.cli.output import Output

_QUESTIONS = ("errors", "latency", "scores", "quality")
_WORDS = {"passes": "passes", "worse": "WORSE", "undecided": "undecided", "not_enough_evidence": "not enough evidence"}


def auto_options(function: Callable[..., None]) -> Callable[..., None]:
    """`--auto` and how."""
    for option in (
        click.option("--probation", default=None, metavar="DURATION",
                     help="So long after its promotion it goes back when its labels say that it is worse; 0: never.  [default: 7d]"),
        click.option("--needs", default=None, metavar="LIST",
                     help="What must have passed, of errors, latency, scores, quality.  [default: errors,latency,scores]"),
        click.option("--answers", type=click.IntRange(min=1), default=None, metavar="COUNT",
                     help="A step lasts until the canary has answered so often in it.  [default: 100]"),
        click.option("--every", default=None, metavar="DURATION", help="A step lasts at least so long.  [default: 10m]"),
        click.option("--steps", default=None, metavar="PERCENTS",
                     help="The canary's shares after --weight; then it is promoted.  [default: 5,25,50]"),
        click.option("--auto", is_flag=True, help="Let the canary go on, or back, by monitor's verdicts."),
    ):  # fmt: skip
        function = option(function)
    return function


def automatic_wish(given: dict[str, Any], *, has_canary: bool) -> dict[str, Any] | None:
    """The options as the registry takes them; None without `--auto`."""
    named = [name for name in ("steps", "every", "answers", "needs", "probation") if given[name] is not None]
    if not given["auto"]:
        if named:
            raise BadUsage(f"--{named[0]} says how a canary goes on by itself", hint="add --auto")
        return None
    if not has_canary:
        raise BadUsage("only a canary can go on by itself", hint="add --canary VERSION --weight 5")
    wish = {name: given[name] for name in ("every", "answers", "probation") if given[name] is not None}
    if given["steps"] is not None:
        try:
            wish["steps"] = [float(part) for part in given["steps"].split(",") if part.strip()]
        except ValueError:
            raise BadUsage(f"--steps {given['steps'][:40]!r} are not percents", hint="--steps 5,25,50") from None
    if given["needs"] is not None:
        wish["needs"] = [part.strip() for part in given["needs"].split(",") if part.strip()]
        if unknown := [part for part in wish["needs"] if part not in _QUESTIONS]:
            raise BadUsage(f"--needs {unknown[0][:40]!r} is no question", hint=f"--needs {','.join(_QUESTIONS)}")
    return wish


def canary_verdict(client: Client, tenant: str, model: str, release: dict[str, Any]) -> dict[str, Any] | None:
    """What monitor says of what is on trial; None when nothing is, or monitor cannot be asked."""
    automatic = release.get("automatic") or {}
    if not (release.get("canary") or release.get("shadow") or automatic.get("probation_until")):
        return None
    try:
        found: dict[str, Any] = client.get("monitor", path_of("tenants", tenant, "models", model, "canary"))
    except NotFound:
        return None
    except TenonError as err:
        # What is served is known all the same.
        return {"verdict": "unknown", "summary": f"monitor cannot be asked: {err.message}", "questions": []}
    return found


def show_verdict(output: Output, verdict: dict[str, Any]) -> None:
    """A line for each question, and what should follow."""
    rows = [
        [one["question"], _WORDS.get(one["finding"], one["finding"]), "yes" if one["needed"] else "no", one["text"]]
        for one in verdict["questions"]
    ]
    if rows:
        output.table(["question", "finding", "needed", "why"], rows)
    output.line(f"monitor says: {verdict['summary']}")


def describe_automatic(plan: dict[str, Any] | None) -> str:
    """How a release goes on by itself, in a sentence; empty: it does not."""
    if not plan:
        return ""
    if plan.get("probation_until"):
        return f"on probation until {plan['probation_until']}: goes back to version {plan['version_before']} when it turns out to be worse"
    steps = ", ".join(f"{step:g} %" for step in plan["steps"])
    return f"goes on by itself: {steps}, then promoted; needs {', '.join(plan['needs'])}"
