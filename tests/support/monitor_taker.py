"""A process that does nothing but take the prediction log: what is killed at random instants, and what is measured.

python -m tests.support.monitor_taker DATABASE_URL REDIS_URL FEATURES [CLAIM_AFTER_SECONDS]
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.process
import os
import signal
import threading
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import redis
import sqlalchemy as sa

from services.monitor.domain.log.layouts import Layouts
from services.monitor.domain.log.take import TakePredictions
from services.monitor.domain.model import Label
from services.monitor.storage.labels.by_prediction import SqlLabels
from services.monitor.storage.log.archiving import Archiving
from services.monitor.storage.log.take import SqlSegments
from services.monitor.storage.models import ModelIds
from services.monitor.storage.segments.archive import Archive
from services.monitor.worker import GROUP, batches_handler
from tenon.core.errors import TenonError
from tenon.core.manifest import CategoricalBaseline, Manifest, NumericBaseline
from tenon.core.tenancy import TenantId
from tenon.kit.batch_events import BatchConsumer
from tenon.kit.blobs import open_blobs
from tenon.kit.events import PREDICTIONS
from tenon.kit.prediction_batches import pack_batch, row_dtype
from tenon.kit.sql import Database
from tests.support.monitor_data import manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryVersions

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST_WIDTH = 16
AT_WORK, LABELS, LABELS_DONE = "at work", "labels", "labels done"
NORTH = TenantId("north")


def trained(features: int) -> Manifest:
    """The version whose answers `entries` makes."""
    rng = np.random.default_rng(0)
    columns: dict[str, NumericBaseline | CategoricalBaseline] = {
        f"x{place:02}": numeric_baseline(rng.normal(size=20_000)) for place in range(features)
    }
    return manifest(columns, numeric_baseline(rng.random(20_000)))


def entries(
    count: int, rows: int, features: int, *, start: int, seed: int = 0, tenants: int = 1
) -> Iterator[dict[str, bytes]]:
    """Entries as the predictor ships them: answers of one model, a hundred microseconds from one to the next.

    Of several tenants each has such a model, and they come one after the other.
    """
    rng = np.random.default_rng(seed)
    names = [f"x{place:02}" for place in range(features)]
    about = {
        "replica": "r", "tenant": "north", "model": "cost", "version": 1, "role": "stable", "protocol": "rest",
        "width": REQUEST_WIDTH, "numbers": names, "texts": [],
    }  # fmt: skip
    for number in range(count):
        table: Any = np.zeros(rows, row_dtype(REQUEST_WIDTH, features))
        at = start + 100 * (number * rows + np.arange(rows))
        table["at"], table["event_time"], table["score"] = at, at - 3_600_000_000, rng.random(rows)
        ids = rng.integers(0, 256, (rows, 16), dtype=np.uint8)
        ids[:, :6] = (at // 1000).astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
        table["id"] = np.ascontiguousarray(ids).view("V16").ravel()
        table["request_id"] = uuid.uuid4().hex[:REQUEST_WIDTH].encode()
        table["numbers"] = rng.normal(size=(rows, features))
        named = {
            "tenant": "north" if tenants == 1 else f"t{number % tenants:03}",
            "batch_id": f"{seed}-{start}-{number}",
        }
        yield pack_batch({**about, **named}, table.tobytes(), b"")


def start_taker(
    database_url: str, redis_url: str, features: int, claim_after: float, wanted_bytes: int = 16 << 20
) -> multiprocessing.process.BaseProcess:
    """One more process that takes, at work at once: it is the fork of one that has imported all it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.monitor_taker"])
    some = (database_url, redis_url, features, claim_after, 0.2, wanted_bytes)
    process = context.Process(target=take, args=some, daemon=True)
    process.start()
    return process


def take(
    database_url: str, redis_url: str, features: int, claim_after: float, pause: float = 0.2,
    wanted_bytes: int = 16 << 20,
) -> None:  # fmt: skip
    """Take until killed."""
    versions = MemoryVersions({1: trained(features)})
    store = SqlSegments(Database(database_url), ModelIds())
    use = TakePredictions(store, Layouts(versions, time.monotonic), lambda segment: None)
    consumer = BatchConsumer(
        redis_url, PREDICTIONS, GROUP, batches_handler(use), claim_after_seconds=claim_after, pause_seconds=pause,
        wanted_bytes=wanted_bytes,
    )  # fmt: skip
    consumer.start()
    threading.Event().wait()


def start_keeper(
    database_url: str, redis_url: str, blob_url: str, features: int, claim_after: float
) -> multiprocessing.process.BaseProcess:
    """One more process that takes, moves into the lake and records labels, all at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.monitor_taker"])
    some = (database_url, redis_url, blob_url, features, claim_after)
    process = context.Process(target=keep, args=some, daemon=True)
    process.start()
    return process


def keep(database_url: str, redis_url: str, blob_url: str, features: int, claim_after: float) -> None:
    """Take, archive what was just taken, and record the labels of the list `LABELS`, until killed."""
    with redis.Redis.from_url(redis_url) as client:
        client.sadd(AT_WORK, os.getpid())
    archive = Archive(open_blobs(blob_url))
    database, ids = Database(database_url), ModelIds()
    threading.Thread(target=_archive, args=(Archiving(database, archive),), daemon=True).start()
    threading.Thread(target=_label, args=(SqlLabels(database, ids, archive), redis_url), daemon=True).start()
    # Without pauses: whoever pauses is not killed at work.
    take(database_url, redis_url, features, claim_after, 0.0)


def start_dying_move(database_url: str, blob_url: str, instant: str) -> multiprocessing.process.BaseProcess:
    """A process that moves everything into the lake and is killed (SIGKILL) at an instant of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.monitor_taker"])
    process = context.Process(target=_move_and_die, args=(database_url, blob_url, instant), daemon=True)
    process.start()
    return process


def _move_and_die(database_url: str, blob_url: str, instant: str) -> None:
    archive = Archive(open_blobs(blob_url))
    archiving = Archiving(Database(database_url), archive)

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if instant == "before the commit":
        archive.append = die  # type: ignore[method-assign]
    elif instant == "after the commit":
        archiving._say = die  # type: ignore[method-assign, assignment]
    else:
        # The note's transaction has begun: SQLAlchemy is about to commit it.
        sa.event.listen(archiving._database.engine, "commit", die)
    archiving.move(2**60)


def _archive(archiving: Archiving) -> None:
    while True:
        # Of two that move at once one fails and tries again; so does one whose database is locked.
        with suppress(TenonError):
            archiving.move(2**60)
        time.sleep(0.2)


def _label(labels: SqlLabels, redis_url: str) -> None:
    """As a caller does that repeats a call of which it does not know whether it was done."""
    with redis.Redis.from_url(redis_url) as client:
        while True:
            done = {int(one) for one in client.smembers(LABELS_DONE)}
            waiting = [place for place in range(int(client.llen(LABELS))) if place not in done]
            for place in waiting[:20]:
                named = json.loads(client.lindex(LABELS, place) or "[]")
                with suppress(TenonError):
                    labels.record(NORTH, "cost", [Label(name, float(value), 1) for name, value in named])
                    client.sadd(LABELS_DONE, place)
            time.sleep(0.05)
