"""A round over all tenants: windows that wait for rows, incidents that are kept once, and who is told of what."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from services.monitor.domain.alerts.routes import OperatorHook
from services.monitor.domain.incidents.from_operations import TICK
from services.monitor.domain.incidents.handle import HandleIncidents
from services.monitor.domain.incidents.words import Cell, Incident, IncidentKind, Severity
from services.monitor.domain.model import Window
from services.monitor.domain.releases import Release, Track
from services.monitor.domain.watch_fleet import WatchFleet
from tenon.core.errors import Invalid, NotFound, Precondition
from tenon.core.specs import MonitorSpec, parse_spec
from tenon.core.tenancy import TenantId
from tests.support.incident_fakes import MemoryRounds, SimulatedFleet

HOUR = 3_600_000_000
START = 1_700_000_000_000_000 // HOUR * HOUR


class Setting:
    """A fleet, its clock, and everything that is kept of it."""

    def __init__(self, *tenants: str) -> None:
        self.fleet = SimulatedFleet([(tenant, "cost") for tenant in tenants])
        self.rounds, self.now, self.ids = MemoryRounds(), START, 0
        self.hooks = [OperatorHook("operators"), OperatorHook("pager", Severity.CRITICAL)]
        self.watch = WatchFleet(
            self.fleet, self.fleet, self.fleet, self.rounds, self.fleet, self.fleet,  # type: ignore[arg-type]
            now=lambda: self.now, new_id=self._id, hooks=lambda: self.hooks,
        )  # fmt: skip
        self.handle = HandleIncidents(self.rounds, lambda: self.now)

    def _id(self) -> str:
        self.ids += 1
        return f"i{self.ids}"

    def hour(self, hours: int = 1) -> None:
        """Some hours, a round after each."""
        for _ in range(hours):
            self.now += HOUR
            self.watch()

    def alerts(self, tenant: str, **alerts: Any) -> None:
        """Declare who is told."""
        self.fleet.declared[tenant, "cost"] = parse_spec(MonitorSpec, {"name": "cost", "alerts": alerts})

    def sent(self) -> list[tuple[str, str, list[str]]]:
        """Listener, webhook and events of the messages since the last call."""
        messages, self.rounds.messages = self.rounds.messages, []
        return [(one.tenant, one.webhook, [item["event"] for item in one.items]) for one in messages]

    @property
    def open(self) -> list[Incident]:
        """What is open."""
        return [one for one in self.rounds.incidents.values() if one.state == "open"]


def test_windows_wait_for_rows_and_leave_no_gap() -> None:
    """A busy model is looked at every hour, one with few rows after a day, and windows join without gap or overlap."""
    setting = Setting("busy", "slow", "still")
    setting.fleet.rows = {"busy": 5_000, "slow": 20, "still": 0}
    setting.hour(60)
    for tenant, expected in (("busy", 60), ("slow", 3), ("still", 0)):
        windows = [window for name, window in setting.fleet.looked if name == tenant]
        assert len(windows) == expected
        assert all(one.end == two.start for one, two in pairwise(windows))


def test_nothing_is_since_before_the_first_release() -> None:
    """The first window of a model begins with its first release, when that is less than a day ago."""
    setting = Setting("new", "old")
    made = setting.now + HOUR // 2
    setting.fleet.made = [Release("new", "cost", 1, (Track("stable", 1, 1.0),), made + 7_000_000, "eva", "set")]
    setting.hour(2)
    first = {name: window.start for name, window in reversed(setting.fleet.looked)}
    assert first["new"] == made
    assert first["old"] < setting.now - 24 * HOUR
    assert all(window.end <= setting.now for _, window in setting.fleet.looked)


def test_a_shift_is_one_incident_with_its_cause_and_end() -> None:
    """Input and score of one tenant are one incident, with the release at that time; it closes after two good windows."""
    setting = Setting("north", "south", "east", "west")
    setting.hour(3)
    tracks = (Track("stable", 2, 1.0),)
    setting.fleet.made = [Release("north", "cost", 7, tracks, setting.now + 600_000_000, "eva", "set")]
    setting.fleet.moved = {("north", "age"): (setting.now, "lower"), ("north", "score"): (setting.now, "lower")}
    setting.hour()
    (found,) = setting.handle.list(TenantId("north"))
    assert found["title"] == "age and 1 more of cost: values are lower than in training"
    assert (found["features"], found["kind"], found["common"]) == (["age", "score"], "inputs", False)
    assert found["causes"][0].startswith("release 7 (set: version 2 stable) was made at")
    assert setting.handle.list(TenantId("south")) == []
    setting.fleet.moved = {}
    setting.hour()
    assert len(setting.open) == 1
    setting.hour()
    assert setting.open == []


def test_a_common_shift_names_no_other_tenant_to_a_tenant() -> None:
    """The operator sees who is in it; a tenant learns that it is common, and nothing of the others."""
    setting = Setting(*(f"tenant-{number}" for number in range(8)))
    setting.fleet.moved = {(f"tenant-{number}", "age"): (setting.now, "higher") for number in range(7)}
    setting.hour()
    (all_of_it,) = setting.handle.list(None)
    assert len(all_of_it["tenants"]) == 7
    assert all_of_it["causes"][0].startswith("common to 7 of 8 tenants")
    (mine,) = setting.handle.list(TenantId("tenant-3"))
    assert mine["common"] is True
    assert mine["causes"] == ["common to several tenants: the operator looks at what they share"]
    text = str(mine)
    assert not any(f"tenant-{number}" in text for number in range(8) if number != 3)
    assert "7" not in mine["causes"][0]
    with pytest.raises(NotFound, match="no incident"):
        setting.handle.show(TenantId("tenant-7"), mine["id"])


def test_a_round_that_another_replica_kept_changes_nothing() -> None:
    """The slower of two replicas gives up its round, and tells nobody."""
    setting = Setting("north")
    setting.fleet.moved = {("north", "age"): (setting.now, "higher")}
    setting.rounds.lose = True
    setting.hour()
    assert (setting.rounds.incidents, setting.rounds.messages, setting.rounds.cursors) == ({}, [], {})
    setting.rounds.lose = False
    setting.hour()
    assert len(setting.open) == 1


def test_a_model_that_cannot_be_judged_does_not_stop_the_others() -> None:
    """Its window stays open until it can be; the others' incidents are kept, and the failure is raised."""
    setting = Setting("north", "south")
    setting.fleet.broken, setting.fleet.moved = {"north"}, {("south", "age"): (setting.now, "higher")}
    with pytest.raises(ExceptionGroup, match="1 models"):
        setting.hour()
    assert [one.tenants for one in setting.open] == [["south"]]
    setting.fleet.broken = set()
    setting.hour()
    assert [window.start < setting.now - HOUR for name, window in setting.fleet.looked if name == "north"] == [True]


