"""`tenon labels`: true values from files, and the queue of answers that are worth an expert's look."""

from __future__ import annotations

import csv
import getpass
import io
import sys
from pathlib import Path
from typing import Any

import click

from tenon.cli.commands.monitor import send_by_id
from tenon.cli.context import SuggestingGroup, data_option, json_option, open_client, tenant_option
from tenon.cli.files import need_file
from tenon.cli.output import Output, count, figure
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant, near_name
from tenon.core.errors import Conflict, Precondition, did_you_mean

_REASONS = {
    "disagrees_with_label": "disagrees with its label", "costly": "costly if wrong", "uncertain": "uncertain",
    "disagrees_with_history": "unlike this entity's history",
}  # fmt: skip
_NAMED = 5


class _Labels(SuggestingGroup):
    """`tenon labels MODEL FILE` is `tenon labels upload MODEL FILE`, as it was before there was anything else."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {"--help", "-h"} and args[0] not in self.commands:
            plain = [one for one in args if not one.startswith("-")]
            if args[0].startswith("-") or (len(plain) > 1 and not did_you_mean(args[0], self.commands)):
                args = ["upload", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Labels)
def labels() -> None:
    """Send true values back, and review answers. `tenon labels MODEL FILE` is short for upload."""


@labels.command()
@click.argument("model")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--within", metavar="LENGTH", help="By entity and time: how far off the logged event time may be, such as 1h."
)
@tenant_option
@data_option()
@json_option
@click.pass_obj
def upload(output: Output, model: str, file: Path, within: str | None, tenant: str | None, data: str | None) -> None:
    """Send a file of true values: CSV, JSON lines or Parquet.

    By prediction id: the columns prediction_id, value and perhaps known_at. By entity and time: event_time, value, perhaps
    known_at, and the columns of the entity under their own names.
    """
    need_file(file)
    kind = _kind_of(file)
    if kind is None:
        send_by_id(output, model, file, tenant, data)
        return
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    path = path_of("tenants", owner, "models", model, "labels")
    with output.progress(f"sending {file.name}"), near_name(client, owner, "model", model), file.open("rb") as stream:
        found = client.call(
            "monitor",
            "POST",
            path,
            stream=stream,
            headers={"content-type": kind},
            params={"within": within},
            deadline=120.0,
        )
    if output.json:
        output.result("labels", {"tenant": owner, "model": model} | found)
        return
    for one in found.get("ambiguous", [])[:_NAMED]:
        output.say(
            f"row {one['place'] + 1} fits {count(one['events'], 'event')}: name more columns, or the prediction id"
        )
    waiting = f", {found['unmatched']:,} wait for their prediction" if found["unmatched"] else ""
    unclear = f", {found['ambiguous_count']:,} ambiguous and left out" if found.get("ambiguous_count") else ""
    output.line(f"{found['accepted']:,} accepted, {found['matched']:,} matched{waiting}{unclear}")


def _kind_of(file: Path) -> str | None:
    """The media type of a file that monitor reads itself; None: labels by prediction id, which are checked here."""
    with file.open("rb") as stream:
        head = stream.read(65_536)
    if head.startswith(b"PAR1"):
        return "application/vnd.apache.parquet"
    if head.lstrip().startswith(b"{"):
        return None
    header = next(csv.reader(io.StringIO(head.decode("utf-8-sig", "replace"))), [])
    names = [name.strip() for name in header]
    return "text/csv" if "event_time" in names and "prediction_id" not in names else None


@labels.command()
@click.argument("model")
@click.option(
    "--by", metavar="NAME", envvar="TENON_EXPERT", show_envvar=True, help="Your name. Default: the login name."
)
@click.option("--new", is_flag=True, help="Put a new round together first.")
@click.option("--size", type=click.IntRange(1, 500), default=50, show_default=True, help="Answers in a new round.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def review(
    output: Output, model: str, by: str | None, new: bool, size: int, tenant: str | None, data: str | None
) -> None:  # fmt: skip
    """Look at the answers that are most worth it, one key each. The page shows the same queue."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    path = path_of("tenants", owner, "models", model, "review")
    with near_name(client, owner, "model", model):
        found = (
            client.post("monitor", path, {"size": size}, deadline=60.0)
            if new
            else client.get("monitor", path, deadline=60.0)
        )
    if output.json:
        output.result("review", found)
        return
    expert = by or getpass.getuser()
    output.line(
        f"{owner}/{model}: {found['open']} of {found['total']} open, from {found['looked_at']:,} answers; decided by {expert}"
    )
    binary = found["task"] == "binary"
    while found["items"]:
        item = found["items"][0]
        _show(output, item, binary)
        answer = _ask(output, binary)
        if answer is None:
            break
        try:
            said = _decide(client, path, item["prediction_id"], answer, expert, binary)
        except (Conflict, Precondition) as err:
            said = err.message
        if said is not None:
            output.line(said)
        found = client.get("monitor", path, deadline=60.0)
    left = (
        f"{found['open']} left, and waiting as they are" if found["open"] else "the round is done; --new begins another"
    )
    output.line(f"{count(found['labelled'], 'answer')} labelled, {found['skipped']} skipped, {left}")


def _show(output: Output, item: dict[str, Any], binary: bool) -> None:
    output.line(
        f"\nnumber {item['rank']}  {_REASONS.get(item['reason'], item['reason'])}  (version {item['version']}, event {item['event_time'][:16].replace('T', ' ')})"
    )
    output.line(item["why"])
    rows = [[name, "missing" if value is None else _shown(value)]
            for name, value in item["columns"].items()]  # fmt: skip
    output.table(["column", "value"], rows, right=("value",))
    output.line(
        "y yes   n no   s skip   u undo   q quit" if binary else "the true value, or   s skip   u undo   q quit"
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else figure(value)
    return str(value)


def _ask(output: Output, binary: bool) -> str | None:
    """What the expert answers; None is the end. One key on a terminal, a line elsewhere and for numbers."""
    while True:
        if binary and sys.stdin.isatty():
            answer = click.getchar()
        else:
            line = sys.stdin.readline()
            if not line:
                return None
            answer = line.strip()
        if answer.lower() in ("q", "\x1b", "\x04"):
            return None
        if answer.lower() in ("y", "n", "s", "u") and (binary or answer.lower() in ("s", "u")):
            return answer.lower()
        if not binary and _number(answer) is not None:
            return answer
        output.line(f"{answer[:40]!r} is no answer here")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _decide(client: Any, path: str, prediction_id: str, answer: str, expert: str, binary: bool) -> str | None:
    if answer == "u":
        undone = client.post("monitor", f"{path}/undo", {"by": expert})
        return f"number {undone['rank']} is open again"
    body: dict[str, Any] = {"by": expert}
    if answer == "s":
        body["skip"] = True
    else:
        body["value"] = (1 if answer == "y" else 0) if binary else _number(answer)
    client.post("monitor", f"{path}/{prediction_id}", body)
    return None
