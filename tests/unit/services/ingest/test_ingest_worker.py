"""The loader: trouble that is not the file's fault is waited out, a file that always fails is given up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.ingest import worker
from services.ingest.domain.model import Batch, BatchState
from services.ingest.worker import MAX_ATTEMPTS, Loader, Signal
from tenon.core.errors import Unavailable
from tests.support.ingest_process import eventually
from tests.support.ingest_world import ACME, World, csv_of


class Impatient:
    """The queue without pauses between attempts."""

    def __init__(self, world: World) -> None:
        self._queue = world.queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def postpone(self, tenant: Any, batch_id: str, seconds: float, *, counted: bool) -> None:
        """As the real one, but at once."""
        self._queue.postpone(tenant, batch_id, 0, counted=counted)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ingest with a contract and one file that waits."""
    world = World(tmp_path)
    world.apply()
    world.send(csv_of((1, "a", 1)))
    yield world
    world.database.close()


def run(world: World) -> Batch:
    """Run a loader until the only batch is finished."""
    loader = Loader(Impatient(world), world.load, signal := Signal(), threads=1)
    loader.start()
    signal.wake()
    batch_id = world.batches.list(ACME, None, 1)[0].id
    try:
        return eventually(
            "the end of the batch",
            lambda: batch if (batch := world.batches.get(ACME, "visits", batch_id)).state.is_final else None,
        )
    finally:
        loader.stop()
        assert not loader.alive


def test_an_outage_is_waited_out_however_long_it_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More failures of the lake than a file is allowed crashes still end in a commit."""
    upsert, failures = world.lake.upsert, iter(range(2 * MAX_ATTEMPTS))

    def flaky(*args: Any) -> Any:
        if next(failures, None) is not None:
            raise Unavailable("LAKE_UNAVAILABLE", "the bucket is away")
        return upsert(*args)

    monkeypatch.setattr(world.lake, "upsert", flaky)
    batch = run(world)
    assert (batch.state, batch.attempts) == (BatchState.COMMITTED, 1)


def test_a_file_that_always_crashes_the_load_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not block the data set for ever, is kept, and can be sent again."""

    class Panic(BaseException):
        """As the libraries raise them."""

    def crash(*args: Any) -> Any:
        raise Panic

    monkeypatch.setattr(worker, "MAX_ATTEMPTS", 3)
    monkeypatch.setattr(world.lake, "upsert", crash)
    batch = run(world)
    assert batch.state is BatchState.REFUSED
    assert batch.problem is not None
    assert batch.problem.reason == "LOAD_FAILED"
    assert not world.send(csv_of((1, "a", 1))).duplicate


def test_a_loader_that_stops_gives_its_batch_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch waits uncounted for the next start."""
    signal = Signal()
    loader = Loader(world.queue, world.load, signal, threads=1)
    upsert = world.lake.upsert

    def stopped(*args: Any) -> Any:
        signal.ending.set()
        signal.check()
        return upsert(*args)

    monkeypatch.setattr(world.lake, "upsert", stopped)
    loader.start()
    signal.wake()
    eventually("the end of the loader", lambda: not loader.alive)
    loader.stop()
    (batch,) = world.batches.list(ACME, "visits", 10)
    assert (batch.state, batch.attempts) == (BatchState.RECEIVED, 0)
