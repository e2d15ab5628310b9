"""`make bench-monitor-kills`: monitor's programs killed at random instants for minutes; is everything there exactly once?

Two replicas take the log from a real Redis, move it into the lake and record labels; one of them is killed (SIGKILL) again and again. What is compared
at the end: rows of both time axes' windows, of their sketches, of the log, of the lake, and labels.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from tests.bench import frame
from tests.support.monitor_kills import Killing, kill_at_random
from tests.support.postgres import PostgresServer, find_binaries
from tests.support.redis import running_redis

KILLS = int(os.environ.get("TENON_KILLS", "60"))


def main() -> None:
    """Kill on SQLite and, where it is installed, on PostgreSQL."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="tenon-bench-") as folder:
        figures += _kill("sqlite", f"sqlite:///{folder}/monitor.db", Path(folder) / "blobs")
    binaries = find_binaries()
    if binaries is not None:
        server = PostgresServer(binaries)
        server.start()
        try:
            with tempfile.TemporaryDirectory(prefix="tenon-bench-") as folder:
                figures += _kill("postgresql", server.new_database(), Path(folder) / "blobs")
        finally:
            server.stop()
    frame.report("monitor-kills", "Monitor: killed at random instants, everything is there exactly once", figures)


def _kill(name: str, url: str, folder: Path) -> list[frame.Figure]:
    killing = Killing(kills=KILLS, seed=time.time_ns() % 2**32, look_into_the_lake=True)
    frame.tell(f"{name}: {killing.kills} kills, seed {killing.seed}")
    with running_redis() as server:
        # Ends with an error when anything is missing or there twice.
        killed = kill_at_random(url, server.url, folder, killing)
    return [
        frame.figure(f"{name}: records there exactly once", killing.records, "records", at_least=killing.records),
        frame.figure(f"{name}: kills at work on the stream", killed.at_work, f"of {killing.kills} kills"),
        frame.figure(f"{name}: kills with a move half done", killed.half_moved, f"of {killing.kills} kills"),
    ]


if __name__ == "__main__":
    main()
