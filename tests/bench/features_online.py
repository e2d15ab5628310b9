"""The online half of `make bench-features`: what a lookup costs the server, beside a bare gRPC server with one MGET.

Both run as processes on loopback with one real Redis. The server's processor time is measured, so that a client on the
same cores counts less; `req/s a core` is its inverse. 48 features: three views of sixteen, a key's 100 events each.

`python -m tests.bench.features_online bare REDIS_URL PORT` is the bare server.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import redis

from tenon.api.features.v1 import features_pb2 as pb
from tenon.api.features.v1 import features_pb2_grpc
from tenon.core.specs import DatasetSpec
from tests.bench import features_feast, frame
from tests.support.fake_ingest import lake_frame, running_ingest
from tests.support.ports import free_port
from tests.support.redis import running_redis
from tests.support.service_process import ADMIN_KEY, running_service

ENTITIES, EVENTS, SECONDS, CONNECTIONS = 500, 100, 3.0, 8
START = datetime(2025, 1, 1, tzinfo=UTC)
DATASET = DatasetSpec.model_validate(
    {"name": "d", "primaryKey": ["id"], "eventTime": "at",
     "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string"},
                 "x": {"type": "decimal", "scale": 2}}}
)  # fmt: skip
METADATA = (("authorization", f"Bearer {ADMIN_KEY}"),)


def view(number: int) -> dict[str, Any]:
    """Sixteen features."""
    return {"name": f"v{number}", "dataset": "d", "entity": ["who"],
            "aggregates": [{"column": "x", "functions": ["count", "sum", "mean", "max"],
                            "windows": [f"{days + number}d" for days in (1, 7, 30, 60)]}]}  # fmt: skip


def figures() -> list[frame.Figure]:
    """Measure."""
    found = []
    with tempfile.TemporaryDirectory(prefix="tenon-bench-online-") as name, running_redis() as store:
        folder = Path(name)
        with running_ingest(folder / "lake") as ingest:
            ingest.define("north", DATASET)
            draws = random.Random(1)
            rows = [
                {"id": n, "at": START + timedelta(minutes=draws.randrange(60 * 24 * 60)), "who": f"e{n % ENTITIES}",
                 "x": draws.randrange(10_000)}
                for n in range(ENTITIES * EVENTS)
            ]  # fmt: skip
            ingest.commit("north", "d", lake_frame(DATASET, rows))
            environment = {
                "TENON_REDIS_URL": store.url, "TENON_BLOB_URL": (folder / "blobs").as_uri(),
                "TENON_INGEST_GRPC": ingest.target, "TENON_REGISTRY_GRPC": f"127.0.0.1:{free_port()}",
            }  # fmt: skip
            with running_service("features", folder / "features", environment) as service, _bare(store.url) as bare:
                _apply(service.http)
                rates = {}
                for asked in (1, 100):
                    ours = _measure(service.process.pid, service.grpc, _ours(asked))
                    theirs = _measure(bare[0], bare[1], _theirs(asked))
                    rates[asked] = 1e6 / ours[0]
                    found += _lines(asked, ours, theirs)
        found += _feast(store.url, rates)
    return found


def _feast(redis_url: str, rates: dict[int, float]) -> list[frame.Figure]:
    """Our rates beside those of Feast's feature server, which looks up values that were aggregated before."""
    with features_feast.serving(redis_url, ENTITIES) as feast:
        if feast is None:
            return []
        lines = []
        for asked, rate in rates.items():
            on = features_feast.asking(feast[1], asked, ENTITIES)
            spent, _ = _measured(feast[0], [on() for _ in range(CONNECTIONS)], 100)
            label = f"{asked} {'entity' if asked == 1 else 'entities'} × 3 views"
            goal = {} if asked == 1 else {"at_least": 50 * 1e6 / spent}
            yardstick = ("Feast 0.67's feature server", 1e6 / spent)
            lines.append(frame.figure(f"requests a second a core, {label} ", rate, "/s", yardstick=yardstick, **goal))
        return lines


