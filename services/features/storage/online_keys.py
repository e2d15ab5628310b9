"""The names of the online store's keys in Redis; what each holds stands in `online.py` and `pushed.py`."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from typing import Any

from tenon.core.tenancy import TenantId

LONG_ENTITY = 128
CHUNK = 1000


def prefix(tenant: TenantId, view: str) -> str:
    """What all keys of a view begin with."""
    return f"tenon:features:{tenant}:{view}:"


def serving_key(tenant: TenantId, view: str) -> str:
    """Which plan is served."""
    return f"{prefix(tenant, view)}serving"


@functools.lru_cache(10_000)
def served_as(tenant: TenantId, view: str) -> bytes:
    """The same as bytes, for lookups."""
    return serving_key(tenant, view).encode()


def damaged_key(tenant: TenantId, view: str) -> str:
    """There when the view has to be built whole."""
    return f"{prefix(tenant, view)}damaged"


def pushed_key(tenant: TenantId, dataset: str) -> str:
    """The pushed rows of a data set. No view is named so."""
    return f"tenon:features:{tenant}:/{dataset}:pushed"


def entity_part(entity: str) -> bytes:
    """The end of a blob's key."""
    text = entity.encode()
    if len(text) <= LONG_ENTITY:
        return b"=" + text
    return b"#" + hashlib.sha256(text).hexdigest().encode()


@functools.lru_cache(10_000)
def base(tenant: TenantId, view: str, digest: str) -> bytes:
    """What all keys of a plan begin with."""
    return f"{prefix(tenant, view)}{digest[:16]}".encode()


def chunks(items: Iterable[Any]) -> Iterable[list[Any]]:
    """The items, some at a time."""
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
