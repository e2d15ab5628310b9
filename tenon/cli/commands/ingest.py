"""`tenon ingest`: load files into a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenon.cli import exits
from tenon.cli.context import NumberRange, data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadUsage, NotReady, Stop
from tenon.cli.files import need_file
from tenon.cli.output import Output, count, remedy
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant, near_name
from tenon.core.errors import Invalid, Place

if TYPE_CHECKING:
    from tenon.cli.client import Client

_SHOWN_ROWS = 3


@click.command()
@click.argument("dataset")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--timeout",
    type=NumberRange(min=1),
    default=900.0,
    show_default=True,
    metavar="SECONDS",
    help="How long one file may take.",
)
@tenant_option
@data_option()
@json_option
@click.pass_obj
def ingest(
    output: Output, dataset: str, files: tuple[Path, ...], timeout: float, tenant: str | None, data: str | None
) -> None:
    """Load CSV files (plain or .gz) into a data set.

    Rows that break the contract go to quarantine with their reasons; the rest are committed. The same file again
    changes nothing. Exit code 1 when a file is refused.
    """
    for file in files:
        need_file(file, before=f"tenon ingest {dataset} ")
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    with near_name(client, owner, "data set", dataset):
        client.get("ingest", path_of("tenants", owner, "datasets", dataset))
    batches: list[dict[str, Any]] = []
    total = sum(file.stat().st_size for file in files)
    done = 0
    hint = "the same command again: a file that was loaded is loaded only once"
    waiting = output.interruptible("a file that had arrived whole is still loaded", hint)
    with (
        waiting,
        output.progress(f"loading {count(len(files), 'file')} into {owner}/{dataset}", max(total, 1)) as progress,
    ):
        for file in files:
            progress.update(done, file.name)
            batches.append(_load(client, owner, dataset, file, timeout))
            done += file.stat().st_size
            progress.update(done, file.name)
    _show(output, client, owner, dataset, batches)


def _load(client: Client, tenant: str, dataset: str, file: Path, timeout: float) -> dict[str, Any]:
    """Send one file and give its batch; a refused file is a batch, too."""
    path = path_of("tenants", tenant, "datasets", dataset, "files")
    try:
        with file.open("rb") as stream:
            batch: dict[str, Any] = client.post(
                "ingest", path, params={"name": file.name, "wait": True, "wait_seconds": timeout}, stream=stream, deadline=timeout + 10,
                headers={"content-type": "application/octet-stream", "content-length": str(file.stat().st_size)},
            )  # fmt: skip
    except Invalid as error:
        return {"file_name": file.name, "state": "refused", "problem": error.as_dict()}
    except OSError as err:
        raise BadUsage(f"the file {str(file)!r} cannot be read: {err.strerror}", hint=f"ls -l {file}") from err
    return batch


def _show(output: Output, client: Client, tenant: str, dataset: str, batches: list[dict[str, Any]]) -> None:
    refused = [batch for batch in batches if batch["state"] == "refused"]
    waiting = [batch for batch in batches if batch["state"] not in ("refused", "committed")]
    known = [batch for batch in batches if batch.get("duplicate") and batch["state"] == "committed"]
    fresh = [batch for batch in batches if batch["state"] == "committed" and not batch.get("duplicate")]
    committed = sum(batch["rows_committed"] for batch in fresh)
    quarantined = sum(batch["rows_quarantined"] for batch in fresh)
    if output.json:
        output.result("ingest", {"tenant": tenant, "dataset": dataset, "batches": batches, "rows_committed": committed,
                                 "rows_quarantined": quarantined, "unchanged": len(known), "refused": len(refused)})  # fmt: skip
    else:
        for batch in batches:
            _show_batch(output, client, tenant, dataset, batch)
        parts = [
            f"{count(committed, 'row')} committed",
            f"{quarantined:,} quarantined",
            f"{count(len(fresh), 'file')} loaded",
        ]
        parts += [f"{len(known)} unchanged"] if known else []
        output.line(", ".join([*parts, f"{len(refused)} refused"]))
    if refused:
        raise Stop(exits.FINDINGS)
    if waiting:
        raise NotReady(
            "LOAD_TIMEOUT", f"{waiting[0]['file_name']} is stored safely but not loaded yet ({waiting[0]['state']})",
            hint=f"it goes on by itself; `tenon ingest {dataset} FILE --tenant {tenant}` again says how it ended",
        )  # fmt: skip


def _show_batch(output: Output, client: Client, tenant: str, dataset: str, batch: dict[str, Any]) -> None:
    name = batch.get("file_name", "")
    problem = batch.get("problem")
    if problem and batch["state"] == "refused":
        text = problem if isinstance(problem, str) else problem.get("message") or problem.get("error", "")
        hint = None if isinstance(problem, str) else problem.get("hint")
        reason = None if isinstance(problem, str) else problem.get("reason")
        spot = (
            Place(name, *(problem.get("place", {}).get(part) for part in ("line", "column")))
            if isinstance(problem, dict)
            else None
        )
        output.problem(
            f"refused: {text}" if name in text else f"{name} is refused: {text}",
            reason=reason, hint=hint or remedy(reason or ""), place=spot if spot and spot.line else None,
        )  # fmt: skip
        return
    if batch["state"] != "committed":
        return
    if batch.get("duplicate"):
        output.line(f"{name}: unchanged, it was loaded before ({count(batch['rows_committed'], 'row')})")
        return
    superseded = (
        f", {batch['rows_superseded']:,} replaced by a later row of the file" if batch.get("rows_superseded") else ""
    )
    output.line(
        f"{name}: {count(batch['rows_committed'], 'row')} committed, {batch['rows_quarantined']:,} quarantined{superseded}"
    )
    for reason, number in sorted(batch["quarantine_reasons"].items(), key=lambda entry: -entry[1]):
        output.line(f"    {number:>8,}  {reason}")
    if batch["rows_quarantined"]:
        path = path_of("tenants", tenant, "datasets", dataset, "batches", batch["id"], "quarantine")
        for row in client.get("ingest", path, params={"limit": _SHOWN_ROWS})["rows"]:
            output.line(f"    {name}:{row['line']}: {row['message']}")
