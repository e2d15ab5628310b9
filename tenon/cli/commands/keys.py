"""`tenon keys`: API keys of a tenant."""

from __future__ import annotations

import click

from tenon.cli.context import SuggestingGroup, data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadUsage
from tenon.cli.output import Output, count
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant
from tenon.core.errors import did_you_mean

_SCOPES = ("predict", "read", "write")


@click.group(cls=SuggestingGroup)
def keys() -> None:
    """Create, list and revoke API keys of a tenant."""


@keys.command()
@click.option(
    "--scopes",
    default="predict,read,write",
    show_default=True,
    metavar="LIST",
    help="What the key may do: predict, read, write.",
)
@click.option("--name", default="", metavar="TEXT", help="What it is for.")
@click.option("--days", type=click.IntRange(min=1), metavar="N", help="Expires after so many days; left out: never.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def create(output: Output, scopes: str, name: str, days: int | None, tenant: str | None, data: str | None) -> None:
    """Make a key and print it; it is shown this once and kept only as a hash."""
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    for scope in wanted:
        if scope not in _SCOPES:
            near = did_you_mean(scope, _SCOPES)
            raise BadUsage(
                f"--scopes: {scope!r} is not a scope",
                hint=f"did you mean `{near}`?" if near else f"scopes: {', '.join(_SCOPES)}",
            )
    if not wanted:
        raise BadUsage("--scopes is empty, such a key could do nothing", hint="--scopes predict,read")
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    body: dict[str, object] = {"name": name, "scopes": wanted}
    if days is not None:
        body["expires_in"] = f"{days}d"
    made = client.post("registry", path_of("tenants", owner, "keys"), body)
    if output.json:
        output.result("key", made)
        return
    output.say(f"key {made['key_id']} of {owner} may {', '.join(wanted)}; keep it safe, it is not shown again:")
    output.line(made["key"])


@keys.command("list")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def list_(output: Output, tenant: str | None, data: str | None) -> None:
    """List a tenant's keys (never the keys themselves)."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    found = client.get("registry", path_of("tenants", owner, "keys"))["keys"]
    if output.json:
        output.result("keys", {"tenant": owner, "keys": found})
        return
    output.table(
        ["key", "name", "scopes", "created", "expires", "state"],
        [
            [key["key_id"], key.get("name", ""), ",".join(key["scopes"]), (key.get("created_at") or "")[:10],
             (key.get("expires_at") or "never")[:10], "valid" if key["valid"] else "revoked" if key.get("revoked_at") else "expired"]
            for key in found
        ],
    )  # fmt: skip
    output.line(count(len(found), "key"))


@keys.command()
@click.argument("key_id")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def revoke(output: Output, key_id: str, tenant: str | None, data: str | None) -> None:
    """Revoke a key; it opens no door from the next moment on."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    answer = client.call("registry", "DELETE", path_of("tenants", owner, "keys", key_id))
    if output.json:
        output.result("key", answer)
    output.line(f"revoked {key_id} of {owner}")
