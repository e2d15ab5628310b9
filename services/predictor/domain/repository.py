"""The repository calls of the protocol: what there is and in which state, into memory, out of it, and how it is used."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import TimeoutError as LoadTimeout
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.predictor.domain.cold import Cold, Patience, unavailable
from services.predictor.domain.model import ModelKey, Role
from services.predictor.domain.releases import Follower
from services.predictor.domain.routing import Table
from tenon.core.errors import Invalid, NotFound, Place
from tenon.core.tenancy import TenantId

READY, LOADING, UNAVAILABLE = "READY", "LOADING", "UNAVAILABLE"


class IndexLine(NamedTuple):
    """One version of the index; `reason` is its role, or why it is not in memory."""

    name: str
    version: str
    state: str
    reason: str


class Usage(NamedTuple):
    """What one version has answered since this process began."""

    requests: int = 0
    rows: int = 0
    seconds: float = 0.0
    last_at_ms: int = 0
    """When it was last seen to have answered, in milliseconds since the epoch: as fine as somebody looks."""


class UsageSource(Protocol):
    """Counts answers."""

    def usage(self, tenant: TenantId) -> Mapping[tuple[str, int], Usage]:
        """By model and version."""
        ...


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one version."""

    model: str
    version: int
    usage: Usage
    nbytes: int
    """In memory now."""


class Repository:
    """See the module."""

    def __init__(self, table: Table, follower: Follower, patience: Patience, usage: UsageSource) -> None:
        self._table = table
        self._follower = follower
        self._patience = patience
        self._usage = usage

    def index(self, tenant: TenantId, *, ready_only: bool = False) -> list[IndexLine]:
        """Every version that is released, by model; nothing is loaded for it."""
        found = []
        for model in sorted({*self._table.models(tenant), *self._follower.models(tenant)}):
            lines = self._lines(ModelKey(tenant, model))
            found += [line for line in lines if line.state == READY] if ready_only else lines
        return found

    def _lines(self, key: ModelKey) -> list[IndexLine]:
        entry, release = self._table.get(key), self._follower.release_of(key)
        answering = entry.answering() if entry is not None else ()
        lines = [IndexLine(key.model, str(item.served.version), READY, item.role.value) for item in answering]
        trouble = self._follower.trouble_of(key)
        if trouble is not None:
            state, reason = UNAVAILABLE, unavailable(key.model, trouble).message
        elif self._follower.is_loading(key):
            state, reason = LOADING, "it is being loaded"
        else:
            state, reason = UNAVAILABLE, "not in memory: the next request loads it"
        served = {item.served.version for item in answering}
        wanted = [track for track in release.tracks if track.role != Role.SHADOW] if release is not None else []
        return lines + [
            IndexLine(key.model, str(track.version), state, reason) for track in wanted if track.version not in served
        ]

    def load(self, tenant: TenantId, model: str, parameters: Mapping[str, object] | None = None) -> None:
        """Have what is released in memory when this returns. Raises `NotFound`, `Cold` when it takes too long, and
        `Unavailable` with the reason."""
        for name in parameters or ():
            if name == "config" or name.startswith("file:"):
                raise Invalid(
                    "PARAMETER_UNSUPPORTED",
                    f"parameter {name[:80]!r} would change what is served, which releases decide",
                    place=Place(field=name[:80]),
                    hint="leave it out, and set a release",
                )
        key = ModelKey(tenant, model)
        flight = self._follower.load(key)
        if flight is not None:
            try:
                flight.result(self._patience.seconds)
            except LoadTimeout:
                raise Cold(model, flight) from None
        trouble = self._follower.trouble_of(key)
        if trouble is not None:
            raise unavailable(model, trouble)
        self._table.find(tenant, model)

    def unload(self, tenant: TenantId, model: str) -> None:
        """Take a model out of memory until somebody asks for it. Raises `NotFound`, and `Precondition` for one that must
        stay."""
        key = ModelKey(tenant, model)
        if self._follower.release_of(key) is None:
            self._table.find(tenant, model)
        self._follower.unload(key)

    def statistics(self, tenant: TenantId, model: str = "", version: str = "") -> list[Statistics]:
        """Of every version that is released or has answered, or of those named. Raises `NotFound`."""
        usage = dict(self._usage.usage(tenant))
        sizes: dict[tuple[str, int], int] = {}
        for name in {*self._table.models(tenant), *self._follower.models(tenant)}:
            key = ModelKey(tenant, name)
            entry, release = self._table.get(key), self._follower.release_of(key)
            for track in release.tracks if release is not None else ():
                sizes.setdefault((name, track.version), 0)
            for served in entry.versions() if entry is not None else ():
                sizes[name, served.version] = served.nbytes
        places = sorted({*usage, *sizes})
        found = [
            Statistics(name, number, usage.get((name, number), Usage()), sizes.get((name, number), 0))
            for name, number in places
            if (not model or name == model) and (not version or str(number) == version)
        ]
        if model and not found:
            if version and any(name == model for name, _ in places):
                raise NotFound(
                    "VERSION_NOT_SERVED",
                    f"version {version[:20]!r} of model {model[:80]!r} is not served",
                    place=Place(field="version"),
                )
            raise self._table.not_found(tenant, model)
        return found
