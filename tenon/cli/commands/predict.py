"""`tenon predict`: ask for predictions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenon.cli.context import data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadFile, BadUsage
from tenon.cli.files import need_file
from tenon.cli.output import Output, count
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant, near_name
from tenon.core.errors import NotFound, Place, did_you_mean

if TYPE_CHECKING:
    from tenon.cli.client import Client


@click.command()
@click.argument("model")
@click.argument("body", required=False)
@click.option(
    "--set", "values", multiple=True, metavar="KEY=VALUE", help="A value of the one instance; may be given many times."
)
@click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='JSON: {"instances": [{…}]}, a list, or one object; "-" reads stdin.',
)
@click.option("--explain", is_flag=True, help="Say what each input contributed to each answer.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def predict(
    output: Output,
    model: str,
    body: str | None,
    values: tuple[str, ...],
    file: Path | None,
    explain: bool,
    tenant: str | None,
    data: str | None,
) -> None:
    """Ask for predictions; history features are looked up by the entity's key.

    \b
    tenon predict late_arrival --set carrier=AA --set dest=JFK --set distance=2475
    tenon predict late_arrival -f request.json --explain
    tenon predict late_arrival --json '{"instances": [{"carrier": "AA", "dest": "JFK"}]}'
    """
    given = [name for name, value in (("--set", values), ("--file", file), ("BODY", body)) if value]
    if len(given) != 1:
        what = "what should be predicted?" if not given else f"{' and '.join(given)} exclude each other"
        raise BadUsage(
            what, hint=f"tenon predict {model} --set KEY=VALUE --set …   or   tenon predict {model} -f request.json"
        )
    pairs = _from_pairs(values)
    if file is not None:
        instances = _from_file(file)
    elif body:
        instances = _from_text(body, "BODY")
    else:
        instances = []
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    headers = {"x-tenon-tenant": owner}
    with _predicted_model(client, owner, model):
        if pairs:
            inputs = client.get("predictor", path_of("models", model, version="v2"), headers=headers)["inputs"]
            texts = {entry["name"] for entry in inputs if entry["datatype"] == "BYTES"}
            instances = [{name: text if name in texts else _value(text) for name, text in pairs.items()}]
        rows: dict[str, Any] = {"instances": [_split(instance) for instance in instances]}
        if explain:
            rows["explain"] = True
        answer = client.post("predictor", path_of("models", f"{model}:predict"), rows, headers=headers)
    if output.json:
        output.result("predictions", answer)
        return
    _show(output, owner, model, answer["predictions"])


@contextmanager
def _predicted_model(client: Client, tenant: str, model: str) -> Iterator[None]:
    """Say what to do when the model exists but nothing of it is served, which a newcomer meets first."""
    try:
        yield
    except NotFound as error:
        if error.hint:
            raise
        with near_name(client, tenant, "model", model):
            client.get("trainer", path_of("tenants", tenant, "models", model))
        versions = client.get("registry", path_of("tenants", tenant, "models", model, "versions"))["versions"]
        way = (
            f"tenon release set {model} --stable {versions[0]['version']}"
            if versions
            else f"tenon train {model} --release"
        )
        raise NotFound(
            error.reason, error.message, place=error.place, hint=f"{way} --tenant {tenant}", data=error.data
        ) from None


def _split(instance: dict[str, Any]) -> dict[str, Any]:
    """An instance as the entity door wants it; flat ones are features, of which the door knows which are keys."""
    return instance if instance.keys() <= {"entity", "features"} else {"features": instance}


def _show(output: Output, tenant: str, model: str, predictions: list[dict[str, Any]]) -> None:
    name = predictions[0]["output"]
    extra = {"label": _label} if "label" in predictions[0] else {}
    extra |= {"interval": _interval} if any("interval" in row for row in predictions) else {}
    output.table(
        ["row", name, *extra, "version", "role", "prediction_id", "history"],
        [
            [str(index), f"{row['value']:.6g}", *(show(row) for show in extra.values()), str(row["model_version"]), row["role"],
             row["prediction_id"], _history(row)]
            for index, row in enumerate(predictions)
        ],
        right=(name,),
    )  # fmt: skip
    for index, row in enumerate(predictions):
        if "explanation" in row:
            _show_explanation(output, f"row {index}", row)
    served = sorted({row["model_version"] for row in predictions})
    output.line(
        f"{count(len(predictions), 'prediction')} by {tenant}/{model}, version {' and '.join(map(str, served))}"
    )


def _label(row: dict[str, Any]) -> str:
    return "yes" if row.get("label") else "no"


def _interval(row: dict[str, Any]) -> str:
    found = row.get("interval")
    return f"{found['low']:.6g} to {found['high']:.6g} ({found['coverage']:.0%})" if found else ""


def _show_explanation(output: Output, title: str, row: dict[str, Any]) -> None:
    """What moved an answer from the base to where it is, the largest first."""
    found = row["explanation"]
    answer = f"{title}: {row['output']} {row['value']:.6g}"
    output.line()
    if found is None:
        output.line(
            f"{answer} is not the model's ({row.get('fallback_level', 'a fallback')}): nothing contributed to it"
        )
        return
    parts = found["contributions"]
    shown = parts if len(parts) <= SHOWN + 1 else parts[:SHOWN]
    lines = [[part["column"], _written(part["value"]), f"{part['contribution']:+.4g}"] for part in shown]
    rest = parts[len(shown) :]
    if rest:
        lines.append([f"({len(rest)} more)", "", f"{sum(part['contribution'] for part in rest):+.4g}"])
    is_log_odds = found["space"] == "log-odds"
    unit = "log-odds " if is_log_odds else ""
    answer += f" (log-odds {found['margin']:.4g})" if is_log_odds else ""
    output.table(
        ["column", "value", "contribution"],
        lines,
        right=("value", "contribution"),
        title=f"{answer}, from {unit}{found['base']:.4g} when nothing is known",
    )


def _written(value: Any) -> str:
    if value is None:
        return "(missing)"
    if isinstance(value, str):
        return value
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


SHOWN = 15
"""So many contributions are listed; the rest are one line. --json has all."""


def _history(row: dict[str, Any]) -> str:
    level = row.get("fallback_level", "fresh")
    if level != "fresh":
        return f"{level.replace('_', ' ')}: {row.get('fallback_reason', '')}"
    age = row.get("feature_age_seconds")
    if age is None:
        return ""
    unit, seconds = next(((unit, length) for unit, length in _UNITS if age >= 2 * length), ("s", 1))
    return f"{age / seconds:.0f} {unit} old"


_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def _from_pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    instance: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise BadUsage(
                f"--set {pair!r} is not KEY=VALUE",
                hint=f"--set {pair.replace(':', '=') if ':' in pair else pair + '=VALUE'}",
            )
        if key in instance:
            raise BadUsage(
                f"--set {key} is given twice",
                hint="leave one of them out; several instances go into a file: -f request.json",
            )
        instance[key] = text
    return instance


def _value(text: str) -> Any:
    """A number, true, false or null where the text is one, in JSON's own words; else the text (or "quoted" text)."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) or text in ("NaN", "Infinity", "-Infinity") else value


