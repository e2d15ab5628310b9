"""What bench-predictor measures: signed bundles, our predictor with everything on, and the bare servers beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import redis

from tenon.bundle import write_bundle
from tenon.bundle.pipeline import Pipeline
from tests.bench import frame
from tests.bench.engine import Case
from tests.bench.peers import installed
from tests.support.fakes_predictor import FakeRegistry
from tests.support.ports import free_port
from tests.support.predictor_bundles import KEYS, manifest_of, signing_key
from tests.support.predictor_process import PredictorProcess
from tests.support.redis import RedisServer

TENANT = "acme"
CANARY_PERMILLE = 100


@dataclass
class Server:
    """A process to be measured."""

    name: str
    pid: int
    rest: int = 0
    grpc: int = 0
    key: str = ""
    boot_seconds: float = 0.0


@dataclass
class World:
    """The models, where they lie, and who serves them."""

    folder: Path
    floats: Case
    mixed: Case
    native: Path
    bundle: Path
    redis_url: str
    servers: dict[str, Server] = field(default_factory=dict)

    def forget_log(self) -> None:
        """Empty the stream that the predictions are shipped to: nobody reads it here, and it must not fill the memory."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.delete("tenon:predictions")


def bundle_of(case: Case, model: str) -> bytes:
    """A signed bundle of a case's pipeline and forest."""
    pipeline: Pipeline = case.evaluator.pipeline
    inputs = [(name, "string" if name in case.texts else "float", "request", True) for name in pipeline.columns]
    files = {"pipeline.json": pipeline.to_json(), "forest.npz": case.forest.to_npz()}
    return write_bundle(manifest_of(TENANT, model, inputs), files, signing_key())


@contextmanager
def world(folder: Path, cores: tuple[int, int]) -> Iterator[World]:
    """Our predictor on the second core with all that belongs to it on the first; releases of two models, each with a canary."""
    rest_of_all, measured = cores
    os.sched_setaffinity(0, {rest_of_all})
    floats, mixed = Case(30, 0), Case(20, 10)
    native, bundle = folder / "model.ubj", folder / "floats.bundle"
    floats.booster.save_model(native)
    with ExitStack() as stack:
        stream = RedisServer(folder)
        stream.start()
        stack.callback(stream.stop)
        found = World(folder, floats, mixed, native, bundle, stream.url)
        registry = FakeRegistry().start()
        stack.callback(registry.stop)
        for model, case in (("bench", floats), ("mixed", mixed)):
            data = bundle_of(case, model)
            if model == "bench":
                bundle.write_bytes(data)
            registry.add(TENANT, model, 1, data)
            registry.add(TENANT, model, 2, data)
            registry.release(TENANT, model, 1, canary=2, permille=CANARY_PERMILLE)
        registry.add(TENANT, "plain", 1, bundle_of(floats, "plain"))
        registry.release(TENANT, "plain", 1)
        process = PredictorProcess(folder / "predictor", registry=registry.port, redis_url=stream.url)
        process.start()
        stack.callback(process.stop)
        # A second start has everything on disk, as a pod that is restarted: that is the boot that is measured.
        process.stop()
        boot = _boot(process, measured)
        assert process.process is not None
        found.servers["ours"] = Server("ours", process.process.pid, process.http, process.grpc, KEYS[TENANT], boot)
        yield found


def _boot(process: PredictorProcess, core: int) -> float:
    """Seconds from the start of the process to its first answer to a prediction."""
    row = {"inputs": [{"name": "rows", "shape": [1, 30], "datatype": "FP64", "data": [0.5] * 30}]}
    started = time.perf_counter()
    with process.log.open("ab") as log, _on(core):
        process.process = subprocess.Popen(
            [sys.executable, "-m", "services.predictor"], env=process.env, stdout=log, stderr=log,
        )  # fmt: skip
    with httpx.Client(trust_env=False) as client:
        while True:
            with suppress(httpx.TransportError):
                answer = client.post(
                    f"{process.url}/v2/models/plain/infer",
                    json=row,
                    headers={"authorization": f"Bearer {KEYS[TENANT]}"},
                )
                if answer.status_code == 200:
                    return time.perf_counter() - started
            if process.process.poll() is not None or time.perf_counter() - started > 30:
                raise SystemExit(f"the predictor did not start:\n{process.log.read_text()[-3000:]}")
            time.sleep(0.005)


@contextmanager
def bare(name: str, found: World, core: int, ready: Callable[[int], bool]) -> Iterator[Server]:
    """One of `tests.bench.floors` or another module that takes `FILE PORT`."""
    port = free_port()
    module, *words = name.split()
    environment = frame.clean_environment(OMP_NUM_THREADS="1")
    process = _start(
        core,
        [sys.executable, "-m", f"tests.bench.{module}", *words, str(found.native if module == "peer_fastapi" else found.bundle), str(port)],
        cwd=frame.ROOT, env=environment,
    )  # fmt: skip
    try:
        _wait(process, name, lambda: ready(port))
        yield Server(name, process.pid, port, port)
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def peer(name: str, found: World, core: int, ready: Callable[[int], bool]) -> Iterator[Server | None]:
    """A server that `make bench-peers` installed, with the same booster; None when it did not."""
    python = installed(name)
    if python is None:
        yield None
        return
    rest, grpc = free_port(), free_port()
    process = _start(
        core,
        [str(python), str(frame.ROOT / "tests" / "bench" / "peers" / f"{name}.py"), "--model", str(found.native),
         "--http", str(rest), "--grpc", str(grpc)],
        cwd=found.folder, env=frame.clean_environment(OMP_NUM_THREADS="1"), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(process, name, lambda: ready(rest) and ready(grpc))
        yield Server(name, process.pid, rest, grpc)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def _on(core: int) -> Iterator[None]:
    """What is started within has this core: a child inherits it from the thread that starts it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _start(core: int, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    with _on(core):
        return subprocess.Popen(command, **options)


def _wait(process: subprocess.Popen[bytes], name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline or process.poll() is not None:
            raise SystemExit(f"{name} did not start")
        time.sleep(0.02)


def as_matrix(case: Case, rows: int) -> np.ndarray:
    """The first rows as a matrix of float64."""
    return np.asarray(case.table[:rows].select(case.numbers).to_numpy(), np.float64)
