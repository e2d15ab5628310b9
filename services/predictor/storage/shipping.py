"""From the spool to the Redis stream, at least once, in batches whose ids are the same when they are sent again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import redis

from services.predictor.storage.spool import Spool, records
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

STREAM = "tenon:predictions"
MAX_ROWS = 500
_CHUNK_BYTES = 1 << 20
_KEYS = ("replica", "tenant", "model", "version", "role", "protocol", "level")


class Shipper:
    """Moves records to the stream on a thread of its own.

    Before a range of a segment is sent, the range is written down: after a crash the very same batches with the very
    same ids are sent again, so that the reader can drop what it has. That it arrived is written down with the next range,
    or when there is none.
    """

    def __init__(
        self,
        spool: Spool,
        client: redis.Redis,
        *,
        pause_seconds: float = 0.2,
        max_entries: int = 1_000_000,
        on_shipped: Callable[[int], None] = lambda _rows: None,
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._spool = spool
        self._client = client
        self._pause = pause_seconds
        self._max_entries = max_entries
        self._on_shipped = on_shipped
        self._on_failed = on_failed
        self._place = spool.folder / "shipped.json"
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._segment, self._start, self._end = self._load()
        self._arrived = False
        self._more = False

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="shipper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ship what is there if Redis answers, then end."""
        self._ending.set()
        self._spool.wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def step(self) -> bool:
        """Ship one range; False when there was nothing. Raises `redis.RedisError`, and then nothing is lost."""
        number, written = self._spool.end()
        segments = self._spool.segments()
        if self._segment not in segments:
            self._segment = next((item for item in segments if item > self._segment), number)
            self._start, self._end = 0, None
        closed = self._segment < number
        limit = self._spool.path(self._segment).stat().st_size if closed else written
        found = self._read(limit)
        if not found:
            if self._arrived:
                self._save()
            if not closed:
                return False
            if self._start < limit:
                log.warning("the end of a spool segment was cut short", bytes=limit - self._start)
            self._spool.remove(self._segment)
            self._segment, self._start, self._end = self._segment + 1, 0, None
            self._more = True
            return True
        if self._end is None:
            self._end = self._start + found[-1][0]
            self._save()
        inside = [record for end, record in found if self._start + end <= self._end]
        rows = self._send(inside)
        self._start, self._end = self._end, None
        self._arrived = True
        self._more = closed or limit - self._start > _CHUNK_BYTES // 2
        self._on_shipped(rows)
        return True

    def _read(self, limit: int) -> list[tuple[int, Any]]:
        with self._spool.path(self._segment).open("rb") as file:
            file.seek(self._start)
            size = (self._end if self._end is not None else limit) - self._start
            data = file.read(min(size, _CHUNK_BYTES) if self._end is None else size)
            found = list(records(data))
            if not found and len(data) < size:
                # One record alone is larger than a chunk.
                found = list(records(data + file.read(size - len(data))))[:1]
        return found

    def _send(self, found: list[Any]) -> int:
        rows = 0
        with self._client.pipeline(transaction=False) as pipe:
            for index, batch in enumerate(batches(found)):
                batch["batch_id"] = f"{batch['replica']}-{self._segment}-{self._start}-{index}"
                rows += len(batch["prediction_id"])
                pipe.xadd(STREAM, {"batch": orjson.dumps(batch)}, maxlen=self._max_entries, approximate=True)
            pipe.execute()
        return rows

    def _loop(self) -> None:
        failures = 0
        while True:
            ending = self._ending.is_set()
            try:
                # What came while a range was sent is not sent at once, or under load each range would be a row or two.
                while self.step():
                    failures = 0
                    if not (ending or self._more):
                        break
                if ending:
                    return
                self._spool.wake.wait(1.0)
                self._spool.wake.clear()
                # Rows that come within a moment travel together.
                self._ending.wait(self._pause)
            except redis.RedisError as err:
                failures += 1
                self._on_failed()
                if failures == 1 or failures % 20 == 0:
                    log.warning(
                        "predictions wait in the spool: Redis does not answer", error=str(err), failures=failures
                    )
                if ending:
                    return
                self._ending.wait(min(5.0, 0.25 * 2 ** min(failures, 5)) * random.uniform(0.75, 1.25))
            except Exception:
                # A background loop is a door: what cannot be foreseen is logged and tried again.
                failures += 1
                self._on_failed()
                log.exception("shipping predictions failed", failures=failures)
                if ending:
                    return
                self._ending.wait(min(30.0, 2.0 ** min(failures, 5)))

    def _load(self) -> tuple[int, int, int | None]:
        try:
            data = orjson.loads(self._place.read_bytes())
            return int(data["segment"]), int(data["start"]), data["end"]
        except FileNotFoundError:
            return 0, 0, None
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("the place in the spool is unreadable; everything in it is shipped again")
            return 0, 0, None

    def _save(self) -> None:
        temporary = self._place.with_suffix(".tmp")
        temporary.write_bytes(orjson.dumps({"segment": self._segment, "start": self._start, "end": self._end}))
        temporary.replace(self._place)
        self._arrived = False


def batches(found: list[Any]) -> Iterator[dict[str, Any]]:
    """Records of the same version and role joined column-wise, in order, at most `MAX_ROWS` rows each."""
    open_batches: dict[Any, dict[str, Any]] = {}
    for record in found:
        # Rows of before the upgrade say nothing of it.
        record.setdefault("level", "")
        key = (*(record[name] for name in _KEYS), tuple(record["columns"]))
        rows = len(record["prediction_id"])
        for start in range(0, rows, MAX_ROWS):
            part = slice(start, min(rows, start + MAX_ROWS))
            count = part.stop - start
            batch = open_batches.get(key)
            if batch is not None and len(batch["prediction_id"]) + count > MAX_ROWS:
                yield open_batches.pop(key)
                batch = None
            if batch is None:
                batch = {name: record[name] for name in _KEYS}
                batch |= {name: [] for name in ("prediction_id", "request_id", "at", "event_time", "score")}
                batch["columns"] = {name: [] for name in record["columns"]}
                open_batches[key] = batch
            if rows == 1:
                # By far the most frequent, and half the work.
                for name in ("prediction_id", "event_time", "score"):
                    batch[name].append(record[name][0])
                batch["request_id"].append(record["request_id"])
                batch["at"].append(record["at"])
                for into, values in zip(batch["columns"].values(), record["columns"].values(), strict=True):
                    into.append(values[0])
                continue
            for name in ("prediction_id", "event_time", "score"):
                batch[name] += record[name][part]
            batch["request_id"] += [record["request_id"]] * count
            batch["at"] += [record["at"]] * count
            for name, values in record["columns"].items():
                batch["columns"][name] += values[part]
    yield from open_batches.values()
