"""The online store in Redis.

Keys, all under `tenon:features:<tenant>:<view>:`, and for a definition that a model keeps `…:<view>@<digest>:`

    damaged            there when a lookup found something of the view that cannot be read or is gone
    asked              which definitions were asked for by digest, and when last
    serving            which plan is served, and what is held of it (JSON); written last, so it is the switch
    <plan>:plan        the documents the plan is made of (JSON)
    <plan>:newest      all blob keys' last parts, by the time of the entity's newest event
    <plan>:bytes       how many bytes the blobs have
    <plan>:building    how many changes the build that is running has written
    <plan>=<entity>    an entity's blob (`#` and a hash instead of `=` and the text when it is long)
    <plan>:heads       the last parts of the keys of those blobs that are heads of entities in pieces
    <plan>~<name>      a chunk of such an entity; it never changes

A lookup reads `serving` and the blobs of the plan that it believes to be served in one MGET, which Redis answers at
one moment; when another plan turns out to be served, it asks again under that one. So nobody sees a mix. Chunks are read
after their head; where one is gone by then, the head has changed and is read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import redis

from services.features.domain.model import OnlineState, with_sizes
from services.features.domain.plan import Plan, compile_view
from services.features.domain.ports import Pending
from services.features.storage.blob_changes import BlobChanges, Moved, Tally, WritesLost, encoded
from services.features.storage.lock import RedisLock
from services.features.storage.online_keys import (
    CHUNK,
    base,
    chunks,
    damaged_key,
    entity_part,
    prefix,
    pushed_key,
    serving_key,
)
from services.features.storage.online_reads import OnlineReads, corrupt
from tenon.core.errors import Unavailable
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.redis import reaching_redis
from tenon.kit.telemetry import get_logger
from tenon.windows.blob import BlobCorrupt, EntityBlob, decode_blob, encode_blob, laid_over, with_more, without_pushed
from tenon.windows.program import Windows

log = get_logger(__name__)

_FINAL_TRIES, _LAY_TRIES = 5, 20
_MEASURED = 1000


class RedisOnlineStore(OnlineReads):
    """See `ports.OnlineStore`. `reader` should give up soon (somebody waits for a prediction); `writer` may be patient."""

    def publish(
        self,
        tenant: TenantId,
        view: str,
        source: tuple[FeatureViewSpec, DatasetSpec],
        state: OnlineState,
        blobs: Iterable[EntityBlob],
        pending: Pending | None = None,
    ) -> OnlineState:
        """See `ports.OnlineStore`."""
        digest = state.plan_digest
        documents = json.dumps([source[0].canonical(), source[1].canonical()])
        laid: dict[str, bytes] = {}

        def above(entity: str) -> EntityBlob | None:
            blob = pending.fresh().get(entity) if pending else None
            if blob is not None:
                laid[entity] = encode_blob(blob)
            return blob

        with reaching_redis("write online values"), _not_lost(view):
            of_plan, tally = self._counting(base(tenant, view, digest), compile_view(*source).program)
            gone: set[bytes] = {name for name, _ in self._writer.zscan_iter(of_plan.index, count=CHUNK)}
            size = 0
            for chunk in chunks(blobs):
                names = [entity_part(blob.entity) for blob in chunk]

                def whole(_: object, of: list[EntityBlob] = chunk) -> list[bytes | None]:
                    return [encoded(laid_over(blob, above(blob.entity))) for blob in of]

                size += of_plan.change(names, whole, blind=True)
                gone.difference_update(names)
            for parts in chunks(gone):
                # Entities that the table has no more, or that were only ever pushed.
                def rest(_: object, parts: list[bytes] = parts) -> list[bytes | None]:
                    names = {entity_part(entity): entity for entity in (pending.fresh() if pending else ())}
                    return [encoded(above(names[part])) if part in names else None for part in parts]

                size += of_plan.change(parts, rest, blind=True)
            of_plan.write_size(size)
            for final in self._finally(tenant, view, tally, pending):
                with suppress(redis.WatchError):
                    fresh = pending.fresh() if pending else {}
                    late = sorted(
                        entity
                        for entity in fresh.keys() | laid.keys()
                        if laid.get(entity) != encoded(fresh.get(entity))
                    )
                    for entities in chunks(late):

                        def anew(held: Sequence[bytes | None], of: list[str] = entities) -> list[bytes | None]:
                            return [encoded(laid_over(_bare(d), above(e))) for e, d in zip(of, held, strict=True)]

                        try:
                            of_plan.change([entity_part(entity) for entity in entities], anew)
                        except BlobCorrupt as err:
                            raise corrupt() from err
                    laid = {entity: data for entity, data in laid.items() if entity in fresh}
                    state = self._counted(of_plan, state)
                    tally.check(final)
                    final.multi()
                    final.set(f"{base(tenant, view, digest).decode()}:plan", documents)
                    final.sadd(f"{prefix(tenant, view)}plans", digest)
                    final.set(serving_key(tenant, view), json.dumps(asdict(state), sort_keys=True))
                    final.delete(damaged_key(tenant, view), tally.key)
                    final.execute()
                    break
            self._remove_retired(tenant, view, digest)
        return state

    def extend(
        self,
        tenant: TenantId,
        view: str,
        before: OnlineState,
        state: OnlineState,
        fresh: Iterable[EntityBlob],
        since: int,
        pending: Pending | None = None,
    ) -> OnlineState | None:
        """See `ports.OnlineStore`. Each blob says the version it is of, so that none gets an event twice."""
        plan = self._plan(tenant, view, state.plan_digest)
        windows = None if plan is None else plan.program
        key, done = serving_key(tenant, view), dict[str, frozenset[int]]()

        def settled(entity: str, data: bytes | None) -> EntityBlob | None:
            """What is held of an entity, without what the table has by now."""
            if data is None:
                return None
            keys = pending.settled().get(entity) if pending else None
            if keys:
                done[entity] = keys
            return without_pushed(decode_blob(data), keys or ())

        with reaching_redis("extend online values"):
            pointer: Any = self._writer.get(key)
            if self._remember(tenant, view, pointer) != before:
                return None
            of_plan, tally = self._counting(base(tenant, view, state.plan_digest), windows)
            try:
                for chunk in chunks(fresh):

                    def more(held: Sequence[bytes | None], of: list[EntityBlob] = chunk) -> list[bytes | None]:
                        return [
                            encode_blob(_extended(blob, settled(blob.entity, data), before, since))
                            for blob, data in zip(of, held, strict=True)
                        ]

                    of_plan.change([entity_part(blob.entity) for blob in chunk], more)
                for final in self._finally(tenant, view, tally, pending):
                    with suppress(redis.WatchError):
                        rest = [
                            entity
                            for entity, keys in (pending.settled() if pending else {}).items()
                            if done.get(entity) != keys
                        ]
                        for entities in chunks(rest):

                            def less(held: Sequence[bytes | None], of: list[str] = entities) -> list[bytes | None]:
                                return [encoded(settled(entity, data)) for entity, data in zip(of, held, strict=True)]

                            of_plan.change([entity_part(entity) for entity in entities], less)
                        state = self._counted(of_plan, state)
                        # Had Redis lost something meanwhile, or all, what was written would be a part of the whole.
                        tally.check(final)
                        if final.get(key) != pointer:
                            return None
                        final.multi()
                        final.set(key, json.dumps(asdict(state), sort_keys=True))
                        final.delete(tally.key)
                        final.execute()
                        # Not before: until then an earlier horizon is promised, from which they can be seen.
                        return self._without_old(replace(of_plan, tally=None), key, state, since)
            except (BlobCorrupt, Moved):
                return None
        return None

    def lay_over(
        self,
        tenant: TenantId,
        view: str,
        version: int,
        keys: frozenset[int],
        touched: Callable[[Plan], Iterable[str]],
        events: Callable[[Plan], Mapping[str, EntityBlob]],
    ) -> bool:
        """See `ports.OnlineStore`."""
        key = serving_key(tenant, view)
        with reaching_redis("show pushed rows"):
            for _ in range(_LAY_TRIES):
                pointer: Any = self._writer.get(key)
                state = self._remember(tenant, view, pointer)
                plan = None if state is None else self._plan(tenant, view, state.plan_digest)
                if state is None or plan is None:
                    return True
                if state.table_version > version:
                    return False
                lay = partial(_laid, of=(plan, state, keys, version), events=events)
                of_plan = BlobChanges(self._writer, base(tenant, view, plan.digest), plan.program, self._cut_at)
                try:
                    for names in chunks(touched(plan)):
                        parts = [entity_part(name) for name in names]
                        of_plan.change(parts, partial(lay, names), relying=(key, pointer))
                except Moved:
                    if self._writer.get(key) == pointer:
                        return False
                    continue
                except BlobCorrupt as err:
                    self.note_damaged(tenant, view)
                    raise corrupt() from err
                return True
        return False

    def _finally(
        self, tenant: TenantId, view: str, tally: Tally, pending: Pending | None
    ) -> Iterator[Any]:  # fmt: skip
        """Transactions in which the switch is tried, each of which fails if rows were pushed since it began; after some,
        those that do not: what is pushed in that moment is settled soon after."""
        for number in range(2 * _FINAL_TRIES):
            with self._writer.pipeline(transaction=True) as pipe:
                pipe.watch(serving_key(tenant, view), tally.key)
                if pending is not None and number < _FINAL_TRIES:
                    pipe.watch(pushed_key(tenant, pending.dataset))
                yield pipe
        raise Unavailable("VIEW_CHANGING", f"view {view!r} is changing all the time; it is built again")

    def _counting(self, of_plan: bytes, windows: Windows | None) -> tuple[BlobChanges, Tally]:
        tally = Tally(self._writer, of_plan + b":building")
        return BlobChanges(self._writer, of_plan, windows, self._cut_at, tally), tally

    def _counted(self, of_plan: BlobChanges, state: OnlineState) -> OnlineState:
        entities: Any = self._writer.zcard(of_plan.index)
        size: Any = self._writer.get(of_plan.size)
        # Names that are there, each once: all of them where they are not more.
        some: Any = self._writer.zrandmember(of_plan.index, _MEASURED) or []
        return with_sizes(state, entities, int(size or 0), of_plan.sizes(some))

    def _without_old(self, of_plan: BlobChanges, key: str, state: OnlineState, since: int) -> OnlineState:
        """Forget the entities all of whose events are from before `since`, unless some were pushed and wait."""
        found: Any = self._writer.zrangebyscore(of_plan.index, "-inf", since)

        def rest(held: Sequence[bytes | None]) -> list[bytes | None]:
            return [None if data is None or _all_before(decode_blob(data), since) else data for data in held]

        for parts in chunks(found):
            of_plan.change(parts, rest)
        if not found:
            return state
        with self._writer.pipeline(transaction=True) as pipe:
            pipe.watch(key)
            if pipe.get(key) != json.dumps(asdict(state), sort_keys=True).encode():
                return state
            state = self._counted(of_plan, state)
            pipe.multi()
            pipe.set(key, json.dumps(asdict(state), sort_keys=True))
            try:
                pipe.execute()
            except redis.WatchError:
                log.info("sizes are told with the next build", plan=of_plan.base.decode())
        return state

    def _remove_retired(self, tenant: TenantId, view: str, serving: str) -> None:
        plans = f"{prefix(tenant, view)}plans"
        members: Any = self._writer.smembers(plans)
        for member in members:
            digest = member.decode()
            if digest == serving:
                continue
            of_plan = f"{prefix(tenant, view)}{digest[:16]}"
            BlobChanges(self._writer, of_plan.encode()).remove_chunks()
            names = (name for name, _ in self._writer.zscan_iter(f"{of_plan}:newest", count=CHUNK))
            # Before 2026-11-21 a set had the names.
            for part in chunks([*names, *self._writer.sscan_iter(f"{of_plan}:entities", count=CHUNK)]):
                self._writer.delete(*[of_plan.encode() + name for name in part])
            self._writer.delete(*[f"{of_plan}:{last}" for last in ("newest", "entities", "plan", "bytes", "building")])
            self._writer.srem(plans, digest)
            log.info("retired online values removed", view=view, plan=digest[:16])

    def retire(self, tenant: TenantId, view: str) -> None:
        """See `ports.OnlineStore`."""
        with reaching_redis("remove online values"):
            self._writer.delete(serving_key(tenant, view), damaged_key(tenant, view))
            self._remove_retired(tenant, view, "")

    def asked(self, tenant: TenantId, view: str) -> dict[str, int]:
        """See `ports.OnlineStore`."""
        with reaching_redis("read which definitions are asked for"):
            found: Any = self._writer.hgetall(f"{prefix(tenant, view)}asked")
        return {digest.decode(): int(at) for digest, at in found.items()}

    def note_asked(self, tenant: TenantId, view: str, digest: str, at: int) -> None:
        """See `ports.OnlineStore`."""
        key = f"{prefix(tenant, view)}asked"
        with reaching_redis("note which definition is asked for"):
            if at:
                self._reader.hset(key, digest, at)
            else:
                self._writer.hdel(key, digest)

    def lock(self, tenant: TenantId, view: str) -> RedisLock:
        """See `ports.OnlineStore`."""
        return RedisLock(self._writer, f"{prefix(tenant, view)}lock")


@contextmanager
def _not_lost(view: str) -> Iterator[None]:
    try:
        yield
    except WritesLost as err:
        problem = f"Redis has lost values of view {view!r} while they were written; it is built again"
        raise Unavailable("ONLINE_WRITES_LOST", problem) from err


def _laid(
    names: Sequence[str], held: Sequence[bytes | None], *, of: tuple[Plan, OnlineState, frozenset[int], int],
    events: Callable[[Plan], Mapping[str, EntityBlob]],
) -> list[bytes | None]:  # fmt: skip
    """Blobs with these keys' pushed events replaced. Raises `Moved` where one is of a later version."""
    plan, state, keys, version = of
    fresh, made = events(plan), []
    for entity, data in zip(names, held, strict=True):
        old = None if data is None else decode_blob(data)
        if old is not None and old.table_version > version:
            raise Moved
        above = fresh.get(entity)
        if above is not None:
            above = replace(above, table_version=state.table_version, horizon=state.horizon)
        made.append(encoded(laid_over(old and without_pushed(old, keys), above)))
    return made


def _extended(fresh: EntityBlob, old: EntityBlob | None, before: OnlineState, since: int) -> EntityBlob:
    """What the entity's blob becomes. Raises `Moved` when it is not of the version that is extended."""
    if old is None:
        return fresh
    if old.table_version > before.table_version or old.entity != fresh.entity:
        raise Moved
    return with_more(old, fresh, since)


def _all_before(blob: EntityBlob, since: int) -> bool:
    return blob.pushed is None and not (blob.events.time >= since).any()


def _bare(data: bytes | None) -> EntityBlob | None:
    """What the table has of an entity."""
    try:
        return None if data is None else without_pushed(decode_blob(data))
    except BlobCorrupt as err:
        raise corrupt() from err
