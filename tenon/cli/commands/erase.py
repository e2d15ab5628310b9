"""`tenon erase`: forget somebody."""

from __future__ import annotations

from typing import Any

import click

from tenon.cli.context import data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadUsage
from tenon.cli.output import Output, count
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant
from tenon.core.errors import did_you_mean

_SECONDS = 300.0


@click.command()
@click.option("--key", required=True, metavar="COLUMN=VALUE", help="Whom: a column, and the value that names them.")
@click.option("--dataset", "named", multiple=True, metavar="NAME", help="Only this data set; as often as wanted.")
@click.option("--yes", is_flag=True, help="Do it. Left out: only show which data sets it would touch.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def erase(
    output: Output, key: str, named: tuple[str, ...], yes: bool, tenant: str | None, data: str | None
) -> None:  # fmt: skip
    """Forget somebody: their rows, what was computed from them, predictions about them and labels.

    \b
    tenon erase --key patient=p17
    tenon erase --key patient=p17 --yes
    """
    column, sign, value = key.partition("=")
    if not sign or not column:
        raise BadUsage(f"--key: {key!r} is not COLUMN=VALUE", hint="such as --key patient=p17")
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    datasets = _with_column(client.get("ingest", path_of("tenants", owner, "datasets"))["datasets"], column, named)
    if not yes:
        if output.json:
            output.result("erasure", {"tenant": owner, "done": False, "datasets": datasets})
            return
        output.line(
            f"{owner}: rows with {column} = {value} would leave {', '.join(datasets)}, and predictions about them monitor's log"
        )
        output.line("nothing was done; --yes does it, and nothing brings it back")
        return
    body = {"key": {column: value}}
    # What waits for its commit is in no table yet.
    fresh = {
        name: client.post("features", path_of("tenants", owner, "datasets", name, "events", "withdraw"),
                          {"column": column, "value": value})["withdrawn"]
        for name in datasets
    }  # fmt: skip
    removed = {
        name: client.post("ingest", path_of("tenants", owner, "datasets", name, "erasures"), body, deadline=_SECONDS)
        for name in datasets
    }
    models = client.post("monitor", path_of("tenants", owner, "erasures"), body, deadline=_SECONDS)["models"]
    if output.json:
        output.result(
            "erasure", {"tenant": owner, "done": True, "datasets": removed, "pushed": fresh, "models": models}
        )
        return
    _tell(output, removed, fresh, models)


def _with_column(datasets: list[dict[str, Any]], column: str, named: tuple[str, ...]) -> list[str]:
    columns = {one["name"]: list(one["spec"]["columns"]) for one in datasets}
    for name in named:
        if name not in columns:
            near = did_you_mean(name, columns)
            raise BadUsage(f"there is no data set {name!r}", hint=f"did you mean `{near}`?" if near else None)
    found = [name for name, present in sorted(columns.items()) if column in present and (not named or name in named)]
    if not found:
        every = sorted({one for present in columns.values() for one in present})
        near = did_you_mean(column, every)
        raise BadUsage(f"no data set has a column {column!r}", hint=f"did you mean `{near}`?" if near else None)
    return found


def _tell(output: Output, removed: dict[str, Any], fresh: dict[str, int], models: list[dict[str, Any]]) -> None:
    rows = [[name, count(one["rows"], "row"), f"{count(fresh[name], 'pushed row')} withdrawn" if fresh[name] else None]
            for name, one in removed.items()]  # fmt: skip
    rows += [
        [f"predictions of {one['model']}", count(one["rows"], "row"),
         f"{count(one['labels'], 'label')}; answered by version {', '.join(map(str, one['versions'])) or '—'}"]
        for one in models
    ]  # fmt: skip
    output.table(["from", "erased", "also"], rows)
    kept = sorted({(file["file_name"], file["batch"]) for one in removed.values() for file in one["files"]})
    for file, batch in kept:
        output.line(f"kept as it came: {file} (batch {batch})")
    output.line("online values and training sets follow in seconds: tenon features training-sets")