def _from_file(file: Path) -> list[Any]:
    if str(file) == "-":
        return _from_text(sys.stdin.read(), "stdin")
    need_file(file, before="-f ")
    try:
        return _from_text(file.read_bytes().decode("utf-8-sig"), str(file))
    except UnicodeDecodeError as err:
        raise BadFile(
            "FILE_UNREADABLE", f"this is not UTF-8 text (byte {err.start})", place=Place(file=str(file))
        ) from None


def _from_text(text: str, name: str) -> list[Any]:
    shape = '{"instances": [{"column": value, …}, …]}'
    if not text.strip():
        raise BadFile("JSON_INVALID", f"{name} is empty", place=Place(file=name), hint=f"write {shape}")
    try:
        body = json.loads(text, parse_constant=_no_constant)
    except ValueError as err:
        place = Place(name, getattr(err, "lineno", 1), getattr(err, "colno", 1))
        message = err.msg if isinstance(err, json.JSONDecodeError) else str(err)
        raise BadFile(
            "JSON_INVALID", f"this is not valid JSON: {message}", place=place, hint=f"write {shape}", source=text
        ) from None
    if isinstance(body, dict) and "instances" in body:
        extra = next((key for key in body if key != "instances"), None)
        if extra is not None:
            raise BadFile(
                "REQUEST_INVALID",
                f"unknown key {extra!r} beside 'instances'",
                place=Place(file=name),
                hint=f"write {shape}",
            )
        body = body["instances"]
    elif isinstance(body, dict):
        near = did_you_mean("instances", list(body))
        if near:
            raise BadFile(
                "REQUEST_INVALID", f"unknown key {near!r}", place=Place(file=name), hint="did you mean `instances`?"
            )
        body = [body]
    if not isinstance(body, list) or not body or not all(isinstance(row, dict) for row in body):
        raise BadFile(
            "REQUEST_INVALID", "the instances are not a list of objects", place=Place(file=name), hint=f"write {shape}"
        )
    return body


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value; use null for a missing number")
