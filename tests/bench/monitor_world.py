"""A seeded world for `make bench-monitor`: thirty columns of many shapes, and five shifts that matter.

Also what the bench's peer reads, so it needs numpy alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

ROWS = 1_000_000
LEVELS = {"sex": 2, "ward": 4, "payer": 6, "weekday": 7, "month": 12, "region": 20, "referrer": 40, "procedure": 60,
          "diagnosis": 100, "postcode": 300}  # fmt: skip
SHIFTED = ("temperature", "cost", "pressure", "ward", "referrer")
"""Mean + 0.35 standard deviations; heavy tail × 1.6; spread × 1.6; a tenth of the rows in another ward; 8 % from an unknown."""


def world(rng: np.random.Generator, rows: int, *, shifted: bool = False) -> dict[str, npt.NDArray[Any]]:
    """Twenty columns of numbers and ten of level codes (-1 is missing)."""
    numbers: dict[str, npt.NDArray[Any]] = {
        "temperature": rng.normal(37, 0.8, size=rows),
        "pressure": rng.normal(120, 15, size=rows),
        "cost": np.round(rng.pareto(1.6, size=rows) * 900 + 20, 2),
        "age": rng.integers(0, 100, size=rows).astype(float),
        "visits": rng.poisson(3, size=rows).astype(float),
        "smoker": (rng.random(rows) < 0.2).astype(float),
        "implant": (rng.random(rows) < 0.02).astype(float),
        "balance": np.where(rng.random(rows) < 0.9, 0.0, rng.exponential(200, size=rows)),
        "income": rng.lognormal(8, 1.2, size=rows),
        "stay": rng.exponential(4, size=rows),
        "share": rng.beta(2, 5, size=rows),
        "bimodal": np.where(rng.random(rows) < 0.3, rng.normal(2, 1, size=rows), rng.normal(9, 2, size=rows)),
        "tail": rng.standard_t(2, size=rows),
        "hour": rng.integers(0, 24, size=rows).astype(float),
        **{f"lab_{place}": rng.normal(size=rows) for place in range(6)},
    }
    for place in range(3):
        numbers[f"lab_{place}"][rng.random(rows) < 0.1 * (place + 1)] = np.nan
    if shifted:
        numbers["temperature"] += 0.35 * 0.8
        numbers["cost"] *= 1.6
        numbers["pressure"] = 120 + (numbers["pressure"] - 120) * 1.6
    return numbers | {name: _codes(rng, rows, name, size, shifted) for name, size in LEVELS.items()}


def level_names(name: str) -> tuple[str, ...]:
    """What a column's codes mean; the last level comes only in shifted rows."""
    return (*(f"{name} {place}" for place in range(LEVELS[name])), "new")


def _codes(rng: np.random.Generator, rows: int, name: str, size: int, shifted: bool) -> npt.NDArray[Any]:
    weights = 1 / np.arange(1, size + 1) ** 0.8
    codes = rng.choice(size, size=rows, p=weights / weights.sum()).astype(np.int32)
    if name == "payer":
        codes[rng.random(rows) < 0.05] = -1
    if shifted and name == "ward":
        codes[(codes == 0) & (rng.random(rows) < 0.3)] = 2
    if shifted and name == "referrer":
        codes[rng.random(rows) < 0.08] = size
    return codes
