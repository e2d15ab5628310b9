"""Feast's own client: a feature store whose online store is `remote`, with Tenon at its address.

Reads facts as JSON from standard input and prints what Feast gave for each row asked for, and in which words it reports a refusal.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType


def main() -> None:
    """Ask, and print."""
    facts = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        answers = [_read(facts, Path(folder) / str(place), path) for place, path in enumerate(facts["paths"])]
        try:
            _read({**facts, "key": "wrong"}, Path(folder) / "wrong", facts["paths"][0])
            refused = ""
        except Exception as err:
            refused = f"{type(err).__name__}: {err}"
    json.dump({"answers": answers, "refused": refused}, sys.stdout)


def _read(facts: dict[str, Any], folder: Path, path: str) -> dict[str, list[Any]]:
    folder.mkdir()
    store = FeatureStore(
        config=RepoConfig(
            project="conformance",
            provider="local",
            registry=str(folder / "registry.db"),
            entity_key_serialization_version=3,
            online_store={"type": "remote", "path": path},
            auth={"type": "oidc", "token": facts["key"]},
        )
    )
    key = facts["entity"]
    # Feast wants to know a source of every view; nothing is read from it here.
    source = folder / "source.parquet"
    nothing = {name: [0.0] for name in facts["features"]}
    pd.DataFrame({key: [""], "at": [datetime.now(timezone.utc)], **nothing}).to_parquet(source)  # noqa: UP017 - any Python
    entity = Entity(name=key, join_keys=[key], value_type=ValueType.STRING)
    view = FeatureView(
        name=facts["view"],
        entities=[entity],
        schema=[Field(name=name, dtype=Float64) for name in facts["features"]],
        source=FileSource(path=str(source), timestamp_field="at"),
        ttl=timedelta(0),
    )
    store.apply([entity, view])
    wanted = [f"{facts['view']}:{name}" for name in facts["features"]]
    rows = [{key: value} for value in facts["rows"]]
    found: dict[str, list[Any]] = store.get_online_features(features=wanted, entity_rows=rows).to_dict()
    return found


if __name__ == "__main__":
    main()
