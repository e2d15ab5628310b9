"""Feast for the benches, in an environment of its own: `feast.py offline|serve FOLDER …`.

`offline FOLDER`: joins `spine.parquet` with `d0.parquet` … as of each row's time with the DuckDB store, writes
`feast.parquet` and prints the processor time and the most memory that the join took.
`serve FOLDER REDIS PORT`: writes the newest values to Redis, prints `ready`, and answers `/get-online-features` in this one process.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

# This file is called what it imports; its folder must not be searched first.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]


def main() -> None:
    """Do what is asked for."""
    task, folder, *rest = sys.argv[1:]
    if task == "offline":
        _offline(Path(folder))
    else:
        _serve(Path(folder), *rest)


def _store(folder: Path, redis: str | None) -> tuple[Any, list[Any]]:
    from datetime import timedelta

    import pyarrow.parquet as pq
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast.types import Float64
    from feast.value_type import ValueType

    config: dict[str, Any] = {
        "project": "bench", "provider": "local", "registry": str(folder / "registry.db"),
        "entity_key_serialization_version": 3, "offline_store": {"type": "duckdb"},
    }  # fmt: skip
    if redis:
        config["online_store"] = {"type": "redis", "connection_string": redis}
    store = FeatureStore(config=RepoConfig(**config))
    views: list[Any] = []
    entities: dict[str, Any] = {}
    for path in sorted(folder.glob("d*.parquet")):
        key, _, *columns = pq.read_schema(path).names
        kind = ValueType.STRING if redis else ValueType.INT64
        entity = entities.setdefault(key, Entity(name=key, join_keys=[key], value_type=kind))
        views.append(
            FeatureView(
                name=path.stem, entities=[entity], schema=[Field(name=name, dtype=Float64) for name in columns],
                source=FileSource(path=str(path), timestamp_field="ts"), ttl=timedelta(0),
            )
        )  # fmt: skip
    store.apply([*entities.values(), *views])
    return store, views


def _offline(folder: Path) -> None:
    import pandas as pd

    store, views = _store(folder, None)
    spine = pd.read_parquet(folder / "spine.parquet").rename(columns={"ts": "event_timestamp"})
    wanted = [f"{view.name}:{field.name}" for view in views for field in view.schema if field.name.startswith("f")]
    began = time.process_time()
    found = store.get_historical_features(entity_df=spine, features=wanted, full_feature_names=True).to_df()
    seconds = time.process_time() - began
    found.to_parquet(folder / "feast.parquet")
    print(json.dumps({"seconds": seconds, "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def _serve(folder: Path, redis: str, port: str) -> None:
    import pandas as pd
    import uvicorn
    from feast.feature_server import get_app

    store, views = _store(folder, redis)
    for view in views:
        store.write_to_online_store(view.name, pd.read_parquet(folder / f"{view.name}.parquet"))
    print("ready", flush=True)
    uvicorn.run(get_app(store), host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
