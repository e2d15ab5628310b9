"""`tenon monitor`: every model in a line, then one model's drift, quality and labels over time, the month, and the pages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from tenon.cli import exits
from tenon.cli.commands.incidents import incidents
from tenon.cli.context import SuggestingGroup, data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadFile, Stop
from tenon.cli.output import Output, count, plain
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant, near_name
from tenon.cli.width import GAP, terminal_width
from tenon.core.errors import Invalid, Place
from tenon.core.timestamps import MICROS_PER_SECOND, parse_rfc3339, rfc3339

_STATES = {"worse": "worse", "drift": "drift", "silent": "silent", "unknown": "not known", "fine": "fine"}
_URGENT = ("worse", "drift")
_LAST = click.option(
    "--last", metavar="TIME", help="How far back: 1d, 7d, 30d, 90d, 1y, … or all. Default: what suits the log."
)
_KNOWN_AT = click.option(
    "--known-at", metavar="TIME", help="With the labels that were known then (RFC 3339). Default: now."
)
_BY = click.option(
    "--by",
    type=click.Choice(["at", "event_time"]),
    help="When answered, or when it happened. Default: what suits the log.",
)


@click.group(cls=SuggestingGroup)
def monitor() -> None:
    """Watch models: all of them, one of them over time, a month of them."""


monitor.add_command(incidents)


@monitor.command()
@click.option("--tenant", envvar="TENON_TENANT", show_envvar=True, metavar="NAME", help="Only this one's.")
@click.option("--check", is_flag=True, help="Exit 1 when a model drifts or answers worse, for scripts.")
@data_option()
@json_option
@click.pass_obj
def status(output: Output, tenant: str | None, check: bool, data: str | None) -> None:
    """Show every model, the worst first: what serves, how it fares, what to do."""
    client = open_client(data, output)
    path = "/v1/overview" if tenant is None else path_of("tenants", choose_tenant(client, tenant), "overview")
    found = client.get("monitor", path)
    urgent = [one for one in found["models"] if one["state"] in _URGENT]
    if output.json:
        output.result("monitor-status", found | {"urgent": len(urgent)})
    else:
        _show_status(output, found, len(urgent))
    if check and urgent:
        raise Stop(exits.FINDINGS)


def _show_status(output: Output, found: dict[str, Any], urgent: int) -> None:
    if not found["registry_answers"]:
        known = found["releases_known_at"]
        output.say(
            "the registry does not answer: "
            + (f"releases as of {_minute(known)}" if known else "what is released is not known")
        )
    models = found["models"]
    if models:
        output.table(
            ["tenant", "model", "state", "serves", "drift", "quality", "answers", "labels", "asked"],
            [[
                one["tenant"], one["model"], _STATES.get(one["state"], one["state"]), _serves(one["release"]), _drift(one["latest_verdict"]),
                _words((one["latest_verdict"] or {}).get("quality_verdict")), one["predictions"], one["labels"],
                _ago(one["last_prediction_at"]),
            ] for one in models],
            right=("answers", "labels"),
        )  # fmt: skip
        output.line()
    for one in models:
        if one["state"] != "fine":
            output.line(f"{one['tenant']}/{one['model']}: {one['advice']}")
            if one["command"]:
                output.line(f"    {one['command']}")
    output.line(f"{count(len(models), 'model')}, {urgent} to look at now")


def _serves(release: dict[str, Any] | None) -> str:
    if release is None or not release["tracks"]:
        return "nothing"
    return " ".join(
        ("" if one["role"] == "stable" else f"{one['role']} ")
        + f"v{one['version']}"
        + (f" {100 * one['share']:g} %" if one["share"] else "")
        for one in release["tracks"]
    )


def _drift(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return ""
    named = verdict["drifted_columns"]
    return _words(verdict["drift_verdict"]) + (
        f": {', '.join(named[:2])}" + (" …" if len(named) > 2 else "") if named else ""
    )


@monitor.command()
@click.argument("model")
@_LAST
@_BY
@_KNOWN_AT
@click.option("--check", is_flag=True, help="Exit 1 when it drifts in the newest bucket that could be judged.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def drift(output: Output, model: str, last: str | None, by: str | None, known_at: str | None, check: bool, tenant: str | None, data: str | None) -> None:  # fmt: skip
    """Show a model's drift over time: which columns lay how far from training, bucket by bucket."""
    found = _history(output, model, last, by, known_at, tenant, data)
    names = _worst_columns(found["buckets"])
    if output.json:
        output.result("monitor-drift", found | {"worst_columns": names})
    else:
        shown = _that_fit(names[:6])
        output.table(
            ["from", "version", "predictions", *shown],
            [[_minute(one["start"]), f"v{one['version']}", one["predictions"], *(_effect(one, name) for name in shown)]
             for one in found["buckets"] if one["predictions"]],
            right=("predictions", *shown), title=f"drift of {model}: share of rows elsewhere than in training (! = drift, ~ = as in the same season or weekdays before, — = too few rows)",
        )  # fmt: skip
        _say_releases(output, found)
        left = f", {len(names) - len(shown)} more with --json" if len(names) > len(shown) else ""
        if found["releases"]:
            output.line()
        output.line(f"{count(len(names), 'column')}, the worst first{left}")
    if check:
        judged = [one for one in found["buckets"] if any(c["verdict"] != "not_enough_evidence" for c in one["columns"])]
        if judged and any(c["verdict"] == "drift" for c in judged[-1]["columns"]):
            raise Stop(exits.FINDINGS)


