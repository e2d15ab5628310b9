"""From what predictors count to incidents: what is found within minutes, what is not called one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.monitor.domain.alerts.text import slack_body
from services.monitor.domain.incidents.discovery import round_level
from services.monitor.domain.incidents.from_operations import TICK, ExamineOperations
from services.monitor.domain.incidents.ledger import Ledger
from services.monitor.domain.incidents.ports import Delivery, DidInHour, LevelsInHour
from services.monitor.domain.incidents.usual import usual_requests
from services.monitor.domain.incidents.view import view
from services.monitor.domain.incidents.words import Cell, Incident, IncidentPolicy, Severity, State
from services.monitor.domain.log.operations import BUCKET, HOUR, Operated
from services.monitor.domain.model import Role
from tenon.core.operations import LATENCY_BOUNDS

if TYPE_CHECKING:
    pass

DAY = 24 * HOUR
MONDAY = 1_700_438_400_000_000 // HOUR * HOUR
POLICY = IncidentPolicy()
Key = tuple[str, str, int, Role]


def did(requests: int, failed: float = 0.0, slow: float = 0.0) -> Operated:
    """So many requests; of these a share failed, and of the answers a share took 100 times as long."""
    broken = round(requests * failed)
    latency = [0] * (len(LATENCY_BOUNDS) + 1)
    late = round((requests - broken) * slow)
    latency[6], latency[14] = requests - broken - late, late
    return Operated(requests - broken, (0, 0, broken), tuple(latency))


@dataclass
class Told:
    """`FleetOperations` in memory: what was told, by minutes."""

    minutes: dict[tuple[Key, int], Operated] = field(default_factory=dict)
    rested: dict[tuple[Key, int], dict[str, int]] = field(default_factory=dict)

    def add(self, key: Key, at: int, what: Operated) -> None:
        """One minute, or a whole hour told in its first."""
        self.minutes[key, at] = what

    def _between(self, start: int, end: int) -> list[tuple[Key, int, Operated]]:
        return [(key, at, what) for (key, at), what in self.minutes.items() if start <= at < end]

    def totals(self, start: int, end: int, *, by_hours: bool) -> dict[Key, Operated]:
        """See the port."""
        found: dict[Key, Operated] = defaultdict(Operated)
        for key, _, what in self._between(start, end):
            found[key] += what
        return dict(found)

    def hours(self, start: int, end: int) -> list[DidInHour]:
        """See the port."""
        found: dict[tuple[Key, int], Operated] = defaultdict(Operated)
        for key, at, what in self._between(start, end):
            found[key, at // HOUR * HOUR] += what
        return [DidInHour(*key, at, what) for (key, at), what in found.items()]

    def requests(self, start: int, end: int) -> list[tuple[str, str, int, int]]:
        """See the port."""
        found: dict[tuple[str, str, int], int] = defaultdict(int)
        for (tenant, model, _, _), at, what in self._between(start, end):
            found[tenant, model, at // HOUR * HOUR] += what.answers + what.errors
        return [(*key, count) for key, count in found.items()]

    def levels(self, start: int, end: int) -> list[LevelsInHour]:
        """See the port."""
        return [LevelsInHour(*key, at, levels) for (key, at), levels in self.rested.items() if start <= at < end]

    def active(self, since: int) -> set[tuple[str, str]]:
        """See the port."""
        return {(key[0], key[1]) for key, _, _ in self._between(since, 2**62)}


class Setting:
    """Tenants with three weeks behind them, busy by day and quiet by night and on Sundays."""

    def __init__(self, *tenants: str, daily: int = 6_000, weeks: int = 3) -> None:
        self.told, self.tenants, self.daily = Told(), tenants, daily
        self.now = MONDAY + weeks * 7 * DAY + 9 * HOUR
        self.incidents: dict[str, Incident] = {}
        for tenant in tenants:
            for hour in range(MONDAY, self.now, HOUR):
                if requests := self.usual(hour):
                    self.told.add((tenant, "cost", 1, Role.STABLE), hour, did(requests, failed=0.004, slow=0.02))
        self.examine = ExamineOperations(self.told)

    def usual(self, hour: int) -> int:
        """Requests of an hour: from 7 to 20, not on Sundays."""
        clock = hour // HOUR % 24
        return self.daily // 12 if 7 <= clock < 20 and (hour - MONDAY) // DAY % 7 != 6 else 0

    def pass_(
        self, minutes: int = 5, *, without: tuple[str, ...] = (), key: Key | None = None, look: bool = True,
        failed: float | None = None, slow: float | None = None,
    ) -> None:  # fmt: skip
        """Some minutes in which all but some tenants are as usual, or one of them as said; then one look."""
        for at in range(self.now, self.now + minutes * BUCKET, BUCKET):
            requests = self.usual(at // HOUR * HOUR) // 60
            for tenant in self.tenants:
                usual = (tenant, "cost", 1, Role.STABLE)
                if tenant not in without and requests:
                    said = (failed, slow) if key in (usual, None) else (None, None)
                    self.told.add(usual, at, did(requests, *_or_usual(*said)))
            if key is not None and key[2:] != (1, Role.STABLE):
                self.told.add(key, at, did(requests, *_or_usual(failed, slow)))
        self.now += minutes * BUCKET
        if look:
            self.look()

    def look(self) -> list[Cell]:
        """One round of the ledger."""
        cells = self.examine(self.now // TICK * TICK)
        ledger = Ledger(self.incidents.values(), POLICY, now=self.now, new_id=lambda: f"i{len(self.incidents)}")
        ledger.step(cells, round_level(POLICY.false_discovery_rate * POLICY.operations_share, TICK, POLICY.period))
        self.incidents |= {one.id: one for one in ledger.incidents}
        return cells

    @property
    def open(self) -> list[tuple[list[str], list[str]]]:
        """Tenants and features of what is open."""
        return [(one.tenants, one.features) for one in self.incidents.values() if one.state is State.OPEN]


def _or_usual(failed: float | None, slow: float | None) -> tuple[float, float]:
    return 0.004 if failed is None else failed, 0.02 if slow is None else slow


@pytest.mark.parametrize(
    ("key", "what", "feature"),
    [
        (("north", "cost", 1, Role.STABLE), {"failed": 0.3}, "errors"),
        (("north", "cost", 1, Role.STABLE), {"slow": 0.6}, "latency"),
        (("north", "cost", 2, Role.CANARY), {"failed": 0.5}, "errors (canary)"),
        (("north", "cost", 2, Role.SHADOW), {"failed": 0.5}, "errors (shadow)"),
    ],
)  # fmt: skip
def test_trouble_is_an_incident_within_five_minutes(key: Key, what: dict[str, float], feature: str) -> None:
    """Errors and slow answers of one tenant are its incident after one look, say how many there are usually, and end by themselves."""
    setting = Setting("north", "south")
    setting.pass_()
    assert setting.open == []
    setting.pass_(key=key, failed=what.get("failed"), slow=what.get("slow"))
    assert setting.open == [(["north"], [feature])]
    (incident,) = setting.incidents.values()
    assert "usual" in incident.worst.sentence
    assert (incident.severity is Severity.CRITICAL) == (not feature.endswith("(shadow)"))
    for _ in range(POLICY.quiet_ticks + 3):
        setting.pass_(key=key)
    assert setting.open == []
    assert incident.close_reason == "" or "as usual" in incident.close_reason


def test_requests_that_stop_are_an_incident_by_day_and_none_by_night() -> None:
    """Within five minutes where hundreds are usual; nights and Sundays, when nobody asks, are as usual; it ends when they come again."""
    setting = Setting("north", "south", daily=12_000)
    setting.pass_(without=("north",))
    assert setting.open == [(["north"], ["traffic"])]
    (incident,) = setting.incidents.values()
    assert incident.severity is Severity.CRITICAL
    for _ in range(POLICY.quiet_ticks):
        setting.pass_()
    assert setting.open == []
    while setting.now < MONDAY + 28 * DAY:
        looked = (setting.now - MONDAY) // DAY % 7 in (0, 6)
        setting.pass_(180, look=looked)
    assert setting.open == []
    assert len(setting.incidents) == 1


def test_few_requests_are_waited_for_longer() -> None:
    """Twenty an hour: five silent minutes say nothing, some hours do; in the first days hardly anything does."""
    setting = Setting("north", daily=240)
    setting.pass_(without=("north",))
    assert setting.open == []
    for _ in range(36):
        setting.pass_(without=("north",))
    assert setting.open == [(["north"], ["traffic"])]
    counts = {MONDAY + hour * HOUR: 20 for hour in range(8 * 24)}
    fresh = usual_requests(counts, MONDAY, MONDAY + 8 * DAY, MONDAY + 8 * DAY + 2 * HOUR)
    assert (fresh.least, fresh.tail(0) > 1e-4) == (40.0, True)


def test_first_weekends_are_no_outage() -> None:
    """An office asks from 8 to 18 on working days, since a Wednesday: no weekend of its first four weeks is an incident; then
    a Wednesday's silence is one. Until a week is known it says that there is not enough history."""
    chance = np.random.default_rng(1)
    told, key, begin = Told(), ("north", "cost", 1, Role.STABLE), MONDAY + 2 * DAY
    for hour in range(begin, MONDAY + 30 * DAY, HOUR):
        if 8 <= hour // HOUR % 24 < 18 and (hour - MONDAY) // DAY % 7 < 5:
            told.add(key, hour, did(int(chance.poisson(400 * chance.gamma(20, 1 / 20)))))
    setting = Setting()
    setting.told, setting.examine = told, ExamineOperations(told)
    said = set()
    for setting.now in range(begin + 12 * HOUR + TICK, MONDAY + 30 * DAY, 4 * HOUR):
        sentences = [cell.sentence for cell in setting.look() if cell.feature == "traffic"]
        said |= {(setting.now - begin) // DAY for text in sentences if "not enough history" in text}
    assert setting.incidents == {}
    assert said == set(range(8))  # The eighth day until its ninth hour.
    setting.now = MONDAY + 30 * DAY + 12 * HOUR
    setting.look()
    assert setting.open == [(["north"], ["traffic"])]


def test_what_is_asked_on_every_day_is_known_after_a_week() -> None:
    """Round the clock since Monday: silence on the fifth day says nothing, on the ninth it is an incident within three hours."""
    for days, found in ((4, []), (8, [(["north"], ["traffic"])])):
        setting = Setting()
        for hour in range(MONDAY, MONDAY + days * DAY, HOUR):
            setting.told.add(("north", "cost", 1, Role.STABLE), hour, did(400))
        setting.now = MONDAY + days * DAY + 3 * HOUR
        setting.look()
        assert setting.open == found


def test_trouble_of_everybody_is_one_incident() -> None:
    """Four tenants whose requests fail, and five whose requests stop, are one incident each."""
    setting = Setting("north", "south", "east", "west")
    setting.pass_(failed=0.4)
    assert setting.open == [(["east", "north", "south", "west"], ["errors"])]
    setting = Setting("north", "south", "east", "west", "mid", daily=12_000)
    setting.pass_(without=setting.tenants)
    assert setting.open == [(["east", "mid", "north", "south", "west"], ["traffic"])]


def test_a_chat_reads_what_is_wrong_once_and_whose_it_is() -> None:
    """What the title says is not said again; of a common incident the operator reads the tenants, and a tenant itself alone."""
    setting = Setting("north", "south", "east", "west")
    setting.pass_(key=("north", "cost", 1, Role.STABLE), failed=0.4)

    def text(incident: Incident, tenant: str) -> str:
        item = {"event": "opened", "incident": view(incident, tenant=tenant)}
        body = slack_body(Delivery(1, tenant, "chat", (item,), 0, 0))
        return str(body["blocks"][0]["text"]["text"])

    (own,) = setting.incidents.values()
    assert text(own, "north").count("requests failed") == 1
    setting.pass_(failed=0.4)
    (common,) = (one for one in setting.incidents.values() if one.scope == "common")
    assert "• east, errors: " in text(common, "")
    assert not any(tenant in text(common, "south") for tenant in ("north", "east", "west"))


def test_a_bad_hour_of_yesterday_is_not_what_is_usual_today() -> None:
    """Hours of trouble in the week before do not hide the next one."""
    setting = Setting("north")
    for hours in (20, 21, 45):
        setting.told.add(("north", "cost", 1, Role.STABLE), setting.now - hours * HOUR, did(500, failed=0.5))
    setting.pass_(failed=0.3)
    assert setting.open == [(["north"], ["errors"])]


def test_answers_without_history_and_with_old_history_are_incidents() -> None:
    """A rise of either among the hour's answers; what is usual for a tenant is none."""
    setting = Setting("north", "south")
    hour = setting.now
    for tenant in ("north", "south"):
        key = (tenant, "cost", 1, Role.STABLE)
        for at in range(hour - 7 * DAY, hour, HOUR):
            setting.told.rested[key, at] = {"fresh": 900, "stale": 50, "rule": 50}
        setting.told.rested[key, hour] = {"fresh": 90, "stale": 6, "prior": 4}
    setting.pass_(10)
    assert setting.open == []
    setting.told.rested[("north", "cost", 1, Role.STABLE), hour] = {"fresh": 90, "stale": 200, "prior": 250}
    setting.pass_()
    assert setting.open == [(["north"], ["fallback answers", "stale features"])]


def test_a_new_version_without_a_past_is_measured_by_what_versions_usually_do() -> None:
    """A model of which nothing is known yet: one failure among twenty is none, half of them are."""
    told = Told()
    told.add(("north", "fresh", 1, Role.STABLE), MONDAY, did(20, failed=0.05))
    told.add(("north", "other", 1, Role.STABLE), MONDAY, did(400, failed=0.5))
    cells = {cell.model: cell for cell in ExamineOperations(told)(MONDAY + TICK) if cell.feature == "errors"}
    assert cells["fresh"].p_value is not None
    assert cells["fresh"].p_value > 0.01
    assert cells["other"].p_value is not None
    assert cells["other"].p_value < 1e-9


def test_ordinary_weeks_are_quiet() -> None:
    """Twelve tenants whose shares vary from hour to hour more than chance alone: no incident in half a day of looks, one an hour."""
    chance = np.random.default_rng(3)
    tenants = tuple(f"t{number}" for number in range(12))
    setting = Setting(*tenants, weeks=2)
    for (key, at), what in setting.told.minutes.items():
        requests = int(chance.poisson((what.answers + what.errors) * chance.gamma(20, 1 / 20)))
        setting.told.minutes[key, at] = did(requests, failed=chance.beta(0.5, 60), slow=chance.beta(2, 60))
    for _ in range(12):
        for tenant in tenants:
            key = (tenant, "cost", 1, Role.STABLE)
            requests = int(chance.poisson(setting.usual(setting.now) * chance.gamma(20, 1 / 20)))
            if requests:
                what = did(requests, failed=chance.beta(0.5, 60), slow=chance.beta(2, 60))
                setting.told.add(key, setting.now + 58 * BUCKET, what)
        setting.now += HOUR
        setting.look()
    assert setting.open == []
    assert setting.incidents == {}
