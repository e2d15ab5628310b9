"""Which tenant a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tenon.cli.failures import BadUsage
from tenon.cli.paths import path_of
from tenon.core.errors import Forbidden, NotFound, TenonError, did_you_mean
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from tenon.cli.client import Client


def list_tenants(client: Client) -> list[str] | None:
    """Every tenant's name; None when the key in use belongs to one tenant and may not see the others."""
    try:
        answer = client.get("registry", "/v1/tenants")
    except (Forbidden, NotFound):
        return None
    return [tenant["name"] for tenant in answer["tenants"]]


def choose_tenant(client: Client, name: str | None) -> str:
    """The tenant named, or the only one there is. Raises an error that says which exist."""
    if name is not None:
        TenantId(name)
    known = list_tenants(client)
    if known is None:
        if name is None:
            raise BadUsage(
                "whose? this key belongs to one tenant, name it", hint="--tenant NAME (or export TENON_TENANT=NAME)"
            )
        return name
    if name is None:
        if len(known) == 1:
            return known[0]
        if not known:
            raise NotFound(
                "TENANT_NOT_FOUND", "there is no tenant yet", hint="tenon init example && tenon apply -f example"
            )
        raise BadUsage(f"whose? there are {len(known)} tenants: {_listed(known)}", hint=f"--tenant {known[0]}")
    if name not in known:
        near = did_you_mean(name, known)
        hint = (
            f"did you mean `--tenant {near}`?"
            if near
            else (f"tenants: {_listed(known)}" if known else "tenon init example && tenon apply -f example")
        )
        raise NotFound("TENANT_NOT_FOUND", f"there is no tenant {name!r}", hint=hint)
    return name


def _listed(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")


@contextmanager
def near_name(client: Client, tenant: str, noun: str, name: str) -> Iterator[None]:
    """Add the nearest existing name, or the list, to a not-found answer that has no hint of its own."""
    try:
        yield
    except NotFound as error:
        if error.hint:
            raise
        service, folder = {"model": ("trainer", "models"), "data set": ("ingest", "datasets")}[noun]
        try:
            answer = client.get(service, path_of("tenants", tenant, folder))
        except TenonError:
            raise error from None
        names = [entry["name"] for entry in answer[folder]]
        if name in names:
            # It is something else that was not found.
            raise
        near = did_you_mean(name, names)
        hint = (
            f"did you mean `{near}`?"
            if near
            else (
                f"there are: {', '.join(names)}"
                if names
                else f"declare one and run `tenon apply -f DIR --tenant {tenant}`"
            )
        )
        raise NotFound(error.reason, error.message, place=error.place, hint=hint, data=error.data) from None
