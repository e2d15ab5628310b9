"""`make bench-monitor-history`: what a model's history of five years costs, hour by hour and put together.

One version with 50 numbers, 20 answers an hour: rows of windows, bytes in the database, the time and memory of a year's report and of five years drawn by
weeks. What is put together must say the same.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from services.monitor.domain.drift.sketch import Sketch
from services.monitor.domain.kept.buckets import DAY, HOUR
from services.monitor.domain.log.layouts import Layouts
from services.monitor.domain.model import NumericColumn, Window
from services.monitor.storage.models import ModelIds
from services.monitor.storage.windows.compact import Compacting
from services.monitor.storage.windows.serve import SqlWindows
from services.monitor.storage.windows.tables import windows
from tenon.core.tenancy import TenantId
from tenon.kit.sql import Database, open_database
from tests.bench import frame
from tests.support.monitor_fakes import MemoryVersions
from tests.support.monitor_taker import trained

NORTH = TenantId("north")
FEATURES, DAYS, ROWS = 50, 1825, 20


def main() -> None:
    """Measure before and after."""
    layouts = Layouts(MemoryVersions({1: trained(FEATURES)}), time.monotonic)
    with tempfile.TemporaryDirectory(prefix="tenon-bench-") as folder:
        path = Path(folder) / "monitor.db"
        database, ids = open_database(f"sqlite:///{path}", "services.monitor.migrations"), ModelIds()
        now = time.time_ns() // 1000 // DAY * DAY
        _fill(database, ids, layouts, now)
        before = _measure(database, ids, layouts, now, path)
        started = time.perf_counter()
        Compacting(database, layouts)(now - 35 * DAY, now - 800 * DAY)
        took = time.perf_counter() - started
        after = _measure(database, ids, layouts, now, path)
        database.close()
    assert before["bins"] == after["bins"]
    figures = [
        frame.figure(name, after[name], unit, yardstick=("hour by hour", before[name]))
        for name, unit in (
            ("windows", "rows"),
            ("database", "MiB"),
            ("a year's report", "s"),
            ("five years by weeks", "s"),
        )
    ]
    figures.append(frame.figure("putting five years together, once", took, "s"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures.append(frame.figure("peak memory of all of it", peak, "MiB"))
    frame.report("monitor-history", "Monitor: five years of one model, 50 numbers", figures)


def _fill(database: Database, ids: ModelIds, layouts: Layouts, now: int) -> None:
    rng = np.random.default_rng(1)
    layout = layouts.of(NORTH, "cost", 1)
    assert layout is not None
    kept = []
    for _ in range(200):
        sketch = Sketch(layout)
        some = {f"x{place:02}": rng.normal(size=ROWS) for place in range(FEATURES)}
        sketch.add({name: NumericColumn(values) for name, values in some.items()}, rng.random(ROWS))
        kept.append(sketch.to_bytes())
    with database.session() as session:
        number = ids.need(session, NORTH, "cost")
        rows: list[dict[str, Any]] = []
        for axis, step in (("at", HOUR), ("event_time", DAY)):
            for place in range(DAYS * DAY // step):
                start = now - DAYS * DAY + place * step
                rows.append(
                    {
                        "model_id": number, "axis": axis, "version": 1, "role": "stable", "start": start, "step": step,
                        "first": start, "last": start + step - 1, "rows": ROWS, "sketched": ROWS, "levels": {},
                        "sketch": kept[place % len(kept)],
                    }
                )  # fmt: skip
                if len(rows) == 1000:
                    session.execute(windows.insert(), rows)
                    rows = []
        session.execute(windows.insert(), rows)


def _measure(database: Database, ids: ModelIds, layouts: Layouts, now: int, path: Path) -> dict[str, Any]:
    serve = SqlWindows(database, ids, layouts)
    with database.session() as session:
        count = session.execute(sa.select(sa.func.count()).select_from(windows)).scalar_one()
    with database.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("VACUUM")
    year = Window(now - 365 * DAY, now)
    found: dict[str, Any] = {"windows": count, "database": path.stat().st_size / 2**20}
    started = time.perf_counter()
    (total,) = serve.counted(NORTH, "cost", year)
    found["a year's report"] = time.perf_counter() - started
    assert total.sketch is not None
    found["bins"] = total.sketch.counts.tolist()
    started = time.perf_counter()
    serve.counted(NORTH, "cost", Window(now - DAYS * DAY, now), step=7 * DAY)
    found["five years by weeks"] = time.perf_counter() - started
    return found


if __name__ == "__main__":
    main()
