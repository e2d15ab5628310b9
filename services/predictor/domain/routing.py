"""Which version answers: the table in effect, and the stateless split of traffic."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence

from services.predictor.domain.model import Entry, ModelKey, Serving
from tenon.core.errors import NotFound, Place, TenonError, did_you_mean
from tenon.core.tenancy import TenantId

_PERSON = b"tenon-split"


def split_bucket(tenant: TenantId, model: str, key: Sequence[str]) -> int:
    """The bucket 0..999 of an entity (or request id): the same on every replica, every door and every day.

    The parts are length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
    """
    digest = _begun(tenant.value, model).copy()
    for part in key:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return int.from_bytes(digest.digest(), "big") % 1000


@functools.lru_cache(4096)
def _begun(*parts: str) -> hashlib.blake2b:
    """The part of the hash that all keys of a model have in common."""
    digest = hashlib.blake2b(digest_size=8, person=_PERSON)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest


def choose(entry: Entry, tenant: TenantId, model: str, key: Sequence[str]) -> Serving:
    """The version that answers this key."""
    if entry.split:
        bucket = split_bucket(tenant, model, key)
        for upper, serving in entry.split:
            if bucket < upper:
                return serving
    return entry.lead


class Table:
    """Every model in effect, and the names of those that are on disk only (`absent`).

    Reads take no lock: writers replace whole mappings.
    """

    def __init__(self) -> None:
        self._entries: dict[ModelKey, Entry] = {}
        self._absent: frozenset[ModelKey] = frozenset()
        self.on_missing: Callable[[ModelKey], TenonError | None] = lambda _key: None
        """What to raise for a model that is not in memory (and to begin loading it); None: there is none."""

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, tenant: TenantId, model: str) -> Entry:
        """The entry of a model. Raises `Cold` while it is not in memory, `Unavailable` when it cannot be loaded, and
        `NotFound` naming what the tenant has."""
        entry = self._entries.get(ModelKey(tenant, model))
        if entry is None:
            raise self._refusal(tenant, model)
        return entry

    def find_version(self, tenant: TenantId, model: str, version: str) -> Serving:
        """The version a caller named explicitly; only versions that may answer are found."""
        entry = self.find(tenant, model)
        for serving in entry.answering():
            if str(serving.served.version) == version:
                return serving
        served = ", ".join(f"{item.served.version} ({item.role.value})" for item in entry.answering())
        raise NotFound(
            "VERSION_NOT_SERVED",
            f"version {version[:20]!r} of model {model!r} is not served; served: {served}",
            place=Place(field="version"),
        )

    def models(self, tenant: TenantId) -> list[str]:
        """The names of a tenant's models, sorted."""
        return sorted({key.model for keys in (self._entries, self._absent) for key in keys if key.tenant == tenant})

    def get(self, key: ModelKey) -> Entry | None:
        """The entry of a key, if any."""
        return self._entries.get(key)

    def keys(self) -> set[ModelKey]:
        """Every model in effect at this moment."""
        return set(self._entries)

    def entries(self) -> list[Entry]:
        """Every entry in effect at this moment."""
        return list(self._entries.values())

    @property
    def has_absent(self) -> bool:
        """Whether some model is on disk only."""
        return bool(self._absent)

    def is_absent(self, key: ModelKey) -> bool:
        """Whether a model is on disk only."""
        return key in self._absent

    def put(self, key: ModelKey, entry: Entry | None, *, absent: bool = False) -> None:
        """Put an entry into effect, or take it out: altogether, or (`absent`) out of memory only. One writer at a time
        (the follower)."""
        if absent and key not in self._absent:
            self._absent |= {key}
        entries = dict(self._entries)
        if entry is None:
            entries.pop(key, None)
        else:
            entries[key] = entry
        self._entries = entries
        if not absent and key in self._absent:
            self._absent -= {key}

    def take_used(self) -> list[ModelKey]:
        """The models asked for since the last call; none, where nobody minds (see `WatchfulTable`)."""
        return []

    def _refusal(self, tenant: TenantId, model: str) -> TenonError:
        refusal = self.on_missing(ModelKey(tenant, model))
        return refusal if refusal is not None else self.not_found(tenant, model)

    def not_found(self, tenant: TenantId, model: str) -> NotFound:
        """What a caller hears whose model there is not, with what the tenant has."""
        known = self.models(tenant)
        near = did_you_mean(model, known)
        hint = f"did you mean {near!r}?" if near else (f"served: {', '.join(known[:10])}" if known else None)
        return NotFound("MODEL_NOT_FOUND", f"model {model[:80]!r} is not served", place=Place(field="model"), hint=hint)


class WatchfulTable(Table):
    """A table that knows what is asked for, where memory is limited."""

    def find(self, tenant: TenantId, model: str) -> Entry:
        """See `Table.find`."""
        entry = self._entries.get(ModelKey(tenant, model))
        if entry is None:
            raise self._refusal(tenant, model)
        entry.used[0] = True
        return entry

    def take_used(self) -> list[ModelKey]:
        """See `Table.take_used`."""
        found = []
        for key, entry in self._entries.items():
            if entry.used[0]:
                entry.used[0] = False
                found.append(key)
        return found
