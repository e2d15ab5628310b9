"""The online store in Redis.

Keys, all under `tenon:features:<tenant>:<view>:`, and for a definition that a model keeps `…:<view>@<digest>:`

    asked              which definitions were asked for by digest, and when last
    serving            which plan is served, and what is held of it (JSON); written last, so it is the switch
    <plan>:plan        the documents the plan is made of (JSON)
    <plan>:entities    a set of all blob keys' last parts
    <plan>=<entity>    an entity's blob (`#` and a hash instead of `=` and the text when it is long)

A lookup reads `serving` and the blobs of the plan that it believes to be served in one MGET, which Redis answers at
one moment; when another plan turns out to be served, it asks again under that one. So nobody sees a mix.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import redis

from services.features.domain.model import OnlineState
from services.features.domain.plan import Plan, compile_view
from services.features.domain.ports import EntityNames, ServedView
from tenon.core.errors import TenonError, Unavailable
from tenon.core.specs import DatasetSpec, FeatureViewSpec, parse_spec
from tenon.core.tenancy import TenantId
from tenon.kit.redis import reaching_redis
from tenon.kit.telemetry import get_logger
from tenon.windows.blob import BlobCorrupt, EntityBlob, decode_blob, encode_blob, entity_of, with_more

log = get_logger(__name__)

_LONG_ENTITY = 128
# A character is at most four bytes.
_SURELY_SHORT = _LONG_ENTITY // 4
_CHUNK = 1000
_LOCK_MILLISECONDS = 10_000
_RENEW = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end"
)
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"


class RedisOnlineStore:
    """See `ports.OnlineStore`. `reader` should give up soon (somebody waits for a prediction); `writer` may be patient."""

    def __init__(self, reader: redis.Redis, writer: redis.Redis) -> None:
        self._reader, self._writer = reader, writer
        self._plans: dict[tuple[TenantId, str, str], Plan] = {}
        self._serving: dict[tuple[TenantId, str], tuple[bytes, OnlineState]] = {}

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
        keys: list[str | bytes] = [_serving_key(tenant, view) for view in views]
        wanted: dict[str, tuple[Plan, list[str]]] = {}
        for view in views:
            believed = self._serving.get((tenant, view))
            if believed is None:
                continue
            plan = self._plan(tenant, view, believed[1].plan_digest)
            if plan is not None:
                names = list(dict.fromkeys(entities(plan)))
                wanted[view] = (plan, names)
                base = _base(tenant, view, plan.digest)
                keys += [base + _entity_part(name) for name in names]
        found: list[bytes | None] = self._reader.mget(keys)  # type: ignore[assignment]
        served: dict[str, ServedView | None] = {}
        offset, agreed = len(views), True
        for view, pointer in zip(views, found, strict=False):
            state = self._remember(tenant, view, pointer)
            if state is None:
                served[view] = None
            elif view not in wanted or wanted[view][0].digest != state.plan_digest:
                agreed = False
            else:
                plan, names = wanted[view]
                raw = found[offset : offset + len(names)]
                blobs = {
                    name: data if len(name) <= _SURELY_SHORT else _checked(data, name)
                    for name, data in zip(names, raw, strict=True)
                }
                served[view] = ServedView(plan, state, blobs)
            offset += len(wanted[view][1]) if view in wanted else 0
        return served if agreed else None

    def state(self, tenant: TenantId, view: str) -> OnlineState | None:
        """See `ports.OnlineStore`."""
        with reaching_redis("read the online state"):
            pointer: Any = self._writer.get(_serving_key(tenant, view))
        return self._remember(tenant, view, pointer)

    def publish(
        self,
        tenant: TenantId,
        view: str,
        source: tuple[FeatureViewSpec, DatasetSpec],
        state: OnlineState,
        blobs: Iterable[EntityBlob],
    ) -> OnlineState:
        """See `ports.OnlineStore`."""
        digest = state.plan_digest
        index = f"{_prefix(tenant, view)}{digest[:16]}:entities"
        documents = json.dumps([source[0].canonical(), source[1].canonical()])
        size = 0
        with reaching_redis("write online values"):
            gone: set[bytes] = set(self._writer.sscan_iter(index, count=_CHUNK))
            entities = 0
            for chunk in _chunks(blobs):
                pipe = self._writer.pipeline(transaction=False)
                names = []
                for blob in chunk:
                    data = encode_blob(blob)
                    size += len(data)
                    pipe.set(_blob_key(tenant, view, digest, blob.entity), data)
                    names.append(_entity_part(blob.entity))
                pipe.sadd(index, *names)
                pipe.execute()
                entities += len(chunk)
                gone.difference_update(names)
            for part in _chunks(gone):
                pipe = self._writer.pipeline(transaction=False)
                pipe.delete(*[f"{_prefix(tenant, view)}{digest[:16]}".encode() + name for name in part])
                pipe.srem(index, *part)
                pipe.execute()
            state = replace(state, entities=entities, blob_bytes=size)
            pipe = self._writer.pipeline(transaction=True)
            pipe.set(f"{_prefix(tenant, view)}{digest[:16]}:plan", documents)
            pipe.sadd(f"{_prefix(tenant, view)}plans", digest)
            pipe.set(_serving_key(tenant, view), json.dumps(asdict(state), sort_keys=True))
            pipe.execute()
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
    ) -> OnlineState | None:
        """See `ports.OnlineStore`. Each blob says the version it is of, so that none gets an event twice."""
        base = _base(tenant, view, state.plan_digest)
        key, entities, size = _serving_key(tenant, view), before.entities, before.blob_bytes
        with reaching_redis("extend online values"):
            pointer: Any = self._writer.get(key)
            if self._remember(tenant, view, pointer) != before:
                return None
            for chunk in _chunks(fresh):
                names = [_entity_part(blob.entity) for blob in chunk]
                held: Any = self._writer.mget([base + name for name in names])
                pipe = self._writer.pipeline(transaction=False)
                for blob, name, data in zip(chunk, names, held, strict=True):
                    written = _extended(blob, data, before, since)
                    if written is None:
                        return None
                    entities, size = entities + (data is None), size + len(written) - len(data or b"")
                    pipe.set(base + name, written)
                pipe.sadd(f"{base.decode()}:entities", *names)
                pipe.execute()
            state = replace(state, entities=entities, blob_bytes=size)
            try:
                with self._writer.pipeline(transaction=True) as pipe:
                    pipe.watch(key)
                    # Had Redis been emptied meanwhile, what was written would be a part of the whole.
                    if pipe.get(key) != pointer:
                        return None
                    pipe.multi()
                    pipe.set(key, json.dumps(asdict(state), sort_keys=True))
                    pipe.execute()
            except redis.WatchError:
                return None
        return state

    def _remove_retired(self, tenant: TenantId, view: str, serving: str) -> None:
        plans = f"{_prefix(tenant, view)}plans"
        members: Any = self._writer.smembers(plans)
        for member in members:
            digest = member.decode()
            if digest == serving:
                continue
            base = f"{_prefix(tenant, view)}{digest[:16]}"
            for part in _chunks(self._writer.sscan_iter(f"{base}:entities", count=_CHUNK)):
                self._writer.delete(*[base.encode() + name for name in part])
            self._writer.delete(f"{base}:entities", f"{base}:plan")
            self._writer.srem(plans, digest)
            log.info("retired online values removed", view=view, plan=digest[:16])

    def retire(self, tenant: TenantId, view: str) -> None:
        """See `ports.OnlineStore`."""
        with reaching_redis("remove online values"):
            self._writer.delete(_serving_key(tenant, view))
            self._remove_retired(tenant, view, "")

    def asked(self, tenant: TenantId, view: str) -> dict[str, int]:
        """See `ports.OnlineStore`."""
        with reaching_redis("read which definitions are asked for"):
            found: Any = self._writer.hgetall(f"{_prefix(tenant, view)}asked")
        return {digest.decode(): int(at) for digest, at in found.items()}

    def note_asked(self, tenant: TenantId, view: str, digest: str, at: int) -> None:
        """See `ports.OnlineStore`."""
        key = f"{_prefix(tenant, view)}asked"
        with reaching_redis("note which definition is asked for"):
            if at:
                self._reader.hset(key, digest, at)
            else:
                self._writer.hdel(key, digest)

    def lock(self, tenant: TenantId, view: str) -> RedisLock:
        """See `ports.OnlineStore`."""
        return RedisLock(self._writer, f"{_prefix(tenant, view)}lock")

    def _remember(self, tenant: TenantId, view: str, pointer: bytes | None) -> OnlineState | None:
        if pointer is None:
            self._serving.pop((tenant, view), None)
            return None
        believed = self._serving.get((tenant, view))
        if believed is not None and believed[0] == pointer:
            return believed[1]
        try:
            read = json.loads(pointer)
            state = OnlineState(**read | {"same": tuple(read["same"])})
        except (ValueError, TypeError, KeyError):
            # Written by another version of the program: rebuilt as if nothing were there.
            log.warning("online state is unreadable", view=view)
            return None
        self._serving[tenant, view] = (pointer, state)
        return state

    def _plan(self, tenant: TenantId, view: str, digest: str) -> Plan | None:
        plan = self._plans.get((tenant, view, digest))
        if plan is None:
            documents: Any = self._reader.get(f"{_prefix(tenant, view)}{digest[:16]}:plan")
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


class RedisLock:
    """A lock that lives a few seconds and is renewed while it is held, so that a killed holder is soon forgotten."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client, self._key, self._token = client, key, uuid.uuid4().hex
        self._released = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lock-renewal", daemon=True)

    def __enter__(self) -> RedisLock:
        with reaching_redis("take a lock"):
            if not self._client.set(self._key, self._token, nx=True, px=_LOCK_MILLISECONDS):
                raise Unavailable("BUILD_RUNNING", "another replica is building this view")
        self._renewing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._renewing.join()
        with reaching_redis("give a lock back"):
            self._client.eval(_RELEASE, 1, self._key, self._token)

    def _renew(self) -> None:
        while not self._released.wait(_LOCK_MILLISECONDS / 3000):
            try:
                self._client.eval(_RENEW, 1, self._key, self._token, str(_LOCK_MILLISECONDS))
            except redis.RedisError as err:
                log.warning("a lock could not be renewed", error=str(err)[:200])


