"""`tenon report`: what monitor thinks of a model; and sending the true values it judges by, for `tenon labels upload`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tenon.cli import exits
from tenon.cli.context import data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadFile, Stop
from tenon.cli.output import Output, count, figure, plain
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant, near_name
from tenon.core.errors import Place, did_you_mean
from tenon.core.timestamps import parse_rfc3339, rfc3339

_BATCH = 5_000
_FIELDS = ("prediction_id", "value", "known_at")


@click.command()
@click.argument("model")
@click.option(
    "--from", "start", metavar="TIME", help="Judge predictions answered from here on (RFC 3339). Default: 7 days ago."
)
@click.option("--to", "end", metavar="TIME", help="…and before this moment. Default: now.")
@click.option("--version", "version", type=click.IntRange(min=1), help="Only this version.")
@click.option("--known-at", metavar="TIME", help="With the labels that were known then (RFC 3339). Default: now.")
@click.option("--check", is_flag=True, help="Exit 1 when there is drift or worse quality, for scripts.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def report(
    output: Output,
    model: str,
    start: str | None,
    end: str | None,
    version: int | None,
    known_at: str | None,
    check: bool,
    tenant: str | None,
    data: str | None,
) -> None:
    """Show drift and quality of a model: the verdict first, then the columns, worst first."""
    params: dict[str, Any] = {"version": version}
    if start:
        params["from"] = rfc3339(parse_rfc3339(start, "--from"))
    if end:
        params["to"] = rfc3339(parse_rfc3339(end, "--to"))
    if known_at:
        params["known_at"] = rfc3339(parse_rfc3339(known_at, "--known-at"))
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    with near_name(client, owner, "model", model):
        found = client.get("monitor", path_of("tenants", owner, "models", model, "report"), params=params)
    bad = found["drift_verdict"] == "drift" or found["quality_verdict"] == "worse"
    if output.json:
        output.result("report", found)
    else:
        _show(output, found)
    if check and bad:
        raise Stop(exits.FINDINGS)


def _show(output: Output, found: dict[str, Any]) -> None:
    output.line(found["summary"])
    output.line(
        f"{count(found['predictions'], 'prediction')}, {count(found['labels'], 'label')}, "
        f"{found['window_start'][:16].replace('T', ' ')} to {found['window_end'][:16].replace('T', ' ')}\n"
    )
    if len(found.get("levels", {})) > 1 or set(found.get("levels", {})) - {"fresh"}:
        rests = ", ".join(f"{rows:,} {level.replace('_', ' ')}" for level, rows in found["levels"].items())
        output.line(f"what answers with history rest on: {rests}\n")
    output.table(
        ["column", "verdict", "psi", "p", "missing", "trained", "rows", "what"],
        [
            [c["column"], c["verdict"].replace("_", " "), figure(c.get("psi"), 3), figure(c.get("p_value"), 4), _percent(c.get("missing_ratio")),
             _percent(c.get("baseline_missing_ratio")), c["rows"], _what(c)]
            for c in found["columns"]
        ],
        right=("psi", "p", "missing", "trained", "rows"), title=f"drift: {found['drift_verdict'].replace('_', ' ')}",
    )  # fmt: skip
    output.line()
    output.table(
        ["version", "metric", "value", "95 % interval", "in the test", "rows"],
        [
            [str(q["version"]), q["metric"], plain(q["value"]), f"{plain(q['low'])} … {plain(q['high'])}", plain(q.get("expected")), q["rows"]]
            for q in found["quality"]
        ],
        right=("value", "in the test", "rows"), title=f"quality: {found['quality_verdict'].replace('_', ' ')}",
    )  # fmt: skip
    if found.get("versions"):
        output.line()
        output.table(
            ["version", "role", "predictions"],
            [[str(v["version"]), v["role"], v["predictions"]] for v in found["versions"]],
            right=("predictions",),
        )
    drifted, seasonal = (sum(c["verdict"] == word for c in found["columns"]) for word in ("drift", "seasonal"))
    season = f", {seasonal} as in the same season or on the same weekdays before" if seasonal else ""
    output.line(f"{count(len(found['columns']), 'column')} judged, {drifted} drifted{season}")


def _what(column: dict[str, Any]) -> str:
    """What changed, without the figures that stand in the row; of a calm column what would have been seen."""
    text: str = column.get("summary", "")
    if column["verdict"] == "no_drift":
        return f"{column['smallest_effect']:.2f} or more would be seen" if "would have been seen" in text else ""
    return text.partition("; adjusted")[0].partition(" (KS")[0]


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"


def send_by_id(output: Output, model: str, file: Path, tenant: str | None, data: str | None) -> None:
    """Send labels by prediction id, from CSV or JSON lines that are checked line by line before anything is sent."""
    records = list(_read_labels(file))
    if not records:
        raise BadFile(
            "FILE_EMPTY",
            "there are no labels in the file",
            place=Place(file=str(file)),
            hint=f"columns: {', '.join(_FIELDS)}",
        )
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    accepted = matched = 0
    path = path_of("tenants", owner, "models", model, "labels")
    with (
        output.progress(f"sending {count(len(records), 'label')}", len(records)) as progress,
        near_name(client, owner, "model", model),
    ):
        for begin in range(0, len(records), _BATCH):
            answer = client.post("monitor", path, {"labels": records[begin : begin + _BATCH]}, deadline=60.0)
            accepted += answer["accepted"]
            matched += answer["matched"]
            progress.update(begin + _BATCH)
    if output.json:
        output.result(
            "labels", {"tenant": owner, "model": model, "sent": len(records), "accepted": accepted, "matched": matched}
        )
    waiting = f", {accepted - matched:,} wait for their prediction to arrive in the log" if matched < accepted else ""
    output.line(f"{count(len(records), 'label')} sent, {accepted:,} accepted, {matched:,} matched{waiting}")


def _read_labels(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise BadFile(
            "FILE_UNREADABLE", f"this is not UTF-8 text (byte {err.start})", place=Place(file=str(file))
        ) from None
    rows = _json_rows(file, text) if text.lstrip().startswith("{") else _csv_rows(file, text)
    lines = text.splitlines()
    for number, row in rows:
        yield _label(file, number, row, lines[number - 1] if number <= len(lines) else "")


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines())
    for field in ("prediction_id", "value"):
        if field not in (reader.fieldnames or []):
            near = did_you_mean(field, [name for name in reader.fieldnames or [] if name])
            raise BadFile(
                "LABELS_INVALID", f"there is no column {field!r}" + (f"; {near!r} may be meant" if near else ""),
                place=Place(str(file), 1, 1), hint=f"the first line is `{','.join(_FIELDS)}` (known_at may be left out)", source=text,
            )  # fmt: skip
    for row in reader:
        yield reader.line_num, {key: value for key, value in row.items() if value not in ("", None)}


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as err:
            column = getattr(err, "colno", 1)
            raise BadFile("LABELS_INVALID", "this is not valid JSON", place=Place(str(file), number, column), source=text,
                          hint='one object a line: {"prediction_id": "…", "value": 1}') from None  # fmt: skip
        yield number, row if isinstance(row, dict) else {}


def _label(file: Path, number: int, row: dict[str, Any], line: str) -> dict[str, Any]:
    def refuse(message: str, hint: str) -> BadFile:
        return BadFile(
            "LABELS_INVALID", message, place=Place(str(file), number, 1), hint=hint, source="\n" * (number - 1) + line
        )

    if not row.get("prediction_id"):
        raise refuse("the prediction_id is missing", "it stands in each answer of `tenon predict --json`")
    value = row.get("value")
    words = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
    try:
        number_ = words[str(value).lower()] if str(value).lower() in words else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise refuse(
            f"the value {value!r} is not a number", "write 1 or 0 for yes or no, else the number itself"
        ) from None
    label = {"prediction_id": str(row["prediction_id"]), "value": number_}
    if row.get("known_at"):
        label["known_at"] = rfc3339(parse_rfc3339(str(row["known_at"]), f"{file}:{number}: known_at"))
    return label
