"""`make bench-loop`: from nothing to a prediction in five commands, on the example of `tenon init`.

Yardstick: `tests/bench/notebook.py`, the same data and estimators in one Python process, in turns with the loop. It is
not a competitor: it validates, keeps, versions, signs, serves and logs nothing. It says what the modelling itself costs.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import frame
from tests.bench.cli import command, run

ROUNDS = 3
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tenon up --detach", ("up", "--detach")),
    ("tenon init --apply", ("init", "--apply")),
    ("tenon ingest", ("ingest", "orders", "example/orders.csv")),
    ("tenon train --release", ("train", "returned", "--release")),
    ("tenon predict", ("predict", "returned", "-f", "example/request.json")),
)


def main() -> None:
    """Measure and report."""
    measured = ("loop", "tenon down", "notebook", *(name for name, _ in STEPS))
    times: dict[str, list[float]] = {name: [] for name in measured}
    peaks: list[float] = []
    notebook_peaks: list[float] = []
    notes: list[str] = []
    for number in range(ROUNDS):
        frame.tell(f"round {number + 1} of {ROUNDS} …")
        with tempfile.TemporaryDirectory(prefix="tenon-bench-loop-") as name:
            folder = Path(name)
            try:
                with frame.PeakMemory(lambda here=name: frame.processes_naming(here)) as memory:  # type: ignore[misc]
                    total = 0.0
                    for step, words in STEPS:
                        seconds, _ = _timed([*command(), *words], folder)
                        times[step].append(seconds)
                        total += seconds
                times["loop"].append(total)
                peaks.append(memory.mb)
            finally:
                seconds, _ = _timed([*command(), "down"], folder)
            times["tenon down"].append(seconds)
            words = (sys.executable, "-m", "tests.bench.notebook", f"{folder}/example/orders.csv")
            with frame.PeakMemory(lambda here=name: frame.processes_naming(here), every_seconds=0.1) as memory:  # type: ignore[misc]
                seconds, said = _timed(words, folder)
            times["notebook"].append(seconds)
            notebook_peaks.append(memory.mb)
            if not notes:
                found = json.loads(said)
                notes = [
                    f"notebook: {found['rows']} training rows, ROC AUC xgboost {found['xgboost']:.3f}, "
                    f"logistic {found['logistic']:.3f}"
                ]
    middle = {name: statistics.median(values) for name, values in times.items()}
    yardstick = ("one process", middle["notebook"])
    figures = [frame.figure("the loop, five commands", middle["loop"], "s", yardstick=yardstick, at_most=60)]
    figures += [frame.figure(f"  {name}", middle[name], "s") for name, _ in STEPS]
    figures.append(frame.figure("tenon down", middle["tenon down"], "s", at_most=5))
    figures.append(
        frame.figure(
            "peak memory of the platform's processes", statistics.median(peaks), "MB",
            yardstick=("one process", statistics.median(notebook_peaks)),
        )
    )  # fmt: skip
    spread = ", ".join(f"{value:.1f}" for value in times["loop"])
    notes.insert(
        0, f"medians of {ROUNDS} rounds, each with a fresh folder; the loops took {spread} s; shared pages counted once"
    )
    frame.report("loop", "The closed loop on the small example (bench-loop)", figures, notes)


def _timed(words: list[str] | tuple[str, ...], folder: Path) -> tuple[float, str]:
    started = time.perf_counter()
    done = run(words, folder, seconds=300)
    return time.perf_counter() - started, done.stdout


if __name__ == "__main__":
    main()
