"""`make bench-monitor-intake`: from a real Redis to updated windows, one process, 20 numbers a record.

The stream is filled first; then one consumer takes it into SQLite with every commit synced. What is measured is the time until
everything is acknowledged, the process's CPU time, its memory, and what the log takes on disk.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import redis

from services.monitor.worker import GROUP
from tenon.kit.events import PREDICTIONS
from tenon.kit.sql import open_database
from tests.bench import frame
from tests.support.monitor_taker import entries, start_taker
from tests.support.redis import running_redis

FEATURES, TIMES = 20, 3
SHAPES = {500: 600_000, 100: 600_000, 1: 40_000}
GOAL = 200_000.0
MEMORY, MANY_ROWS, MORE_MEMORY = (1_000_000, 10_000_000), 500, 1.15


@dataclass(frozen=True)
class Taken:
    """One run."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    bytes_a_record: float


def main() -> None:
    """Measure each size of entries, and memory at ten times as many records."""
    figures = []
    for rows, records in SHAPES.items():
        frame.tell(f"{rows} a record's entry")
        runs = [take(records, rows) for _ in range(TIMES)]
        by_clock = statistics.median(records / run.seconds for run in runs)
        by_cpu = statistics.median(records / run.cpu_seconds for run in runs)
        goal = GOAL if rows > 1 else None
        figures.append(frame.figure(f"{rows} records an entry, by the clock", by_clock, "records/s", at_least=goal))
        figures.append(frame.figure(f"{rows} records an entry, a CPU second", by_cpu, "records/s", at_least=goal))
        if rows == 100:
            size = statistics.median(run.bytes_a_record for run in runs)
            figures.append(frame.figure("on disk, numbers that do not compress", size, "bytes/record"))
    once, many = (take(records, MANY_ROWS).peak_mib for records in MEMORY)
    figures.append(
        frame.figure(
            f"memory, {MEMORY[1]:,} records", many, "MiB", yardstick=(f"{MEMORY[0]:,} records", once),
            at_most=MORE_MEMORY * once,
        )
    )  # fmt: skip
    frame.report("monitor-intake", "Monitor: taking the prediction log, 20 numbers a record", figures)


def take(
    records: int, rows: int, *, tenants: int = 1, database_url: str | None = None, wanted_bytes: int = 16 << 20
) -> Taken:  # fmt: skip
    """Fill a stream and let one process take it, into SQLite where no database is named."""
    with tempfile.TemporaryDirectory(prefix="tenon-bench-") as folder, running_redis() as server:
        path = Path(folder) / "monitor.db"
        url = database_url or f"sqlite:///{path}"
        open_database(url, "services.monitor.migrations").close()
        with redis.Redis.from_url(server.url) as client:
            client.xgroup_create(PREDICTIONS, GROUP, id="0", mkstream=True)
            _fill(client, records, rows, tenants)
            process = start_taker(url, server.url, FEATURES, 60.0, wanted_bytes)
            try:
                return _wait(client, process, records, path)
            finally:
                process.kill()
                process.join()


def _fill(client: redis.Redis, records: int, rows: int, tenants: int) -> None:
    start = time.time_ns() // 1000 - 600_000_000
    pipeline = client.pipeline(transaction=False)
    for number, fields in enumerate(entries(records // rows, rows, FEATURES, start=start, tenants=tenants)):
        pipeline.xadd(PREDICTIONS, dict(fields))  # type: ignore[arg-type]
        if number % 200 == 199:
            pipeline.execute()
    pipeline.execute()


def _wait(client: redis.Redis, process: BaseProcess, records: int, path: Path) -> Taken:
    pid, started, cpu = process.pid or 0, 0.0, 0.0
    while True:
        groups: Any = client.xinfo_groups(PREDICTIONS)
        if not process.is_alive():
            raise RuntimeError("the process that takes has ended")
        given, waiting = int(groups[0]["entries-read"] or 0), int(groups[0]["pending"]) + int(groups[0]["lag"] or 0)
        if given and not started:
            # The first entries are in the process's hands: what came before was starting up.
            started, cpu = time.perf_counter(), frame.cpu_seconds(pid)
        if started and not waiting:
            break
        time.sleep(0.005)
    seconds, spent = time.perf_counter() - started, frame.cpu_seconds(pid) - cpu
    size = sum(one.stat().st_size for one in path.parent.iterdir())
    return Taken(seconds, spent, _peak_mib(pid), size / records)


def _peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
