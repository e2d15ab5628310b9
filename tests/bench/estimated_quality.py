"""Estimated quality beside what came true, on ten years of real flights: `python -m tests.bench.estimated_quality [DATA]`.

A model of the largest airline is trained on 2008 and 2009 and then judged month by month to 2017: the estimates see the answers, and the
labels of the four months before; then the month's own labels come. Needs `TENON_TEST_DATA`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from services.monitor.domain.quality.estimate import Known, estimate_binary, estimate_regression
from services.monitor.domain.quality.measure import QualityPolicy
from tenon.core.manifest import Evaluation

_INPUTS = ["hour", "day", "distance", "place", "month"]


def flights(folder: Path, carrier: str) -> pl.DataFrame:
    """One airline's flights in order of time, with their month since 2008 and whether they were late."""
    rows = pl.read_csv(folder / "flights" / "flights.csv.gz", infer_schema_length=100_000, null_values=["NA", ""])
    rows = rows.filter((pl.col("carrier") == carrier) & pl.col("arr_delay").is_not_null())
    rows = rows.with_columns(
        pl.col("dest").cast(pl.Categorical).to_physical().cast(pl.Float64).alias("place"),
        pl.date("year", "month", "day").dt.weekday().cast(pl.Float64).alias("weekday"),
        ((pl.col("year") - 2008) * 12 + pl.col("month") - 1).alias("since"),
        (pl.col("arr_delay") > 15).cast(pl.Float64).alias("late"),
    )
    return rows.sort("year", "month", "day", "hour").with_columns(pl.col("weekday").alias("day"))


def main() -> int:
    """Print the figures."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("TENON_TEST_DATA", "../shared/data"))
    rows = flights(folder, "WN")
    inputs = rows.select(_INPUTS).to_numpy().astype(np.float64)
    since = rows["since"].to_numpy()
    late, delay = rows["late"].to_numpy(), np.clip(rows["arr_delay"].to_numpy().astype(np.float64), -60, 180)
    train, test = since < 20, (since >= 20) & (since < 24)
    binary = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.05).fit(inputs[train], late[train])
    minutes = HistGradientBoostingRegressor(max_iter=150, learning_rate=0.05, loss="absolute_error").fit(
        inputs[train], delay[train]
    )
    chance, answer = binary.predict_proba(inputs)[:, 1], minutes.predict(inputs)
    of_test = {
        "roc_auc": roc_auc_score(late[test], chance[test]), "log_loss": log_loss(late[test], chance[test]),
        "brier": brier_score_loss(late[test], chance[test]), "mae": float(np.abs(answer[test] - delay[test]).mean()),
    }  # fmt: skip
    print(f"{len(rows):,} flights of WN; test of autumn 2009: " + ", ".join(f"{k} {v:.3f}" for k, v in of_test.items()))
    columns = {name: inputs[:, place] for place, name in enumerate(_INPUTS)}
    expected, policy = Evaluation(rows=int(test.sum()), metrics=of_test), QualityPolicy()
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in of_test}
    began = time.process_time()
    for month in range(24, 120):
        now, before = since == month, (since >= month - 4) & (since < month)
        if now.sum() < policy.min_rows:
            continue
        some = {name: values[before] for name, values in columns.items()}
        estimates = estimate_binary(1, chance[now], Known(chance[before], late[before], {}), expected, policy)
        estimates += estimate_regression(
            1, answer[now], {name: values[now] for name, values in columns.items()}, Known(answer[before], delay[before], some),
            expected, None, policy,
        )  # fmt: skip
        came = {
            "roc_auc": roc_auc_score(late[now], chance[now]), "log_loss": log_loss(late[now], chance[now]),
            "brier": brier_score_loss(late[now], chance[now]), "mae": float(np.abs(answer[now] - delay[now]).mean()),
        }  # fmt: skip
        for one in estimates:
            if one.metric in found:
                found[one.metric].append((one.value, one.low, one.high, came[one.metric]))
    seconds = time.process_time() - began
    print(
        "metric      months  inside interval  mean miss of the estimate  of the test's figure  correlation with what came"
    )
    for name, figures in found.items():
        value, low, high, true = np.array(figures).T
        inside = np.mean((low <= true) & (true <= high))
        print(
            f"{name:<10} {len(value):>6} {inside:>16.2f} {np.abs(value - true).mean():>26.4f} "
            f"{np.abs(of_test[name] - true).mean():>21.4f} {np.corrcoef(value, true)[0, 1]:>12.2f}"
        )
    print(f"{seconds:.1f} CPU s for all months")
    return 0


if __name__ == "__main__":
    sys.exit(main())
