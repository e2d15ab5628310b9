"""`make bench-intervals`: whether prediction intervals hold what they say, on real data: PM2.5 in Beijing a day ahead.

Twelve stations as tenants, hourly, four years (Zhang et al. 2017, CC BY 4.0). Two years to learn from, the third is the test
period that calibrates, as in a training run; the fourth is the future that nobody had seen. Yardstick: one width for
all answers, the quantile of absolute residuals of the same rows (split conformal as in Lei et al. 2018). Needs TENON_TEST_DATA.
"""

from __future__ import annotations

import math
import os
import statistics
from pathlib import Path

import numpy as np
import polars as pl

from services.trainer.domain.conformal import calibrate
from services.trainer.domain.ports import Examples, Floats, Plan
from services.trainer.domain.split import split_by_time
from services.trainer.engine.estimators import InstalledEstimators
from tenon.core.manifest import PredictionInterval
from tenon.core.specs import ColumnType
from tenon.core.specs.checks import Input
from tenon.core.specs.model import Task
from tests.bench import frame

HOUR = 3_600_000_000
AHEAD, GAP = 24 * HOUR, 48 * HOUR
NOMINAL = 0.9
NUMBERS = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "WSPM")
PARAMS = {"eta": 0.06, "max_depth": 4, "min_child_weight": 3.0, "subsample": 0.8, "rounds": 150}


def read(path: Path) -> tuple[pl.DataFrame, np.ndarray, Floats]:
    """What is known at an hour, the hours (µs), and PM2.5 a day later; rows without a label are left out."""
    table = pl.read_csv(path, null_values="NA", infer_schema_length=None).sort("year", "month", "day", "hour")
    at = table.select(pl.datetime("year", "month", "day", "hour").dt.timestamp("us")).to_series().to_numpy()
    label = table["PM2.5"].cast(pl.Float64).shift(-24).to_numpy()
    day_ago = pl.col("PM2.5").cast(pl.Float64)
    wanted = [pl.col(name).cast(pl.Float64).fill_null(float("nan")) for name in NUMBERS]
    wanted += [pl.col(name).cast(pl.Float64) for name in ("month", "hour")]
    wanted += [day_ago.rolling_mean(24, min_samples=1).fill_null(float("nan")).alias("mean_24h"), pl.col("wd")]
    known = ~np.isnan(label)
    return table.select(wanted).filter(known), at[known], label[known]


YEAR = 365 * 24 * HOUR


def judge(path: Path, name: str) -> tuple[PredictionInterval, dict[str, float]]:
    """One station: the interval that a trained version would carry, and how it and the yardstick did a year later."""
    table, at, label = read(path)
    future = int(at.max()) - YEAR
    split = split_by_time(at, at + AHEAD, start=future - YEAR, gap=GAP)
    inputs = [
        Input(column, ColumnType.STRING if column == "wd" else ColumnType.FLOAT, "request", True)
        for column in table.columns
    ]
    estimator = InstalledEstimators(2).build(name, Plan(Task.REGRESSION, inputs, "mae", 7))
    params = PARAMS if name == "xgboost" else estimator.default_params
    answer = estimator.fit(Examples(table, label).take(split.train), params, lambda _: None).predict(table)
    test = split.test[at[split.test] < future - GAP]
    interval = calibrate(at[test], label[test], answer[test], gap=GAP, limits=(0.0, None), coverage=NOMINAL)
    if interval is None:
        raise SystemExit(f"{path.name} has too few rows")
    errors = np.sort(np.abs(label - answer)[test])
    width = errors[min(len(errors), math.ceil((len(errors) + 1) * NOMINAL)) - 1]
    later, truth = answer[at >= future], label[at >= future]
    high = later >= np.quantile(later, 0.75)
    ends = np.array([interval.around(float(value)) for value in later])
    ours = (truth >= ends[:, 0]) & (truth <= ends[:, 1])
    theirs = np.abs(truth - later) <= width
    return interval, {
        "ours": float(ours.mean()), "theirs": float(theirs.mean()), "rows": len(later),
        "our width": float(np.mean(ends[:, 1] - ends[:, 0])), "their width": float(2 * width),
        "ours, high": float(ours[high].mean()), "theirs, high": float(theirs[high].mean()),
        "ours, low": float(ours[~high].mean()), "theirs, low": float(theirs[~high].mean()),
    }  # fmt: skip


def main() -> None:
    """Measure and report."""
    folder = Path(os.environ.get("TENON_TEST_DATA", frame.ROOT / "../shared/data")) / "beijing_air"
    stations = sorted(folder.glob("*.csv.gz"))
    if not stations:
        raise SystemExit(f"{folder} has no data; set TENON_TEST_DATA")
    figures: list[frame.Figure] = []
    for name in ("xgboost", "ridge"):
        frame.tell(f"{name}, {len(stations)} stations …")
        found = [judge(path, name) for path in stations]
        years, mean = [year for _, year in found], statistics.mean
        said = mean(interval.measured_coverage for interval, _ in found)
        figures.append(
            frame.figure(f"{name}: coverage as the training run measures it", said, "", at_least=NOMINAL - 0.03)
        )
        for label, key, goal in (
            ("the year after", "", NOMINAL - 0.03), ("of it the quarter of highest answers", ", high", None), ("of it the others", ", low", None),
        ):  # fmt: skip
            ours, theirs = (mean(year[f"{who}{key}"] for year in years) for who in ("ours", "theirs"))
            figures.append(
                frame.figure(f"{name}: coverage, {label}", ours, "", yardstick=("one width", theirs), at_least=goal)
            )
        worst = min(year["ours"] for year in years)
        figures.append(frame.figure(f"{name}: coverage, the year after, worst station", worst, ""))
        width, one = (mean(year[f"{who} width"] for year in years) for who in ("our", "their"))
        figures.append(frame.figure(f"{name}: mean width", width, "µg/m³", yardstick=("one width", one)))
    rows = sum(year["rows"] for year in years)
    notes = [
        f"PM2.5 24 hours ahead, nominal coverage {NOMINAL:.0%}; the year after: {rows:,.0f} rows of {len(found)} stations"
    ]
    frame.report("intervals", "Prediction intervals on real data", figures, notes)


if __name__ == "__main__":
    main()
