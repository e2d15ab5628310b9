"""Nothing is learnt from what was not known yet: noise cannot be predicted, however the data tempt."""

from __future__ import annotations

import csv
import math
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import skops.io
import xgboost

from tenon.bundle import open_bundle
from tenon.bundle.keys import load_verify_key
from tenon.core.documents import parse_documents
from tenon.core.feature_semantics import FOREVER, Event, Value, value_at
from tenon.core.specs import FeatureViewSpec
from tenon.core.timestamps import rfc3339
from tests.support.platform import Platform, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TENANT = "coin-tossers"
START = datetime(2023, 1, 1, tzinfo=UTC)
PAIRS = 3000
SPECS = f"""\
kind: Tenant
name: {TENANT}
---
kind: Dataset
name: tosses
primaryKey: [toss]
eventTime: at
columns:
  toss: {{type: string}}
  twin: {{type: integer}}
  side: {{type: string}}
  at: {{type: timestamp}}
  told_at: {{type: timestamp, nullable: true}}
  heads: {{type: integer, nullable: true, knownAt: told_at}}
  peeked: {{type: integer}}
---
kind: FeatureView
name: twins
dataset: tosses
entity: [twin]
aggregates:
  - {{column: heads, functions: [mean, sum, min, max, count, rate], above: 0, windows: [1d, 30d, 400d]}}
  - {{functions: [count], windows: [30d]}}
---
kind: FeatureView
name: sides
dataset: tosses
entity: [side]
aggregates:
  - {{column: heads, functions: [mean, max], windows: [40d, 400d]}}
---
kind: FeatureView
name: careless
description: The same history as if every toss were told at once; this is the leak that the others must not have.
dataset: tosses
entity: [twin]
aggregates:
  - {{column: peeked, functions: [mean], windows: [400d]}}
---
kind: Model
name: honest
spine: tosses
label: {{column: heads, above: 0}}
task: binary
features: {{request: [side], views: [twins, sides]}}
split: {{by: time, test: 120d, gap: 30d}}
---
kind: Model
name: leaking
spine: tosses
label: {{column: heads, above: 0}}
task: binary
features: {{request: [side], views: [careless]}}
split: {{by: time, test: 120d, gap: 30d}}
"""


@dataclass(frozen=True)
class Toss:
    """One row. Both tosses of a pair of twins fall alike, at most 29 days apart; each is told 30 days after it."""

    toss: str
    twin: int
    side: str
    at: datetime
    told_at: datetime | None
    heads: int | None
    peeked: int

    def cells(self) -> list[str]:
        """The row as it is written."""
        told = f"{self.told_at:%Y-%m-%dT%H:%M:%SZ}" if self.told_at else ""
        heads = "" if self.heads is None else str(self.heads)
        return [self.toss, str(self.twin), self.side, f"{self.at:%Y-%m-%dT%H:%M:%SZ}", told, heads, str(self.peeked)]


def tosses() -> list[Toss]:
    """Pairs over 400 days on whole hours, so that many share an instant; a third of the twins are tossed together."""
    draws = random.Random(11)
    made = []
    for twin in range(PAIRS):
        first = START + timedelta(hours=draws.randrange(400 * 24))
        apart = draws.choice([0, 0, 1, 23, 24, 25, 200, 29 * 24])
        heads = draws.randrange(2)
        for number, at in enumerate((first, first + timedelta(hours=apart))):
            told = at + timedelta(days=30)
            made.append(Toss(f"t{twin}-{number}", twin, draws.choice("abc"), at, told, heads, heads))
    draws.shuffle(made)
    return made


def corrected(rows: list[Toss]) -> Iterator[Toss]:
    """What the later file says: of every third pair the truth is the other side, which was told 45 days after the toss;
    of every seventh it is taken back."""
    for row in rows:
        if row.twin % 3 == 0:
            other = 1 - row.peeked
            yield replace(row, heads=other, peeked=other, told_at=row.at + timedelta(days=45))
        elif row.twin % 7 == 0:
            yield replace(row, told_at=None, heads=None)


@pytest.fixture(scope="module")
def newest(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Toss]:
    """The rows as the table holds them in the end, by key; all of it ingested."""
    folder = tmp_path_factory.mktemp("coins")
    (folder / "coins.yaml").write_text(SPECS)
    platform.result("apply", "-f", str(folder / "coins.yaml"))
    first = tosses()
    later = list(corrected(first))
    for name, rows in (("first", first), ("later", later)):
        write(folder / f"{name}.csv", rows)
        loaded = platform.result("ingest", "tosses", str(folder / f"{name}.csv"), "--tenant", TENANT)
        assert (loaded["rows_committed"], loaded["rows_quarantined"]) == (len(rows), 0)
    return {row.toss: row for row in first} | {row.toss: row for row in later}


