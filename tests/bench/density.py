"""`make bench-density`: many models in one predictor. What a model of 28,000 nodes takes, and what a thousand of them do.

A real process with everything on but the stream; one bundle for each model, all with the bench's forest (300 trees of
depth 6). Three boots: from an empty disk, again with everything on disk, and with room for a fifth of the models.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from services.predictor.domain.model import Role, Served, Track
from services.predictor.engine.loader import BundleLoader
from services.predictor.storage.bundle_cache import BundleCache
from tenon.bundle import Evaluator, load_evaluator, open_bundle
from tenon.core.tenancy import TenantId
from tests.bench import frame
from tests.bench.engine import Case
from tests.bench.predictor_world import TENANT, bundle_of
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import KEYS, sha256, signing_key
from tests.support.predictor_process import PredictorProcess, wait_until

MODELS, HOT = 1000, 200
COLD_ASKED = 300
SLACK = 20


def main() -> None:
    """Measure and report."""
    case = Case(30, 0)
    with tempfile.TemporaryDirectory(prefix="tenon-density-") as name:
        folder = Path(name)
        figures = [*_one_model(case, folder / "one"), *_many(case, folder)]
    frame.report("density", f"{MODELS:,} models in one predictor", figures, [
        "Each model has 300 trees of depth 6 on 30 floats (28,000 nodes), a manifest, and a signature of its own.",
        "Loading means: read from the disk cache, sha256 of the whole and of each part, Ed25519, parse, compile, self-test.",
    ])  # fmt: skip


def _one_model(case: Case, folder: Path) -> Iterator[frame.Figure]:
    """In this process."""
    data = bundle_of(case, "m0")
    verify_key = signing_key().public_key()
    bundle = open_bundle(data, verify_key)
    evaluator = load_evaluator(bundle)
    assert isinstance(evaluator, Evaluator)
    assert evaluator.compiled is not None, "the kernel is not built from these sources"
    seconds = _median(lambda: load_evaluator(bundle), 30)
    yield frame.figure("from verified bytes to the compiled model", seconds * 1e3, "ms", at_most=1.5)
    yield frame.figure("the compiled model", evaluator.compiled.nbytes() / 2**20, "MiB", at_most=0.25)

    cache = BundleCache(folder)
    cache.put(sha256(data), data)
    loader = BundleLoader(lambda *_: b"", cache, verify_key)
    track = Track(Role.STABLE, 1, sha256(data))

    def load() -> Served:
        return loader.load(TenantId(TENANT), "m0", track)

    seconds = _median(load, 30)
    yield frame.figure("a cold load, everything verified", seconds * 1e3, "ms", at_most=100)
    gc.collect()
    before = frame.resident_mb(_own_pid())
    kept = [load() for _ in range(400)]
    gc.collect()
    each = (frame.resident_mb(_own_pid()) - before) / len(kept)
    yield frame.figure(
        "a loaded model, by resident memory",
        each,
        "MiB",
        yardstick=("as accounted", kept[0].nbytes / 2**20),
        at_most=0.26,
    )


def _many(case: Case, folder: Path) -> Iterator[frame.Figure]:
    """In a process of their own."""
    frame.tell(f"writing {MODELS:,} bundles")
    registry = FakeRegistry()
    registry.chunk_bytes = 1 << 20
    for number in range(MODELS):
        registry.add(TENANT, f"m{number}", 1, bundle_of(case, f"m{number}"))
        registry.release(TENANT, f"m{number}", 1)
    registry.start()
    try:
        frame.tell("all in memory, from an empty disk")
        with _predictor(folder, registry, 0) as (process, seconds):
            yield frame.figure(f"{MODELS:,} models: fetched, tested, ready", seconds, "s")
            yield frame.figure(f"{MODELS:,} models in memory, resident", _resident(process), "MiB", at_most=1500)
        frame.tell("all in memory, from the disk cache")
        with _predictor(folder, registry, 0) as (process, seconds):
            yield frame.figure(f"{MODELS:,} models from the disk cache: ready", seconds, "s")
        room = round(HOT * (0.242 + 0.002))
        frame.tell(f"room for {HOT}")
        with _predictor(folder, registry, room) as (process, seconds):
            yield frame.figure(f"{MODELS:,} registered, room for {HOT}: ready", seconds, "s")
            yield from _traffic(process, case)
    finally:
        registry.stop()


def _traffic(process: PredictorProcess, case: Case) -> Iterator[frame.Figure]:
    asked = _asker(process, case)
    for number in range(HOT):
        asked(number)
    alone = [asked(number % HOT) for number in range(2000)]
    yield frame.figure(f"{MODELS:,} registered, {HOT} hot, resident", _resident(process), "MiB", at_most=1500)
    loads = process.metric("tenon_predictor_cold_load_duration_seconds_count")
    # A few more than HOT may have found room.
    cold = [asked(HOT + SLACK + number) for number in range(COLD_ASKED)]
    loaded = process.metric("tenon_predictor_cold_load_duration_seconds_count") - loads
    assert loaded >= COLD_ASKED, f"only {loaded} of {COLD_ASKED} requests found a cold model"
    hot = statistics.median(alone) * 1e3
    yield frame.figure("a request, hot model, p50", hot, "ms")
    yield frame.figure("a request, cold model, p50", statistics.median(cold) * 1e3, "ms", at_most=100)
    yield frame.figure("a request, cold model, p99", _p99(cold) * 1e3, "ms", at_most=100)
    # One hot model asked without a pause, while another caller asks for one cold model after the other.
    ending, others = threading.Event(), _asker(process, case)

    def wander() -> None:
        number = 0
        while not ending.is_set():
            others(HOT + SLACK + COLD_ASKED + number % (MODELS - HOT - SLACK - COLD_ASKED))
            number += 1

    thread = threading.Thread(target=wander)
    thread.start()
    beside = [asked(0) for _ in range(4000)]
    ending.set()
    thread.join()
    yield frame.figure(
        "hot p99 beside endless cold loads", _p99(beside) * 1e3, "ms", yardstick=("alone", _p99(alone) * 1e3)
    )
    yield frame.figure("resident after all this", _resident(process), "MiB", at_most=1500)


@contextmanager
def _predictor(folder: Path, registry: FakeRegistry, room_mib: int) -> Iterator[tuple[PredictorProcess, float]]:
    process = PredictorProcess(
        folder / "predictor", registry=registry.port, extra={"TENON_PREDICTOR_MODEL_MEMORY_MIB": str(room_mib)}
    )
    started = time.monotonic()
    process.start(ready=False)
    try:
        wait_until(lambda: httpx.get(f"{process.url}/readyz", timeout=5).status_code == 200, "ready", 300)
        yield process, time.monotonic() - started
    finally:
        process.stop()


def _asker(process: PredictorProcess, case: Case) -> Callable[[int], float]:
    client = httpx.Client(headers={"authorization": f"Bearer {KEYS[TENANT]}"}, timeout=30)
    row = case.table[:1]
    inputs = [{"name": name, "datatype": "FP64", "shape": [1], "data": row[name].to_list()} for name in case.numbers]

    def ask(number: int) -> float:
        started = time.perf_counter()
        answer = client.post(f"{process.url}/v2/models/m{number}/infer", json={"inputs": inputs})
        seconds = time.perf_counter() - started
        assert answer.status_code == 200, answer.text
        return seconds

    return ask


def _median(work: Callable[[], Any], times: int) -> float:
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def _resident(process: PredictorProcess) -> float:
    assert process.process is not None
    return frame.resident_mb(process.process.pid)


def _own_pid() -> int:
    return threading.main_thread().native_id or 0


if __name__ == "__main__":
    main()
