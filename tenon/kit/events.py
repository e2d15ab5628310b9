"""Events on Redis Streams: published at least once, consumed by groups, claimed from the dead, set aside when poison."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import redis
from opentelemetry import context as otel_context
from opentelemetry import trace
from prometheus_client import Counter, Gauge

from tenon.core.errors import TenonError
from tenon.kit import context
from tenon.kit.redis import connect, reaching_redis
from tenon.kit.telemetry import get_logger, incoming_context, outgoing_headers, tracer

log = get_logger(__name__)

DATASET_COMMITTED = "tenon:events:dataset_committed"
PREDICTIONS = "tenon:predictions"
OPERATIONS = "tenon:operations"

CONSUMED = Counter("tenon_events_consumed_total", "Stream entries handled.", ["stream", "group", "outcome"])
BACKLOG = Gauge(
    "tenon_events_backlog_entries", "Stream entries this group has not been given yet.", ["stream", "group"]
)

Fields = Mapping[bytes, bytes]


def publish(
    client: redis.Redis, stream: str, fields: Mapping[str, str | bytes], *, max_entries: int = 1_000_000
) -> str:
    """Append one entry; trace and request id go along. Raises `Unavailable`."""
    with reaching_redis(f"publish to {stream}"):
        body: dict[Any, Any] = {**carried_fields(), **fields}
        entry: Any = client.xadd(stream, body, maxlen=max_entries, approximate=True)
    return entry.decode() if isinstance(entry, bytes) else str(entry)


def carried_fields() -> dict[str, str]:
    """Trace and request id of what is being done now, as fields of an entry; consumers take them up again."""
    return {f"_{key}": value for key, value in outgoing_headers().items()}


class Consumer:
    """Reads one stream as one member of a group, on a thread of its own.

    `handler(entry_id, fields)` must be idempotent: an entry is acknowledged only after it returned, and one whose
    consumer died is given to another after `claim_after_seconds`. A handler that raises gets the entry again, up to
    `max_tries` times; then it is copied to `<stream>:dead` with the reason and acknowledged. `TenonError` of kind
    unavailable is not counted as a try: it says that the world, not the entry, is at fault.
    """

    def __init__(
        self,
        redis_url: str,
        stream: str,
        group: str,
        handler: Callable[[str, Fields], None],
        *,
        batch: int = 16,
        claim_after_seconds: float = 60.0,
        max_tries: int = 5,
    ) -> None:
        self._client = connect(redis_url, timeout_seconds=5.0)
        self._stream, self._group, self._handler = stream, group, handler
        self._name = f"{group}-{uuid.uuid4().hex[:8]}"
        self._batch, self._claim_after, self._max_tries = batch, claim_after_seconds, max_tries
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._tries: dict[str, int] = {}
        self._tracer = tracer("tenon.events")

    def start(self) -> None:
        """Begin; must not block."""
        self._thread = threading.Thread(target=self._loop, name=f"consumer-{self._stream}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the entry being handled."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self._client.close()

    def _loop(self) -> None:
        failures, ready, last_claim = 0, False, 0.0
        while not self._ending.is_set():
            try:
                if not ready:
                    self._create_group()
                    ready = True
                    # What this group was given before and did not finish (a killed predecessor) comes first.
                if time.monotonic() - last_claim > self._claim_after / 4:
                    last_claim = time.monotonic()
                    self._claim_stale()
                self._read_new()
                failures = 0
            except (redis.RedisError, TenonError) as err:
                if str(err).startswith("NOGROUP"):
                    # The group vanishes with the stream when Redis comes back empty.
                    ready = False
                    continue
                failures += 1
                log.warning("stream cannot be read", stream=self._stream, error=str(err)[:200], failures=failures)
                self._ending.wait(min(0.2 * 2 ** min(failures, 6), 5.0))

    def _create_group(self) -> None:
        try:
            self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except redis.ResponseError as err:
            if not str(err).startswith("BUSYGROUP"):
                raise

    def _claim_stale(self) -> None:
        cursor: bytes | str = "0-0"
        while True:
            reply: Any = self._client.xautoclaim(
                self._stream, self._group, self._name, int(self._claim_after * 1000), cursor, count=self._batch
            )
            cursor, entries = reply[0], reply[1]
            if self._ending.is_set():
                return
            self._handle_claimed(entries)
            if cursor in (b"0-0", "0-0"):
                return

    def _read_new(self) -> None:
        reply: Any = self._client.xreadgroup(
            self._group, self._name, {self._stream: ">"}, count=self._batch, block=1000
        )
        for _, entries in reply:
            self._handle_entries(entries)
        groups: Any = self._client.xinfo_groups(self._stream)
        lag = next((group.get("lag") for group in groups if group["name"] == self._group.encode()), None)
        BACKLOG.labels(self._stream, self._group).set(lag or 0)

    def _handle_claimed(self, entries: list[tuple[bytes, Any]]) -> None:
        for entry_id, fields in entries:
            if self._ending.is_set():
                return
            self._handle(entry_id.decode(), fields or {})

    def _handle_entries(self, entries: list[tuple[bytes, Any]]) -> None:
        for entry_id, fields in entries:
            self._handle_until_done(entry_id.decode(), fields or {})

    def _handle_until_done(self, entry_id: str, fields: Fields) -> None:
        while not self._ending.is_set() and not self._handle(entry_id, fields):
            self._ending.wait(min(0.2 * 2 ** self._tries.get(entry_id, 1), 5.0))

    def _handle(self, entry_id: str, fields: Fields) -> bool:
        """Handle one entry; True when it is done with (well or set aside)."""
        carried = {key.decode()[1:]: value.decode() for key, value in fields.items() if key.startswith(b"_")}
        token = context.request_id.set(context.accept_request_id(carried.get("x-request-id")))
        attached = otel_context.attach(incoming_context(carried))
        try:
            with self._tracer.start_as_current_span(
                f"process {self._stream}",
                kind=trace.SpanKind.CONSUMER,
                attributes={"messaging.system": "redis", "messaging.destination.name": self._stream},
            ):
                self._handler(entry_id, {key: value for key, value in fields.items() if not key.startswith(b"_")})
        except Exception as err:
            if isinstance(err, TenonError) and err.kind.value in ("unavailable", "deadline"):
                log.warning("entry waits", stream=self._stream, entry=entry_id, reason=err.reason)
                return False
            self._tries[entry_id] = self._tries.get(entry_id, 0) + 1
            log.exception("entry failed", stream=self._stream, entry=entry_id, tries=self._tries[entry_id])
            if self._tries[entry_id] < self._max_tries:
                return False
            dead: dict[Any, Any] = {**fields, b"error": str(err)[:500].encode(), b"entry": entry_id.encode()}
            self._client.xadd(f"{self._stream}:dead", dead)
            CONSUMED.labels(self._stream, self._group, "dead").inc()
        else:
            CONSUMED.labels(self._stream, self._group, "ok").inc()
        finally:
            otel_context.detach(attached)
            context.request_id.reset(token)
        self._tries.pop(entry_id, None)
        self._client.xack(self._stream, self._group, entry_id)
        return True
