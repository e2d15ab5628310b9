"""What an acknowledged file survives: kills at any instant, and Redis or the registry being away."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import redis

from tests.support.ingest_process import FakeRegistry, IngestProcess, eventually
from tests.support.ingest_world import csv_of, visits
from tests.support.redis import RedisServer

KILLS = 6


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry that knows acme."""
    registry = FakeRegistry(["acme"])
    yield registry
    registry.stop()


def committed(client: httpx.Client) -> list[dict[str, Any]] | None:
    """All batches, once none is unfinished."""
    batches: list[dict[str, Any]] = client.get("/datasets/visits/batches?limit=500").json()["batches"]
    return batches if all(batch["state"] in ("committed", "refused") for batch in batches) else None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_again_and_again_while_files_come_in(tmp_path: Path, registry: FakeRegistry) -> None:
    """Files are sent without pause while the process is killed at random instants: in the end each acknowledged file
    is committed exactly once, and the table is what the acknowledged files say."""
    service = IngestProcess(tmp_path, registry, "redis://127.0.0.1:1/0").start()
    acknowledged: dict[str, int] = {}
    ending = threading.Event()

    def keep_sending() -> None:
        with service.client("acme") as client:
            number = 0
            while not ending.is_set():
                # Each file has 400 new rows and says something new about visit 0.
                first = 1 + number * 400
                data = csv_of((0, f"file-{number}", 1), *[(n, f"file-{number}", 1) for n in range(first, first + 400)])
                try:
                    answer = client.post(f"/datasets/visits/files?name=file-{number}.csv", content=data)
                    acknowledged[f"file-{number}.csv"] = first
                    assert answer.status_code in (200, 202), answer.text
                    number += 1
                except httpx.TransportError:
                    time.sleep(0.05)  # It was killed: the same file is sent until somebody takes it.

    with service.client("acme") as client:
        assert client.put("/datasets/visits", json=visits()).status_code == 200
    sender = threading.Thread(target=keep_sending)
    sender.start()
    chance = random.Random(7)
    try:
        for turn in range(KILLS):
            had = len(acknowledged)
            time.sleep(chance.uniform(0.02, 0.7))
            if turn % 2:  # However slow the machine is, files are taken as well.
                eventually("a file is taken", lambda had=had: len(acknowledged) > had)  # type: ignore[misc]
            service.kill()
            service.start()
    finally:
        ending.set()
        sender.join(180)
    with service.client("acme") as client:
        batches = eventually("all loads", lambda: committed(client), 180)
        table = client.get("/datasets/visits/table").json()
    try:
        assert len(acknowledged) >= KILLS // 2
        assert {batch["state"] for batch in batches} == {"committed"}
        names = [batch["file_name"] for batch in batches]
        assert len(set(names)) == len(names)
        assert set(acknowledged) <= set(names)
        versions = [batch["table_version"] for batch in reversed(batches)]
        assert versions == list(range(1, len(batches) + 1))
        assert all(batch["rows_read"] == batch["rows_committed"] == 401 for batch in batches)
        frame = pl.read_delta(table["uri"], version=table["version"])
        assert frame["visit"].is_unique().all()
        assert len(frame) == table["rows"] == 400 * len(batches) + 1
        assert frame.filter(pl.col("visit") == 0)["ward"].to_list() == [names[0].removesuffix(".csv")]
    finally:
        assert service.stop() == 0


def test_loading_goes_on_without_redis_and_the_events_come_later(tmp_path: Path, registry: FakeRegistry) -> None:
    """Redis may be away when files are loaded, also over a restart; its events arrive once, in order, when it is back."""
    server = RedisServer(tmp_path)
    service = IngestProcess(tmp_path / "service", registry, server.url).start()
    sent = []
    try:
        with service.client("acme") as client:
            client.put("/datasets/visits", json=visits())
            for number in range(2):
                answer = client.post(
                    "/datasets/visits/files",
                    params={"name": f"{number}.csv", "wait": "true"},
                    content=csv_of((number, "a", 1)),
                )
                assert answer.json()["state"] == "committed"
                sent.append(answer.json()["id"])
        assert service.stop() == 0
        service.start()
        server.start()

        def events() -> list[str] | None:
            with redis.Redis.from_url(server.url, decode_responses=True) as client:
                entries: Any = client.xrange("tenon:events:dataset_committed")
            return [fields["batch_id"] for _, fields in entries] if len(entries) >= 2 else None

        assert eventually("the events", events, 60) == sent
    finally:
        service.stop()
        server.stop()


def test_files_are_taken_while_the_registry_is_away(tmp_path: Path) -> None:
    """Keys and tenants that were known stay known, also over a restart; a tenant never seen cannot be checked: 503."""
    registry = FakeRegistry(["acme"])
    service = IngestProcess(tmp_path, registry, "redis://127.0.0.1:1/0").start()
    try:
        with service.client("acme") as client:
            assert client.put("/datasets/visits", json=visits()).status_code == 200
        registry.stop()
        service.stop()
        service.start()
        with service.client("acme") as client:
            answer = client.post("/datasets/visits/files?name=a.csv&wait=true", content=csv_of((1, "a", 1)))
            assert answer.json()["state"] == "committed"
            answer = client.put("/datasets/others", json=visits(name="others"))
            assert (answer.status_code, answer.json()["reason"]) == (503, "SERVICE_UNAVAILABLE")
    finally:
        service.stop()


def test_a_stop_in_the_middle_of_a_load_is_clean_and_the_load_goes_on_afterwards(
    tmp_path: Path, registry: FakeRegistry
) -> None:
    """SIGTERM does not wait for a long load, and does not lose it."""
    service = IngestProcess(tmp_path, registry, "redis://127.0.0.1:1/0").start()
    try:
        with service.client("acme") as client:
            client.put("/datasets/visits", json=visits())
            data = csv_of(*[(n, "ward", n % 100) for n in range(400_000)])
            answer = client.post("/datasets/visits/files?name=long.csv", content=data)
            assert answer.status_code == 202
            path = f"/datasets/visits/batches/{answer.json()['id']}"
            eventually(
                "the beginning of the load", lambda: client.get(path).json()["state"] in ("loading", "committed")
            )
        assert service.stop() == 0
        service.start()
        with service.client("acme") as client:
            eventually("the load", lambda: client.get(path).json()["state"] == "committed", 180)
            batch = client.get(path).json()
            assert (batch["rows_committed"], batch["table_version"]) == (400_000, 1)
    finally:
        service.stop()
