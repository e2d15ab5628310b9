"""`tenon train`, `tenon runs`, `tenon versions`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from tenon.cli import exits
from tenon.cli.context import NumberRange, at_least, data_option, json_option, open_client, tenant_option
from tenon.cli.failures import NotReady, Stop
from tenon.cli.output import Output, count, figure
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant, near_name
from tenon.core.errors import NotFound

if TYPE_CHECKING:
    from tenon.cli.client import Client

_POLL_SECONDS = 0.4


@click.command()
@click.argument("model")
@click.option("--wait/--no-wait", default=False, help="Wait for the end and show how good the model is.")
@click.option(
    "--release", "and_release", is_flag=True, help="Serve the new version as stable when it is ready (implies --wait)."
)
@click.option(
    "--timeout",
    type=NumberRange(min=1),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --wait waits.",
)
@tenant_option
@data_option()
@json_option
@click.pass_obj
def train(
    output: Output, model: str, wait: bool, and_release: bool, timeout: float, tenant: str | None, data: str | None
) -> None:
    """Train a model on everything its data sets hold now."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    with near_name(client, owner, "model", model):
        run = client.post("trainer", path_of("tenants", owner, "models", model, "runs"), {})
    if not (wait or and_release):
        if output.json:
            output.result("run", run)
        output.line(f"queued {run['id']} for {owner}/{model}; follow it with `tenon runs {model} --tenant {owner}`")
        return
    run = wait_for_run(output, client, owner, run, timeout)
    if output.json and not and_release:
        output.result("run", run)
    show_outcome(output, run)
    if run["state"] != "succeeded":
        if output.json and and_release:
            output.result("run", run)
        raise Stop(exits.FINDINGS)
    if and_release:
        from tenon.cli.commands.release import set_and_show

        set_and_show(output, client, owner, model, {"stable": run["version"]}, wait=at_least(10.0))


@click.command()
@click.argument("model", required=False)
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many, newest first.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def runs(output: Output, model: str | None, limit: int, tenant: str | None, data: str | None) -> None:
    """List training runs, newest first."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    path = path_of("tenants", owner, "runs")
    if model:
        with near_name(client, owner, "model", model):
            client.get("trainer", path_of("tenants", owner, "models", model))
    found = client.get("trainer", path, params={"model": model, "limit": limit})["runs"]
    if output.json:
        output.result("runs", {"tenant": owner, "runs": found})
        return
    output.table(
        ["run", "model", "state", "done", "version", "digest", "created", "note"],
        [
            [run["id"], run["model"], run["state"], f"{100 * run['progress']:.0f} %", str(run["version"] or "—"),
             (run.get("bundle_sha256") or "")[:12],
             _moment(run.get("created_at")), run.get("problem") or (run.get("step") if run["state"] == "running" else "")]
            for run in found
        ],
    )  # fmt: skip
    output.line(count(len(found), "run"))


@click.command()
@click.argument("model")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def versions(output: Output, model: str, tenant: str | None, data: str | None) -> None:
    """List a model's versions, newest first, with what they do now."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    found = client.get("registry", path_of("tenants", owner, "models", model, "versions"))["versions"]
    if not found:
        with near_name(client, owner, "model", model):
            client.get("trainer", path_of("tenants", owner, "models", model))
    try:
        tracks = client.get("registry", path_of("tenants", owner, "models", model, "release"))["tracks"]
    except NotFound:
        tracks = []
    roles = {
        track["version"]: track["role"] + (f" {track['weight']:g} %" if track.get("weight") else "") for track in tracks
    }
    if output.json:
        output.result(
            "versions",
            {"tenant": owner, "model": model, "versions": [{**v, "serving": roles.get(v["version"])} for v in found]},
        )
        return
    output.table(
        ["version", "created", "run", "gates", "engine", "onnx", "digest", "serving"],
        [
            [str(v["version"]), _moment(v.get("created_at")), v.get("run_id", ""), "passed" if v.get("gates_passed") else "failed",
             v.get("engine") or "", _onnx(v.get("forms") or {}), v["bundle_sha256"][:12], roles.get(v["version"], "")]
            for v in found
        ],
    )  # fmt: skip
    output.line(
        count(len(found), "version") if found else f"no version yet: tenon train {model} --tenant {owner} --wait"
    )