def test_silence_is_no_end_until_it_is_long() -> None:
    """A model that answers no more keeps its incident for a week; then it is closed, and says why."""
    setting = Setting("north", "south")
    setting.fleet.moved = {("north", "age"): (setting.now, "higher")}
    setting.hour()
    setting.fleet.silent = {"north"}
    setting.hour()
    # The fleet's memory is a week long: `silent` are those it has forgotten.
    (closed,) = setting.rounds.incidents.values()
    assert (closed.state, closed.close_reason[:19]) == ("closed", "no more predictions")


def test_each_is_told_once_where_it_asked_to_be() -> None:
    """A tenant without webhooks is told nothing; the operator all; the pager critical news only."""
    setting = Setting("north", "south")
    setting.alerts("north", webhooks=["chat"])
    setting.fleet.moved = {(tenant, "age"): (setting.now, "higher") for tenant in ("north", "south")}
    setting.hour()
    assert sorted(setting.sent()) == [("", "operators", ["opened", "opened"]), ("north", "chat", ["opened"])]
    setting.hour(23)
    assert setting.sent() == []
    setting.hour()
    assert sorted(setting.sent()) == [("", "operators", ["reminder", "reminder"]), ("north", "chat", ["reminder"])]


def test_who_acknowledged_is_not_reminded_but_told_of_the_end() -> None:
    """Acknowledging stops reminders of the tenant alone; the operator has an own say."""
    setting = Setting("north", "south")
    setting.alerts("north", webhooks=["chat"])
    setting.fleet.moved = {("north", "age"): (setting.now, "higher")}
    setting.hour()
    shown = setting.handle.acknowledge(TenantId("north"), "i1", "Eva", "calling the lab")
    assert shown["note"]["action"] == "acknowledged"
    setting.sent()
    setting.hour(25)
    assert setting.sent() == [("", "operators", ["reminder"])]
    setting.fleet.moved = {}
    setting.hour(2)
    assert sorted(setting.sent()) == [("", "operators", ["closed"]), ("north", "chat", ["closed"])]
    with pytest.raises(Precondition, match="is closed"):
        setting.handle.acknowledge(TenantId("north"), "i1", "Eva")


