"""`make bench-predict`: one row a request against a running platform's predictor, everything on.

Authentication, routing, metrics and the durable prediction log stay as they are. The model is made by the platform
itself from synthetic rows: 30 floats, no history. Yardstick: `tests/bench/peer_fastapi.py` with the same booster, in
turns, asked by the same generator. The server that is measured has one core for itself; the generator, the rest of the
platform (Redis, monitor) and whatever else runs share the other one.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.bundle import load_verify_key, open_bundle
from tenon.bundle.archive import NATIVE_MODEL
from tests.bench import frame
from tests.support.platform import Platform, running_platform
from tests.support.redis import free_port

SECONDS = 4.0
ROUNDS = 3
"""Of each figure: three times four seconds, the middle one counts."""
BUSY = 0.85
"""A server that is asked without pause and gets less of its core than this shared it with others."""
ROWS, WIDTH, NOISE = 10_000, 30, 5.0
NAMES = [f"x{index:02}" for index in range(WIDTH)]
TENANT = "bench-tenant"


@dataclass(frozen=True)
class Server:
    """A process to be measured."""

    pid: int
    rest: int
    grpc: int = 0
    key: str = ""


def main() -> None:
    """Measure and report."""
    cores = sorted(os.sched_getaffinity(0))
    mine, theirs = cores[-1], cores[0]
    with tempfile.TemporaryDirectory(prefix="tenon-bench-predict-") as name:
        folder = Path(name)
        frame.tell("starting a platform and training a model …")
        with running_platform(folder / "data") as platform:
            ours, native, trees = prepare(platform, folder)
            with _peer(native) as peer:
                others = [pid for pid in frame.processes_naming(str(folder)) if pid not in (ours.pid, peer.pid)]
                for pid in others:
                    pin(pid, theirs)
                pin(ours.pid, mine)
                pin(peer.pid, mine)
                figures, share = _measure(ours, peer, others, theirs)
    notes = [
        f"one row of {WIDTH} floats a request; {trees} trees; medians of {ROUNDS} runs of {SECONDS:g} s in turns with the yardstick",
        f"server on core {mine}; generator and the rest of the platform on core {theirs}; CPU = user + system of the server's process",
        "matrix = one tensor [1, 30]; columns = 30 tensors [1]; gRPC is raw FP64; its yardstick is the REST peer with the same connections",
    ]
    if share < BUSY:
        notes.append(
            f"THE MACHINE WAS BUSY: with 16 connections a server got {share:.0%} of its core; measure again on a quiet one"
        )
    else:
        notes.append(f"with 16 connections a server got {share:.0%} of its core")
    frame.report("predict", "The predictor, everything on (bench-predict)", figures, notes)


def _measure(ours: Server, peer: Server, others: list[int], core: int) -> tuple[list[frame.Figure], float]:
    """All figures, and the median share of its core that a server with 16 connections got."""
    figures: list[frame.Figure] = []
    shares: list[float] = []
    for title, protocol, shape, connections in (
        ("REST, matrix", "rest", "matrix", 1),
        ("REST, matrix", "rest", "matrix", 16),
        ("REST, columns", "rest", "columns", 16),
        ("gRPC, matrix", "grpc", "matrix", 1),
        ("gRPC, matrix", "grpc", "matrix", 16),
    ):
        label = f"{title}, {connections} connection{'s' if connections > 1 else ''}"
        frame.tell(f"{label} …")
        runs: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
        for _ in range(ROUNDS):
            for who, server in (("peer", peer), ("ours", ours)):
                if who == "peer":
                    # The log of our last run is still being shipped and read; that must not fall on the yardstick.
                    frame.quiet([*others, ours.pid], seconds=10)
                how = protocol if who == "ours" else "rest"
                runs[who].append(ask(server, task(server, how, shape) | {"connections": connections, "core": core}))
        here, there = (
            {key: statistics.median(run[key] for run in runs[who]) for key in runs[who][0]} for who in ("ours", "peer")
        )
        if connections == 16:
            shares += [run["rate"] * run["cpu_us"] / 1e6 for found in runs.values() for run in found]
        goals: dict[str, dict[str, float]] = {"rate": {}, "p99_ms": {}}
        if connections == 16 and shape == "matrix":
            goals = {"rate": {"at_least": 15_000 if protocol == "rest" else 6_000}, "p99_ms": {"at_most": 3}}
        for key, unit in (("rate", "req/s"), ("p50_ms", "ms"), ("p99_ms", "ms"), ("cpu_us", "µs/req")):
            words = {"rate": "", "p50_ms": ", p50", "p99_ms": ", p99", "cpu_us": ", CPU of the server"}[key]
            figures.append(
                frame.figure(
                    label + words, here[key], unit, yardstick=("FastAPI", there[key]), **goals.get(key, {})
                )
            )  # fmt: skip
    figures.append(
        frame.figure(
            "resident memory, peak", frame.resident_mb(ours.pid, peak=True), "MB",
            yardstick=("FastAPI", frame.resident_mb(peer.pid, peak=True)), at_most=120,
        )
    )  # fmt: skip
    return figures, statistics.median(shares)


def ask(server: Server, work: dict[str, Any], seconds: float = SECONDS) -> dict[str, float]:
    """Half a second of warming up, then one run: the generator's figures, requests a second and CPU of the server."""
    _generate(work | {"seconds": 0.5})
    before = frame.cpu_seconds(server.pid)
    found = _generate(work | {"seconds": seconds})
    used = frame.cpu_seconds(server.pid) - before
    return found | {"rate": found["answers"] / found["seconds"], "cpu_us": 1e6 * used / found["answers"]}


