"""What the steps of the story hand on to each other."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.hospital.doors import Column, Command, Doors, Row
from examples.hospital.hospitals import HOSPITALS
from examples.hospital.platforms import Platform
from examples.hospital.story import StepFailed, Story

SPECS = Path(__file__).parent / "specs"
TENANTS = [hospital.tenant for hospital in HOSPITALS]


@dataclass
class World:
    """The platform, the simulated data, and what is known so far."""

    story: Story
    command: Command
    platform: Platform
    source: Path
    truth: dict[str, Any]
    doors: Doors
    admin_key: str
    keys: dict[str, str] = field(default_factory=dict)
    columns: list[Column] = field(default_factory=list)
    table_versions: dict[str, int] = field(default_factory=dict)
    rows_in: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TENANTS, 0))
    quarantined: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TENANTS, 0))
    evidence: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)

    def files(self, tenant: str) -> list[dict[str, Any]]:
        """What was planted in each of a hospital's files, in order of time."""
        found: list[dict[str, Any]] = self.truth["hospitals"][tenant]["files"]
        return found

    def path(self, tenant: str, name: str) -> Path:
        """One of a hospital's files."""
        return self.source / tenant / name


def read_rows(path: Path) -> list[Row]:
    """The lines of a CSV file, spoilt ones left out."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if None not in row and None not in row.values() and _is_good(row)]


def _is_good(row: dict[str, Any]) -> bool:
    # Spoilt lines have a visit number with a 9 in front (see dirt.py), or none.
    return bool(row["visit_id"]) and row["visit_id"][3] != "9"


def eventually(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    """Wait until something has become true. Raises `StepFailed` naming it."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StepFailed(f"{what}: still not so after {seconds:.0f} s")
        time.sleep(0.1)
