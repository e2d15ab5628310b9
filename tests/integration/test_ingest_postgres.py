"""The ledger on PostgreSQL: what SQLite serialises by itself must hold there too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.ingest.domain.model import BatchState, RawFile
from services.ingest.storage.queue import SqlLoadQueue
from tests.support.ingest_world import ACME, Accident, World, csv_of, visits


@pytest.fixture
def world(tmp_path: Path, postgres_url: str) -> Iterator[World]:
    """Ingest on an empty PostgreSQL database, with the contract of visits."""
    world = World(tmp_path, postgres_url)
    world.apply()
    yield world
    world.database.close()


def test_the_same_file_sent_by_many_at_once_is_one_batch(world: World) -> None:
    """The unique index decides; everybody gets the same batch."""
    data = csv_of((1, "a", 1))
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: _send(world, data), range(16)))
    assert len({batch_id for batch_id, _ in receipts}) == 1
    assert [duplicate for _, duplicate in receipts].count(False) == 1


def _send(world: World, data: bytes) -> tuple[str, bool]:
    """Send through the ledger alone; the raw file is not the point here."""

    file = RawFile("visits.csv", hashlib.sha256(data).hexdigest(), len(data), gzipped=False)
    batch, duplicate = world.batches.receive(ACME, world.datasets.get(ACME, "visits"), file)
    return batch.id, duplicate


def test_loaders_never_hold_the_same_data_set_at_once(world: World) -> None:
    """Eight replicas that ask at once get one batch of each data set, the oldest."""
    world.apply(visits(name="others"))
    for number in range(3):
        world.send(csv_of((number, "a", 1)), f"{number}.csv")
        world.send(csv_of((number, "b", 1)), f"{number}.csv", dataset="others")
    replicas = [SqlLoadQueue(world.database, world.outbox, f"replica-{n}") for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        claims = [batch for batch in pool.map(lambda replica: replica.claim(), replicas) if batch]
    assert sorted((batch.dataset, batch.file.name) for batch in claims) == [("others", "0.csv"), ("visits", "0.csv")]


@pytest.mark.parametrize("point", ["after SqlBatches.receive", "after DeltaLake.upsert", "before SqlLoadQueue.commit"])
def test_kills_lose_and_double_nothing(world: World, point: str) -> None:
    """The decisive accidents, as on SQLite."""
    world.accidents = {point: 0}

    def send_and_load() -> None:
        world.send(csv_of((1, "a", 1), ("x", "a", 1)))
        world.load_all()

    with pytest.raises(Accident):
        send_and_load()
    world = world.reopen()
    world.load_all()
    (batch,) = world.batches.list(ACME, "visits", 10)
    assert (batch.state, batch.table_version, batch.counts.committed) == (BatchState.COMMITTED, 1, 1)
    assert world.rows()["visit"].to_list() == [1]
    world.database.close()
