"""Reading from the online store in Redis; its keys are described in `online.py`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import redis

from services.features.domain.model import OnlineState
from services.features.domain.plan import Plan, compile_view
from services.features.domain.ports import EntityNames, ServedView
from services.features.storage.mget import BlobMget, Group
from services.features.storage.online_keys import (
    LONG_ENTITY,
    base,
    damaged_key,
    entity_part,
    prefix,
    served_as,
    serving_key,
)
from tenon.core.errors import TenonError, Unavailable
from tenon.core.specs import DatasetSpec, FeatureViewSpec, parse_spec
from tenon.core.tenancy import TenantId
from tenon.kit.redis import reaching_redis
from tenon.kit.telemetry import get_logger
from tenon.windows.blob import BlobCorrupt, entity_of
from tenon.windows.held import HeldBlobs
from tenon.windows.pieces import USUAL, Sizes

log = get_logger(__name__)

# A character is at most four bytes.
_SURELY_SHORT = LONG_ENTITY // 4
_DAMAGE_IS_KNOWN_SECONDS = 3600


@dataclass(slots=True)
class _Believed:
    """What was last seen to be served of a view, and what all keys of its plan begin with."""

    pointer: bytes
    state: OnlineState
    base: bytes
    plan: Plan | None = None


class OnlineReads:
    """What a lookup needs of `ports.OnlineStore`."""

    def __init__(self, reader: redis.Redis, writer: redis.Redis, cut_at: Sizes = USUAL) -> None:
        self._reader, self._writer, self._cut_at = reader, writer, cut_at
        self.mget = BlobMget(reader)
        self._plans: dict[tuple[TenantId, str, str], Plan] = {}
        self._serving: dict[tuple[TenantId, str], _Believed] = {}

    def check(self) -> str | None:
        """What is wrong with the store, or None; for readiness."""
        try:
            self._reader.ping()
        except redis.RedisError as err:
            return f"redis: {type(err).__name__}"
        return None

    def serve(self, tenant: TenantId, views: Sequence[str], entities: EntityNames) -> dict[str, ServedView | None]:
        """See `ports.OnlineStore`."""
        with reaching_redis("read online values"):
            for _ in range(4):
                served = self._try_serve(tenant, views, entities)
                if served is not None:
                    return served
        raise Unavailable("VIEW_CHANGING", "the definition of a view is changing right now; ask again")

    def _try_serve(
        self, tenant: TenantId, views: Sequence[str], entities: EntityNames
    ) -> dict[str, ServedView | None] | None:
        """One MGET; None when it showed that another plan is served than was believed."""
        groups: list[Group] = [(b"", [served_as(tenant, view) for view in views])]
        wanted: list[tuple[_Believed, Plan, list[str]] | None] = []
        # Views of the same entity name the same.
        by_entity: dict[Any, tuple[list[str], list[Any]]] = {}
        for view in views:
            believed = self._serving.get((tenant, view))
            if believed is None or (plan := self._plan_of(tenant, view, believed)) is None:
                wanted.append(None)
                continue
            if (named := by_entity.get(plan.entity)) is None:
                names = entities(plan)
                named = by_entity[plan.entity] = names, _parts(names)
            wanted.append((believed, plan, named[0]))
            groups.append((believed.base, named[1]))
        found = self.mget(groups)
        served: dict[str, ServedView | None] = {}
        offset, agreed = len(views), True
        for place, view in enumerate(views):
            pointer, of_it = found[place], wanted[place]
            count = 0 if of_it is None else len(of_it[2])
            if of_it is not None and of_it[0].pointer == pointer:
                state: OnlineState | None = of_it[0].state
            else:
                state = self._remember(tenant, view, pointer)
            if state is None:
                served[view] = None
            elif of_it is None or of_it[1].digest != state.plan_digest:
                agreed = False
            else:
                believed, plan, names = of_it
                held = found.part(offset, count)
                if by_entity[plan.entity][1] is not names:
                    held = HeldBlobs.of([_checked(data, name) for name, data in zip(names, held, strict=True)])
                served[view] = ServedView(plan, state, held, partial(self._chunks, believed.base + b"~"))
            offset += count
        return served if agreed else None

    def _chunks(self, before: bytes, names: Sequence[bytes]) -> list[bytes | None]:
        with reaching_redis("read online values"):
            return list(self.mget([(before, list(names))]))

    def state(self, tenant: TenantId, view: str) -> OnlineState | None:
        """See `ports.OnlineStore`."""
        with reaching_redis("read the online state"):
            pointer: Any = self._writer.get(serving_key(tenant, view))
        return self._remember(tenant, view, pointer)

    def note_damaged(self, tenant: TenantId, view: str) -> None:
        """See `ports.OnlineStore`."""
        with reaching_redis("note that online values are damaged"):
            self._reader.set(damaged_key(tenant, view), b"1", ex=_DAMAGE_IS_KNOWN_SECONDS)

    def is_damaged(self, tenant: TenantId, view: str, state: OnlineState) -> bool:
        """See `ports.OnlineStore`."""
        with reaching_redis("read the online state"), self._writer.pipeline(transaction=False) as pipe:
            pipe.exists(damaged_key(tenant, view))
            pipe.exists(_plan_key(tenant, view, state.plan_digest))
            found, plan = pipe.execute()
        return bool(found or not plan)

    def _remember(self, tenant: TenantId, view: str, pointer: bytes | None) -> OnlineState | None:
        if pointer is None:
            self._serving.pop((tenant, view), None)
            return None
        believed = self._serving.get((tenant, view))
        if believed is not None and believed.pointer == pointer:
            return believed.state
        if (state := _state_in(pointer)) is None:
            # Written by another version of the program: rebuilt as if nothing were there.
            log.warning("online state is unreadable", view=view)
            return None
        self._serving[tenant, view] = _Believed(pointer, state, base(tenant, view, state.plan_digest))
        return state

    def _plan_of(self, tenant: TenantId, view: str, believed: _Believed) -> Plan | None:
        if believed.plan is None:
            believed.plan = self._plan(tenant, view, believed.state.plan_digest)
        return believed.plan

    def _plan(self, tenant: TenantId, view: str, digest: str) -> Plan | None:
        plan = self._plans.get((tenant, view, digest))
        if plan is None:
            documents: Any = self._reader.get(_plan_key(tenant, view, digest))
            if documents is None:
                return None
            try:
                spec, dataset = json.loads(documents)
                plan = compile_view(parse_spec(FeatureViewSpec, spec), parse_spec(DatasetSpec, dataset))
            except (ValueError, TenonError) as err:
                raise Unavailable("VIEW_NOT_BUILT", f"the online definition of view {view!r} is unreadable") from err
            if len(self._plans) > 10_000:
                self._plans.clear()
            self._plans[tenant, view, digest] = plan
        return plan


def _plan_key(tenant: TenantId, view: str, digest: str) -> str:
    return f"{prefix(tenant, view)}{digest[:16]}:plan"


def _parts(names: list[str]) -> list[Any]:
    """The last parts of the names' keys: the names themselves where all are short."""
    return names if max(map(len, names), default=0) <= _SURELY_SHORT else [entity_part(name) for name in names]


def _state_in(pointer: bytes) -> OnlineState | None:
    try:
        read = json.loads(pointer)
        return OnlineState(**read | {"same": tuple(read["same"])})
    except (ValueError, TypeError, KeyError):
        return None


def corrupt() -> Unavailable:
    """A blob that is none."""
    return Unavailable("BLOB_CORRUPT", "an online value cannot be read; the view has to be built again")


def _checked(data: bytes | None, entity: str) -> bytes | None:
    """The blob, unless it is another entity's: a long one's key holds only a hash of it."""
    if data is None:
        return None
    try:
        return data if entity_of(data) == entity else None
    except BlobCorrupt as err:
        raise corrupt() from err
