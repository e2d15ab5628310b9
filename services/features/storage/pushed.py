"""Pushed rows in Redis: a hash for each data set, and beside it how often it was changed. They live where the online
values live and are lost with them, but for those of the last seconds (`PushEvents.push_again`); what must not be lost is ingested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from services.features.storage.online_keys import chunks, pushed_key
from tenon.core.errors import RateLimited
from tenon.core.tenancy import TenantId
from tenon.kit.redis import reaching_redis, run_of

_REMOVE = """local gone = 0
for i = 1, #ARGV, 2 do
  if redis.call('hget', KEYS[1], ARGV[i]) == ARGV[i + 1] then gone = gone + redis.call('hdel', KEYS[1], ARGV[i]) end
end
if gone > 0 then redis.call('incr', KEYS[2]) end
return gone"""


class RedisPushedRows:
    """See `ports.PushedRows`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def put(self, tenant: TenantId, dataset: str, rows: Mapping[int, bytes], most: int) -> None:
        """See `ports.PushedRows`. Two pushes at once may go over the bound by what each brings."""
        key = pushed_key(tenant, dataset)
        with reaching_redis("keep pushed rows"):
            held: Any = self._client.hlen(key)
            if held + len(rows) > most:
                raise RateLimited(
                    "PUSHES_WAITING",
                    f"{held:,} pushed rows of {dataset!r} wait for their commit; more than {most:,} are not kept",
                    hint="ingest them as a file, then push on",
                )
            with self._client.pipeline(transaction=True) as pipe:
                pipe.hset(key, mapping={str(row): data for row, data in rows.items()})
                pipe.incr(f"{key}:changes")
                pipe.execute()

    def get(self, tenant: TenantId, dataset: str, keys: Sequence[int]) -> dict[int, bytes]:
        """See `ports.PushedRows`."""
        if not keys:
            return {}
        with reaching_redis("read pushed rows"):
            found: Any = self._client.hmget(pushed_key(tenant, dataset), [str(key) for key in keys])
        return {key: data for key, data in zip(keys, found, strict=True) if data is not None}

    def run(self) -> str:
        """See `ports.PushedRows`."""
        with reaching_redis("ask which run of Redis answers"):
            return run_of(self._client)

    def changes(self, tenant: TenantId, dataset: str) -> int:
        """See `ports.PushedRows`."""
        with reaching_redis("read pushed rows"):
            found: Any = self._client.get(f"{pushed_key(tenant, dataset)}:changes")
        return int(found or 0)

    def all(self, tenant: TenantId, dataset: str) -> dict[int, bytes]:
        """See `ports.PushedRows`."""
        with reaching_redis("read pushed rows"):
            found: Any = self._client.hgetall(pushed_key(tenant, dataset))
        return {int(key): data for key, data in found.items()}

    def remove(self, tenant: TenantId, dataset: str, rows: Mapping[int, bytes]) -> None:
        """See `ports.PushedRows`."""
        key = pushed_key(tenant, dataset)
        with reaching_redis("forget pushed rows"):
            for some in chunks(rows.items()):
                self._client.eval(
                    _REMOVE, 2, key, f"{key}:changes", *[part for row in some for part in (str(row[0]), row[1])]
                )
