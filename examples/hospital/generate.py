"""Write the example's files: `python -m examples.hospital.generate OUT [--seed 7] [--scale 1.0]`.

**The data are simulated.** There is no such hospital, no such patient and no such bill; the same seed gives the same
bytes. Each hospital gets one CSV file per quarter as its billing office would export it: the quarter's visits, and
once more every earlier visit whose bill has become known since. About 1.5 % of the rows are spoilt on purpose, and a
few lines are written twice.
`truth.json` says what was planted; nothing but the story's own checks reads it.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from examples.hospital.dirt import Row, plant, repeat
from examples.hospital.hospitals import HOSPITALS, Hospital
from examples.hospital.simulate import (
    END,
    FIRST_DAY,
    GROUPS,
    INSURANCE,
    LAST_MONTH,
    NO_INSURANCE_NOTED,
    SEXES,
    Visits,
    simulate,
)

HEADER = [
    "visit_id", "patient_id", "admitted_at", "department", "diagnosis_group", "triage", "age", "sex", "insurance",
    "planned", "weekday", "hour", "month", "discharged_at", "length_of_stay_days", "billed_at", "bill_amount",
]  # fmt: skip
KNOWN_LATER = HEADER[13:]
"""What nobody knows when the patient comes in."""

DEFAULT_SEED = 7


@dataclass(frozen=True, slots=True)
class Export:
    """One file of the billing office: visits admitted in [start, end), as known at `exported`."""

    name: str
    start: np.datetime64
    end: np.datetime64
    exported: np.datetime64


def exports() -> list[Export]:
    """Every file of a hospital in order: one a quarter, then the last month (exported when most bills are known)."""
    quarters = [*np.arange(FIRST_DAY.astype("datetime64[M]"), LAST_MONTH.astype("datetime64[M]"), 3), LAST_MONTH]
    starts = [quarter.astype("datetime64[D]") for quarter in quarters]
    found = []
    for start, end in pairwise(starts):
        year, quarter = str(start)[:4], int(str(start)[5:7]) // 3 + 1
        found.append(Export(f"visits-{year}Q{quarter}.csv", start, end, end))
    month = str(LAST_MONTH.astype("datetime64[M]"))
    return [*found, Export(f"visits-{month}.csv", LAST_MONTH, END, END + np.timedelta64(31, "D"))]


def generate(out: Path, *, seed: int = DEFAULT_SEED, scale: float = 1.0) -> dict[str, Any]:
    """Write every hospital's files under `out`, and `truth.json`; gives the truth."""
    truth: dict[str, Any] = {"simulated": True, "seed": seed, "scale": scale, "hospitals": {}}
    out.mkdir(parents=True, exist_ok=True)
    for number, hospital in enumerate(HOSPITALS):
        visits = simulate(hospital, seed=seed, scale=scale)
        rng = np.random.default_rng([seed, 1000 + number])
        folder = out / hospital.tenant
        folder.mkdir(exist_ok=True)
        truth["hospitals"][hospital.tenant] = {
            "visits": len(visits),
            "files": [_write_export(folder, hospital, visits, export, rng) for export in exports()],
            "last_month": _write_last_month(folder, hospital, visits),
        }
    (out / "README.txt").write_text(
        f"Simulated by examples/hospital/generate.py (seed {seed}, scale {scale:g}). No real hospital, patient or bill.\n"
    )
    (out / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")
    return truth


def _write_export(
    folder: Path, hospital: Hospital, visits: Visits, export: Export, rng: np.random.Generator
) -> dict[str, Any]:
    day = visits.admitted.astype("datetime64[D]")
    exported = export.exported.astype("datetime64[s]")
    new = np.flatnonzero((day >= export.start) & (day < export.end))
    # The export before this one happened when this period began.
    late = np.flatnonzero((day < export.start) & (visits.billed > export.start) & (visits.billed <= exported))
    rows = [_row(hospital, visits, int(index), exported) for index in np.concatenate([late, new])]
    spare = iter(range(10_000))
    key = f"{hospital.prefix}-9{export.name.removeprefix('visits-').removesuffix('.csv')[2:].replace('-', '')}"
    twice, repeated = repeat(rng, rows)
    mixed, planted = plant(rng, HEADER, twice, lambda: f"{key}{next(spare):04d}")
    (folder / export.name).write_text(_csv(HEADER, mixed), newline="")
    return {
        "name": export.name,
        "rows": len(mixed),
        "good": len(rows),
        "repeated": repeated,
        "updates": len(late),
        "unbilled": int(np.count_nonzero(visits.billed[new] > exported)),
        "planted": planted,
        "bad": sum(planted.values()),
    }


def _write_last_month(folder: Path, hospital: Hospital, visits: Visits) -> dict[str, Any]:
    """The last month as it is asked for at the door (without what is known later), and the bills as they came in."""
    chosen = np.flatnonzero(visits.admitted >= LAST_MONTH.astype("datetime64[s]"))
    month = str(LAST_MONTH.astype("datetime64[M]"))
    known = len(HEADER) - len(KNOWN_LATER)
    requests = [_row(hospital, visits, int(index), None)[:known] for index in chosen]
    bills = [
        [_visit_id(hospital, int(index)), f"{visits.billed[index]}Z", _decimal(int(visits.bill_cents[index]), 2)]
        for index in chosen
    ]
    (folder / f"requests-{month}.csv").write_text(_csv(HEADER[:known], requests), newline="")
    (folder / f"bills-{month}.csv").write_text(_csv(["visit_id", "billed_at", "bill_amount"], bills), newline="")
    return {"month": month, "visits": len(chosen)}


def _row(hospital: Hospital, visits: Visits, index: int, exported: np.datetime64 | None) -> Row:
    """One line as text; with `exported`, what was not known by then is empty."""
    admitted = visits.admitted[index]
    department, group = GROUPS[visits.group[index]]
    insurance = int(visits.insurance[index])
    out = exported is not None and visits.discharged[index] <= exported
    billed = exported is not None and visits.billed[index] <= exported
    when = admitted.item()
    return [
        _visit_id(hospital, index),
        f"{hospital.prefix}-P{int(visits.patient[index]):06d}",
        f"{admitted}Z",
        department,
        group,
        str(visits.triage[index]),
        str(visits.age[index]),
        SEXES[visits.sex[index]],
        "" if insurance == NO_INSURANCE_NOTED else INSURANCE[insurance],
        "true" if visits.planned[index] else "false",
        str(when.weekday()),
        str(when.hour),
        str(when.month),
        f"{visits.discharged[index]}Z" if out else "",
        _decimal(int(visits.stay_tenths[index]), 1) if out else "",
        f"{visits.billed[index]}Z" if billed else "",
        _decimal(int(visits.bill_cents[index]), 2) if billed else "",
    ]


def _visit_id(hospital: Hospital, index: int) -> str:
    return f"{hospital.prefix}-{index:08d}"


def _decimal(amount: int, scale: int) -> str:
    """Fixed point as text, exactly: 12345 with scale 2 is 123.45."""
    return f"{amount // 10**scale}.{amount % 10**scale:0{scale}d}"


def _csv(header: list[str], rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def main() -> int:
    """Read the arguments, write the files, say what was written."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.hospital.generate", description="Write the SIMULATED data of the hospital example."
    )
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default: %(default)s")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the visits, such as 0.2 (default: 1)")
    arguments = parser.parse_args()
    if not 0.02 <= arguments.scale <= 100:
        parser.error("--scale must be between 0.02 and 100")
    try:
        truth = generate(arguments.out, seed=arguments.seed, scale=arguments.scale)
    except OSError as error:
        parser.exit(1, f"error: cannot write to {arguments.out}: {error.strerror}\n")
    print("Simulated data: no real hospital, patient or bill.")
    for tenant, facts in truth["hospitals"].items():
        rows, bad = sum(file["rows"] for file in facts["files"]), sum(file["bad"] for file in facts["files"])
        print(f"  {tenant:<14} {len(facts['files'])} files, {rows:>6,} rows, {bad:>4,} of them spoilt on purpose")
    print(f"Written to {arguments.out} (seed {arguments.seed}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
