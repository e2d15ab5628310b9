"""Incidents and Monitor documents as messages: what the other doors show, for whom it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from google.protobuf.duration_pb2 import Duration

from services.monitor.api_grpc.documents import DocumentCalls
from services.monitor.api_grpc.incidents import IncidentCalls
from services.monitor.domain.incidents.handle import HandleIncidents
from services.monitor.domain.watch_fleet import WatchFleet
from services.monitor.storage.policies import SqlPolicies
from tenon.api.monitor.v1 import monitor_pb2 as pb
from tenon.core.errors import Forbidden, Invalid, NotFound
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.core.timestamps import rfc3339
from tenon.kit import context
from tenon.kit.sql import Database, migrate
from tests.support.incident_fakes import MemoryRounds, SimulatedFleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import grpc

HOUR = 3_600_000_000
NOW = 1_700_000_000_000_000 // HOUR * HOUR
NOBODY = cast("grpc.ServicerContext", None)
OPERATOR = Principal("operator", None, frozenset(Scope))


class Door(IncidentCalls, DocumentCalls):
    """Both parts of the servicer."""


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """One tenant's own incident, and one common to four."""
    tenants = ("north", "south", "east", "west")
    fleet, rounds = SimulatedFleet([(tenant, "cost") for tenant in tenants]), MemoryRounds()
    fleet.moved = {(tenant, "sex"): (NOW, "higher") for tenant in tenants} | {("north", "age"): (NOW, "lower")}
    numbers = iter("abc")
    now = NOW + HOUR
    watch = WatchFleet(
        fleet, fleet, fleet, rounds, fleet, fleet,  # type: ignore[arg-type]
        now=lambda: now, new_id=lambda: next(numbers),
    )  # fmt: skip
    watch()
    database = Database(f"sqlite:///{tmp_path}/monitor.db")
    migrate(database, "services.monitor.migrations")
    made = Door()
    made.incidents, made.now, made.documents = HandleIncidents(rounds, lambda: now), lambda: now, SqlPolicies(database)
    yield made
    context.principal.set(None)
    database.close()


def come_in(tenant: str | None, *scopes: Scope) -> None:
    """Who makes the next calls."""
    who = OPERATOR if tenant is None else Principal(f"key of {tenant}", TenantId(tenant), frozenset(scopes or Scope))
    context.principal.set(who)


def test_messages_say_what_the_other_doors_say(door: Door) -> None:
    """Every field of an incident is the view's; a tenant gets nothing of others, the operator all of it."""
    come_in(None)
    found = door.ListIncidents(pb.ListIncidentsRequest(state="all"), NOBODY).incidents
    shown = {one["id"]: one for one in door.incidents.list(None, state="all")}
    assert {one.id for one in found} == set(shown)
    for one in found:
        view = shown[one.id]
        for name, value in view.items():
            told: Any = getattr(one, name)
            if name in ("since", "opened_at", "updated_at"):
                assert rfc3339(told.ToMicroseconds()) == value
            elif name not in ("evidence", "note", "closed_at"):
                assert (list(told) if isinstance(value, list) else told) == ("" if value is None else value), name
        assert [rows.sentence for rows in one.evidence] == [rows["sentence"] for rows in view["evidence"]]
        assert not one.HasField("closed_at")
    come_in("south")
    (mine,) = door.ListIncidents(pb.ListIncidentsRequest(tenant="south"), NOBODY).incidents
    assert (mine.common, list(mine.tenants), {rows.tenant for rows in mine.evidence}) == (True, [], {"south"})
    with pytest.raises(NotFound, match="no tenant 'north'"):
        door.ListIncidents(pb.ListIncidentsRequest(tenant="north"), NOBODY)
    with pytest.raises(Forbidden, match="admin key"):
        door.GetIncident(pb.GetIncidentRequest(incident=mine.id), NOBODY)


def test_people_answer_for_themselves(door: Door) -> None:
    """Acknowledged under the key's name, snoozed until a time, woken; a key that may not write may not."""
    come_in("north")
    (own, _) = sorted(
        door.ListIncidents(pb.ListIncidentsRequest(tenant="north"), NOBODY).incidents, key=lambda one: one.common
    )
    asked = pb.AcknowledgeIncidentRequest(tenant="north", incident=own.id, text="at it")
    note = door.AcknowledgeIncident(asked, NOBODY).incident.note
    assert (note.action, note.who, note.text, note.HasField("until")) == (
        "acknowledged",
        "key of north",
        "at it",
        False,
    )
    snooze = pb.SnoozeIncidentRequest(tenant="north", incident=own.id, who="Ida", length=Duration(seconds=7200))
    note = door.SnoozeIncident(snooze, NOBODY).incident.note
    assert (note.action, note.who, note.until.seconds - note.at.seconds) == ("snoozed", "Ida", 7200)
    snooze.until.FromMicroseconds(NOW + 5 * HOUR)
    assert door.SnoozeIncident(snooze, NOBODY).incident.note.until.ToMicroseconds() == NOW + 5 * HOUR
    with pytest.raises(Invalid, match="either"):
        door.SnoozeIncident(pb.SnoozeIncidentRequest(tenant="north", incident=own.id), NOBODY)
    woken = door.WakeIncident(pb.WakeIncidentRequest(tenant="north", incident=own.id), NOBODY)
    assert not woken.incident.HasField("note")
    told = [(one.event, one.who, one.until.seconds > 0) for one in woken.incident.history]
    assert told[1:] == [
        ("acknowledged", "key of north", False),
        ("snoozed", "Ida", True),
        ("snoozed", "Ida", True),
        ("woken", "key of north", False),
    ]
    assert told[0] == ("opened", "", False)
    come_in("north", Scope.READ)
    with pytest.raises(Forbidden):
        door.WakeIncident(pb.WakeIncidentRequest(tenant="north", incident=own.id), NOBODY)


def test_documents_are_put_and_read(door: Door) -> None:
    """Tried, created, unchanged, read, listed; what is none is refused with its reason."""
    come_in("north")
    document = {"kind": "Monitor", "name": "cost", "importance": "high"}
    request = pb.PutMonitorRequest(tenant="north", spec_json=json.dumps(document).encode(), dry_run=True)
    assert door.PutMonitor(request, NOBODY).change == "created"
    with pytest.raises(NotFound):
        door.GetMonitor(pb.GetMonitorRequest(tenant="north", name="cost"), NOBODY)
    request.dry_run = False
    assert [door.PutMonitor(request, NOBODY).change for _ in range(2)] == ["created", "unchanged"]
    found = door.GetMonitor(pb.GetMonitorRequest(tenant="north", name="cost"), NOBODY).monitor
    assert (found.revision, json.loads(found.spec_json)["importance"]) == (1, "high")
    assert list(door.ListMonitors(pb.ListMonitorsRequest(tenant="north"), NOBODY).monitors) == [found]
    for data, reason in ((b"{", "not JSON"), (b"[]", "not a Monitor"), (b'{"kind": "Model"}', "not a Monitor")):
        with pytest.raises(Invalid, match=reason):
            door.PutMonitor(pb.PutMonitorRequest(tenant="north", spec_json=data), NOBODY)