def _generate(work: dict[str, Any]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"], input=json.dumps(work), cwd=frame.ROOT, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"the load generator failed: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def task(server: Server, protocol: str, shape: str) -> dict[str, Any]:
    """What the generator sends."""
    row = [round(value, 6) for value in _row(random.Random(1))]
    headers = {"authorization": f"Bearer {server.key}"} if server.key else {}
    common = {"protocol": protocol, "host": "127.0.0.1", "headers": headers}
    if protocol == "grpc":
        # FP64 bytes in the platform's own order, which is little-endian wherever this runs.
        request = pb.ModelInferRequest(model_name="bench")
        request.inputs.add(name="rows", datatype="FP64", shape=[1, WIDTH])
        request.raw_input_contents.append(np.array(row, "<f8").tobytes())
        body = request.SerializeToString().decode("latin-1")
        return common | {"port": server.grpc, "path": "/inference.GRPCInferenceService/ModelInfer", "body": body}
    tensor = {"datatype": "FP64"}
    inputs = (
        [{"name": "rows", "shape": [1, WIDTH], "data": row} | tensor]
        if shape == "matrix"
        else [{"name": name, "shape": [1], "data": [value]} | tensor for name, value in zip(NAMES, row, strict=True)]
    )
    return common | {"port": server.rest, "path": "/v2/models/bench/infer", "body": json.dumps({"inputs": inputs})}


def prepare(platform: Platform, folder: Path) -> tuple[Server, Path, int]:
    """Make a model on the platform; gives the predictor, the native booster's file and how many trees it has."""
    (folder / "bench.yaml").write_text(documents())
    (folder / "rows.csv").write_text(rows())
    platform.result("apply", "-f", str(folder))
    # Made early: the predictor hears of a new key within moments, not at once.
    key = platform.create_key(TENANT, ["predict"])
    platform.result("ingest", "rows", str(folder / "rows.csv"), "--tenant", TENANT)
    platform.result("train", "bench", "--release", "--tenant", TENANT)
    with httpx.Client(trust_env=False, timeout=60) as client:
        answer = client.get(
            f"{platform.urls['registry']}/v1/tenants/{TENANT}/models/bench/versions/1/bundle",
            headers={"authorization": f"Bearer {platform.admin_key}"},
        )
    answer.raise_for_status()
    verify = next((platform.folder / "keys").glob("*verify*"))
    bundle = open_bundle(answer.content, load_verify_key(str(verify)))
    native = folder / "model.ubj"
    native.write_bytes(bundle.files[NATIVE_MODEL])
    trees = len(_booster(native).get_dump())
    kept = json.loads((platform.folder / "platform.json").read_text())["services"]["predictor"]
    port = int(platform.urls["predictor"].rpartition(":")[2])
    grpc_port = int(platform.targets["predictor"].rpartition(":")[2])
    return Server(kept["pid"], port, grpc_port, key), native, trees


def documents() -> str:
    """A data set of floats and a model of all of them."""
    columns = "".join(f"  {name}: {{type: float}}\n" for name in NAMES)
    return (
        f"kind: Tenant\nname: {TENANT}\n---\nkind: Dataset\nname: rows\nprimaryKey: [id]\neventTime: at\ncolumns:\n"
        f"  id: {{type: string}}\n  at: {{type: timestamp}}\n{columns}  known: {{type: timestamp}}\n"
        f"  y: {{type: boolean, knownAt: known}}\n---\nkind: Model\nname: bench\nspine: rows\nlabel: {{column: y}}\n"
        f"task: binary\nfeatures:\n  request: [{', '.join(NAMES)}]\nsplit: {{by: time, test: 20d, gap: 1d}}\n"
    )


def rows() -> str:
    """Synthetic rows whose label hangs on products of features, so that trees go on finding something."""
    chance = random.Random(5)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    lines = [",".join(["id", "at", *NAMES, "known", "y"])]
    for number in range(ROWS):
        values = _row(chance)
        score = sum(values[place] * values[place + 1] for place in range(0, 16, 2)) + values[20]
        positive = chance.gauss(0, NOISE) < score
        moment = start + timedelta(minutes=8 * number)
        lines.append(
            f"r{number},{moment:%Y-%m-%dT%H:%M:%SZ},{','.join(f'{value:.6f}' for value in values)},"
            f"{moment + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ},{'true' if positive else 'false'}"
        )
    return "\n".join(lines) + "\n"


def _row(chance: random.Random) -> list[float]:
    return [chance.gauss(0, 1) for _ in range(WIDTH)]


def pin(pid: int, core: int) -> None:
    """Keep all threads of a process on one core; those it starts later inherit it."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            os.sched_setaffinity(int(thread.name), {core})


def _booster(path: Path) -> Any:
    # Half a second of import that starting the bench need not wait for.
    import xgboost

    return xgboost.Booster(model_file=str(path))


@contextmanager
def _peer(model: Path) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.peer_fastapi", str(model), str(port)], cwd=frame.ROOT,
        env=frame.clean_environment(OMP_NUM_THREADS="1"),
    )  # fmt: skip
    server = Server(process.pid, port)
    try:
        deadline = time.monotonic() + 30
        while True:
            with suppress(httpx.TransportError), httpx.Client(trust_env=False) as client:
                work = task(server, "rest", "matrix")
                client.post(f"http://127.0.0.1:{port}{work['path']}", json=json.loads(work["body"])).raise_for_status()
                break
            if time.monotonic() > deadline or process.poll() is not None:
                raise SystemExit("the yardstick's server did not start")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main()
