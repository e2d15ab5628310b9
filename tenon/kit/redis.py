"""Connections to Redis: always with timeouts, and with our own error when it is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from tenon.core.errors import Unavailable


def connect(url: str, *, timeout_seconds: float = 2.0, retries: int = 1) -> redis.Redis:
    """A client with its own pool; nothing connects before the first command."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        health_check_interval=15,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
    )


@contextmanager
def reaching_redis(what: str) -> Iterator[None]:
    """Turn connection trouble into `Unavailable`, saying what was being attempted."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as err:
        raise Unavailable("REDIS_UNAVAILABLE", f"Redis could not be reached to {what}") from err


def run_of(client: redis.Redis) -> str:
    """Which run of which server answers: another one may not have what this one had been given in its last seconds, for it
    answers before its file is written (`appendfsync everysec`) and before a replica has heard. Raises `redis.RedisError`."""
    found: Any = client.info("server")
    return str(found.get("run_id", ""))
