"""Tenants named by a request's host, path or header.

A gateway that gives each tenant a host or a path of its own forwards requests as they are. They only name: the key still
decides, and a key of another tenant gets what it would get for a tenant that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenon.core.errors import Invalid, Place

_KEPT = 4096
_LONGEST = 300


class HostNames:
    """The tenant in the first label of a host below a suffix: `clinic` in `clinic.predict.example.org`."""

    def __init__(self, suffix: str) -> None:
        self._suffix = "." + suffix.strip(".").lower()
        self._known: dict[str, str | None] = {}

    def tenant(self, host: str) -> str | None:
        """The name, or None for a host that is not below the suffix."""
        try:
            return self._known[host]
        except KeyError:
            bare = host.partition(":")[0].lower()
        name = bare.removesuffix(self._suffix)
        found = name if name and name != bare else None
        # Callers choose hosts, so neither their number nor their length may grow without end.
        if len(host) <= _LONGEST:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[host] = found
        return found


def one_name(names: Iterable[str | None]) -> str | None:
    """What all that name a tenant name. Raises `Invalid` when they differ."""
    found: str | None = None
    for name in names:
        if name:
            if found is not None and name != found:
                raise Invalid(
                    "TENANT_AMBIGUOUS",
                    "path, host and x-tenon-tenant do not name the same tenant",
                    place=Place(field="x-tenon-tenant"),
                    hint="leave the header out where path or host name the tenant",
                )
            found = name
    return found
