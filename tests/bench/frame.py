"""What every bench shares: medians of pairs, a table that says where and when, and `bench-results/NAME.json`.

A bench measures a figure and its yardstick in turns in the same run, so that whatever else the machine does falls on
both. A goal that is not met is printed as such; only a bench that cannot measure fails.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench-results"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figure:
    """One line of a bench: what was measured, what it is compared with, and what it should be.

    `ratio` is value / yardstick_value. `met` is None without a goal.
    """

    figure: str
    value: float
    unit: str
    yardstick: str | None
    yardstick_value: float | None
    ratio: float | None
    goal: str | None
    met: bool | None


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    yardstick: tuple[str, float] | None = None,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    """A figure with its yardstick and at most one goal."""
    goal, met = None, None
    if at_most is not None:
        goal, met = f"≤ {at_most:g} {unit}", value <= at_most
    elif at_least is not None:
        goal, met = f"≥ {at_least:g} {unit}", value >= at_least
    label, other = yardstick or (None, None)
    ratio = value / other if other else None
    return Figure(
        name, _rounded(value), unit, label, None if other is None else _rounded(other),
        None if ratio is None else _rounded(ratio), goal, met,
    )  # fmt: skip


def pairs(count: int, measure: Callable[[], float], yardstick: Callable[[], float]) -> tuple[float, float]:
    """(median of the figure, median of the yardstick), measured in turns."""
    ours, theirs = [], []
    for _ in range(count):
        theirs.append(yardstick())
        ours.append(measure())
    return statistics.median(ours), statistics.median(theirs)


def report(name: str, title: str, figures: Sequence[Figure], notes: Sequence[str] = ()) -> None:
    """Print the table and write the results; both say the machine, the load and the date."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table(title=title, caption=caption(), title_justify="left", caption_justify="left")
    table.add_column("figure")
    for heading in ("value", "yardstick", "ratio", "goal"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for line in figures:
        other = "" if line.yardstick_value is None else f"{line.yardstick}: {_number(line.yardstick_value)} {line.unit}"
        verdict = {None: "", True: "[green]met", False: "[red]not met"}[line.met]
        ratio = "" if line.ratio is None else f"{line.ratio:.3g} ×"
        table.add_row(line.figure, f"{_number(line.value)} {line.unit}", other, ratio, line.goal or "", verdict)
    console.print(table)
    for note in notes:
        console.print(note, style="dim", markup=False)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps([asdict(line) for line in figures], indent=1, ensure_ascii=False) + "\n")
    missed = sum(line.met is False for line in figures)
    goals = sum(line.met is not None for line in figures)
    console.print(f"{goals - missed} of {goals} goals met; written to {path.relative_to(ROOT)}", markup=False)


def caption() -> str:
    """The machine, the load and the moment."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC · {os.cpu_count()} CPUs ({_cpu_name()}), {memory:.0f} GB · "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()} · "
        f"load average {load} (1, 5, 15 min, the bench included)"
    )


def tell(text: str) -> None:
    """A word of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without what it says about other platforms."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TENON_")} | more


def processes_naming(text: str) -> list[int]:
    """All processes that have a text in their arguments or environment: a platform's, by its folder."""
    wanted, found = os.fsencode(text), []
    for pid in _all_pids():
        with suppress(OSError):
            if wanted in Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all threads; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def resident_mb(pid: int, *, peak: bool = False) -> float:
    """Resident memory of one process now, or its peak so far."""
    key = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return 0.0


def quiet(pids: Sequence[int], *, seconds: float = 20.0) -> bool:
    """Wait until processes together use less than a sixth of a core; False when they did not calm down in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = sum(map(cpu_seconds, pids))
        time.sleep(1.0)
        if sum(map(cpu_seconds, pids)) - before < 1 / 6:
            return True
    return False


class PeakMemory:
    """Watches the memory of processes while a block runs; `mb` is the highest sum seen.

    Shared pages are counted once (proportional set size) where the kernel says them, else resident pages are added.
    """

    def __init__(self, pids: Callable[[], Sequence[int]], *, every_seconds: float = 0.5) -> None:
        self.mb = 0.0
        self._pids = pids
        self._every = every_seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _err: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ending.wait(self._every):
            self.mb = max(self.mb, sum(map(_shared_once_mb, self._pids())))


def tree_of(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        with suppress(OSError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(pid)
    found, open_ends = [], [root]
    while open_ends:
        found.append(open_ends.pop())
        open_ends += children.get(found[-1], [])
    return found


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _shared_once_mb(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        with suppress(OSError):
            return resident_mb(pid)
    return 0.0


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
