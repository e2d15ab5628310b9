"""What a data scientist would write by hand for the example of `tenon init`: the yardstick of bench-loop.

One process, the same file, rows, features, split and estimators, with polars, scikit-learn and xgboost as they come;
nothing is validated with reasons, kept, versioned, signed, served or logged. `python -m tests.bench.notebook ORDERS.csv`
prints the ROC AUC of the better model on the last 60 days, and one prediction.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

CHANNELS = ["web", "phone", "shop"]


def main() -> None:
    """Read, make features, train two models, compare, predict."""
    orders = read(Path(sys.argv[1]))
    table = orders.with_columns(
        *history(orders), *[(pl.col("channel") == name).cast(int).alias(name) for name in CHANNELS]
    )
    names = [
        *CHANNELS,
        "items",
        "amount",
        "count_30d",
        "count_180d",
        "mean_amount",
        "max_amount",
        "mean_refund",
        "sum_refund",
    ]
    test_from = orders["ordered_at"].max() - timedelta(days=60)  # type: ignore[operator]
    train = table.filter(pl.col("ordered_at") < test_from - timedelta(days=14))
    test = table.filter(pl.col("ordered_at") >= test_from)
    cut = train["ordered_at"].quantile(0.8)
    fit, valid = train.filter(pl.col("ordered_at") <= cut), train.filter(pl.col("ordered_at") > cut)

    def matrix(part: pl.DataFrame) -> np.ndarray:
        return part.select(pl.col(names).cast(pl.Float64)).to_numpy()

    known, held_out = (xgboost.DMatrix(matrix(part), part["returned"].to_numpy()) for part in (fit, valid))
    best: tuple[float, dict[str, object], int] | None = None
    for depth in (6, 4):
        parameters = {"objective": "binary:logistic", "eta": 0.06, "max_depth": depth, "subsample": 0.8}
        booster = xgboost.train(
            parameters, known, 800, evals=[(held_out, "v")], early_stopping_rounds=40, verbose_eval=False
        )
        if best is None or booster.best_score < best[0]:
            best = (booster.best_score, parameters, booster.best_iteration + 1)
    assert best is not None
    booster = xgboost.train(best[1], xgboost.DMatrix(matrix(train), train["returned"].to_numpy()), best[2])
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    logistic.fit(np.nan_to_num(matrix(train)), train["returned"].to_numpy())
    truth = test["returned"].to_numpy()
    scores = {
        "xgboost": roc_auc_score(truth, booster.inplace_predict(matrix(test))),
        "logistic": roc_auc_score(truth, logistic.predict_proba(np.nan_to_num(matrix(test)))[:, 1]),
    }
    print(json.dumps({"rows": len(train), **scores, "one": float(booster.inplace_predict(matrix(test)[:1])[0])}))


def read(path: Path) -> pl.DataFrame:
    """The rows that can be read, in the order of time."""
    text = pl.read_csv(path, infer_schema=False)
    when = {
        name: pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", strict=False) for name in ("ordered_at", "closed_at")
    }
    number = {name: pl.col(name).cast(pl.Float64, strict=False) for name in ("items", "amount", "refund")}
    typed = text.with_columns(**when, **number, returned=(pl.col("returned") == "true").cast(int))
    good = pl.col("channel").is_in(CHANNELS) & (pl.col("amount") >= 0) & (pl.col("items") >= 1)
    return typed.drop_nulls().filter(good).sort("ordered_at")


def history(orders: pl.DataFrame) -> list[pl.Series]:
    """What was known about the customer at each order; refunds count from the day they were known."""
    customer, amount, refund = orders["customer"].to_list(), orders["amount"].to_numpy(), orders["refund"].to_numpy()
    at, closed = (orders[name].dt.epoch("s").to_numpy() for name in ("ordered_at", "closed_at"))
    places: dict[str, list[int]] = {}
    rows = []
    for row, name in enumerate(customer):
        before = np.array(places.setdefault(name, []), dtype=np.intp)
        recent = before[at[before] >= at[row] - 180 * 86_400]
        known = recent[closed[recent] <= at[row]]
        rows.append((
            np.sum(at[before] >= at[row] - 30 * 86_400), len(recent),
            amount[recent].mean() if len(recent) else np.nan, amount[recent].max() if len(recent) else np.nan,
            refund[known].mean() if len(known) else np.nan, refund[known].sum(),
        ))  # fmt: skip
        places[name].append(row)
    names = ("count_30d", "count_180d", "mean_amount", "max_amount", "mean_refund", "sum_refund")
    return [pl.Series(name, values) for name, values in zip(names, np.array(rows, float).T, strict=True)]


if __name__ == "__main__":
    main()
