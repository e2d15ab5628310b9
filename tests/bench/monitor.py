"""`make bench-monitor`: what a window costs, what is found in it, and how often there is alarm for nothing.

Evidently's default preset sees the same million rows in the same run, where `make bench-peers` installed it.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from services.monitor.domain.drift.judge import DriftPolicy, judge_columns, judge_drift, overall
from services.monitor.domain.drift.sketch import Layout, Sketch, Tallied
from services.monitor.domain.incidents.discovery import discover, round_level
from services.monitor.domain.model import Column, Drift, NumericColumn, TextColumn
from services.trainer.domain.baseline import categorical_baseline, numeric_baseline
from tenon.core.manifest import CategoricalBaseline, NumericBaseline, TrainingBaseline
from tests.bench import frame
from tests.bench.monitor_world import LEVELS, ROWS, SHIFTED, level_names, world
from tests.bench.peers import installed

if TYPE_CHECKING:
    import numpy.typing as npt

SCRIPT = Path(__file__).parent / "peers" / "evidently.py"
CHUNK = 5_000
"""Rows that are counted at a time: a batch of the log holds at most so many."""
SIZES = {100: 400, 300: 400, 1_000: 300, 3_000: 200, 10_000: 100, 50_000: 40}
TENANTS, FEATURES, WINDOWS, WINDOW_ROWS, TRAINED = 200, 50, 30, 1_000, 20_000
POLICY = DriftPolicy()

World = dict[str, "npt.NDArray[Any]"]


def main() -> None:
    """Measure all, or the parts named: cost, alarms, fleet."""
    parts = sys.argv[1:] or ["cost", "alarms", "fleet"]
    figures: list[frame.Figure] = []
    notes: list[str] = []
    for part in parts:
        frame.tell(part)
        found, said = {"cost": cost, "alarms": alarms, "fleet": fleet}[part]()
        figures += found
        notes += said
    frame.report("monitor", "Monitor: a window of 30 columns", figures, notes)


def cost() -> tuple[list[frame.Figure], list[str]]:
    """A million rows against a million: processor time, memory, what is found; and windows put together."""
    rng = np.random.default_rng(2026)
    reference, current = world(rng, ROWS), world(rng, ROWS, shifted=True)
    scores = rng.beta(2, 5, size=ROWS)
    layout = layout_of(reference, scores)
    before = _memory()
    seconds, judged = [], 0.0
    for _ in range(3):
        began = time.process_time()
        sketch = counted(layout, current, scores)
        seconds.append(time.process_time() - began)
        began = time.process_time()
        columns = judge_drift(sketch, POLICY)
        judged = time.process_time() - began
    ours, grown = statistics.median(seconds) + judged, _memory() - before
    drifted = {column.column for column in columns if column.verdict is Drift.DRIFT}
    theirs = _evidently(reference, current)
    figures = [
        frame.figure(
            "counting and judging 1 M rows × 30 columns, CPU", ours, "s",
            yardstick=("Evidently 0.7, default preset", theirs["seconds"]) if theirs else None,
            at_most=theirs["seconds"] / 200 if theirs else None,
        ),
        frame.figure("of which all statistics and verdicts, CPU", judged, "s"),
        frame.figure("memory it took", grown, "MB", yardstick=("Evidently", theirs["mb"]) if theirs else None, at_most=64),
        frame.figure(
            "of five shifts found", len(drifted & set(SHIFTED)), "columns",
            yardstick=("Evidently", len(set(theirs["drifted"]) & set(SHIFTED))) if theirs else None, at_least=5,
        ),
        frame.figure(
            "columns called drift that did not move", len(drifted - set(SHIFTED)), "columns",
            yardstick=("Evidently", len(set(theirs["drifted"]) - set(SHIFTED))) if theirs else None, at_most=0,
        ),
        *_merging(layout, current, scores),
    ]  # fmt: skip
    notes = [f"Evidently: {', '.join(sorted(theirs['drifted'])) or 'nothing'} drifted" if theirs else "Evidently is not installed (make bench-peers)"]  # fmt: skip
    return figures, notes


def _merging(layout: Layout, current: World, scores: npt.NDArray[np.float64]) -> list[frame.Figure]:
    """A day of minutes read from their bytes and put together; the sum is the window counted at once."""
    minutes, rows = 1_440, 200
    parts = []
    for minute in range(minutes):
        some = slice(minute * rows, (minute + 1) * rows)
        parts.append(counted(layout, {name: values[some] for name, values in current.items()}, scores[some]).to_bytes())
    whole = counted(
        layout, {name: values[: minutes * rows] for name, values in current.items()}, scores[: minutes * rows]
    )
    began = time.process_time()
    merged = Sketch(layout)
    for part in parts:
        merged.merge(Sketch.from_bytes(layout, part))
    seconds = time.process_time() - began
    if (merged.counts != whole.counts).any():
        raise AssertionError("merged windows differ from the window counted at once")
    return [
        frame.figure("a day of 1,440 stored minutes read and merged, CPU", seconds, "s"),
        frame.figure("a stored minute of 200 rows", statistics.median(map(len, parts)) / 1e3, "kB"),
        frame.figure("a stored window of 1 M rows", len(counted(layout, current, scores).to_bytes()) / 1e3, "kB"),
    ]


def alarms() -> tuple[list[frame.Figure], list[str]]:
    """Windows of every size: without a shift no alarm, with five shifts each of them."""
    rng = np.random.default_rng(7)
    reference = world(rng, 100_000)
    layout = layout_of(reference, rng.beta(2, 5, size=100_000))
    figures, notes = [], ["share of windows in which each shift is found, and with any false column"]
    for rows, count in SIZES.items():
        quiet = sum(_verdict(layout, rng, rows, shifted=False)[0] is not Drift.DRIFT for _ in range(count))
        figures.append(
            frame.figure(f"unshifted windows of {rows:,} rows without an alarm", quiet / count, "", at_least=0.95)
        )
        found = dict.fromkeys(SHIFTED, 0)
        false, runs = 0, max(count // 4, 20)
        for _ in range(runs):
            drifted = _verdict(layout, rng, rows, shifted=True)[1]
            false += bool(drifted - set(SHIFTED))
            for name in drifted & set(SHIFTED):
                found[name] += 1
        shares = ", ".join(f"{name} {hits / runs:.2f}" for name, hits in found.items())
        notes.append(f"{rows:>7,} rows: {shares}; false {false / runs:.2f}")
        if rows == 10_000:
            figures.append(frame.figure("the five shifts found in windows of 10,000 rows", min(found.values()) / runs, "", at_least=0.95))  # fmt: skip
    return figures, notes


def fleet() -> tuple[list[frame.Figure], list[str]]:
    """A fleet without drift over a month: its true bins' shares are drawn as training's sampling error has them."""
    rng = np.random.default_rng(9)
    numbers, levels = FEATURES * 2 // 3, FEATURES - FEATURES * 2 // 3
    p_values = np.ones((WINDOWS, TENANTS * FEATURES))
    effects = np.zeros_like(p_values)
    reports = 0
    edges = np.arange(255.0)
    for tenant in range(TENANTS):
        trained, truth = [], []
        for _ in range(numbers):
            # Quantile bins hold even counts of training; what is drawn is how much of the truth each holds.
            trained.append(np.full(256, TRAINED // 256))
            truth.append(rng.dirichlet(trained[-1]))
        for place in range(levels):
            weights = 1.0 / np.arange(1, 4 + 6 * place)
            truth.append(weights / weights.sum())
            trained.append(rng.multinomial(TRAINED, truth[-1]))
        for window in range(WINDOWS):
            tallied = {
                f"c{place}": _tallied(trained[place], rng.multinomial(WINDOW_ROWS, truth[place]), edges if place < numbers else None)
                for place in range(FEATURES)
            }  # fmt: skip
            columns = judge_columns(tallied, POLICY)
            reports += overall(columns) is Drift.DRIFT
            cells = slice(tenant * FEATURES, (tenant + 1) * FEATURES)
            p_values[window, cells] = [column.raw_p_value for column in columns]
            effects[window, cells] = [column.severity for column in columns]
    level = round_level(0.05, 1, WINDOWS)
    false = sum(int(discover(p_values[window], effects[window], level).sum()) for window in range(WINDOWS))
    # Were every size of effect to matter: what the correction alone holds.
    sure = sum(
        bool(discover(p_values[window], np.full_like(effects[window], 9), level).any()) for window in range(WINDOWS)
    )
    label = f"{TENANTS} tenants × {FEATURES} features × {WINDOWS} windows of {WINDOW_ROWS:,} rows, no drift"
    return [
        frame.figure(f"{label}: false discoveries of the fleet", false, "", at_most=0),
        frame.figure("windows with a false discovery, were every effect to matter", sure / WINDOWS, "", at_most=0.05),
        frame.figure("reports of one tenant with a false column", reports / (TENANTS * WINDOWS), "", at_most=0.05),
    ], []


def layout_of(reference: World, scores: npt.NDArray[np.float64]) -> Layout:
    """The layout of a model trained on these rows, as the trainer describes them."""
    columns: dict[str, NumericBaseline | CategoricalBaseline] = {}
    for name, values in reference.items():
        if name in LEVELS:
            names = np.asarray([*level_names(name), None], dtype=object)
            columns[name] = categorical_baseline(pl.Series(name, names[values], dtype=pl.String))
        else:
            columns[name] = numeric_baseline(values)
    return Layout.of(TrainingBaseline(columns=columns, score=numeric_baseline(scores)))


def counted(layout: Layout, rows: World, scores: npt.NDArray[np.float64]) -> Sketch:
    """A window counted as it comes: batch by batch."""
    sketch = Sketch(layout)
    for first in range(0, len(scores), CHUNK):
        some = slice(first, first + CHUNK)
        sketch.add({name: _column(name, values[some]) for name, values in rows.items()}, scores[some])
    return sketch


def _column(name: str, values: npt.NDArray[Any]) -> Column:
    return TextColumn(values, level_names(name)) if name in LEVELS else NumericColumn(values)


def _verdict(layout: Layout, rng: np.random.Generator, rows: int, *, shifted: bool) -> tuple[Drift, set[str]]:
    columns = judge_drift(counted(layout, world(rng, rows, shifted=shifted), rng.beta(2, 5, size=rows)), POLICY)
    return overall(columns), {column.column for column in columns if column.verdict is Drift.DRIFT}


def _tallied(baseline: npt.NDArray[Any], window: npt.NDArray[Any], edges: npt.NDArray[np.float64] | None) -> Tallied:
    labels = tuple(map(str, range(len(baseline))))
    return Tallied(labels, baseline, window, 0, 0, 0, edges, None if edges is None else 128.0)


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _evidently(reference: World, current: World) -> dict[str, Any] | None:
    python = installed("evidently")
    if python is None:
        return None
    with tempfile.TemporaryDirectory(prefix="tenon-bench-evidently-") as name:
        folder = Path(name)
        for part, rows in (("reference", reference), ("current", current)):
            np.savez(folder / f"{part}.npz", allow_pickle=False, **rows)
        (folder / "levels.json").write_text(json.dumps({name: level_names(name) for name in LEVELS}))
        frame.tell("Evidently: takes a few minutes")
        done = subprocess.run(
            [str(python), str(SCRIPT), name],
            capture_output=True,
            text=True,
            check=True,
            cwd=folder,
            env=frame.clean_environment(PYTHONPATH=""),
        )
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
