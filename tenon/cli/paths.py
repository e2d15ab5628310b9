"""Paths of the services' HTTP doors."""

from __future__ import annotations

from urllib.parse import quote


def path_of(*parts: str, version: str = "v1") -> str:
    """A path from names, each quoted: `path_of("tenants", name, "datasets")` is `/v1/tenants/NAME/datasets`."""
    return f"/{version}/" + "/".join(quote(part, safe=":") for part in parts)