def _onnx(forms: dict[str, Any]) -> str:
    """Whether a version has an ONNX form, else how many held-out rows kept it out."""
    form = forms.get("onnx")
    if not form:
        return ""
    return (
        "yes"
        if form["included"]
        else f"no: {form['rows_outside'] or form['labels_differing']} rows off"
        if form["rows"]
        else "no"
    )


def wait_for_run(output: Output, client: Client, tenant: str, run: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Follow a run to its end; raises `NotReady` when it takes longer than `timeout`."""
    until = time.monotonic() + timeout
    path = path_of("tenants", tenant, "runs", run["id"])
    hint = f"tenon runs {run['model']} --tenant {tenant}"
    waiting = output.interruptible(f"run {run['id']} goes on without this command, and nothing is released", hint)
    with waiting, output.progress(f"training {tenant}/{run['model']}", 1.0) as progress:
        while run["state"] not in ("succeeded", "failed"):
            progress.update(run["progress"], run.get("step") or run["state"])
            if time.monotonic() > until:
                raise NotReady(
                    "RUN_TIMEOUT", f"run {run['id']} is still {run['state']} after {timeout:.0f} s ({run.get('step', '')})",
                    hint=f"it goes on: tenon runs {run['model']} --tenant {tenant}",
                )  # fmt: skip
            time.sleep(_POLL_SECONDS)
            run = client.get("trainer", path)
        progress.update(1.0, "")
    return run


def show_outcome(output: Output, run: dict[str, Any]) -> None:
    """How a run ended: why it failed, or how good the model is beside the naive baseline and a random split."""
    if run["state"] == "failed":
        output.problem(
            f"training {run['model']} failed: {run.get('problem') or 'no reason given'}",
            reason=run.get("reason") or None,
            hint=run.get("hint") or None,
        )
        return
    evidence = run.get("evidence") or {}
    columns = {
        "baseline": evidence.get("baseline"),
        "model": evidence.get("model"),
        "random split": evidence.get("random_split"),
    }
    if evidence.get("without_history"):
        columns["without history"] = evidence["without_history"]
    metrics = (evidence.get("model") or {}).get("metrics", {})
    intervals = (evidence.get("model") or {}).get("intervals", {})
    if metrics:
        output.table(
            ["metric", *columns, "model, 95 % interval"],
            [
                [
                    name,
                    *(figure((part or {}).get("metrics", {}).get(name)) for part in columns.values()),
                    " to ".join(map(figure, intervals[name])) if name in intervals else "",
                ]
                for name in metrics
            ],
            right=[*columns, "model, 95 % interval"],
            title=f"{run['model']}: {evidence.get('estimator', '')}, trained on {evidence.get('train_rows', 0):,} rows, "
            f"tested on {evidence['model'].get('rows', 0):,} later ones",
        )
    interval = evidence.get("interval")
    if interval:
        output.line(
            f"prediction intervals: {interval['measured_coverage']:.1%} of {interval['measured_rows']:,} test labels inside "
            f"(nominal {interval['coverage']:.0%}), {figure(interval['mean_width'])} wide on average"
        )
    for text in evidence.get("warnings", []):
        output.warning(text)
    for gate in run.get("gates") or []:
        output.line(f"gate {gate['gate']}: {'passed' if gate['passed'] else 'FAILED'} — {gate['message']}")
    output.line(f"registered version {run['version']} of {run['model']}")


def _moment(value: str | None) -> str:
    return (value or "")[:19].replace("T", " ")
