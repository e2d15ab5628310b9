"""Which version answers: the table in effect, and the stateless split of traffic."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from services.predictor.domain.model import Entry, ModelKey, Serving
from tenon.core.errors import NotFound, Place, did_you_mean
from tenon.core.tenancy import TenantId

_PERSON = b"tenon-split"


def split_bucket(tenant: TenantId, model: str, key: Sequence[str]) -> int:
    """The bucket 0..999 of an entity (or request id): the same on every replica, every door and every day.

    The parts are length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.blake2b(digest_size=8, person=_PERSON)
    for part in (tenant.value, model, *key):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "big") % 1000


def choose(entry: Entry, tenant: TenantId, model: str, key: Sequence[str]) -> Serving:
    """The version that answers this key."""
    if entry.split:
        bucket = split_bucket(tenant, model, key)
        for upper, serving in entry.split:
            if bucket < upper:
                return serving
    return entry.lead


class Table:
    """Every model in effect. Reads take no lock: writers replace the whole mapping."""

    def __init__(self) -> None:
        self._entries: dict[ModelKey, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, tenant: TenantId, model: str) -> Entry:
        """The entry of a model. Raises `NotFound` naming what the tenant has."""
        entry = self._entries.get(ModelKey(tenant, model))
        if entry is None:
            known = self.models(tenant)
            near = did_you_mean(model, known)
            hint = f"did you mean {near!r}?" if near else (f"served: {', '.join(known[:10])}" if known else None)
            raise NotFound(
                "MODEL_NOT_FOUND", f"model {model[:80]!r} is not served", place=Place(field="model"), hint=hint
            )
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
        return sorted(key.model for key in self._entries if key.tenant == tenant)

    def get(self, key: ModelKey) -> Entry | None:
        """The entry of a key, if any."""
        return self._entries.get(key)

    def keys(self) -> set[ModelKey]:
        """Every model in effect at this moment."""
        return set(self._entries)

    def entries(self) -> list[Entry]:
        """Every entry in effect at this moment."""
        return list(self._entries.values())

    def put(self, key: ModelKey, entry: Entry | None) -> None:
        """Put an entry into effect, or take it out. One writer at a time (the follower)."""
        entries = dict(self._entries)
        if entry is None:
            entries.pop(key, None)
        else:
            entries[key] = entry
        self._entries = entries
