"""`make bench-monitor-fleet`: 200 tenants × 50 features × 30 windows: false incidents without drift, and true ones with.

Two views. With exact tests (uniform p-values, every difference large enough to matter: the worst that may be) the rule
alone is tried on 2,000 fleets. With monitor's own sketches, tests, ledger and database one whole fleet goes through 30 windows
without drift; then a feature moves for everybody, and one tenant's unit changes from mg to g. The promises are the issue's.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from services.monitor.domain.drift.judge import DriftPolicy, judge_drift
from services.monitor.domain.drift.sketch import Layout, Sketch
from services.monitor.domain.incidents.discovery import discover, round_level
from services.monitor.domain.incidents.from_reports import cell_of
from services.monitor.domain.incidents.ledger import Ledger
from services.monitor.domain.incidents.ports import RoundResult
from services.monitor.domain.incidents.words import Cell, Happened, Incident, IncidentPolicy, State
from services.monitor.domain.model import Window
from services.monitor.storage.incidents.incidents import SqlIncidents
from services.trainer.domain.baseline import numeric_baseline
from tenon.core.manifest import CategoricalBaseline, NumericBaseline, TrainingBaseline
from tenon.kit.sql import Database, migrate
from tests.bench import frame
from tests.bench.monitor_fleet_operations import false_incidents

TENANTS, FEATURES, WINDOWS = 200, 50, 30
ROWS, TRAINED = 1_000, 20_000
HOUR = 3_600_000_000
POLICY = IncidentPolicy(period=WINDOWS * HOUR)
"""The whole rate is spent in the 30 windows: no month of real use is judged by a looser level."""


def exact_tests(fleets: int) -> float:
    """Share of fleets without drift in which any incident was opened in 30 windows."""
    chance = np.random.default_rng(1)
    level = round_level(POLICY.false_discovery_rate, HOUR, POLICY.period)
    large = np.full(TENANTS * FEATURES, 9.0)
    alarms = 0
    for _ in range(fleets):
        p_values = chance.uniform(size=(WINDOWS, TENANTS * FEATURES))
        alarms += any(discover(row, large, level).any() for row in p_values if row.min() <= level)
    return alarms / fleets


class Fleet:
    """Tenants whose features are log-normal, each with a training sample of its own; windows are drawn by their bins."""

    def __init__(self, folder: Path) -> None:
        self.chance = np.random.default_rng(2)
        self.layouts: list[Layout] = []
        for _ in range(TENANTS):
            trained: dict[str, NumericBaseline | CategoricalBaseline] = {
                f"x{at}": numeric_baseline(np.exp(self.chance.normal(size=TRAINED))) for at in range(FEATURES)
            }
            score = numeric_baseline(self.chance.uniform(size=TRAINED))
            self.layouts.append(Layout.of(TrainingBaseline(columns=trained, score=score)))
        url = f"sqlite:///{folder}/monitor.db"
        self.database = Database(url)
        migrate(self.database, "services.monitor.migrations")
        self.store, self.windows = SqlIncidents(self.database), 0
        self.shift: dict[tuple[int, int], float] = {}
        """Factor by tenant and feature."""

    def sketch(self, tenant: int) -> Sketch:
        """One window of a tenant."""
        layout = self.layouts[tenant]
        found = Sketch(layout)
        for at in range(FEATURES):
            values = np.exp(self.chance.normal(size=ROWS)) * self.shift.get((tenant, at), 1.0)
            place = layout.columns[f"x{at}"]
            edges = np.asarray(place.edges)
            counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
            found.counts[place.places.start : place.places.stop - 1] = counts
        score = np.searchsorted(layout.score.edges, self.chance.uniform(size=ROWS))
        found.counts[layout.score.places.start : layout.score.places.stop - 1] = np.bincount(
            score, minlength=len(layout.score.edges) + 1
        )
        found.rows = ROWS
        return found

    def tick(self) -> tuple[list[Happened], float]:
        """One window of the whole fleet; gives what is news, and the seconds it took to judge and to keep."""
        window = Window(self.windows * HOUR, (self.windows + 1) * HOUR)
        self.windows += 1
        sketches = [self.sketch(tenant) for tenant in range(TENANTS)]
        began = time.perf_counter()
        before = self.store.begin(0)
        cells: list[Cell] = []
        for tenant, sketch in enumerate(sketches):
            name = f"tenant-{tenant}"
            cells += [cell_of(name, "cost", 1, window, column) for column in judge_drift(sketch, DriftPolicy())]
        numbers = iter(range(10**6))
        ledger = Ledger(before.incidents, POLICY, now=window.end, new_id=lambda: f"w{self.windows}-{next(numbers)}")
        ledger.step(cells, round_level(POLICY.false_discovery_rate, HOUR, POLICY.period))
        news = ledger.happened
        cursors = {(f"tenant-{tenant}", "cost"): window.end for tenant in range(TENANTS)}
        assert self.store.commit(before, RoundResult(window.end, cursors, list(ledger.changed.values())))
        return news, time.perf_counter() - began

    def open(self) -> list[Incident]:
        """What is open."""
        return self.store.of_all(states=[State.OPEN], limit=1_000)


def main() -> None:
    """Measure, and print."""
    frame.tell("2,000 fleets with exact tests …")
    share = exact_tests(2_000)
    figures = [
        frame.figure(
            f"fleets without drift with any incident in {WINDOWS} windows, exact tests", share, "", at_most=0.05
        )
    ]
    frame.tell("a fleet's operations …")
    opened, asked, took = false_incidents(TENANTS, 3, 168, 4)
    figures += [
        frame.figure(f"false incidents of operations, a week of {asked:,} questions", opened, "", at_most=0),
        frame.figure(f"judging the operations of {TENANTS} tenants", took, "s", at_most=10),
    ]
    with tempfile.TemporaryDirectory() as folder:
        frame.tell("a fleet of its own …")
        fleet = Fleet(Path(folder))
        false, seconds = 0, []
        for number in range(WINDOWS):
            if number % 5 == 0:
                frame.tell(f"window {number + 1} of {WINDOWS} …")
            news, took = fleet.tick()
            false += len(news)
            seconds.append(took)
        figures.append(
            frame.figure(
                f"false incidents of {TENANTS * FEATURES * WINDOWS:,} questions, monitor's tests", false, "", at_most=0
            )
        )
        figures.append(
            frame.figure(
                f"judging and keeping {TENANTS} tenants × {FEATURES} features",
                float(np.median(seconds)),
                "s",
                at_most=10,
            )
        )
        fleet.shift = {(tenant, 7): 1.5 for tenant in range(TENANTS)}
        fleet.shift[42, 11] = 0.001
        _, took = fleet.tick()
        found = fleet.open()
        common = [one for one in found if one.scope == "common"]
        own = [one for one in found if one.scope == "tenant"]
        figures += [
            frame.figure("incidents of one common shift (× 1.5), within one window", len(common), "", at_most=1),
            frame.figure("tenants in it", len(common[0].tenants) if common else 0, "", at_least=TENANTS),
            frame.figure("incidents beside it while one tenant's unit changed", len(own), "", at_most=1),
            frame.figure(
                "of that tenant and that feature alone",
                float([(one.tenants, one.features) for one in own] == [(["tenant-42"], ["x11"])]), "", at_least=1,
            ),
            frame.figure("the same, with 200 members to keep", took, "s", at_most=10),
        ]  # fmt: skip
        fleet.shift = {}
        for _ in range(POLICY.quiet_windows):
            fleet.tick()
        figures.append(
            frame.figure(
                "open after two windows as in training",
                len(fleet.open()),
                "",
                at_most=0,
            )
        )
        fleet.database.close()
    frame.report("monitor-fleet", f"Incidents of {TENANTS} tenants × {FEATURES} features", figures)


if __name__ == "__main__":
    main()
