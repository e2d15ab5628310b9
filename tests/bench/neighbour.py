"""`make bench-neighbour`: what a tenant that asks now and then feels of one that keeps 64 connections busy, on one core.

The quiet tenant sends a request every five milliseconds, at fixed times. It is measured alone; beside the noisy one without
any quota, where both take turns; and beside it at ten times its quota, where it gets 429. Then what hurts the servers of
others: bodies over the cap, a gzip bomb, many empty objects, all while the quiet tenant asks.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import multiprocessing
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from tenon.api.inference.v2 import inference_pb2 as pb
from tests.bench import frame
from tests.support.abuse_grpc import INFER
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import KEYS, linear_bundle
from tests.support.predictor_process import PredictorProcess, wait_until

WIDTH = 30
SECONDS = 8
EVERY = 0.005
NOISY, QUIET = "acme", "globex"
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, WIDTH], "data": [0.5] * WIDTH}]}).encode()
_REQUEST = pb.ModelInferRequest(model_name="price", raw_input_contents=[struct.pack(f"<{WIDTH}d", *[0.5] * WIDTH)])
_REQUEST.inputs.add(name="x", datatype="FP64", shape=[1, WIDTH])
MESSAGE = _REQUEST.SerializeToString()
_LUA = """
wrk.method = "POST"
wrk.body = [[%(body)s]]
wrk.headers["authorization"] = "Bearer %(key)s"
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d\\n", summary.requests, summary.duration, summary.errors.status))
end
"""


class Quiet:
    """Asks at fixed times from a connection of its own; `milliseconds` are its waits."""

    def __init__(self, port: int, key: str) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"POST /v2/models/price/infer HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(BODY)}\r\n\r\n"
        self._request = head.encode() + BODY
        self.milliseconds: list[float] = []

    def ask(self, until: Callable[[], bool]) -> None:
        """Go on until told to end. A wait counts from the moment at which the request was due."""
        due = time.perf_counter()
        while not until():
            due = max(due + EVERY, time.perf_counter() - 1.0)
            time.sleep(max(0.0, due - time.perf_counter()))
            self._once()
            self.milliseconds.append(1000 * (time.perf_counter() - due))

    def _once(self) -> None:
        self._sock.sendall(self._request)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < _length(answer):
            answer += self._sock.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200"), answer[:300]

    def p(self, percent: float) -> float:
        """A percentile of the waits."""
        return sorted(self.milliseconds)[min(len(self.milliseconds) - 1, int(percent / 100 * len(self.milliseconds)))]


class QuietCaller(Quiet):
    """The same over gRPC."""

    def __init__(self, port: int, key: str) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._call: Any = self._channel.unary_unary(INFER)
        self._metadata = (("authorization", f"Bearer {key}"),)
        self.milliseconds = []

    def _once(self) -> None:
        self._call(MESSAGE, metadata=self._metadata, timeout=60)


def _length(answer: bytes) -> int:
    return int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def asked_during(port: int, work: Callable[[], None], kind: type[Quiet] = Quiet) -> Quiet:
    """The quiet tenant's waits while something else goes on."""
    quiet = kind(port, KEYS[QUIET])
    thread = threading.Thread(target=work)
    thread.start()
    quiet.ask(lambda: not thread.is_alive())
    return quiet