def _lines(asked: int, ours: tuple[float, float], theirs: tuple[float, float]) -> list[frame.Figure]:
    label = f"{asked} {'entity' if asked == 1 else 'entities'} × 3 views"
    rate, bare = 1e6 / ours[0], 1e6 / theirs[0]
    goal = {"at_least": 3000.0} if asked == 1 else {"at_least": bare / 1.4}
    lines = [
        frame.figure(f"requests a second a core, {label}", rate, "/s", yardstick=("bare gRPC + MGET", bare), **goal),
        frame.figure(
            f"processor time of the server, {label}", ours[0], "µs", yardstick=("bare gRPC + MGET", theirs[0])
        ),
    ]
    latency = {"at_most": 0.5} if asked == 1 else {}
    lines.append(
        frame.figure(
            f"p50 with one connection, {label}", ours[1], "ms", yardstick=("bare gRPC + MGET", theirs[1]), **latency
        )
    )
    return lines


def _apply(http: str) -> None:
    with httpx.Client(base_url=http, headers={"authorization": f"Bearer {ADMIN_KEY}"}, trust_env=False) as client:
        for number in range(3):
            client.put(f"/v1/tenants/north/feature-views/v{number}", json=view(number)).raise_for_status()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            states = [client.get(f"/v1/tenants/north/feature-views/v{n}").json()["online"] for n in range(3)]
            if all(state and state["entities"] for state in states):
                return
            time.sleep(0.1)
    raise RuntimeError("the views were not built")


def _ours(asked: int) -> Callable[[grpc.Channel], Callable[[int], Any]]:
    def on(channel: grpc.Channel) -> Callable[[int], Any]:
        stub = features_pb2_grpc.FeatureServiceStub(channel)

        def ask(number: int) -> None:
            request = pb.GetOnlineFeaturesRequest(tenant="north", views=["v0", "v1", "v2"], packed=True)
            request.keys.add(name="who", texts=[f"e{(number + n) % ENTITIES}" for n in range(asked)])
            request.at_micros.append(int(START.timestamp() + 55 * 86_400) * 1_000_000)
            answer = stub.GetOnlineFeatures(request, metadata=METADATA, timeout=5)
            assert len(answer.columns.values) == 48 * 8 * asked

        return ask

    return on


def _theirs(asked: int) -> Callable[[grpc.Channel], Callable[[int], Any]]:
    def on(channel: grpc.Channel) -> Callable[[int], Any]:
        call: Any = channel.unary_unary("/bare/Get")

        def ask(number: int) -> None:
            names = [f"{v}:e{(number + n) % ENTITIES}" for v in range(3) for n in range(asked)]
            assert len(call("\n".join(names).encode(), timeout=5)) == 48 * 8 * asked

        return ask

    return on


def _measure(pid: int, target: str, on: Callable[[grpc.Channel], Callable[[int], Any]]) -> tuple[float, float]:
    """(µs of the server's processor time a request with several connections, p50 in ms with one)."""
    channels = [grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(CONNECTIONS)]
    found = _measured(pid, [on(channel) for channel in channels], 500)
    for channel in channels:
        channel.close()
    return found


def _measured(pid: int, asks: Sequence[Callable[[int], Any]], alone: int) -> tuple[float, float]:
    for ask in asks:
        ask(0)
    taken = []
    for number in range(alone):
        began = time.perf_counter()
        asks[0](number)
        taken.append(time.perf_counter() - began)
    ending = time.monotonic() + SECONDS

    def keep_asking(ask: Callable[[int], Any]) -> int:
        count = 0
        while time.monotonic() < ending:
            ask(count)
            count += 1
        return count

    before = frame.cpu_seconds(pid)
    with futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        count = sum(pool.map(keep_asking, asks))
    spent = frame.cpu_seconds(pid) - before
    return spent / count * 1e6, statistics.median(taken) * 1e3


@contextmanager
def _bare(redis_url: str) -> Iterator[tuple[int, str]]:
    with redis.Redis.from_url(redis_url) as store:
        for number in range(3):
            store.mset({f"{number}:e{n}": bytes(900) for n in range(ENTITIES)})
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.features_online", "bare", redis_url, str(port)]
    process = subprocess.Popen(command, cwd=frame.ROOT)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=20)
        yield process.pid, f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def serve_bare(redis_url: str, port: str) -> None:
    """Names in, one MGET, bytes out; no keys, checks, metrics or logs."""
    store = redis.Redis.from_url(redis_url)

    def get(data: bytes, _: grpc.ServicerContext) -> bytes:
        found: list[bytes] = store.mget(data.split(b"\n"))  # type: ignore[assignment]
        return b"".join(value[: 16 * 8] for value in found)

    class Handler(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(get)

    server = grpc.server(futures.ThreadPoolExecutor(CONNECTIONS), handlers=[Handler()])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        serve_bare(*sys.argv[2:])
    else:
        frame.report("features-online", "online features", figures())
