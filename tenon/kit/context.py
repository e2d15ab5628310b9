"""What belongs to the request being answered: its id, its tenant and who asks. Follows threads through contextvars."""

from __future__ import annotations

import contextvars
import random

from tenon.core.tenancy import Principal

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("tenon_request_id", default="")
tenant_name: contextvars.ContextVar[str] = contextvars.ContextVar("tenon_tenant", default="")
principal: contextvars.ContextVar[Principal | None] = contextvars.ContextVar("tenon_principal", default=None)


def new_request_id() -> str:
    """A fresh id, 16 hex digits. It names a request in logs and is no secret, so it needs no call into the kernel."""
    return f"{random.getrandbits(64):016x}"


def accept_request_id(given: str | None) -> str:
    """The caller's id if it is short printable text, else a fresh one, so that logs cannot be forged through it."""
    if given and len(given) <= 64 and given.isascii() and all(c.isalnum() or c in "-_." for c in given):
        return given
    return new_request_id()
