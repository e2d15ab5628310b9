"""`make bench-log`: what the prediction log costs the answers, in one process and against a real Redis.

Appending is timed alone, as the predictor does it before an answer leaves; shipping by the CPU time of the shipper's
thread, on rows that wait in a spool; and both together by the requests a second of a predictor, everything on, with its log and without. Yardstick: what one writes first, a JSON document with a checksum and `os.write` for
each answer, and one XADD for each record. How long shipping keeps the interpreter from answers is seen by a thread that
wants to run every quarter of a millisecond meanwhile.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import redis

from services.predictor.domain.logged import Logged, PredictionIds, id_texts
from services.predictor.domain.model import Role, Source
from services.predictor.storage.shipping import Shipper
from services.predictor.storage.spool import Spool
from services.predictor.storage.stream import PredictionStream
from tenon.core.tenancy import TenantId
from tests.bench import drive, frame
from tests.bench.engine import Case
from tests.bench.predictor_world import TENANT, bundle_of
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import KEYS
from tests.support.predictor_process import PredictorProcess
from tests.support.redis import RedisServer

ROWS = 60_000
NAIVE_ROWS = 6_000
PAIRS = 5
NAMES = tuple(f"x{place:02}" for place in range(30))
PLAIN = Source(TenantId("bench"), "late", 3, Role.STABLE, "rest", NAMES)
MIXED = Source(TenantId("bench"), "late", 3, Role.STABLE, "rest", NAMES, ("ward", "payer"))
REQUEST = "0123456789abcdef"
RANDOM = random.Random(5)
ROW = [RANDOM.gauss(0, 1) for _ in NAMES]


class Naive:
    """A document for each answer; one record at a time to the stream."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "naive"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def append(self, prediction_id: bytes, at: int, score: float) -> None:
        """Write one."""
        data = orjson.dumps(
            {
                "tenant": "bench", "model": "late", "version": 3, "role": "stable", "protocol": "rest",
                "request_id": REQUEST, "prediction_id": id_texts(prediction_id), "at": at, "event_time": [at],
                "score": [score], "columns": {name: [value] for name, value in zip(NAMES, ROW, strict=True)},
            }
        )  # fmt: skip
        os.write(self._fd, len(data).to_bytes(4, "little") + zlib.crc32(data).to_bytes(4, "little") + data)

    def ship(self, client: redis.Redis) -> int:
        """Send all of them; gives their number."""
        data, place, count = self._path.read_bytes(), 0, 0
        while place < len(data):
            size = int.from_bytes(data[place : place + 4], "little")
            client.xadd("naive", {"record": orjson.dumps(orjson.loads(data[place + 8 : place + 8 + size]))})
            place, count = place + 8 + size, count + 1
        return count


