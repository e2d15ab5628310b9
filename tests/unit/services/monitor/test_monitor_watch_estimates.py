"""Estimates are made again where there is news, and not more often than they are worth."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from services.monitor import metrics
from services.monitor.domain.model import Quality, Window
from services.monitor.domain.quality.watch_estimates import WatchEstimates
from services.monitor.domain.quality.words import Basis, Estimate, QualityReport
from tenon.core.errors import NotFound
from tenon.core.tenancy import TenantId

NORTH, SOUTH = TenantId("north"), TenantId("south")
SECOND = 1_000_000


@dataclass
class World:
    """A clock, the active models with their numbers of changes, and who was looked at."""

    now: int = 10_000 * SECOND
    models: list[tuple[TenantId, str, int]] = field(default_factory=lambda: [(NORTH, "cost", 1), (SOUTH, "cost", 1)])
    looked: list[str] = field(default_factory=list)
    takes: int = 0

    def active(self, since: int) -> list[tuple[TenantId, str, int]]:
        """See `Fleet`."""
        return self.models

    def build(self, tenant: TenantId, model: str, window: Window) -> QualityReport:
        """An estimate of one metric; south's model was erased, east's cannot be read."""
        self.looked.append(tenant.value)
        self.now += self.takes
        if tenant == SOUTH:
            raise NotFound("MODEL_NOT_SEEN", "erased")
        if tenant.value == "east":
            raise RuntimeError("the database is away")
        one = Estimate("mae", len(self.looked), 900, 0.7, 0.65, 0.75, 0.8, Basis.INTERVAL, 900, Quality.WORSE)
        return QualityReport(tenant.value, model, window, None, 900, 900, (one,), (), (), (), (), ())


def test_only_news_is_looked_at_and_seldom() -> None:
    """Without news nothing is done; with news a model waits a minute, longer when it is dear; gauges hold the newest versions only."""
    world = World()
    watch = WatchEstimates(
        world, world.build, metrics.EstimateGauges().show, window=7 * 86_400 * SECOND, now=lambda: world.now
    )
    assert watch() == 1
    world.now += 1_000 * SECOND
    watch()
    assert world.looked == ["north", "south", "south"]  # South has nothing that could be known.
    world.models, world.takes = [(NORTH, "cost", 2)], 2 * SECOND
    assert watch() == 1
    world.models = [(NORTH, "cost", 3)]
    world.now += 100 * SECOND
    assert watch() == 0
    world.now += 400 * SECOND
    assert watch() == 1
    values = {
        sample.labels["version"]: sample.value
        for sample in next(iter(metrics.ESTIMATED.collect())).samples
        if sample.labels["tenant"] == "north" and sample.labels["bound"] == "value"
    }
    assert values == {"5": 0.7}


def test_one_model_that_fails_keeps_nobody_from_its_turn() -> None:
    """The others are looked at, and what went wrong is raised at the end."""
    world = World(models=[(TenantId("east"), "cost", 1), (NORTH, "cost", 1)])
    watch = WatchEstimates(world, world.build, lambda _: None, window=SECOND, now=lambda: world.now)
    with pytest.raises(ExceptionGroup, match="1 models"):
        watch()
    assert world.looked == ["east", "north"]
