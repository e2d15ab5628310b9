"""From differences to incidents: few are false, a common shift is one, one tenant's own is its own, and all end."""

from __future__ import annotations

import numpy as np

from services.monitor.domain.incidents.discovery import discover, round_level
from services.monitor.domain.incidents.words import Event, IncidentPolicy, Severity, State
from tests.support.incident_world import HOUR, World

POLICY = IncidentPolicy(period=30 * HOUR)
"""The rate is spent in 30 windows: as tight as the promise of 30 windows wants it."""


def test_without_drift_few_incidents_are_false() -> None:
    """Of 600 fleets of 40 tenants × 10 features over 30 windows, at most 5 % (and chance) ever find anything."""
    chance = np.random.default_rng(11)
    level = round_level(0.05, 1, 30)
    alarms = 0
    for _ in range(600):
        p_values = chance.uniform(size=(30, 400))
        # Only the smallest p-values of a window can begin a discovery; most windows have none that is small enough.
        if (p_values.min(axis=1) <= level).any():
            alarms += any(discover(row, np.full(400, 9.0), level).any() for row in p_values)
    assert alarms / 600 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


def test_a_round_gets_its_share_of_the_period() -> None:
    """However rounds are cut, the levels of a period sum up to the rate; a long silence does not save up more than it."""
    cuts = [7, 3, 15, 5]
    assert sum(round_level(0.05, cut, 30) for cut in cuts) == np.float64(0.05)
    assert round_level(0.05, 300, 30) == 0.05
    assert not discover(np.array([0.0]), np.array([9.0]), round_level(0.05, 0, 30)).any()


def test_what_does_not_matter_is_not_discovered() -> None:
    """A tiny effect is no discovery however sure it is, and does not make it easier for the others."""
    p_values = np.array([0.0] * 9 + [0.04])
    assert discover(p_values, np.array([0.1] * 9 + [2.0]), 0.05).tolist() == [False] * 10
    assert discover(p_values, np.full(10, 2.0), 0.05).all()


def test_one_common_shift_is_one_incident() -> None:
    """A feature that moves for all tenants opens one incident with all of them, in the first window."""
    world = World(30, 10, POLICY, seed=1)
    world.tick()
    world.shifts = {(tenant, 3): (0.4, "higher") for tenant in range(30)}
    news = world.tick()
    assert [(one.event, len(one.tenants)) for one in news] == [(Event.OPENED, 30)]
    (incident,) = world.open()
    assert (incident.scope, incident.features, incident.tenants_looked_at) == ("common", ["x3"], 30)
    assert world.tick() == []


def test_features_that_move_for_the_same_tenants_are_one_incident() -> None:
    """A common cause moves several features at once; some tenants show no side. It is one incident all the same."""
    world = World(20, 8, POLICY, seed=2)
    world.shifts = {(tenant, feature): (0.3, "lower") for tenant in range(20) for feature in (1, 2, 5)}
    world.shifts |= {(tenant, 1): (0.3, "spread") for tenant in (3, 4)}
    world.tick()
    (incident,) = world.open()
    assert set(incident.features) == {"x1", "x2", "x5"}
    assert len(incident.tenants) == 20


def test_one_tenants_unit_change_is_that_tenant_and_that_feature() -> None:
    """mg became g: one incident, of that tenant, with that feature, within one window, and it is critical."""
    world = World(30, 10, POLICY, seed=3)
    world.tick()
    world.shifts = {(7, 4): (1.0, "lower")}
    news = world.tick()
    assert [(one.event, one.tenants) for one in news] == [(Event.OPENED, ("t7",))]
    (incident,) = world.open()
    assert (incident.scope, incident.tenants, incident.features) == ("tenant", ["t7"], ["x4"])
    assert (incident.severity, incident.since) == (Severity.CRITICAL, HOUR)


def test_own_and_common_are_told_apart_in_the_same_window() -> None:
    """While everybody's x1 rises, one tenant's x1 falls and another's x2 moves: three incidents."""
    world = World(20, 6, POLICY, seed=4)
    world.shifts = {(tenant, 1): (0.3, "higher") for tenant in range(19)}
    world.shifts |= {(19, 1): (0.3, "lower"), (5, 2): (0.3, "higher")}
    world.tick()
    assert sorted((one.scope, len(one.tenants)) for one in world.open()) == [
        ("common", 19),
        ("tenant", 1),
        ("tenant", 1),
    ]


def test_tenants_that_follow_one_by_one_become_one_incident() -> None:
    """Tenants whose windows end at different times have own incidents first; when there are enough, they are merged."""
    world = World(10, 4, POLICY, seed=5)
    for tenant in range(5):
        world.shifts[tenant, 0] = (0.5, "higher")
        world.tick()
    (incident,) = world.open()
    assert (incident.scope, len(incident.tenants)) == ("common", 5)
    assert incident.since == 0
    merged = [one for one in world.incidents.values() if one.state is State.MERGED]
    assert {one.merged_into for one in merged} == {incident.id}


def test_incident_closes_after_quiet_windows_and_not_by_silence() -> None:
    """One good window does not close it, nor do windows without enough rows; two good ones do."""
    world = World(10, 4, POLICY, seed=6)
    world.shifts = {(2, 0): (0.5, "higher")}
    world.tick()
    world.shifts = {}
    world.tick(quiet=(2,))
    world.tick(quiet=(2,))
    assert len(world.open()) == 1
    world.tick()
    world.shifts = {(2, 0): (0.3, "higher")}
    world.tick()
    world.shifts = {}
    world.tick()
    assert len(world.open()) == 1
    news = world.tick()
    assert [(one.event, one.incident.close_reason) for one in news] == [
        (Event.CLOSED, "as in training for 2 windows in a row")
    ]


def test_incident_that_comes_back_is_opened_again() -> None:
    """Within a day it is the same incident; later it is another."""
    world = World(10, 4, POLICY, seed=7)
    for pause in (3, 30):
        world.shifts = {(2, 0): (0.5, "higher")}
        news = world.tick()
        world.shifts = {}
        for _ in range(pause):
            world.tick()
    world.shifts = {(2, 0): (0.5, "higher")}
    assert [one.event for one in news] == [Event.REOPENED]
    assert [one.event for one in world.tick()] == [Event.OPENED]
    assert [one.reopened for one in world.incidents.values()] == [1, 0]
