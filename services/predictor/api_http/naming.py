"""What a request says about whose models it asks for: a prefix of its path, a header."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from services.predictor.domain.naming import HostNames, one_name

PREFIX = "/tenants/"
# Nothing but predictions and their metadata: what concerns the whole process must not come through a tenant's path.
_BELOW = re.compile(r"/tenants/([^/]+)(/v[12](?:/.*)?)")


def below_prefix(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The request that a path below `/tenants/NAME` stands for; others as they are."""
    match = _BELOW.fullmatch(scope["path"])
    if match is None:
        return scope
    return {**scope, "root_path": scope.get("root_path", "") + PREFIX + match[1], "tenon.named": match[1]}


def named_by(headers: Mapping[bytes, bytes], path_names: str | None, hosts: HostNames | None) -> str | None:
    """The tenant that a request names. Raises `Invalid` when it names two."""
    header = headers.get(b"x-tenon-tenant")
    named = None if header is None else header.decode("latin-1")
    if path_names is None and hosts is None:
        return named
    host = headers.get(b"host") if hosts is not None else None
    return one_name((path_names, hosts.tenant(host.decode("latin-1")) if hosts is not None and host else None, named))
