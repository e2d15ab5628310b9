"""`tenon schema`: JSON Schema for editors."""

from __future__ import annotations

import click

from tenon.cli.failures import BadUsage
from tenon.cli.output import Output
from tenon.core.errors import did_you_mean

_KINDS = ("Tenant", "Dataset", "FeatureView", "Model", "Monitor")


@click.command()
@click.argument("kind", metavar="[Tenant|Dataset|FeatureView|Model|Monitor]", required=False)
@click.pass_obj
def schema(output: Output, kind: str | None) -> None:  # noqa: ARG001 - click passes it
    """Print the JSON Schema of a kind of document, or of all of them.

    \b
    In VS Code: tenon schema > .tenon-schema.json, and in settings.json
    "yaml.schemas": {".tenon-schema.json": ["*.yaml"]}
    """
    if kind is not None and kind not in _KINDS:
        near = did_you_mean(kind, _KINDS)
        raise BadUsage(
            f"there is no kind {kind!r}", hint=f"tenon schema {near}" if near else f"kinds: {', '.join(_KINDS)}"
        )
    # pydantic and the document kinds cost 80 ms.
    import json

    from tenon.core.specs import KINDS

    one = {
        name: _with_envelope(name, KINDS[name].model_json_schema(by_alias=True))
        for name in ([kind] if kind else _KINDS)
    }
    body = one[kind] if kind else {"oneOf": list(one.values())}
    click.echo(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **body}, indent=2))


def _with_envelope(kind: str, schema_: dict) -> dict:  # type: ignore[type-arg]
    """The document as it stands in a file: its parts, its kind and, but for a Tenant, whose it is."""
    envelope = {"kind": {"const": kind}}
    if kind != "Tenant":
        envelope["tenant"] = {"type": "string", "description": "Whose; left out: every tenant of the folder."}
    return {
        **schema_,
        "title": kind,
        "properties": {**envelope, **schema_["properties"]},
        "required": ["kind", *schema_.get("required", [])],
    }
