"""`tenon retraining`: which models monitor wants trained anew, why, and what a person says to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tenon.cli.context import SuggestingGroup, data_option, json_option, open_client, tenant_option
from tenon.cli.output import Output
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant

if TYPE_CHECKING:
    from tenon.cli.client import Client

_WORDS = {"not_better": "not better", "asked": "waits for you"}


@click.group(cls=SuggestingGroup)
def retraining() -> None:
    """Which models should be trained anew, why, and whether it helped."""


@retraining.command("list")
@click.option("--model", default="", metavar="MODEL", help="Only this model's.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=50, show_default=True, metavar="N", help="At most so many."
)
@tenant_option
@data_option()
@json_option
@click.pass_obj
def list_(output: Output, model: str, limit: int, tenant: str | None, data: str | None) -> None:
    """List requests for trainings, the newest first."""
    client = open_client(data, output)
    wanted = {"limit": str(limit)} | ({"model": model} if model else {})
    found = client.get("monitor", _path(client, tenant), params=wanted)["requests"]
    if output.json:
        output.result("retraining", {"requests": found})
        return
    if not found:
        output.line("no trainings were asked for")
        return
    output.table(
        ["request", "model", "version", "asked", "state", "why"],
        [
            [one["id"], one["model"], one["version"], one["asked_at"][:16].replace("T", " "), _state(one),
             "; ".join(reason["text"] for reason in one["reasons"])]
            for one in found
        ],
        right=["version"],
    )  # fmt: skip
    waiting = next((one for one in found if one["state"] == "asked"), None)
    if waiting:
        flag = f" --tenant {tenant}" if tenant else ""
        output.say(f"`tenon retraining start {waiting['id']}{flag}` trains; `dismiss` says no")


@retraining.command()
@click.argument("request")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def start(output: Output, request: str, tenant: str | None, data: str | None) -> None:
    """Start the training that was asked for."""
    client = open_client(data, output)
    _answered(output, client.post("monitor", _path(client, tenant, request, "start")))


@retraining.command()
@click.argument("request")
@click.option("--why", default="", metavar="TEXT", help="What you know that monitor does not.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def dismiss(output: Output, request: str, why: str, tenant: str | None, data: str | None) -> None:
    """Say no; the model is asked about again after its cool-down."""
    client = open_client(data, output)
    path = _path(client, tenant, request, "dismiss")
    _answered(output, client.post("monitor", path, params={"why": why} if why else None))


def _path(client: Client, tenant: str | None, *rest: str) -> str:
    return path_of("tenants", choose_tenant(client, tenant), "retraining", *rest)


def _state(one: dict[str, Any]) -> str:
    text = _WORDS.get(one["state"], one["state"])
    return f"{text}: version {one['new_version']}" if one["new_version"] else str(text)


def _answered(output: Output, one: dict[str, Any]) -> None:
    if output.json:
        output.result("retraining-request", one)
        return
    by = f" by {one['changed_by']}" if one["changed_by"] else ""
    output.line(f"{one['id']}: {_state(one)}{by} ({one['model']} version {one['version']})")
    if one["run_id"]:
        output.say(f"`tenon runs {one['model']}` shows how far run {one['run_id']} is")