@monitor.command()
@click.argument("model")
@_LAST
@_BY
@_KNOWN_AT
@click.option("--check", is_flag=True, help="Exit 1 when it is worse in the newest bucket that could be judged.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def quality(output: Output, model: str, last: str | None, by: str | None, known_at: str | None, check: bool, tenant: str | None, data: str | None) -> None:  # fmt: skip
    """Show a model's quality over time on matured labels, what was estimated before they came, and whether answers mean what they say."""
    found = _history(output, model, last, by, known_at, tenant, data)
    depth = _in_depth(output, model, found, data)
    rows = [
        (one, figures) for one in found["buckets"] for figures in one["quality"] if figures["metric"] == found["metric"]
    ]
    if output.json:
        output.result("monitor-quality", found | depth)
    elif not rows:
        output.line(f"the quality of {model} cannot be judged: no stretch of the window has labels enough")
        _say_how_to_label(output, found)
        # Estimates are for the time before labels come.
        _show_depth(output, depth)
    else:
        output.table(
            ["from", "version", "labels", found["metric"] or "value", "95 % interval", "in the test", "verdict"],
            [[
                _minute(one["start"]), f"v{figures['version']}", figures["rows"], plain(figures["value"]),
                f"{plain(figures['low'])} … {plain(figures['high'])}", plain(figures["expected"]), _words(figures["verdict"]),
            ] for one, figures in rows],
            right=("labels", found["metric"] or "value", "in the test"), title=f"quality of {model}",
        )  # fmt: skip
        _show_depth(output, depth)
        _say_releases(output, found)
        if found["releases"]:
            output.line()
        empty = sum(bool(one["predictions"]) for one in found["buckets"]) - len(rows)
        output.line(f"{count(len(rows), 'bucket')} judged" + (f", {empty} with too few labels" if empty > 0 else ""))
    if check and rows and rows[-1][1]["verdict"] == "worse":
        raise Stop(exits.FINDINGS)


@monitor.command()
@click.argument("model")
@_LAST
@_BY
@_KNOWN_AT
@tenant_option
@data_option()
@json_option
@click.pass_obj
def labels(
    output: Output, model: str, last: str | None, by: str | None, known_at: str | None, tenant: str | None, data: str | None
) -> None:  # fmt: skip
    """Show how many of a model's answers are labelled by now. (`tenon labels` sends them.)"""
    found = _history(output, model, last, by, known_at, tenant, data)
    if output.json:
        output.result("monitor-labels", found)
    buckets = [one for one in found["buckets"] if one["predictions"]]
    output.table(
        ["from", "predictions", "labels", "labelled"],
        [[_minute(one["start"]), one["predictions"], one["labels"], f"{100 * one['labels'] / one['predictions']:.1f} %"] for one in buckets],
        right=("predictions", "labels", "labelled"), title=f"labels of {model}",
    )  # fmt: skip
    labelled, all_rows = sum(one["labels"] for one in buckets), sum(one["predictions"] for one in buckets)
    if all_rows and not labelled:
        _say_how_to_label(output, found)
    output.line(f"{labelled:,} of {count(all_rows, 'prediction')} labelled")


@monitor.command()
@click.option("--month", required=True, metavar="YYYY-MM", help="Which month, in UTC.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it. Default: TENANT-MONTH.html here."
)
@_KNOWN_AT
@tenant_option
@data_option()
@json_option
@click.pass_obj
def report(
    output: Output, month: str, out: Path | None, known_at: str | None, tenant: str | None, data: str | None
) -> None:  # fmt: skip
    """Write a tenant's month as one self-contained HTML file: what changed, releases, drift, quality, labels, worth."""
    parts = month.split("-")
    if (
        len(month) != 7
        or len(parts) != 2
        or not (parts[0].isdecimal() and parts[1].isdecimal() and 1 <= int(parts[1]) <= 12)
    ):
        raise Invalid(
            "TIME_INVALID",
            f"--month {month!r} is not a month",
            place=Place(field="--month"),
            hint="write it as 2026-10",
        )
    moment = rfc3339(parse_rfc3339(known_at, "--known-at")) if known_at else None
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    page = client.download(
        "monitor",
        path_of("tenants", owner, "months", month, "report.html"),
        params={"known_at": moment},
        deadline=120.0,
    )
    path = out or Path(f"{owner}-{month}.html")
    try:
        path.write_bytes(page)
    except OSError as err:
        raise BadFile(
            "FILE_UNWRITABLE", f"{path} cannot be written: {err.strerror}", place=Place(file=str(path))
        ) from err
    if output.json:
        output.result("monitor-month", {"tenant": owner, "month": month, "file": str(path), "bytes": len(page)})
    output.line(f"{path}: {owner} in {month}, {len(page) / 1024:.0f} KB")


@monitor.command("open")
@click.argument("model", required=False)
@click.option("--show", is_flag=True, help="Open it in this machine's browser, too.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def open_pages(output: Output, model: str | None, show: bool, tenant: str | None, data: str | None) -> None:
    """Print the address of monitor's pages, and with which key to sign in."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant) if model or tenant else None
    client.get("monitor", "/readyz", deadline=3.0)
    path = "/pages" + (
        path_of("tenants", owner, *(("models", model) if model else ())).removeprefix("/v1") if owner else ""
    )
    url = client.platform.url("monitor") + path
    folder = client.platform.folder
    key = f"`admin_key` in {folder / 'credentials.json'}" if folder is not None else "the API key in TENON_API_KEY"
    if output.json:
        output.result("monitor-pages", {"url": url, "key": key})
    output.line(url)
    output.say(f"sign in with {key}")
    if show:
        click.launch(url)


def _history(
    output: Output, model: str, last: str | None, by: str | None, known_at: str | None, tenant: str | None, data: str | None
) -> dict[str, Any]:  # fmt: skip
    moment = rfc3339(parse_rfc3339(known_at, "--known-at")) if known_at else None
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    with near_name(client, owner, "model", model):
        path = path_of("tenants", owner, "models", model, "history")
        found: dict[str, Any] = client.get(
            "monitor", path, params={"last": last, "by": by, "known_at": moment}, deadline=60.0
        )
    return found


def _in_depth(output: Output, model: str, found: dict[str, Any], data: str | None) -> dict[str, Any]:
    """Of the same window, known at the same time: estimates beside what came true, and calibration."""
    params = {
        "from": found["window_start"], "to": found["window_end"], "by": found["by"], "known_at": found.get("known_at"),
    }  # fmt: skip
    path = path_of("tenants", found["tenant"], "models", model, "quality")
    depth = open_client(data, output).get("monitor", path, params=params, deadline=60.0)
    return {name: depth[name] for name in ("estimates", "calibration")}


def _show_depth(output: Output, depth: dict[str, Any]) -> None:
    if depth["estimates"]:
        output.line()
        output.table(
            ["version", "metric", "estimated", "95 % interval", "came true by now", "labels", "verdict"],
            [[
                f"v{one['version']}", one["metric"], plain(one["value"]), f"{plain(one['low'])} … {plain(one['high'])}",
                "—" if one["realised"] is None else plain(one["realised"]), one["realised_rows"], _words(one["verdict"]),
            ] for one in depth["estimates"]],
            right=("estimated", "came true by now", "labels"), title="estimated before labels came",
        )  # fmt: skip
    for one in depth["calibration"]:
        output.line(f"v{one['version']}: {one['summary']}")


def _worst_columns(buckets: list[dict[str, Any]]) -> list[str]:
    worst: dict[str, float] = {}
    for bucket in buckets:
        for one in bucket["columns"]:
            if one["verdict"] == "not_enough_evidence":
                continue
            moved = one.get("moved", one["effect"])
            worst[one["column"]] = max(worst.get(one["column"], 0.0), moved)
    return sorted(worst, key=lambda name: (-worst[name], name))


def _that_fit(names: list[str]) -> list[str]:
    """The first names whose columns fit into the terminal beside the others; at least one."""
    room, shown = terminal_width(), 0
    if room is None:
        return names
    left = room - len("2026-11-21 08:30  version  predictions")
    for name in names:
        left -= max(len(name), len("! 10.00")) + GAP
        shown += left >= 0
    return names[: max(shown, 1)]


def _effect(bucket: dict[str, Any], name: str) -> str:
    one = next((column for column in bucket["columns"] if column["column"] == name), None)
    if one is None or one["verdict"] == "not_enough_evidence":
        return "—"
    sign = {"drift": "! ", "seasonal": "~ "}.get(one["verdict"], "")
    return f"{sign}{100 * one.get('moved', one['effect']):.0f} %"


def _say_how_to_label(output: Output, found: dict[str, Any]) -> None:
    model, tenant = found["model"], found["tenant"]
    output.say(
        f"`tenon labels {model} FILE --tenant {tenant}` sends true values, `tenon labels review {model} --tenant {tenant}` asks an expert"
    )


def _say_releases(output: Output, found: dict[str, Any]) -> None:
    if found["releases"]:
        output.line("\nreleases:")
    for one in found["releases"]:
        why = f" ({one['reason']})" if one["reason"] else ""
        output.line(f"{_minute(one['made_at'])}  {one['action']}: {_serves(one)}, by {one['made_by']}{why}")


def _minute(text: str | None) -> str:
    return text[:16].replace("T", " ") if text else ""


def _ago(text: str | None) -> str:
    """How long since, in the largest unit that fits."""
    if not text:
        return "never"
    seconds = max(0, int(time.time()) - parse_rfc3339(text) // MICROS_PER_SECOND)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return "just now"


def _words(verdict: str | None) -> str:
    return (verdict or "").replace("_", " ")
