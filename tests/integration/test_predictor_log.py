"""The prediction log of a real predictor, shipped to a real Redis: an answered prediction is in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from services.predictor.storage.stream import PredictionStream, StreamFull
from tenon.kit.prediction_batches import unpack_batch
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import KEYS, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess, wait_until
from tests.support.redis import RedisServer, redis_binary

needs_redis = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")
STREAM = "tenon:predictions"
OWN_MOUNT = ["unshare", "--map-root-user", "--mount"]


def may_mount() -> bool:
    """Whether a process here may have a file system of its own."""
    if shutil.which("unshare") is None:
        return False
    probe = subprocess.run([*OWN_MOUNT, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return probe.returncode == 0


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry with one released version of `stay`."""
    fake = FakeRegistry().start()
    fake.add("acme", "stay", 1, visit_bundle())
    fake.release("acme", "stay", 1)
    yield fake
    fake.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that is not started yet."""
    (tmp_path / "redis").mkdir()
    made = RedisServer(tmp_path / "redis")
    yield made
    made.stop()


def shipped(url: str) -> dict[str, dict[str, Any]]:
    """Every row in the stream by prediction id; batches that came twice count once."""
    found: dict[str, dict[str, Any]] = {}
    seen = set()
    with redis.Redis.from_url(url) as client:
        for _, fields in client.xrange(STREAM):
            batch = unpack_batch(fields)
            if batch["batch_id"] in seen:
                continue
            seen.add(batch["batch_id"])
            for text in batch["prediction_id"]:
                assert text not in found, "a row stands in two batches"
                found[text] = batch
    return found


def ids_of(answer: httpx.Response) -> set[str]:
    """The prediction ids of an answer that has them as an output."""
    assert answer.status_code == 200, answer.text
    (output,) = (output for output in answer.json()["outputs"] if output["name"] == "prediction_id")
    return set(output["data"])


def many(rows: int) -> dict[str, Any]:
    """A request of some rows that wants their ids."""
    return visit_request(rows) | {"outputs": [{"name": "prediction_id"}]}


@needs_redis
def test_every_answer_is_in_the_log_after_kill_9_and_a_redis_outage(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess], server: RedisServer
) -> None:
    """Answers before, during and after an outage, and up to the instant of a SIGKILL under load: each is in the stream,
    once, with its version."""
    predictor = PredictorProcess(tmp_path / "p", registry=registry.port, redis_url=server.url)
    started.append(predictor.start())
    answered: list[str] = []
    lock = threading.Lock()
    headers = {"authorization": f"Bearer {KEYS['acme']}"}

    def ask(until_failure: bool, count: int = 10**9) -> None:
        with httpx.Client(timeout=60) as client:
            for _ in range(count):
                try:
                    answer = client.post(f"{predictor.url}/v2/models/stay/infer", json=visit_request(), headers=headers)
                except httpx.HTTPError:
                    assert until_failure
                    return
                with lock:
                    answered.append(answer.json()["parameters"]["prediction_id"])

    ask(False, 30)  # Redis has never been there.
    threads = [threading.Thread(target=ask, args=(True,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answered) > 200, "some answers under load")
    predictor.kill()
    for thread in threads:
        thread.join()
    server.start()
    predictor.start()
    ask(False, 20)
    wait_until(lambda: len(shipped(server.url)) >= len(answered), "all rows in the stream", 180)
    first = shipped(server.url)
    assert set(answered) <= set(first)
    # What is more than answered was cut off between the log and the answer: at most one for each connection.
    assert len(first) - len(answered) <= 3
    assert {batch["version"] for batch in first.values()} == {1}
    server.stop()
    ask(False, 25)
    server.start()  # It comes back empty.
    wait_until(lambda: set(answered[-25:]) <= set(shipped(server.url)), "the rows of the outage", 180)
    wait_until(lambda: predictor.metric("tenon_predictor_shipped_rows_total") >= 45, "the metric")


@needs_redis
@pytest.mark.parametrize("together", [False, True])
def test_what_redis_loses_of_its_last_seconds_comes_again(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess], server: RedisServer, together: bool
) -> None:
    """It says that it has a row before it keeps it, and loses it in a crash, also in one of the whole host: the predictor
    still has it."""
    server.start()
    predictor = PredictorProcess(
        tmp_path / "p",
        registry=registry.port,
        redis_url=server.url,
        extra={"TENON_PREDICTOR_LOG_HELD_SECONDS": "300"},
    )
    started.append(predictor.start())
    answered = set()
    with httpx.Client(timeout=10, headers={"authorization": f"Bearer {KEYS['acme']}"}) as client:
        for _ in range(20):
            answered |= ids_of(client.post(f"{predictor.url}/v2/models/stay/infer", json=many(40)))
    wait_until(lambda: set(shipped(server.url)) == answered, "all rows in the stream", 20)
    if together:
        predictor.kill()
    server.stop()
    server.start()  # It comes back empty.
    if together:
        assert shipped(server.url) == {}
        predictor.start()
    wait_until(lambda: set(shipped(server.url)) == answered, "all rows in the stream again", 20)


def test_an_overfull_spool_drops_loudly_and_answers_go_on(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """The disk is bounded."""
    predictor = PredictorProcess(
        tmp_path,
        registry=registry.port,
        redis_url="redis://127.0.0.1:1/0",
        extra={"TENON_PREDICTOR_SPOOL_MAX_MIB": "1"},
    )
    started.append(predictor.start())
    while predictor.metric("tenon_predictor_spool_dropped_rows_total") == 0:
        assert predictor.infer("stay", visit_request(3000)).status_code == 200
    assert predictor.infer("stay", visit_request()).status_code in (200,)
    assert predictor.metric("tenon_predictor_spool_bytes") <= 1 << 20
    assert "the prediction spool is full" in predictor.log.read_text()


@needs_redis
@pytest.mark.skipif(not may_mount(), reason="a process may not mount a file system of its own here")
def test_with_a_full_disk_rows_reach_redis_through_memory(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess], server: RedisServer
) -> None:
    """On a disk of 700 KB nothing can be reserved: every answer is in the stream all the same, and the alarm is lit while
    one waits. Without Redis as well, rows are dropped only when memory is full, counted and loud; with a disk again, it is
    used again."""
    server.start()
    predictor = PredictorProcess(tmp_path / "p", registry=registry.port, redis_url=server.url)
    disk = tmp_path / "p" / "data"
    disk.mkdir()
    script = f"mount -t tmpfs -o size=700k none {disk} && exec {sys.executable} -m services.predictor"
    predictor.command = [*OWN_MOUNT, "sh", "-c", script]
    started.append(predictor.start())
    answered: set[str] = set()
    for _ in range(50):
        answered |= ids_of(predictor.infer("stay", many(40)))
    wait_until(lambda: answered <= set(shipped(server.url)), "all rows in the stream")
    assert "has no disk: No space left on device" in predictor.log.read_text()
    server.stop()
    answered = ids_of(predictor.infer("stay", many(40)))
    assert predictor.metric("tenon_predictor_spool_memory_bytes") > 0
    count = 0
    while predictor.metric("tenon_predictor_spool_dropped_rows_total") == 0:
        count += 1
        assert predictor.infer("stay", visit_request(3000)).status_code == 200
    assert predictor.metric("tenon_predictor_spool_memory_bytes") <= 16 << 20
    assert count * 3000 * 70 > 15 << 20, "memory was used before anything was dropped"
    assert "neither the disk nor memory" in predictor.log.read_text()
    server.start()
    wait_until(lambda: answered <= set(shipped(server.url)), "the rows that waited in memory", 180)
    wait_until(lambda: predictor.metric("tenon_predictor_spool_memory_bytes") == 0, "the end of the alarm", 180)
    assert predictor.process is not None
    grow = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", str(predictor.process.pid)]
    subprocess.run([*grow, "mount", "-o", "remount,size=64m", str(disk)], check=True, capture_output=True)
    server.stop()

    def on_disk() -> bool:
        predictor.infer("stay", visit_request())
        return predictor.metric("tenon_predictor_spool_bytes") > 0

    wait_until(on_disk, "rows on the disk again")
    assert predictor.stop() == 0


@needs_redis
def test_what_nobody_has_read_is_never_cut_off(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess], server: RedisServer
) -> None:
    """With the reader away the stream grows to its cap and not beyond; rows wait on disk, and the alarm is lit. When the
    reader is back, it gets every row, and what it is done with makes room."""
    server.start()
    settings = {"TENON_PREDICTOR_STREAM_MAX_MIB": "1"}
    predictor = PredictorProcess(tmp_path / "p", registry=registry.port, redis_url=server.url, extra=settings)
    client = redis.Redis.from_url(server.url)
    client.xgroup_create(STREAM, "monitor", id="0", mkstream=True)
    started.append(predictor.start())
    answered: set[str] = set()
    until = time.monotonic() + 300
    while predictor.metric("tenon_predictor_stream_full") == 0:
        assert time.monotonic() < until, "the stream never filled up"
        answered |= ids_of(predictor.infer("stay", many(2000)))
    waiting = predictor.metric("tenon_predictor_spool_bytes")
    answered |= ids_of(predictor.infer("stay", many(500)))
    assert predictor.metric("tenon_predictor_spool_bytes") > waiting
    assert "the stream is full" in predictor.log.read_text()
    read: set[str] = set()

    def all_read() -> bool:
        reply: Any = client.xreadgroup("monitor", "one", {STREAM: ">"}, count=10)
        for _, entries in reply:
            for number, fields in entries:
                read.update(unpack_batch(fields)["prediction_id"])
                client.xack(STREAM, "monitor", number)
        return answered <= read

    wait_until(all_read, "every row at the reader", 180)
    assert read == answered
    wait_until(lambda: predictor.metric("tenon_predictor_stream_full") == 0, "the end of the alarm")
    predictor.infer("stay", many(2000))
    assert predictor.metric("tenon_predictor_spool_dropped_rows_total") == 0


@needs_redis
def test_the_stream_keeps_what_any_group_still_needs(server: RedisServer) -> None:
    """Not yet given, or given and not acknowledged, by the slowest group; a stream without readers is not cut at all."""
    server.start()
    client = redis.Redis.from_url(server.url)
    used: list[int] = []
    stream = PredictionStream(client, max_bytes=1 << 20, check_seconds=0, on_used=used.append)
    entry = {"batch": b"x" * 50_000}

    def send_many() -> None:
        for _ in range(100):
            stream.send([entry])

    with pytest.raises(StreamFull, match="no readers"):
        send_many()
    assert used[-1] > 1 << 20
    length = client.xlen(STREAM)
    assert 15 < length < 30
    for name in ("monitor", "archive"):
        client.xgroup_create(STREAM, name, id="0")
    with pytest.raises(StreamFull, match=r"archive|monitor"):
        stream.send([entry])
    reader: Any = client
    taken: Any = {name: reader.xreadgroup(name, "a", {STREAM: ">"})[0][1] for name in ("monitor", "archive")}
    for number, _ in taken["monitor"]:
        client.xack(STREAM, "monitor", number)
    with pytest.raises(StreamFull, match="archive"):
        stream.send([entry])
    for number, _ in taken["archive"][:10]:
        client.xack(STREAM, "archive", number)
    stream.send([entry])
    oldest: Any = client.xrange(STREAM, count=1)
    assert oldest[0][0] == taken["archive"][10][0], "the oldest entry that is not acknowledged"
    assert client.xlen(STREAM) == length - 10 + 1