def noise(port: int, core: int, seconds: float = SECONDS) -> tuple[float, float]:
    """(answers a second, refusals a second) of 64 connections that ask without pause."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "noise.lua"
        script.write_text(_LUA % {"body": BODY.decode(), "key": KEYS[NOISY]})
        command = [
            "taskset", "-c", str(core), "wrk", "-t1", "-c64", f"-d{seconds:g}s", "-s", str(script), f"http://127.0.0.1:{port}/v2/models/price/infer",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    found = re.search(r"RESULT (\d+) (\d+) (\d+)", done.stdout)
    assert found, done.stdout
    answers, micros, refused = (int(found[place]) for place in (1, 2, 3))
    return (answers - refused) / micros * 1e6, refused / micros * 1e6


def calls(port: int, core: int) -> None:
    """64 gRPC calls that are always under way, on eight connections."""
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "message"
        body.write_bytes(b"\0" + len(MESSAGE).to_bytes(4, "big") + MESSAGE)
        command = [
            "taskset", "-c", str(core), "h2load", "-t1", "-c8", "-m8", f"-D{SECONDS}", f"--data={body}", "-H", "content-type: application/grpc",
            "-H", "te: trailers", "-H", f"authorization: Bearer {KEYS[NOISY]}", f"http://127.0.0.1:{port}{INFER}",
        ]  # fmt: skip
        subprocess.run(command, capture_output=True, timeout=SECONDS + 30, check=True)


@contextmanager
def served(core: int) -> Iterator[tuple[FakeRegistry, PredictorProcess]]:
    """A predictor on one core with a model for each of two tenants."""
    registry = FakeRegistry().start()
    for tenant in (NOISY, QUIET):
        registry.add(tenant, "price", 1, linear_bundle(tenant, weights=[0.1] * WIDTH))
        registry.release(tenant, "price", 1)
    with tempfile.TemporaryDirectory(prefix="tenon-neighbour-") as folder:
        predictor = PredictorProcess(Path(folder), registry=registry.port)
        try:
            predictor.start()
            assert predictor.process is not None
            for thread in Path(f"/proc/{predictor.process.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})
            yield registry, predictor
        finally:
            predictor.stop()
            registry.stop()


def send(port: int, body: bytes, *headers: str) -> int:
    """The status of a request of the noisy tenant; 0 when it was hung up on."""
    head = [
        "POST /v2/models/price/infer HTTP/1.1",
        "host: x",
        f"authorization: Bearer {KEYS[NOISY]}",
        f"content-length: {len(body)}",
        *headers,
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        with contextlib.suppress(OSError):
            sock.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        answer = b""
        with contextlib.suppress(OSError):
            while not answer.endswith(b"}"):
                data = sock.recv(65536)
                if not data:
                    break
                answer += data
    return int(answer[9:12]) if answer else 0


def hard_bodies(port: int) -> dict[str, Callable[[], None]]:
    """What stalled the servers of others."""
    rows = 8000
    large = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [rows, WIDTH], "data": [0.123456789] * (rows * WIDTH)}]}
    ).encode()
    bodies = {
        "eight 50 MB bodies at once": (b"[" + b"1," * (25 << 20), ()),
        "eight 7 MB bodies of lists at once": (b'{"inputs":[' + b"[]," * ((7 << 20) // 3) + b"[]]}", ()),
        "a gzip bomb, 1 MB → 1 GB": (gzip.compress(b" " * (1 << 20)) * 1024, ("content-encoding: gzip",)),
        "300 kB of empty objects": (b'{"inputs":[' + b"{}," * 100_000 + b"{}]}", ()),
        f"eight good bodies of {rows} rows ({len(large) >> 20} MB) at once": (large, ()),
    }  # fmt: skip

    def sender(body: bytes, headers: tuple[str, ...], together: int) -> Callable[[], None]:
        def work() -> None:
            # In a process of its own, so that the quiet client's interpreter has nothing to do with it.
            process = multiprocessing.get_context("fork").Process(target=storm)
            process.start()
            process.join()

        def storm() -> None:
            until = time.monotonic() + 2.5
            while time.monotonic() < until:
                threads = [threading.Thread(target=send, args=(port, body, *headers)) for _ in range(together)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

        return work

    return {name: sender(body, headers, 8 if "eight" in name else 1) for name, (body, headers) in bodies.items()}


def main() -> None:
    """Measure and report."""
    if shutil.which("wrk") is None:
        raise SystemExit("this bench needs `wrk` on the PATH")
    cores = sorted(os.sched_getaffinity(0))
    mine, theirs = cores[-1], cores[0]
    os.sched_setaffinity(0, {theirs})
    with contextlib.suppress(OSError):
        # The quiet client shares its core with the noise; it must not wait for that before it can measure.
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    figures: list[frame.Figure] = []
    with served(mine) as (registry, predictor):
        assert predictor.process is not None
        port, pid = predictor.http, predictor.process.pid
        plain = alone(port)
        frame.tell("64 connections without a quota …")
        by_itself, _ = noise(port, theirs, 3)
        rates: list[tuple[float, float]] = []
        beside = asked_during(port, lambda: rates.append(noise(port, theirs)))
        frame.tell("64 connections at ten times their quota …")
        registry.quotas = {NOISY: {"requests_per_second": by_itself / 10, "burst": 100}}
        wait_until((predictor.folder / "data" / "quotas.json").exists, "the quota")
        over = asked_during(port, lambda: rates.append(noise(port, theirs)))
        remote: tuple[Quiet, ...] = ()
        if shutil.which("h2load"):
            frame.tell("the same over gRPC …")
            door = predictor.grpc
            asked_during(door, lambda: time.sleep(1), QuietCaller)
            registry.quotas = {NOISY: {"requests_per_second": 1000, "burst": 50}}
            time.sleep(5)
            limited = asked_during(door, lambda: calls(door, theirs), QuietCaller)
            registry.quotas = {}
            time.sleep(5)
            remote = (
                asked_during(door, lambda: time.sleep(SECONDS), QuietCaller),
                asked_during(door, lambda: calls(door, theirs), QuietCaller),
                limited,
            )
        registry.quotas = {}
        (free, _), (kept, refused) = rates
        for name, quiet, goal in (("beside 64 busy connections", beside, 3.0), ("beside 10 × its quota", over, 2.0)):
            figures.append(
                frame.figure(f"quiet tenant {name}, p50", quiet.p(50), "ms", yardstick=("alone", plain.p(50)))
            )
            figures.append(
                frame.figure(
                    f"quiet tenant {name}, p99",
                    quiet.p(99),
                    "ms",
                    yardstick=("alone", plain.p(99)),
                    at_most=round(goal * plain.p(99), 3),
                )
            )
        for name, quiet in zip(("beside 64 calls at a time", "beside 10 × its quota"), remote[1:], strict=False):
            for percent in (50, 99):
                label = f"gRPC: quiet tenant {name}, p{percent}"
                figures.append(frame.figure(label, quiet.p(percent), "ms", yardstick=("alone", remote[0].p(percent))))
        figures.append(frame.figure("noisy tenant beside the quiet one", free, "req/s", yardstick=("alone", by_itself)))
        figures.append(frame.figure("noisy tenant with a quota", kept, "req/s", yardstick=("quota", by_itself / 10)))
        figures.append(frame.figure("its refusals (429, held back)", refused, "/s"))
        wait_until(lambda: send(port, BODY) == 200, "no quota")
        before = frame.resident_mb(pid)
        for name, work in hard_bodies(port).items():
            frame.tell(f"{name} …")
            quiet = asked_during(port, work)
            figures.append(
                frame.figure(f"longest wait during {name}", max(quiet.milliseconds), "ms", yardstick=("alone", max(plain.milliseconds)), at_most=50)
            )  # fmt: skip
        figures.append(
            frame.figure("resident memory after that", frame.resident_mb(pid), "MB", yardstick=("before", before))
        )
    notes = [
        f"predictor on core {mine}; wrk and the quiet client on core {theirs}; one row of {WIDTH} floats; the quiet tenant asks every "
        f"{1000 * EVERY:g} ms on one connection ({len(plain.milliseconds)} requests alone)",
        f"alone: p50 {plain.p(50):.3f}, p99 {plain.p(99):.3f}, mean {statistics.mean(plain.milliseconds):.3f} ms",
    ]
    frame.report("neighbour", "A quiet tenant beside a noisy one (bench-neighbour)", figures, notes)


def alone(port: int) -> Quiet:
    """The quiet tenant by itself."""
    frame.tell("the quiet tenant alone …")
    asked_during(port, lambda: time.sleep(1))
    return asked_during(port, lambda: time.sleep(SECONDS))


if __name__ == "__main__":
    main()