def _prefix(tenant: TenantId, view: str) -> str:
    return f"tenon:features:{tenant}:{view}:"


def _serving_key(tenant: TenantId, view: str) -> str:
    return f"{_prefix(tenant, view)}serving"


def _entity_part(entity: str) -> bytes:
    text = entity.encode()
    if len(text) <= _LONG_ENTITY:
        return b"=" + text
    return b"#" + hashlib.sha256(text).hexdigest().encode()


@functools.lru_cache(10_000)
def _base(tenant: TenantId, view: str, digest: str) -> bytes:
    return f"{_prefix(tenant, view)}{digest[:16]}".encode()


def _blob_key(tenant: TenantId, view: str, digest: str, entity: str) -> bytes:
    return _base(tenant, view, digest) + _entity_part(entity)


def _extended(fresh: EntityBlob, held: bytes | None, before: OnlineState, since: int) -> bytes | None:
    """What the entity's blob becomes; None when it is not of the version that is extended."""
    if held is None:
        return encode_blob(fresh)
    try:
        old = decode_blob(held)
    except BlobCorrupt:
        return None
    if old.table_version > before.table_version or old.entity != fresh.entity:
        return None
    return encode_blob(with_more(old, fresh, since))


def _checked(data: bytes | None, entity: str) -> bytes | None:
    """The blob, unless it is another entity's: a long one's key holds only a hash of it."""
    if data is None:
        return None
    try:
        return data if entity_of(data) == entity else None
    except BlobCorrupt as err:
        raise Unavailable("BLOB_CORRUPT", "an online value cannot be read; the view has to be built again") from err


def _chunks(items: Iterable[Any]) -> Iterable[list[Any]]:
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
