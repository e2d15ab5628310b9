"""`make bench-monitor-tenants`: many small tenants, one record an entry, from a real Redis to updated windows in one process.

What a transaction costs is by the models in it. Taken are a backlog, of which as much is read as fits (some 40 records of each of 200 tenants in a
transaction), and a trickle, of which a transaction finds one record of each. PostgreSQL's own processor time is not counted.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tests.bench import frame
from tests.bench.monitor_intake import take
from tests.support.postgres import PostgresServer, find_binaries

if TYPE_CHECKING:
    from collections.abc import Callable

TENANTS, TIMES = 200, 3
BACKLOG, TRICKLE = 40_000, 10_000
# So that about `TENANTS` entries are read at once.
_BYTES_OF_A_TRICKLE = TENANTS * 625


def main() -> None:
    """On SQLite and, where it is installed, on PostgreSQL."""
    figures = _measure("sqlite", lambda: None)
    binaries = find_binaries()
    if binaries is not None:
        server = PostgresServer(binaries)
        server.start()
        try:
            figures += _measure("postgresql", server.new_database)
        finally:
            server.stop()
    frame.report("monitor-tenants", f"Monitor: {TENANTS} tenants, one record an entry, 20 numbers a record", figures)


def _measure(name: str, database: Callable[[], str | None]) -> list[frame.Figure]:
    figures = []
    for what, records, size in (("a backlog", BACKLOG, 16 << 20), ("a trickle", TRICKLE, _BYTES_OF_A_TRICKLE)):
        frame.tell(f"{name}: {what}")
        runs = [take(records, 1, tenants=TENANTS, database_url=database(), wanted_bytes=size) for _ in range(TIMES)]
        by_clock = statistics.median(records / run.seconds for run in runs)
        by_cpu = statistics.median(records / run.cpu_seconds for run in runs)
        figures.append(frame.figure(f"{name}, {what}, by the clock", by_clock, "records/s"))
        figures.append(frame.figure(f"{name}, {what}, a CPU second", by_cpu, "records/s"))
    return figures


if __name__ == "__main__":
    main()
