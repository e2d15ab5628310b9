"""`tenon status`: what runs, what serves, and whether all replicas agree."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from tenon.cli import exits
from tenon.cli.commands.release import describe_tracks, pin_problems, pinned_versions, serving_problems
from tenon.cli.context import data_option, json_option, open_client
from tenon.cli.failures import Stop
from tenon.cli.output import Output, count
from tenon.cli.paths import path_of
from tenon.cli.tenants import list_tenants
from tenon.core.errors import NotFound, TenonError, Unavailable, did_you_mean

if TYPE_CHECKING:
    from tenon.cli.client import Client


@click.command()
@click.option("--tenant", envvar="TENON_TENANT", show_envvar=True, metavar="NAME", help="Only this one.")
@data_option()
@json_option
@click.pass_obj
def status(output: Output, tenant: str | None, data: str | None) -> None:
    """Show which services are up, and for each model what is desired and what is really served.

    Exit code 3 when a service is down or a release is not served.
    """
    client = open_client(data, output, deadline=3.0)
    services = _services(client)
    models: list[dict[str, Any]] = []
    tenants: list[str] = []
    if services.get("registry", {}).get("state") != "down":
        known = list_tenants(client)
        if known is not None and tenant is not None and tenant not in known:
            near = did_you_mean(tenant, known)
            raise NotFound(
                "TENANT_NOT_FOUND",
                f"there is no tenant {tenant!r}",
                hint=f"did you mean `--tenant {near}`?" if near else f"tenants: {', '.join(known)}",
            )
        tenants = [tenant] if tenant else (known or [])
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda name: _models(client, name), tenants):
                models += found
    down = [name for name, entry in services.items() if entry["state"] != "up"]
    unsettled = [model for model in models if model["problems"]]
    ok = not down and not unsettled
    if output.json:
        output.result(
            "status",
            {"platform": client.platform.source, "services": services, "tenants": tenants, "models": models, "ok": ok},
        )
    else:
        _show(output, services, tenants, models)
        output.line(_verdict(services, down, tenants, models, unsettled))
    if not ok:
        raise Stop(exits.NOT_READY)


def _services(client: Client) -> dict[str, dict[str, Any]]:
    def ask(name: str) -> dict[str, Any]:
        try:
            client.get(name, "/readyz", deadline=2.0, patient=False)
        except Unavailable as error:
            problem = "not ready" if error.reason != "SERVICE_UNREACHABLE" else error.message.split(": ", 1)[-1]
            return {"url": client.platform.urls[name], "state": "down", "problem": problem}
        except TenonError as error:
            return {"url": client.platform.urls[name], "state": "not ready", "problem": error.message}
        return {"url": client.platform.urls[name], "state": "up", "problem": None}

    names = list(client.platform.urls)
    with ThreadPoolExecutor(len(names) or 1) as pool:
        return dict(zip(names, pool.map(ask, names), strict=True))


def _models(client: Client, tenant: str) -> list[dict[str, Any]]:
    """Every model with a release, those that only pods are pinned to, and every declared one without."""
    serving = client.get("registry", path_of("tenants", tenant, "serving"))
    rows = []
    for desired in serving["desired"]:
        problems = serving_problems(serving, desired)
        rows.append(
            {"tenant": tenant, "model": desired["model"], "revision": desired["revision"], "tracks": desired["tracks"],
             "replicas": len(serving["replicas"]), "pinned": pinned_versions(serving, desired["model"]), "problems": problems}
        )  # fmt: skip
    released = {row["model"] for row in rows}
    pinned = {pin["model"] for replica in serving["replicas"] for pin in replica.get("pinned", ())}
    rows += [
        {"tenant": tenant, "model": model, "revision": 0, "tracks": [], "replicas": len(serving["replicas"]),
         "pinned": pinned_versions(serving, model), "problems": pin_problems(serving, model)}
        for model in sorted(pinned - released)
    ]  # fmt: skip
    released |= pinned
    try:
        declared = client.get("trainer", path_of("tenants", tenant, "models"), patient=False)["models"]
    except TenonError:
        # The trainer being down is said already; what serves is the registry's to say.
        declared = []
    rows += [
        {"tenant": tenant, "model": model["name"], "revision": 0, "tracks": [], "replicas": 0, "pinned": {}, "problems": []}
        for model in declared if model["name"] not in released
    ]  # fmt: skip
    return rows


def _show(output: Output, services: dict[str, Any], tenants: list[str], models: list[dict[str, Any]]) -> None:
    output.table(
        ["service", "state", "address", "problem"],
        [[name, e["state"], e["url"], e["problem"]] for name, e in services.items()],
    )
    output.line()
    if models:
        # Only pods that Helm tells their versions have any.
        pinned = any(model["pinned"] for model in models)
        output.table(
            ["tenant", "model", "revision", "serves", *(["pinned"] if pinned else []), "replicas"],
            [
                [m["tenant"], m["model"], str(m["revision"] or "—"), describe_tracks(m["tracks"]),
                 *([_pins(m["pinned"])] if pinned else []),
                 "; ".join(m["problems"]) or (f"{m['replicas']} agree" if m["replicas"] else "—")]
                for m in models
            ],
        )  # fmt: skip
        output.line()
    elif tenants:
        output.line(f"{count(len(tenants), 'tenant')} ({', '.join(tenants[:8])}), no model yet")


def _pins(pinned: dict[str, int]) -> str:
    """`6 (2 pods), 7 (1 pod)`."""
    return ", ".join(f"{version} ({count(pods, 'pod')})" for version, pods in pinned.items()) or "—"


def _verdict(
    services: dict[str, Any],
    down: list[str],
    tenants: list[str],
    models: list[dict[str, Any]],
    unsettled: list[dict[str, Any]],
) -> str:
    parts = [
        f"{len(services) - len(down)} of {count(len(services), 'service')} up",
        count(len(tenants), "tenant"),
        count(len(models), "model"),
    ]
    released = sum(bool(model["tracks"] or model["pinned"]) for model in models)
    parts.append(f"{released} serving" + (f", {len(unsettled)} not settled" if unsettled else ""))
    text = ", ".join(parts)
    if not tenants and not down:
        text += "; next: tenon init example && tenon apply -f example"
    return text