def write(path: Path, rows: list[Toss]) -> None:
    """Rows as a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["toss", "twin", "side", "at", "told_at", "heads", "peeked"])
        writer.writerows(row.cells() for row in rows)


@pytest.fixture(scope="module")
def evidence(platform: Platform, newest: dict[str, Toss]) -> dict[str, Any]:
    """What was found out about both models; failed gates do not matter here."""
    return {
        model: platform.result("train", model, "--wait", "--tenant", TENANT)["evidence"]
        for model in ("honest", "leaking")
    }


def test_noise_stays_noise(evidence: dict[str, Any]) -> None:
    """Twins fall alike and are told 30 days later: whoever saw a label too early could tell. Nobody can. The same history
    without `knownAt` does tell, which shows that this test would notice."""
    honest, leaking = evidence["honest"]["model"], evidence["leaking"]["model"]
    assert honest["rows"] > 1000
    assert abs(honest["metrics"]["roc_auc"] - 0.5) < 0.05
    low, high = honest["intervals"]["roc_auc"]
    assert low < 0.5 < high
    assert leaking["metrics"]["roc_auc"] > 0.6


def test_history_is_what_was_known(platform: Platform, evidence: dict[str, Any], newest: dict[str, Toss]) -> None:
    """Every value of the training set is, bit for bit, the definition's on what was believed at its time: what was told
    first counts until its correction was told, and one that was only now taken back counted at the time."""
    frame = training_set(platform)
    assert frame.height == len(newest)
    views = {
        document.spec.name: document.spec
        for document in parse_documents(SPECS, "coins.yaml")
        if isinstance(document.spec, FeatureViewSpec) and document.spec.name != "careless"
    }
    compared = present = 0
    events = {name: by_entity(tosses(), newest, name) for name in views}
    for row in random.Random(2).sample(frame.rows(named=True), 400):
        toss = newest[row["toss"]]
        assert (row["heads"], row["told_at"]) == (toss.heads, toss.told_at and micros(toss.told_at))
        for name, view in views.items():
            entity = toss.twin if name == "twins" else toss.side
            for feature in view.features():
                wanted = value_at(feature, 0, events[name][entity], row["at"])
                found = math.nan if row[feature.reference] is None else row[feature.reference]
                assert struct.pack("<d", found) == struct.pack("<d", wanted), (feature.reference, toss)
                compared, present = compared + 1, present + (not math.isnan(wanted))
    assert compared > 8000
    assert present > 2000


def training_set(platform: Platform) -> pl.DataFrame:
    """The training set of the honest model."""
    sets = (platform.blobs() / "features" / TENANT / "training").glob("*.parquet")
    return next(found for path in sets if "twins.count_30d" in (found := pl.read_parquet(path)).columns)


def test_served_answers_are_the_trainer_s(
    platform: Platform, evidence: dict[str, Any], newest: dict[str, Toss]
) -> None:
    """For the last 300 tosses, history looked up online for their own time, the predictor's probabilities are bit for bit
    what the native model of the bundle says on the rows of the training set."""
    platform.result("release", "set", "honest", "--stable", "1", "--force", "--tenant", TENANT)
    last = training_set(platform).sort("at", "toss").tail(300)
    inputs = [
        tensor("twin", "INT64", [newest[toss].twin for toss in last["toss"]]),
        tensor("side", "BYTES", last["side"].to_list()),
        tensor("at", "BYTES", [rfc3339(at) for at in last["at"]]),
    ]

    def answer() -> list[float] | None:
        """The probabilities, once no history is missing for want of time on a busy machine."""
        found = platform.ask(
            "predictor",
            "POST",
            "/v2/models/honest/infer",
            key=platform.admin_key,
            tenant=TENANT,
            body={"inputs": inputs},
        )
        assert found.status_code == 200, found.text
        lost = found.json().get("parameters", {}).get("fallback")
        return None if lost else list(found.json()["outputs"][0]["data"])

    served = eventually(answer, "the history of all rows is found")
    assert served is not None
    assert served == native(platform, last).tolist()
    assert len(set(served)) > 2


def tensor(name: str, datatype: str, values: list[Any]) -> dict[str, Any]:
    """One input of the Open Inference Protocol."""
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}


def native(platform: Platform, rows: pl.DataFrame) -> np.ndarray:
    """What the native pipeline and model of version 1 say, with the libraries that fitted them."""
    (path,) = (platform.blobs() / "bundles" / TENANT / "honest").glob("*.tar")
    bundle = open_bundle(path.read_bytes(), load_verify_key(platform.verify_key()))
    names = [item.name for item in bundle.manifest.signature.inputs if item.source in ("request", "history")]
    texts = {item.name for item in bundle.manifest.signature.inputs if item.type == "string"}
    frame = rows.select(
        pl.col(name) if name in texts else pl.col(name).cast(pl.Float64).fill_null(math.nan) for name in names
    )
    booster = xgboost.Booster()
    booster.load_model(bytearray(bundle.files["native/model.ubj"]))
    matrix = skops.io.loads(bundle.files["native/pipeline.skops"]).transform(frame).astype(np.float32)
    told = xgboost.DMatrix(matrix, feature_names=booster.feature_names)
    return np.asarray(booster.predict(told), dtype=np.float64)


def by_entity(first: list[Toss], newest: dict[str, Toss], view: str) -> dict[Any, list[Event]]:
    """The events of each entity of a view: the newest rows, and before them what was believed until they were known."""
    found: dict[Any, list[Event]] = {}
    for before in first:
        row, at = newest[before.toss], micros(before.at)
        events = found.setdefault(before.twin if view == "twins" else before.side, [])
        events.append(Event(at, {} if row.heads is None else {"heads": Value(row.heads, micros(row.told_at))}))
        if row != before and before.heads is not None:
            until = FOREVER if row.told_at is None else micros(row.told_at)
            # As a toss, whatever it showed, it is the same row: it counts once.
            events.append(Event(at, {"heads": Value(before.heads, micros(before.told_at), until)}, until=at))
    return found


def micros(moment: datetime | None) -> int:
    """Microseconds since the epoch."""
    assert moment is not None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