def test_a_snooze_ends_with_a_reminder() -> None:
    """Nothing comes until then; if it is open still, it is said again."""
    setting = Setting("north", "south")
    setting.alerts("north", webhooks=["chat"], remind=None)
    setting.hooks = []
    setting.fleet.moved = {("north", "age"): (setting.now, "higher")}
    setting.hour()
    setting.sent()
    setting.handle.snooze(TenantId("north"), "i1", "Eva", setting.now + 5 * HOUR)
    setting.hour(4)
    assert setting.sent() == []
    setting.hour(2)
    assert setting.sent() == [("north", "chat", ["reminder"])]
    with pytest.raises(Invalid, match="next 90 days"):
        setting.handle.snooze(TenantId("north"), "i1", "Eva", setting.now)


def test_quiet_hours_hold_warnings_back_and_let_critical_news_pass() -> None:
    """A warning at night is due in the morning; what is critical is due now."""
    setting = Setting("north", "south")
    for tenant in ("north", "south"):
        setting.alerts(tenant, webhooks=["chat"], quiet={"from": "20:00", "to": "07:00"})
    setting.fleet.declared["south", "cost"] = setting.fleet.declared["south", "cost"].model_copy(
        update={"importance": "high"}
    )
    midnight = START - START % (24 * HOUR)
    setting.now = midnight + 22 * HOUR
    setting.fleet.moved = {(tenant, "age"): (setting.now, "higher") for tenant in ("north", "south")}
    setting.hour()
    due = {one.tenant: one.due_at for one in setting.rounds.messages if one.webhook == "chat"}
    assert due == {"north": midnight + 31 * HOUR, "south": setting.now}
    assert ("", "pager") in {(one.tenant, one.webhook) for one in setting.rounds.messages}


def test_columns_that_may_move_open_nothing() -> None:
    """`alerts.ignore` is for columns that are expected to move."""
    setting = Setting("north", "south")
    setting.alerts("north", ignore=["age"])
    setting.fleet.moved = {("north", "age"): (setting.now, "higher")}
    setting.hour(3)
    assert setting.open == []


class Operated:
    """`ExamineOperations` with one model whose requests fail from a time on."""

    def __init__(self, failing_from: int) -> None:
        self.failing_from, self.ticks = failing_from, list[int]()

    def __call__(self, tick: int) -> list[Cell]:
        """See there."""
        self.ticks.append(tick)
        bad = tick > self.failing_from
        return [
            Cell(
                "south", "cost", 1, IncidentKind.OPERATIONS, "errors", Window(tick - TICK, tick), 1e-12 if bad else 0.7,
                9.0 if bad else 0.0, "higher", 200, enough=True, sentence="40.0% of 200 requests failed",
            )
        ]  # fmt: skip

    def active(self, since: int) -> set[tuple[str, str]]:
        """See there."""
        return {("south", "cost")}


