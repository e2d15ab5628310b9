"""Feast beside Tenon, in `make bench-features`: values that were aggregated once a day, and lookups of such values.

Feast has no sliding windows, so both are given the same daily values: 48 of them (three views of sixteen), and 100,000 rows
to join them to as of their time. `make bench-peers` installs Feast into an environment of its own.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
from deltalake import write_deltalake

from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.model import LakeTable
from services.features.storage.lake import DeltaLake
from services.features.storage.training_files import BlobTrainingFiles
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tests.bench import frame
from tests.bench.peers import installed
from tests.bench.tables import Tables
from tests.support.features_fakes import FakeMeter, FakeViews
from tests.support.ports import free_port

SCRIPT = Path(__file__).parent / "peers" / "feast.py"
KEYS, DAYS, COLUMNS, ROWS = 1_000, 365, 16, 100_000
DAY = 86_400_000_000
START = 1_600_000_000_000_000
TENANT = TenantId("bench")


def offline() -> list[frame.Figure]:
    """The join of daily values, ours and theirs; nothing where Feast is not installed."""
    python = installed("feast")
    if python is None:
        frame.tell("Feast is not installed (make bench-peers): nothing to compare with")
        return []
    with tempfile.TemporaryDirectory(prefix="tenon-bench-feast-") as name:
        folder = Path(name)
        tables = _daily(folder)
        ours, made = _ours(tables, folder)
        command = [str(python), str(SCRIPT), "offline", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
        theirs = json.loads(done.stdout.strip().splitlines()[-1])
        _compare(made, pl.read_parquet(folder / "feast.parquet"))
    label = f"48 daily values, {ROWS:,} rows, {KEYS * DAYS:,} days a view"
    return [
        frame.figure(
            f"GetTrainingSet, {label}", ours, "s", yardstick=("Feast 0.67, DuckDB store", theirs["seconds"]),
            at_most=theirs["seconds"] / 20,
        )
    ]  # fmt: skip


def _daily(folder: Path) -> Tables:
    random = np.random.default_rng(7)
    tables: dict[str, LakeTable] = {}
    columns: dict[str, Any] = {f"f{n}": {"type": "decimal", "scale": 2} for n in range(COLUMNS)}
    for view in range(3):
        key = f"k{view}"
        ids = np.arange(KEYS * DAYS)
        # Rows come day by day, as a nightly job writes them.
        rows = pl.DataFrame(
            {
                key: ids % KEYS,
                "ts": pl.Series(START + ids // KEYS * DAY).cast(pl.Datetime("us", "UTC")),
                **{f"f{n}": random.integers(-9_999, 99_999, KEYS * DAYS) / 100 for n in range(COLUMNS)},
            }
        )
        rows.write_parquet(folder / f"d{view}.parquet")
        exact = rows.with_columns(pl.col(f"f{n}").cast(pl.Decimal(18, 2)) for n in range(COLUMNS))
        spec = {"name": f"d{view}", "primaryKey": [key, "ts"], "eventTime": "ts",
                "columns": {key: {"type": "integer"}, "ts": {"type": "timestamp"}, **columns}}  # fmt: skip
        tables[f"d{view}"] = _table(spec, exact, folder / "lake" / f"d{view}")
    at = START + random.integers(0, DAYS * DAY, ROWS) // 2 * 2 + 1
    spine = pl.DataFrame({"id": np.arange(ROWS), **{f"k{n}": random.integers(0, KEYS, ROWS) for n in range(3)}})
    spine = spine.with_columns(pl.Series("ts", at).cast(pl.Datetime("us", "UTC")))
    spine.write_parquet(folder / "spine.parquet")
    spec = {"name": "spine", "primaryKey": ["id"], "eventTime": "ts",
            "columns": {**{name: {"type": "integer"} for name in ("id", "k0", "k1", "k2")}, "ts": {"type": "timestamp"}}}  # fmt: skip
    tables["spine"] = _table(spec, spine, folder / "lake" / "spine")
    return Tables(tables)


def _table(spec: dict[str, Any], rows: pl.DataFrame, folder: Path) -> LakeTable:
    folder.mkdir(parents=True)
    write_deltalake(str(folder), rows)
    return LakeTable(str(folder), 0, DatasetSpec.model_validate(spec))


def _ours(tables: Tables, folder: Path) -> tuple[float, pl.DataFrame]:
    views = FakeViews()
    for n in range(3):
        latest = [{"column": f"f{place}"} for place in range(COLUMNS)]
        view = {"name": f"v{n}", "dataset": f"d{n}", "entity": [f"k{n}"], "latest": latest}
        views.apply(TENANT, FeatureViewSpec.model_validate(view), dry_run=False)
    lake, blobs = DeltaLake(open_blobs(f"file://{folder}/lake")), open_blobs(f"file://{folder}/blobs")
    files = BlobTrainingFiles(blobs, folder / "scratch")
    began = time.process_time()
    made = BuildTrainingSet(views, tables, lake, files, FakeMeter()).build(TENANT, "spine", [], ["v0", "v1", "v2"])
    seconds = time.process_time() - began
    return seconds, pl.read_parquet(made.uri.removeprefix("file://"))


def _compare(ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    ours, theirs = ours.sort("id"), theirs.sort("id")
    for view in range(3):
        for n in range(COLUMNS):
            mine, feast = ours[f"v{view}.f{n}_latest"], theirs[f"d{view}__f{n}"].fill_nan(None)
            assert mine.equals(feast, check_names=False), (view, n)


@contextmanager
def serving(redis_url: str, entities: int) -> Iterator[tuple[int, str] | None]:
    """Feast's feature server as a process with three views of sixteen values: its pid and address; None without Feast."""
    python = installed("feast")
    if python is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tenon-bench-feast-") as name:
        for view in range(3):
            values = {f"v{view}f{n}": np.arange(entities) + n / 4 for n in range(COLUMNS)}
            keys = {
                "who": [f"e{n}" for n in range(entities)],
                "ts": pl.Series([START] * entities).cast(pl.Datetime("us", "UTC")),
            }
            pl.DataFrame({**keys, **values}).write_parquet(Path(name) / f"d{view}.parquet")
        port = free_port()
        store = redis_url.removeprefix("redis://").partition("/")[0]
        process = subprocess.Popen(
            [str(python), str(SCRIPT), "serve", name, f"{store},db=3", str(port)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=name,
        )
        try:
            assert process.stdout is not None
            while "ready" not in (line := process.stdout.readline()):
                assert line, "Feast ended before it was ready"
            _wait_for(port)
            yield process.pid, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait_for(port: int) -> None:
    """It says that it is ready before it listens."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline, "Feast does not listen"
            time.sleep(0.1)
        else:
            return


def asking(base: str, asked: int, entities: int) -> Callable[[], Callable[[int], Any]]:
    """A connection of one's own, and a function that asks for so many entities on it."""
    wanted = [f"d{view}:v{view}f{n}" for view in range(3) for n in range(COLUMNS)]

    def on() -> Callable[[int], Any]:
        client = httpx.Client(base_url=base, timeout=30, trust_env=False)

        def ask(number: int) -> None:
            who = [f"e{(number + n) % entities}" for n in range(asked)]
            answer = client.post("/get-online-features", json={"features": wanted, "entities": {"who": who}})
            assert len(answer.raise_for_status().json()["results"]) == 49

        return ask

    return on
