"""`make bench-predictor`: the predictor with everything on, the least that could be done instead, and other servers.

Everything on: keys, canary routing, metrics, and the durable prediction log, shipped to a real Redis. In the same run and
in turns with it: bare servers around the same kernel (`floors`), FastAPI with pydantic, and those peers that
`make bench-peers` installed. The measured server has the last core; load, Redis and all else have the first.

`python -m tests.bench.predictor [rest] [grpc] [rows] [peers]` runs parts; without any, all.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from tenon.api.inference.v2 import inference_pb2 as pb
from tests.bench import drive, frame
from tests.bench.engine import Case
from tests.bench.predictor_world import Server, World, as_matrix, bare, peer, world

SECONDS = 3.0
ROUNDS = 3
PARTS = ("rest", "grpc", "rows", "peers")
_INFER = "/inference.GRPCInferenceService/ModelInfer"

Lines = dict[str, tuple[Server, dict[str, float], int]]
"""By title: who answered, the medians, rows a request."""


def main() -> None:
    """Measure and report."""
    parts = [part for part in sys.argv[1:] if part in PARTS] or list(PARTS)
    cores = sorted(os.sched_getaffinity(0))
    figures: list[frame.Figure] = []
    lines: Lines = {}
    with tempfile.TemporaryDirectory(prefix="tenon-bench-predictor-") as name:
        frame.tell("training the models, starting the predictor …")
        with world(Path(name), (cores[0], cores[-1])) as found:
            bench = _Bench(found, cores[0], cores[-1], lines)
            for part in parts:
                figures += getattr(bench, part)()
            ours = found.servers["ours"]
            figures += [
                frame.figure("boot to first answer", ours.boot_seconds, "s", at_most=1),
                frame.figure("resident memory, peak", frame.resident_mb(ours.pid, peak=True), "MB", at_most=120),
            ]
            notes = [
                f"300 trees of depth 6, 30 floats; whole pipeline: 20 numbers, 10 % missing, and 10 strings; {ROUNDS} rounds of {SECONDS:g} s in turns, medians",
                f"server on core {cores[-1]}, load ({'wrk, h2load' if drive.has_tools() else 'tests.bench.load'}), Redis and the rest on core {cores[0]}; {drive.CONNECTIONS} connections unless said otherwise",
                "CPU = user + system of the server's process tree for each request, shipping the log included",
            ]
            _table(lines)
    frame.report("predictor" if parts == list(PARTS) else f"predictor-{'-'.join(parts)}",
                 "The predictor, everything on (bench-predictor)", figures, notes)  # fmt: skip


class _Bench:
    def __init__(self, found: World, load_core: int, core: int, lines: Lines) -> None:
        self.found, self.load_core, self.core, self.lines = found, load_core, core, lines
        self.ours = found.servers["ours"]
        self.one, self.many = as_matrix(found.floats, 1), as_matrix(found.floats, 64)

    def rest(self) -> list[frame.Figure]:
        """One row a request."""
        ours, rows = self.ours, _matrix_inputs(self.one)
        with ExitStack() as stack:
            asgi, hello, fastapi = (
                stack.enter_context(bare(name, self.found, self.core, _listens))
                for name in ("floors asgi", "floors hello", "peer_fastapi")
            )
            found = self._measure({
                "REST, matrix, canary on": (ours, rest(ours, "bench", rows), 1),
                "REST, matrix, no canary": (ours, rest(ours, "plain", rows), 1),
                "REST, 30 columns": (ours, rest(ours, "bench", _column_inputs(self.found.floats)), 1),
                "REST, whole pipeline": (ours, rest(ours, "mixed", _column_inputs(self.found.mixed)), 1),
                "REST :predict, 30 features": (ours, instances(ours, "bench", self.found.floats), 1),
                "REST, matrix, 1 connection": (ours, rest(ours, "bench", rows) | {"connections": 1}, 1),
                "bare ASGI, our kernel": (asgi, rest(asgi, "bench", rows), 1),
                "uvicorn hello": (hello, rest(hello, "bench", rows), 1),
                "FastAPI, pydantic, booster": (fastapi, rest(fastapi, "bench", rows), 1),
            })  # fmt: skip
        here, floor, fast = (
            found[title] for title in ("REST, matrix, canary on", "bare ASGI, our kernel", "FastAPI, pydantic, booster")
        )
        columns, whole = found["REST, 30 columns"], found["REST, whole pipeline"]
        return [
            frame.figure("REST, 1 row", here["rate"], "req/s", yardstick=("FastAPI", fast["rate"]), at_least=15_000),
            frame.figure("REST, 1 row, against the bare app", here["rate"], "req/s", yardstick=("bare ASGI", floor["rate"]), at_least=round(0.5 * floor["rate"])),
            frame.figure("REST, 1 row, p99", here["p99_ms"], "ms", yardstick=("bare ASGI", floor["p99_ms"]), at_most=3),
            frame.figure("REST, 1 row, CPU", here["cpu_us"], "µs", yardstick=("bare ASGI", floor["cpu_us"])),
            frame.figure("REST, whole pipeline, CPU", whole["cpu_us"], "µs", yardstick=("columns of floats", columns["cpu_us"]), at_most=round(1.5 * columns["cpu_us"], 1)),
            frame.figure("REST, whole pipeline, p99", whole["p99_ms"], "ms", at_most=3),
        ]  # fmt: skip

    def grpc(self) -> list[frame.Figure]:
        """One row a call."""
        ours = self.ours
        with bare("floors grpc", self.found, self.core, _listens) as floor:
            found = self._measure({
                "gRPC, raw matrix, canary on": (ours, grpc(ours, "bench", self.one), 1),
                "gRPC, raw matrix, 1 connection": (ours, grpc(ours, "bench", self.one) | {"connections": 1}, 1),
                "bare sync grpcio, our kernel": (floor, grpc(floor, "bench", self.one), 1),
            })  # fmt: skip
        here, there = found["gRPC, raw matrix, canary on"], found["bare sync grpcio, our kernel"]
        return [
            frame.figure("gRPC, 1 row", here["rate"], "req/s", at_least=6000),
            frame.figure("gRPC, 1 row, against the bare server", here["rate"], "req/s", yardstick=("bare grpcio", there["rate"]), at_least=round(0.6 * there["rate"])),
            frame.figure("gRPC, 1 row, p99", here["p99_ms"], "ms", yardstick=("bare grpcio", there["p99_ms"]), at_most=3),
            frame.figure("gRPC, 1 row, CPU", here["cpu_us"], "µs", yardstick=("bare grpcio", there["cpu_us"])),
        ]  # fmt: skip

    def rows(self) -> list[frame.Figure]:
        """64 rows a request."""
        ours = self.ours
        with bare("floors asgi", self.found, self.core, _listens) as floor:
            found = self._measure({
                "64 rows, JSON": (ours, rest(ours, "bench", _matrix_inputs(self.many)), 64),
                "64 rows, binary": (ours, binary(ours, "bench", self.many), 64),
                "64 rows, raw gRPC": (ours, grpc(ours, "bench", self.many), 64),
                "64 rows, JSON, bare ASGI": (floor, rest(floor, "bench", _matrix_inputs(self.many)), 64),
            })  # fmt: skip
        there = 64 * found["64 rows, JSON, bare ASGI"]["rate"]
        return [
            frame.figure(title, 64 * found[title]["rate"], "rows/s", yardstick=("bare ASGI, JSON", there))
            for title in ("64 rows, JSON", "64 rows, binary", "64 rows, raw gRPC")
        ]

    def peers(self) -> list[frame.Figure]:
        """Those that are installed, each by itself and in turns with ours."""
        figures = []
        ours = self.ours
        for name, title in (("mlserver", "MLServer"), ("kserve", "KServe")):
            with ExitStack() as stack:
                other = stack.enter_context(peer(name, self.found, self.core, _listens))
                if other is None:
                    frame.tell(f"{title} is not installed: make bench-peers")
                    continue
                wide = _matrix_inputs(self.many)
                for words, mine, theirs, rows, least in (
                    ("REST, 1 row", rest(ours, "bench", _matrix_inputs(self.one)), rest(other, "bench", _matrix_inputs(self.one)), 1, 10),
                    ("gRPC, 1 row", grpc(ours, "bench", self.one), grpc(other, "bench", self.one), 1, None),
                    ("64 rows, JSON", rest(ours, "bench", wide), rest(other, "bench", wide), 64, 3),
                    ("64 rows, binary", binary(ours, "bench", self.many), binary(other, "bench", self.many), 64, 5),
                    ("64 rows, raw gRPC", grpc(ours, "bench", self.many), grpc(other, "bench", self.many), 64, 5),
                ):  # fmt: skip
                    try:
                        found = self._measure({
                            f"{words}, beside {title}": (ours, mine, rows), f"{title}, {words}": (other, theirs, rows),
                        }, rounds=1)  # fmt: skip
                    except drive.NotAnswered:
                        frame.tell(f"{title} does not answer: {words}")
                        continue
                    here, there = (rows * run["rate"] for run in found.values())
                    figures.append(
                        frame.figure(
                            f"{words}, against {title}", here, "rows/s", yardstick=(title, there),
                            at_least=None if least is None else round(least * there),
                        )
                    )  # fmt: skip
        return figures

    def _measure(
        self, tasks: dict[str, tuple[Server, dict[str, Any], int]], rounds: int = ROUNDS
    ) -> dict[str, dict[str, float]]:
        runs: dict[str, list[dict[str, float]]] = {title: [] for title in tasks}
        for turn in range(rounds):
            frame.tell(f"round {turn + 1} of {rounds}: {', '.join(tasks)} …")
            for title, (server, task, _) in tasks.items():
                # What our last run logged is still on its way; that must not fall on the others.
                frame.quiet([self.ours.pid], seconds=4)
                self.found.forget_log()
                runs[title].append(drive.measured(task, server.pid, SECONDS, self.load_core))
        found = {title: drive.middle(run) for title, run in runs.items()}
        for title, (server, _, rows) in tasks.items():
            self.lines[title] = (server, found[title] | {"rss": frame.resident_mb(server.pid, peak=True)}, rows)
        return found


def rest(server: Server, model: str, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """A request in JSON."""
    return _rest(server, model, json.dumps({"inputs": inputs}).encode(), {})


def binary(server: Server, model: str, rows: np.ndarray) -> dict[str, Any]:
    """A request whose tensor follows its JSON, asking for the same."""
    tensor = {
        "name": "rows",
        "shape": list(rows.shape),
        "datatype": "FP64",
        "parameters": {"binary_data_size": rows.nbytes},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return _rest(server, model, head + rows.tobytes(), headers)


def grpc(server: Server, model: str, rows: np.ndarray) -> dict[str, Any]:
    """A call with raw contents."""
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="rows", datatype="FP64", shape=rows.shape)
    request.raw_input_contents.append(rows.tobytes())
    return {"protocol": "grpc", "port": server.grpc, "path": _INFER, "headers": _key(server), "body": request.SerializeToString()}  # fmt: skip


def instances(server: Server, model: str, case: Case) -> dict[str, Any]:
    """One instance at the door for application teams, with all that its model reads."""
    names = case.evaluator.pipeline.columns
    values = [round(value, 6) if isinstance(value, float) else value for value in case.row(case.table[:1])]
    body = json.dumps({"instances": [{"features": dict(zip(names, values, strict=True))}]}).encode()
    return _rest(server, model, body, {}) | {"path": f"/v1/models/{model}:predict"}


def _rest(server: Server, model: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    return {"protocol": "rest", "port": server.rest, "path": f"/v2/models/{model}/infer", "headers": _key(server) | headers, "body": body}  # fmt: skip


def _key(server: Server) -> dict[str, str]:
    return {"authorization": f"Bearer {server.key}"} if server.key else {}


def _matrix_inputs(rows: np.ndarray) -> list[dict[str, Any]]:
    data = [round(float(value), 6) for value in rows.ravel()]
    return [{"name": "rows", "shape": list(rows.shape), "datatype": "FP64", "data": data}]


def _column_inputs(case: Case) -> list[dict[str, Any]]:
    names = case.evaluator.pipeline.columns
    return [
        {"name": name, "shape": [1], "datatype": "BYTES" if name in case.texts else "FP64",
         "data": [round(value, 6) if isinstance(value, float) else value]}
        for name, value in zip(names, case.row(case.table[:1]), strict=True)
    ]  # fmt: skip


def _listens(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
    except httpx.ConnectError:
        return False
    except httpx.TransportError:
        # It speaks gRPC.
        return True
    return True


def _table(lines: Lines) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table(title="One line for each server and request", title_justify="left")
    table.add_column("")
    columns: tuple[tuple[str, Callable[[dict[str, float], int], str]], ...] = (
        ("req/s", lambda run, _: f"{run['rate']:,.0f}"),
        ("rows/s", lambda run, rows: f"{rows * run['rate']:,.0f}"),
        ("p50 ms", lambda run, _: f"{run['p50_ms']:.2f}"),
        ("p99 ms", lambda run, _: f"{run['p99_ms']:.2f}"),
        ("CPU µs", lambda run, _: f"{run['cpu_us']:.1f}"),
        ("RSS MB", lambda run, _: f"{run['rss']:.0f}"),
    )
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    for title, (_, run, rows) in lines.items():
        table.add_row(title, *(cell(run, rows) for _, cell in columns))
    console.print(table)


if __name__ == "__main__":
    main()
