"""`make bench-cli`: how long the command takes until it has said what it has to say.

Yardstick: `python -c pass`, what any program in Python costs before its first line, in turns with each figure.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import frame

PAIRS = 15
WRONG = """\
kind: Dataset
name: orders
primaryKey: [order_id]
eventTime: ordered_at
colums:
  order_id: {type: string}
  ordered_at: {type: timestamp}
"""
"""A newcomer's typo: an unknown key, to be refused with its line and a suggestion."""


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory(prefix="tenon-bench-cli-") as name:
        folder = Path(name)
        (folder / "wrong").mkdir()
        (folder / "wrong" / "orders.yaml").write_text(WRONG)
        tenon = command()
        figures = [
            _figure("tenon --help", 150, [*tenon, "--help"], folder, 0),
            _figure("tenon --version", 150, [*tenon, "--version"], folder, 0),
            _figure("a key misspelt (tenon apply)", 150, [*tenon, "apply", "-f", "wrong"], folder, 1, says="colums"),
            _figure("a command misspelt (tenon aply)", 150, [*tenon, "aply"], folder, 2, says="apply"),
        ]
        frame.tell("starting a platform …")
        try:
            run([*tenon, "up", "--detach"], folder)
            run([*tenon, "init", "--apply"], folder)
            figures.append(_figure("tenon status, six services running", 300, [*tenon, "status"], folder, 0))
            figures.append(
                _figure("second tenon apply, 0 changes", 1000, [*tenon, "apply", "-f", "example"], folder, 0)
            )
        finally:
            run([*tenon, "down"], folder)
    notes = [f"medians of {PAIRS} pairs; from the start of the process to its end, output read through a pipe"]
    frame.report("cli", "The tenon command (bench-cli)", figures, notes)


def command() -> list[str]:
    """How to start `tenon`: its script beside this Python."""
    script = Path(sys.executable).with_name("tenon")
    return [str(script)] if script.exists() else [sys.executable, "-m", "tenon.cli.main"]


def run(words: Sequence[str], folder: Path, *, seconds: float = 180) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed; a failure ends the bench with what it said."""
    done = once(words, folder, seconds=seconds)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def once(words: Sequence[str], folder: Path, *, seconds: float = 180) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, without the environment's word about other platforms."""
    return subprocess.run(
        words, cwd=folder, env=frame.clean_environment(PYTHONPATH=str(frame.ROOT)), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


def _figure(name: str, goal: float, words: Sequence[str], folder: Path, code: int, says: str = "") -> frame.Figure:
    """`code` and `says` (a word of the output) show that the command did what is timed."""
    frame.tell(f"{name} …")

    def measure() -> float:
        started = time.perf_counter()
        done = once(words, folder, seconds=30)
        elapsed = 1000 * (time.perf_counter() - started)
        if done.returncode != code or says not in done.stdout + done.stderr:
            raise SystemExit(
                f"{name} ended with {done.returncode}, not {code} and {says!r}:\n{done.stdout}{done.stderr}"
            )
        return elapsed

    def yardstick() -> float:
        started = time.perf_counter()
        once([sys.executable, "-c", "pass"], folder, seconds=30)
        return 1000 * (time.perf_counter() - started)

    measure()  # The first run writes byte code and fills the disk's cache.
    value, other = frame.pairs(PAIRS, measure, yardstick)
    return frame.figure(name, value, "ms", yardstick=("python -c pass", other), at_most=goal)


if __name__ == "__main__":
    main()