def main() -> None:
    """Measure and report."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="tenon-bench-log-") as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        server = RedisServer(folder / "redis")
        server.start()
        try:
            if len(cores) > 1:
                os.sched_setaffinity(0, {cores[-1]})
            figures = [*_appending(folder), *_shipping(folder, server.url)]
            if len(cores) > 1:
                figures += _throughput(folder, server.url, (cores[0], cores[-1]))
        finally:
            server.stop()
    frame.report(
        "log", "The prediction log (bench-log)", figures,
        [
            f"one row of {len(NAMES)} floats unless said otherwise; medians of {PAIRS} pairs; folder on the disk of temporary files",
            "shipping: CPU time of the shipper's thread a record, sending to Redis included, Redis itself not",
            "waiting: how much later than it wanted another thread got the interpreter while records were shipped",
        ],
    )  # fmt: skip


def _appending(folder: Path) -> list[frame.Figure]:
    ids = PredictionIds()
    one = ids.one(time.time_ns() // 1000)[0]
    texts = [["north"], ["self"]]
    many = ids.many(1, 64)
    matrix, scores = np.random.default_rng(5).normal(size=(64, len(NAMES))), np.zeros(64)
    spool = Spool(folder / "append", "bench", max_bytes=1 << 30)
    naive = Naive(folder)

    def timed(work: Callable[[], object], count: int = 20_000) -> float:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(count // 5):
                work()
            took.append((time.perf_counter() - began) / (count // 5))
            spool.sync()
        return 1e6 * statistics.median(took)

    def plain() -> float:
        return timed(lambda: spool.append_row(PLAIN, REQUEST, one, 1, 1, 0.5, ROW))

    def mixed() -> float:
        return timed(lambda: spool.append([Logged(MIXED, REQUEST, one, 1, [1], scores[:1], matrix[:1], texts)]))

    def batch() -> float:
        return timed(lambda: spool.append([Logged(PLAIN, REQUEST, many, 1, [1] * 64, scores, matrix)]), 1000) / 64

    def yardstick() -> float:
        return timed(lambda: naive.append(one, 1, 0.5))

    frame.tell("appending …")
    found = []
    for label, work, goal in (
        ("append a row of numbers", plain, 3.0),
        ("append a row with two texts", mixed, None),
        ("append 64 rows, a row", batch, None),
    ):
        ours, theirs = frame.pairs(PAIRS, work, yardstick)
        found.append(frame.figure(label, ours, "µs", yardstick=("JSON + os.write", theirs), at_most=goal))
    found.append(frame.figure("make an id and its text", timed(lambda: ids.one(1)), "µs"))
    spool.close()
    return found


def _shipping(folder: Path, url: str) -> list[frame.Figure]:
    client = redis.Redis.from_url(url)
    ids = PredictionIds()
    waits: dict[str, list[float]] = {"ours": [], "naive": []}

    def ours() -> float:
        client.flushall()
        with tempfile.TemporaryDirectory(dir=folder) as name:
            spool = Spool(Path(name), "bench", max_bytes=1 << 30)
            for place in range(ROWS):
                spool.append_row(PLAIN, REQUEST, ids.one(place)[0], place, place, 0.5, ROW)
            shipper = Shipper(spool, PredictionStream(client, max_bytes=1 << 30))

            def ship() -> int:
                while shipper.step():
                    time.sleep(0.0005)
                return ROWS

            cost = _on_a_thread(ship, waits["ours"])
            spool.close()
        return cost

    def naive() -> float:
        client.flushall()
        with tempfile.TemporaryDirectory(dir=folder) as name:
            spool = Naive(Path(name))
            for place in range(NAIVE_ROWS):
                spool.append(ids.one(place)[0], place, 0.5)
            return _on_a_thread(lambda: spool.ship(client), waits["naive"])

    frame.tell("shipping …")
    mine, theirs = frame.pairs(PAIRS, ours, naive)
    found = [frame.figure("ship a record", mine, "µs", yardstick=("one XADD each", theirs), at_most=2.0)]
    for share, label in ((0.99, "p99"), (1.0, "longest")):
        here, there = (sorted(waits[who])[int(share * (len(waits[who]) - 1))] for who in ("ours", "naive"))
        goal = 1.0 if label == "p99" else None
        found.append(
            frame.figure(
                f"waiting for the interpreter, {label}", here, "ms", yardstick=("one XADD each", there), at_most=goal
            )
        )
    return found


def _throughput(folder: Path, url: str, cores: tuple[int, int]) -> list[frame.Figure]:
    """Requests of one row by 16 connections; the predictor has one core for itself, Redis and the generator the other."""
    rest_of_all, measured = cores
    os.sched_setaffinity(0, {rest_of_all})
    case = Case(30, 0)
    registry = FakeRegistry().start()
    registry.add(TENANT, "bench", 1, bundle_of(case, "bench"))
    registry.release(TENANT, "bench", 1)
    row = {"inputs": [{"name": "rows", "shape": [1, 30], "datatype": "FP64", "data": ROW}]}
    runs: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    servers = {}
    try:
        for name, module in (("with", "services.predictor"), ("without", "tests.bench.without_log")):
            frame.tell(f"starting a predictor {name} log …")
            server = servers[name] = PredictorProcess(folder / name, registry=registry.port, redis_url=url)
            server.command = [sys.executable, "-m", module]
            os.sched_setaffinity(0, {measured})
            server.start()
            os.sched_setaffinity(0, {rest_of_all})
        for _ in range(PAIRS):
            for name, server in servers.items():
                assert server.process is not None
                task = {
                    "protocol": "rest", "port": server.http, "path": "/v2/models/bench/infer", "body": orjson.dumps(row),
                    "headers": {"authorization": f"Bearer {KEYS[TENANT]}"},
                }  # fmt: skip
                frame.tell(f"asking {name} log …")
                runs[name].append(drive.measured(task, server.process.pid, 4.0, rest_of_all))
                frame.quiet([server.process.pid], seconds=10)
                with redis.Redis.from_url(url) as client:
                    client.flushall()
    finally:
        for server in servers.values():
            server.stop()
        registry.stop()
    here, there = drive.middle(runs["with"]), drive.middle(runs["without"])
    found = []
    for key, label, unit, goal in (
        ("rate", "requests a second, REST, 16 connections", "req/s", {"at_least": 0.9 * there["rate"]}),
        ("cpu_us", "CPU of the server a request", "µs", {}),
        ("p99_ms", "p99", "ms", {"at_most": 3.0}),
    ):
        found.append(frame.figure(label, here[key], unit, yardstick=("without log", there[key]), **goal))
    return found


def _on_a_thread(work: Callable[[], int], waits: list[float]) -> float:
    """CPU time of the work's thread for each record, in µs; meanwhile this thread wants to run all the time."""
    result: list[float] = []

    def run() -> None:
        began = time.thread_time()
        count = work()
        result.append(1e6 * (time.thread_time() - began) / count)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        began = time.perf_counter()
        time.sleep(0.00025)
        waits.append(1000 * (time.perf_counter() - began - 0.00025))
    thread.join()
    return result[0]


if __name__ == "__main__":
    main()