def test_operations_are_looked_at_every_five_minutes_on_a_level_of_their_own() -> None:
    """One look a tick, also by a model that answers nothing; after monitor was away the first look waits for what is in the stream."""
    setting = Setting("north")
    operated = Operated(START + HOUR)
    setting.watch = WatchFleet(
        setting.fleet, setting.fleet, setting.fleet, setting.rounds, setting.fleet, setting.fleet,  # type: ignore[arg-type]
        now=lambda: setting.now, new_id=setting._id, operations=operated,  # type: ignore[arg-type]
    )  # fmt: skip
    for _ in range(3 * 60):
        setting.now += TICK // 5
        setting.watch()
    assert operated.ticks == sorted(set(operated.ticks))
    assert [one - two for two, one in pairwise(operated.ticks)] == [TICK] * (len(operated.ticks) - 1)
    assert [(one.tenants, one.features, one.severity) for one in setting.open] == [
        (["south"], ["errors"], Severity.CRITICAL)
    ]
    looks = len(operated.ticks)
    setting.now += HOUR
    setting.watch()
    assert len(operated.ticks) == looks
    operated.failing_from = 2**62
    for _ in range(10 * 5):
        setting.now += TICK // 5
        setting.watch()
    assert setting.open == []
    (incident,) = setting.rounds.incidents.values()
    assert incident.close_reason == "as usual 6 times in a row"


def _course(setting: Setting, tenant: TenantId | None, incident: str) -> list[tuple[str, str, str]]:
    history = setting.handle.show(tenant, incident)["history"]
    assert [one["at"] for one in history] == sorted(one["at"] for one in history)
    return [(one["event"], one["who"], one["text"]) for one in history]


def test_an_incident_remembers_its_course() -> None:
    """Opened, joined, acknowledged, taken back, snoozed, over, back again: with who, and in the order it happened."""
    setting, north = Setting("north", "south", "east", "west"), TenantId("north")
    setting.fleet.moved = {("north", "age"): (setting.now, "lower")}
    setting.hour()
    (found,) = setting.handle.list(north)
    assert "history" not in found
    setting.handle.acknowledge(north, found["id"], "Eva", "calling the lab")
    setting.handle.wake(north, found["id"], "Eva")
    assert setting.handle.wake(north, found["id"], "Eva")["note"] is None  # Nothing held: nothing is remembered.
    setting.handle.snooze(north, found["id"], "Ida", setting.now + HOUR)
    setting.fleet.moved["north", "sex"] = (setting.now, "lower")
    setting.hour()
    setting.fleet.moved = {}
    setting.hour(2)
    setting.fleet.moved = {("north", "age"): (setting.now, "lower")}
    setting.hour()
    title = "age of cost: values are lower than in training"
    assert _course(setting, north, found["id"]) == [
        ("opened", "", title),
        ("acknowledged", "Eva", "calling the lab"),
        ("woken", "Eva", ""),
        ("snoozed", "Ida", ""),
        ("grew", "", "sex of cost"),
        ("closed", "", "as in training for 2 windows in a row"),
        ("reopened", "", "age and 1 more of cost: values are lower than in training"),
    ]
    assert ("grew", "", "sex of north/cost") in _course(setting, None, found["id"])
    people = [one for one in setting.handle.show(None, found["id"])["history"] if one["tenant"]]
    assert [(one["tenant"], one["who"]) for one in people] == [("north", "Eva"), ("north", "Eva"), ("north", "Ida")]


def test_a_history_names_no_other_tenant_to_a_tenant() -> None:
    """Tenants follow one by one until it is common: each reads of itself, and where its own incident went."""
    setting = Setting(*(f"tenant-{number}" for number in range(8)))
    for number in range(4):
        setting.fleet.moved[f"tenant-{number}", "age"] = (setting.now, "higher")
        setting.hour()
    merged = [one.id for one in setting.rounds.incidents.values() if one.merged_into]
    (common,) = setting.handle.list(None)
    assert _course(setting, None, merged[0])[-1] == ("merged", "", f"part of {common['id']} now")
    assert _course(setting, None, common["id"])[-1][0] == "grew"
    for number in range(4):
        tenant = TenantId(f"tenant-{number}")
        told = str([_course(setting, tenant, one["id"]) for one in setting.handle.list(tenant, state="all")])
        assert "age of cost" in told
        assert not any(f"tenant-{other}" in told for other in range(8) if other != number)
