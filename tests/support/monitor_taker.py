"""A process that does nothing but take the prediction log: what is killed at random instants, and what is measured.

python -m tests.support.monitor_taker DATABASE_URL REDIS_URL FEATURES [CLAIM_AFTER_SECONDS]
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from services.monitor.domain.log.layouts import Layouts
from services.monitor.domain.log.take import TakePredictions
from services.monitor.storage.log.take import SqlSegments
from services.monitor.storage.models import ModelIds
from services.monitor.worker import GROUP, batches_handler
from tenon.core.manifest import CategoricalBaseline, Manifest, NumericBaseline
from tenon.kit.batch_events import BatchConsumer
from tenon.kit.events import PREDICTIONS
from tenon.kit.prediction_batches import pack_batch, row_dtype
from tenon.kit.sql import Database
from tests.support.monitor_data import manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryVersions

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST_WIDTH = 16


def trained(features: int) -> Manifest:
    """The version whose answers `entries` makes."""
    rng = np.random.default_rng(0)
    columns: dict[str, NumericBaseline | CategoricalBaseline] = {
        f"x{place:02}": numeric_baseline(rng.normal(size=20_000)) for place in range(features)
    }
    return manifest(columns, numeric_baseline(rng.random(20_000)))


def entries(count: int, rows: int, features: int, *, start: int, seed: int = 0) -> Iterator[dict[str, bytes]]:
    """Entries as the predictor ships them: answers of one model, a hundred microseconds from one to the next."""
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
        yield pack_batch({**about, "batch_id": f"{seed}-{start}-{number}"}, table.tobytes(), b"")


def start_taker(
    database_url: str, redis_url: str, features: int, claim_after: float
) -> multiprocessing.process.BaseProcess:
    """One more process that takes, at work at once: it is the fork of one that has imported all it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.monitor_taker"])
    process = context.Process(target=take, args=(database_url, redis_url, features, claim_after), daemon=True)
    process.start()
    return process


def take(database_url: str, redis_url: str, features: int, claim_after: float) -> None:
    """Take until killed."""
    versions = MemoryVersions({1: trained(features)})
    store = SqlSegments(Database(database_url), ModelIds())
    use = TakePredictions(store, Layouts(versions, time.monotonic), lambda segment: None)
    consumer = BatchConsumer(redis_url, PREDICTIONS, GROUP, batches_handler(use), claim_after_seconds=claim_after)
    consumer.start()
    threading.Event().wait()
