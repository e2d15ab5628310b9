"""A simulated fleet: p-values and effects of tenants × features, window after window, with shifts put in on purpose."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import special

from services.monitor.domain.incidents.discovery import round_level
from services.monitor.domain.incidents.ledger import Ledger
from services.monitor.domain.incidents.words import Cell, Happened, Incident, IncidentKind, IncidentPolicy
from services.monitor.domain.model import Window

HOUR = 3_600_000_000
BASELINE, ROWS = 20_000, 1_000


def null_p_values(chance: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """p-values of tests that are exact: uniform, the worst that a valid test may be."""
    return chance.uniform(size=shape)


@dataclass
class World:
    """Tenants with the same features, judged every window."""

    tenants: int
    features: int
    policy: IncidentPolicy = field(default_factory=IncidentPolicy)
    seed: int = 0
    windows: int = 0
    incidents: dict[str, Incident] = field(default_factory=dict)
    shifts: dict[tuple[int, int], tuple[float, str]] = field(default_factory=dict)
    """KS distance and side, by tenant and feature."""

    def __post_init__(self) -> None:
        self.chance = np.random.default_rng(self.seed)

    @property
    def now(self) -> int:
        """The end of the last window."""
        return self.windows * HOUR

    def tick(self, quiet: tuple[int, ...] = ()) -> list[Happened]:
        """One more window; gives what is news. Tenants in `quiet` have too few rows in it."""
        p_values = null_p_values(self.chance, (self.tenants, self.features))
        # An effect that could come by chance: of exact tests, those of 1,000 rows against 20,000.
        effects = special.kolmogi(np.clip(p_values, 1e-300, 1)) / np.sqrt(ROWS * BASELINE / (ROWS + BASELINE)) / 0.1
        window = Window(self.windows * HOUR, (self.windows + 1) * HOUR)
        self.windows += 1
        cells = []
        for tenant in range(self.tenants):
            for feature in range(self.features):
                distance, side = self.shifts.get((tenant, feature), (0.0, "spread"))
                p, effect = float(p_values[tenant, feature]), float(effects[tenant, feature])
                if distance:
                    effect = distance / 0.1
                    p = float(special.kolmogorov(distance * np.sqrt(ROWS * BASELINE / (ROWS + BASELINE))))
                cells.append(
                    Cell(
                        tenant=f"t{tenant}", model="cost", version=1, kind=IncidentKind.INPUTS, feature=f"x{feature}",
                        window=window, p_value=p, effect=effect, change=side, rows=ROWS, enough=tenant not in quiet,
                        sentence=f"values are {side}",
                    )
                )  # fmt: skip
        numbers = iter(range(len(self.incidents) + 1, 1_000_000))
        ledger = Ledger(self.incidents.values(), self.policy, now=self.now, new_id=lambda: f"i{next(numbers)}")
        ledger.step(cells, round_level(self.policy.false_discovery_rate, HOUR, self.policy.period))
        self.incidents |= ledger.changed
        return ledger.happened

    def open(self) -> list[Incident]:
        """Incidents that are open, the oldest first."""
        return sorted((one for one in self.incidents.values() if one.state == "open"), key=lambda one: one.opened_at)
