"""Run the flights example through the public doors: ingest ten years, train every airline, print what came out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.flights.prepare import prepare

SPECS = Path(__file__).parent / "specs"
MODEL = "late_arrival"
MIN_FLIGHTS = 5_000
METRICS = ("roc_auc", "pr_auc", "log_loss", "brier")


class Tenon:
    """The `tenon` command against one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = Path(sys.executable).parent / "tenon"

    def run(self, *arguments: str, accept: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """The command's JSON answer. Ends the program when the command failed in a way that is not in `accept`."""
        command = [str(self._program), *arguments, "--data", str(self._folder), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in accept:
            sys.stderr.write(done.stdout + done.stderr)
            sys.exit(f"error: `tenon {' '.join(arguments)}` ended with {done.returncode}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="examples/flights/run", description=__doc__)
    default = os.environ.get("TENON_TEST_DATA", "../shared/data")
    parser.add_argument(
        "data", nargs="?", type=Path, default=Path(default), help=f"folder with flights/ (default: {default})"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table to FILE as well")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the platform's folder in DIR and leave it running"
    )
    arguments = parser.parse_args()
    if not (arguments.data / "flights" / "flights.csv.gz").is_file():
        sys.exit(
            f"error: there is no flights/flights.csv.gz in {arguments.data}; name the data folder as first argument"
        )
    with tempfile.TemporaryDirectory(prefix="tenon-flights-") as scratch:
        folder = (arguments.keep or Path(scratch) / "platform").absolute()
        tenon = Tenon(folder)
        tenon.run("up", "--detach")
        try:
            rows = run(tenon, arguments.data, Path(scratch) / "files")
        finally:
            if not arguments.keep:
                tenon.run("down")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "airlines": rows}, indent=1) + "\n")


def run(tenon: Tenon, data: Path, files_folder: Path) -> list[dict[str, Any]]:
    """Every step; gives one row per airline."""
    console = Console(width=None if sys.stdout.isatty() else 132)
    started = time.monotonic()
    rows: dict[str, dict[str, Any]] = {}
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        step = progress.add_task("cut the data into one file per airline", total=1)
        files = prepare(data, files_folder)
        progress.update(step, completed=1)

        step = progress.add_task("declare 15 tenants", total=1)
        tenon.run("apply", "-f", str(SPECS))
        progress.update(step, completed=1)

        step = progress.add_task("ingest", total=len(files))
        for tenant, file in sorted(files.items()):
            progress.update(step, description=f"ingest {tenant}")
            before = time.monotonic()
            answer = tenon.run("ingest", "flights", str(file), "--tenant", tenant)
            rows[tenant] = {
                "airline": tenant,
                "rows": answer["rows_committed"],
                "quarantined": answer["rows_quarantined"],
                "ingest_seconds": round(time.monotonic() - before, 1),
            }
            progress.update(step, advance=1)

        chosen = sorted((t for t in rows if rows[t]["rows"] >= MIN_FLIGHTS), key=lambda t: -rows[t]["rows"])
        step = progress.add_task("train", total=len(chosen))
        for tenant in chosen:
            progress.update(step, description=f"train {tenant} ({rows[tenant]['rows']:,} flights)")
            before = time.monotonic()
            answer = tenon.run("train", MODEL, "--tenant", tenant, "--wait", accept=(0, 1))
            rows[tenant] |= outcome(answer) | {"seconds": round(time.monotonic() - before, 1)}
            progress.update(step, advance=1)
    console.print(table([rows[tenant] for tenant in chosen]))
    left_out = sorted(set(rows) - set(chosen))
    ended = [tenant for tenant in chosen if "model" not in rows[tenant]]
    console.print(
        f"{sum(row['rows'] for row in rows.values()):,} flights of {len(rows)} airlines ingested, "
        f"{sum(row['quarantined'] for row in rows.values()):,} rows quarantined. "
        f"{len(chosen) - len(ended)} airlines trained and tested; no longer flying in 2017: {', '.join(ended) or 'none'}; "
        f"fewer than {MIN_FLIGHTS:,} flights: {', '.join(left_out)}.\n"
        f"{time.monotonic() - started:.0f} s in all, {machine()}."
    )
    return list(rows.values())


def outcome(answer: dict[str, Any]) -> dict[str, Any]:
    """What a training run came to, as part of an airline's row."""
    if answer["state"] != "succeeded":
        return {"reason": answer["reason"], "problem": answer["problem"]}
    evidence = answer["evidence"]
    return {
        "estimator": evidence["estimator"],
        "train_rows": evidence["train_rows"],
        "test_rows": evidence["model"]["rows"],
        "positives": evidence["model"]["positives"],
        "baseline": evidence["baseline"]["metrics"],
        "model": evidence["model"]["metrics"],
        "intervals": evidence["model"]["intervals"],
        "random_split": (evidence.get("random_split") or {}).get("metrics"),
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """The table that people read: tested on 2017, trained on everything before."""
    shown = Table(title="Late arrivals (> 15 min): trained on everything before 2017, tested on 2017")
    for name in (
        "airline",
        "rows",
        "tested",
        "positives",
        "baseline log loss",
        "ROC AUC",
        "95 % interval",
        "PR AUC",
        "log loss",
        "Brier",
        "random-split AUC",
        "s",
    ):
        shown.add_column(name, justify="left" if name == "airline" else "right")
    for row in rows:
        if "model" not in row:
            shown.add_row(
                row["airline"],
                f"{row['rows']:,}",
                "0" if row["reason"] == "NO_TEST_ROWS" else row["reason"],
                *["—"] * 8,
                f"{row['seconds']:.0f}",
            )
            continue
        figures = [f"{row['model'][name]:.3f}" if name in row["model"] else "—" for name in METRICS]
        interval = row["intervals"].get("roc_auc")
        figures.insert(1, f"{interval[0]:.2f}–{interval[1]:.2f}" if interval else "—")
        shown.add_row(
            row["airline"], f"{row['rows']:,}", f"{row['test_rows']:,}", f"{row['positives']:,}",
            f"{row['baseline']['log_loss']:.3f}", *figures,
            f"{row['random_split']['roc_auc']:.3f}" if row["random_split"] else "—", f"{row['seconds']:.0f}",
        )  # fmt: skip
    return shown


def machine() -> str:
    """Where and when this ran."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"


if __name__ == "__main__":
    main()
