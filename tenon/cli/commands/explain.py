"""`tenon explain`: what an error's code means."""

from __future__ import annotations

import click

from tenon.cli.context import json_option
from tenon.cli.explanations import EXPLANATIONS
from tenon.cli.output import Output
from tenon.core.errors import NotFound, did_you_mean


@click.command()
@click.argument("code", required=False)
@json_option
@click.pass_obj
def explain(output: Output, code: str | None) -> None:
    """Explain the code of an error, or list all codes."""
    if code is None:
        if output.json:
            output.result(
                "codes",
                {
                    "codes": {
                        name: {"meaning": e.meaning, "remedy": e.remedy} for name, e in sorted(EXPLANATIONS.items())
                    }
                },
            )
        output.table(["code", "meaning"], [[name, e.meaning] for name, e in sorted(EXPLANATIONS.items())])
        return
    name = code.strip("[]").upper().replace("-", "_")
    if name not in EXPLANATIONS:
        near = did_you_mean(name, EXPLANATIONS)
        raise NotFound(
            "CODE_UNKNOWN",
            f"there is no code {code!r}",
            hint=f"did you mean `tenon explain {near}`?" if near else "tenon explain",
        )
    explanation = EXPLANATIONS[name]
    if output.json:
        output.result("code", {"code": name, "meaning": explanation.meaning, "remedy": explanation.remedy})
    output.line(f"{name}: {explanation.meaning}")
    output.line(f"What to do: {explanation.remedy}")
