"""Simulated visits for tests of the trainer: small, seeded, with labels that become known days later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from tenon.core.specs import DatasetSpec, FeatureViewSpec, ModelSpec, parse_spec
from tenon.core.timestamps import parse_rfc3339

DAY = 86_400_000_000
START = parse_rfc3339("2023-01-01")

VISITS = {
    "name": "visits",
    "primaryKey": ["visit_id"],
    "eventTime": "admitted_at",
    "columns": {
        "visit_id": {"type": "string"},
        "patient_id": {"type": "string"},
        "admitted_at": {"type": "timestamp"},
        "billed_at": {"type": "timestamp", "nullable": True},
        "age": {"type": "integer", "nullable": True},
        "ward": {"type": "string", "nullable": True},
        "diagnosis": {"type": "string"},
        "emergency": {"type": "boolean", "nullable": True},
        "cost": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "billed_at"},
        "readmitted": {"type": "boolean", "nullable": True, "knownAt": "billed_at"},
    },
}
HISTORY = {
    "name": "patient_history",
    "dataset": "visits",
    "entity": ["patient_id"],
    "aggregates": [
        {"column": "cost", "functions": ["mean", "max"], "windows": ["365d"]},
        {"functions": ["count"], "windows": ["365d"]},
    ],
}
COSTLY = {
    "name": "costly_visit",
    "spine": "visits",
    "label": {"column": "cost", "above": 2000},
    "task": "binary",
    "features": {"request": ["age", "ward", "diagnosis", "emergency"], "views": ["patient_history"]},
    "split": {"test": "90d", "gap": "14d"},
    "gates": [{"metric": "roc_auc", "min": 0.6, "beatsBaseline": True}],
    "seed": 7,
}
COST = {
    **COSTLY,
    "name": "visit_cost",
    "label": {"column": "cost"},
    "task": "regression",
    "estimators": ["xgboost", "ridge"],
    "optimise": "mae",
    "gates": [{"metric": "mae", "beatsBaseline": True}],
}


def visits_spec() -> DatasetSpec:
    """The data set's document."""
    return parse_spec(DatasetSpec, VISITS)


def history_spec() -> FeatureViewSpec:
    """The feature view's document."""
    return parse_spec(FeatureViewSpec, HISTORY)


def model_spec(base: Mapping[str, Any] = COSTLY, **changes: Any) -> ModelSpec:
    """A model's document with some keys changed."""
    return parse_spec(ModelSpec, {**base, **changes})


def training_frame(rows: int = 2000, *, days: int = 500, seed: int = 1) -> pl.DataFrame:
    """A training set as the features service writes it: instants in microseconds, decimals in units, missing null."""
    rng = np.random.default_rng(seed)
    admitted = START + np.sort(rng.integers(0, days * DAY, rows))
    age = rng.integers(0, 95, rows).astype(float)
    ward = rng.choice(["surgery", "inner", "children", "eye"], rows, p=[0.4, 0.4, 0.15, 0.05])
    diagnosis = np.array([f"D{code:02d}" for code in np.minimum(rng.geometric(0.05, rows), 60)])
    emergency = rng.random(rows) < 0.3
    before = rng.gamma(2.0, 900.0, rows)
    cost = np.round(
        300 + 15 * age + 900 * (ward == "surgery") + 700 * emergency + 0.3 * before + rng.gamma(2.0, 300.0, rows), 2
    )
    billed = admitted + rng.integers(DAY, 12 * DAY, rows)
    frame = pl.DataFrame(
        {
            "visit_id": [f"v{index:06d}" for index in range(rows)],
            "patient_id": [f"p{index}" for index in rng.integers(0, rows // 3, rows)],
            "admitted_at": admitted,
            "billed_at": billed,
            "age": age.astype(np.int64),
            "ward": ward,
            "diagnosis": diagnosis,
            "emergency": emergency,
            "cost": cost,
            "readmitted": rng.random(rows) < 0.1,
            "patient_history.cost_mean_365d": before,
            "patient_history.cost_max_365d": before * 1.5,
            "patient_history.count_365d": rng.integers(0, 5, rows),
        }
    )
    hole = pl.Series(rng.random(rows) < 0.1)
    unlabelled = pl.Series(rng.random(rows) < 0.02)
    return frame.with_columns(
        pl.when(hole).then(None).otherwise(pl.col("age")).alias("age"),
        pl.when(hole.shift(1, fill_value=False)).then(None).otherwise(pl.col("ward")).alias("ward"),
        pl.when(hole.shift(2, fill_value=False)).then(None).otherwise(pl.col("emergency")).alias("emergency"),
        *(
            pl.when(hole.shift(3, fill_value=False)).then(None).otherwise(pl.col(name)).alias(name)
            for name in ("patient_history.cost_mean_365d", "patient_history.cost_max_365d")
        ),
        pl.when(unlabelled).then(None).otherwise(pl.col("cost")).alias("cost"),
        pl.when(unlabelled).then(None).otherwise(pl.col("billed_at")).alias("billed_at"),
    )
