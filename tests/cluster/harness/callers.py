"""Clients of a tenant, in a process of their own: they ask all the time over REST or gRPC and count who answered.

`python -m tests.cluster.harness.callers TASK` with the task as JSON; each line on stdin names the phase that requests belong to
from then on, and is answered by a line of JSON with the counts so far, by phase, by the track that was asked for, and by outcome: the version
that answered, or what went wrong.
"""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc

ROOT = Path(__file__).resolve().parents[3]
_TESTERS = 25
"""One request of so many says which track it wants."""


class Seen(NamedTuple):
    """Requests of one kind: in a phase, for a track (empty: as the weights say), answered by a version or failed."""

    phase: str
    track: str
    outcome: str


class Callers:
    """The process, from the test's side."""

    def __init__(
        self, protocol: str, address: str, tenant: str, model: str, key: str, threads: int, pause: float
    ) -> None:
        task = json.dumps([protocol, address, tenant, model, key, threads, pause])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.harness.callers", task],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def phase(self, name: str) -> dict[Seen, int]:
        """From now on requests belong to this phase; gives what has been counted up to now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return {Seen(*seen): count for *seen, count in json.loads(self._process.stdout.readline())}

    def stop(self) -> None:
        """End them."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=180)


class _Count:
    def __init__(self) -> None:
        self.phase = "start"
        self.ending = False
        self.seen: Counter[Seen] = Counter()
        self.lock = threading.Lock()


def _work(count: _Count, ask: Callable[[str], str], pause: float) -> None:
    for number in itertools.count():
        if count.ending:
            return
        track = ("canary", "stable")[number // _TESTERS % 2] if number % _TESTERS == 0 else ""
        phase = count.phase
        outcome = ask(track)
        with count.lock:
            count.seen[Seen(phase, track, outcome)] += 1
        if pause:
            time.sleep(pause)


def _rest(address: str, tenant: str, model: str, key: str) -> Callable[[str], str]:
    columns: list[tuple[str, str, Any]] = [
        ("age", "FP64", 61.5),
        ("count", "INT64", 3),
        ("urgent", "BOOL", True),
        ("ward", "BYTES", "north"),
    ]
    inputs = [{"name": name, "datatype": kind, "shape": [1], "data": [value]} for name, kind, value in columns]
    body = json.dumps({"inputs": inputs})
    connection = http.client.HTTPConnection(address, timeout=60)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def ask(track: str) -> str:
        try:
            more = {"x-tenon-track": track} if track else {}
            connection.request("POST", f"/tenants/{tenant}/v2/models/{model}/infer", body, headers | more)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as err:
            connection.close()
            return f"{type(err).__name__}: {err}"
        if answer.status != 200:
            return f"{answer.status} {data[:200]!r}"
        return f"version {json.loads(data)['model_version']}"

    return ask


def _grpc(address: str, tenant: str, model: str, key: str) -> Callable[[str], str]:
    request = pb.ModelInferRequest(model_name=model)
    for name, kind, raw in (
        ("age", "FP64", b"\0\0\0\0\0\xc0\x4e\x40"), ("count", "INT64", (3).to_bytes(8, "little")), ("urgent", "BOOL", b"\1"),
        ("ward", "BYTES", b"\5\0\0\0north"),
    ):  # fmt: skip
        request.inputs.add(name=name, datatype=kind, shape=[1])
        request.raw_input_contents.append(raw)
    # Each caller has a connection of its own, as callers in different processes have.
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    stub = inference_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(address, options))
    usual = [("authorization", f"Bearer {key}"), ("x-tenon-tenant", tenant)]

    def ask(track: str) -> str:
        try:
            answer = stub.ModelInfer(
                request, timeout=60, metadata=[*usual, ("x-tenon-track", track)] if track else usual
            )
        except grpc.RpcError as err:
            return f"{err.code().name} {err.details()}"
        return f"version {answer.model_version}"

    return ask


def main() -> None:
    """Ask until stdin ends."""
    protocol, address, tenant, model, key, threads, pause = json.loads(sys.argv[1])
    count = _Count()
    door = _rest if protocol == "rest" else _grpc
    workers = [
        threading.Thread(target=_work, args=(count, door(address, tenant, model, key), pause), daemon=True)
        for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for line in sys.stdin:
        count.phase = line.strip()
        with count.lock:
            print(json.dumps([[*seen, number] for seen, number in count.seen.items()]), flush=True)
    count.ending = True
    for worker in workers:
        worker.join(timeout=180)


if __name__ == "__main__":
    main()
