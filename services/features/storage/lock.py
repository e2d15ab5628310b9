"""A lock in Redis."""

from __future__ import annotations

import threading
import uuid

import redis

from tenon.core.errors import Unavailable
from tenon.kit.redis import reaching_redis
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_LOCK_MILLISECONDS = 10_000
_RENEW = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end"
)
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"


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
