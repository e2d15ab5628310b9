"""`tenon incidents`: what is going on, for whom, why, and who is at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tenon.cli.context import SuggestingGroup, data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadUsage
from tenon.cli.output import Output, count
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenon.cli.client import Client

_SHOWN = 10
_PEOPLES = ("acknowledged", "snoozed", "woken")


def _whose(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--tenant NAME` or `--everyone`."""
    everyone = click.option("--everyone", is_flag=True, help="All tenants'; for operators.")
    return tenant_option(everyone(function))


@click.group(cls=SuggestingGroup)
def incidents() -> None:
    """What is going on with the models, since when, why, and who is at it."""


@incidents.command("list")
@click.option(
    "--state", type=click.Choice(["open", "closed", "all"]), default="open", show_default=True, help="Which of them."
)
@click.option("--model", default="", metavar="MODEL", help="Only this model's.")
@_whose
@data_option()
@json_option
@click.pass_obj
def list_(output: Output, state: str, model: str, everyone: bool, tenant: str | None, data: str | None) -> None:
    """List incidents, the critical ones first, then the newest."""
    client = open_client(data, output)
    wanted = {"state": state} | ({"model": model} if model and not everyone else {})
    found = client.get("monitor", _path(client, tenant, everyone), params=wanted)["incidents"]
    if everyone and model:
        found = [one for one in found if model in one["models"]]
    if output.json:
        output.result("incidents", {"incidents": found})
        return
    if not found:
        output.line("no incidents" if state == "all" else f"no {state} incidents")
        return
    output.table(
        ["incident", "severity", "tenant", "what", "since", "state"],
        [
            [one["id"], one["severity"], one["tenant"] or count(len(one.get("tenants", [])), "tenant"), one["title"],
             one["since"][:16].replace("T", " "), _state(one)]
            for one in found
        ],
    )  # fmt: skip
    output.say(f"`tenon incidents show {found[0]['id']}{_flag(everyone, tenant)}` says more")


@incidents.command()
@click.argument("incident")
@_whose
@data_option()
@json_option
@click.pass_obj
def show(output: Output, incident: str, everyone: bool, tenant: str | None, data: str | None) -> None:
    """Show one: evidence, what may be behind it, what to do."""
    client = open_client(data, output)
    _show(output, client.get("monitor", _path(client, tenant, everyone, incident)))


@incidents.command()
@click.argument("incident")
@click.option("--text", default="", metavar="TEXT", help="What you are doing about it.")
@click.option("--by", default="", metavar="NAME", help="Who you are; left out: the name of the API key.")
@_whose
@data_option()
@json_option
@click.pass_obj
def ack(
    output: Output, incident: str, text: str, by: str, everyone: bool, tenant: str | None, data: str | None
) -> None:  # fmt: skip
    """Say that you are at it: no more reminders, only when it gets worse and when it is over."""
    client = open_client(data, output)
    path = _path(client, tenant, everyone, incident)
    _noted(output, client.post("monitor", f"{path}:acknowledge", {"text": text, "who": by}))


@incidents.command()
@click.argument("incident")
@click.option("--for", "length", metavar="DURATION", help="How long, such as 2h or 3d.")
@click.option("--until", metavar="TIME", help="Or until when (RFC 3339).")
@click.option("--text", default="", metavar="TEXT", help="Why.")
@click.option("--by", default="", metavar="NAME", help="Who you are; left out: the name of the API key.")
@_whose
@data_option()
@json_option
@click.pass_obj
def snooze(
    output: Output, incident: str, length: str | None, until: str | None, text: str, by: str, everyone: bool,
    tenant: str | None, data: str | None,
) -> None:  # fmt: skip
    """Hear nothing of it for a while; if it is open still, you are reminded then."""
    if (length is None) == (until is None):
        raise BadUsage("for how long?", hint=f"tenon incidents snooze {incident} --for 2h")
    client = open_client(data, output)
    body = {"text": text, "who": by} | ({"for": length} if length else {"until": until})
    _noted(output, client.post("monitor", f"{_path(client, tenant, everyone, incident)}:snooze", body))


@incidents.command()
@click.argument("incident")
@click.option("--text", default="", metavar="TEXT", help="Why.")
@click.option("--by", default="", metavar="NAME", help="Who you are; left out: the name of the API key.")
@_whose
@data_option()
@json_option
@click.pass_obj
def wake(
    output: Output, incident: str, text: str, by: str, everyone: bool, tenant: str | None, data: str | None
) -> None:  # fmt: skip
    """Take an acknowledgement or a snooze back."""
    client = open_client(data, output)
    path = _path(client, tenant, everyone, incident)
    _noted(output, client.post("monitor", f"{path}:wake", {"text": text, "who": by}))


def _path(client: Client, tenant: str | None, everyone: bool, *incident: str) -> str:
    if everyone and tenant:
        raise BadUsage("--tenant and --everyone exclude each other", hint="leave one of them out")
    whose = [] if everyone else ["tenants", choose_tenant(client, tenant)]
    return path_of(*whose, "incidents", *incident)


def _flag(everyone: bool, tenant: str | None) -> str:
    return " --everyone" if everyone else (f" --tenant {tenant}" if tenant else "")


def _state(one: dict[str, Any]) -> str:
    note = one["note"]
    if note is None or one["state"] != "open":
        return str(one["state"])
    return f"{note['action']} by {note['who']}" + (
        f" until {note['until'][:16].replace('T', ' ')} UTC" if note["until"] else ""
    )


def _show(output: Output, one: dict[str, Any]) -> None:
    if output.json:
        output.result("incident", one)
        return
    output.line(one["title"])
    whose = one["tenant"] or ", ".join(one.get("tenants", []))
    output.line(f"{one['severity']}, {_state(one)}, since {one['since'][:16].replace('T', ' ')} UTC: {whose}")
    if one["close_reason"]:
        output.line(f"over: {one['close_reason']}")
    if one["merged_into"]:
        output.line(f"part of {one['merged_into']}")
    for title, texts in (("what may be behind it", one["causes"]), ("what to do", one["advice"])):
        if texts:
            output.line(f"\n{title}:")
        for text in texts:
            output.line(f"- {text}")
    output.line()
    output.table(
        ["tenant", "model", "version", "feature", "rows", "effect", "evidence"],
        [
            [row["tenant"], row["model"], row["version"], row["feature"] + (" (over)" if row["over"] else ""), row["rows"],
             f"{row['effect']:.1f}", row["sentence"]]
            for row in one["evidence"][:_SHOWN]
        ],
        right=["version", "rows", "effect"],
    )  # fmt: skip
    left = len(one["evidence"]) - _SHOWN + one["evidence_left_out"]
    if left > 0:
        output.line(f"… and {left} more (--json)")
    if one["history"]:
        output.line("\nwhat happened:")
    for moment in one["history"]:
        output.line(f"- {moment['at'][:16].replace('T', ' ')}  {_moment(moment)}")
    output.say(f"more: {one['docs']}")


def _moment(one: dict[str, Any]) -> str:
    by = "by " if one["event"] in _PEOPLES else ""
    words = [
        str(one["event"]).replace("_", " "),
        by + one["who"] if one["who"] else "",
        f"of {one['tenant']}" if one.get("tenant") else "",
        f"until {one['until'][:16].replace('T', ' ')}" if one["until"] else "",
    ]
    return " ".join(word for word in words if word) + (f": {one['text']}" if one["text"] else "")


def _noted(output: Output, one: dict[str, Any]) -> None:
    if output.json:
        output.result("incident", one)
        return
    output.line(f"{one['id']}: {_state(one)} ({one['title']})")
