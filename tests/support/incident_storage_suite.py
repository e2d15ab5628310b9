"""What the storage of incidents must do: run on SQLite (unit) and on PostgreSQL (integration)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.incidents.ports import Message, Outcome, RoundResult
from services.monitor.domain.incidents.words import Incident, IncidentKind, Member, Note, Severity, State
from services.monitor.domain.kept.buckets import DAY
from services.monitor.domain.log.operations import BUCKET, HOUR, Operated
from services.monitor.domain.model import PredictionBatch, Role
from services.monitor.storage.incidents.incidents import SqlIncidents
from services.monitor.storage.incidents.outbox import SqlOutbox
from services.monitor.storage.operations.fleet import SqlFleetOperations
from tenon.core.operations import LATENCY_BOUNDS, Operations, OperationsRecord
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from tests.support.monitor_storage_suite import Store

NORTH, SOUTH = TenantId("north"), TenantId("south")


def member(tenant: str, feature: str = "age", **changes: object) -> Member:
    """One that is going on."""
    values: dict[str, object] = {
        "model": "cost", "version": 3, "kind": IncidentKind.INPUTS, "change": "higher", "since": 100, "seen_until": 200,
        "p_value": 1e-300, "effect": 4.0, "rows": 1_000, "sentence": "values are higher than in training", "hint": "",
    }  # fmt: skip
    return Member(tenant=tenant, feature=feature, **(values | changes))  # type: ignore[arg-type]


def incident(name: str, *members: Member, **changes: object) -> Incident:
    """One that is open."""
    values: dict[str, object] = {
        "scope": "common" if len({one.tenant for one in members}) > 1 else "tenant", "kind": IncidentKind.INPUTS,
        "since": 100, "opened_at": 300, "updated_at": 300, "causes": ("a release",),
    }  # fmt: skip
    return Incident(id=name, members={one.key: one for one in members}, **(values | changes))  # type: ignore[arg-type]


class IncidentStorageSuite:
    """The tests; a subclass brings the fixture `store`."""

    def test_a_round_is_kept_once(self, store: Store) -> None:
        """Of two replicas that began the same round one keeps it; the other's changes nothing, not even messages."""
        store.clear()
        incidents, outbox = SqlIncidents(store.database), SqlOutbox(store.database)
        for number in range(2):
            first, second = incidents.begin(0), incidents.begin(0)
            message = Message("north", "chat", 5, ({"event": "opened"},), (f"a{number}",))
            cursors = {("north", "cost"): 10 + number}
            mine = RoundResult(50 + number, cursors, [incident(f"a{number}", member("north"))], [message])
            theirs = RoundResult(60, cursors, [incident(f"b{number}", member("south"))], [message])
            assert incidents.commit(first, mine)
            assert not incidents.commit(second, theirs)
        last = incidents.begin(0)
        assert (last.number, last.at, last.cursors) == (2, 51, {("north", "cost"): 11})
        assert {one.id for one in last.incidents} == {"a0", "a1"}
        assert len(outbox.claim(now=10, lease=10, limit=10)) == 2
        assert set(last.told) == {("a0", "north"), ("a1", "north")}

    def test_incident_comes_back_as_it_was(self, store: Store) -> None:
        """Everything is kept, with members that joined or left; one closed long ago is no part of the next round."""
        store.clear()
        incidents = SqlIncidents(store.database)
        told = incident("a", member("north"), member("north", "sex", p_value=None, over=True, quiet=2))
        incidents.commit(incidents.begin(0), RoundResult(1, {}, [told]))
        assert incidents.begin(0).incidents == [told]
        del told.members["north", "cost", "sex"]
        told.members["south", "cost", "age"] = member("south")
        told.state, told.closed_at, told.close_reason, told.severity = State.CLOSED, 900, "over", Severity.CRITICAL
        incidents.commit(incidents.begin(0), RoundResult(2, {}, [told]))
        assert incidents.begin(900).incidents == [told]
        assert incidents.begin(901).incidents == []

    def test_a_tenant_sees_its_own_alone(self, store: Store) -> None:
        """Of a common incident a tenant gets its own members; another's incident is not there at all."""
        store.clear()
        incidents = SqlIncidents(store.database)
        both = incident("both", member("north"), member("south"), opened_at=400)
        other = incident("other", member("south", "sex"))
        incidents.commit(incidents.begin(0), RoundResult(1, {}, [both, other]))
        (mine,) = incidents.of_tenant(NORTH)
        assert (mine.id, mine.tenants) == ("both", ["north"])
        assert incidents.get(NORTH, "other") is None
        assert [one.id for one in incidents.of_all()] == ["both", "other"]
        assert [one.id for one in incidents.of_tenant(SOUTH, limit=1)] == ["both"]
        assert incidents.of_tenant(SOUTH, model="other_model") == []
        assert incidents.of_all(states=[State.CLOSED]) == []

    def test_notes_are_each_ones_own(self, store: Store) -> None:
        """A tenant's acknowledgement does not silence the operator; the newer note replaces the older."""
        store.clear()
        incidents = SqlIncidents(store.database)
        incidents.commit(incidents.begin(0), RoundResult(1, {}, [incident("a", member("north"))]))
        incidents.put_note(Note("a", "north", "Eva", 5, None, "looking"))
        incidents.put_note(Note("a", "north", "Eva", 6, 99))
        assert incidents.notes("north", ["a"]) == {"a": Note("a", "north", "Eva", 6, 99)}
        assert incidents.notes("", ["a"]) == {}
        assert list(incidents.begin(0).notes) == [Note("a", "north", "Eva", 6, 99)]
        incidents.drop_note(Note("a", "north", "Eva", 7, None))
        assert incidents.notes("north", ["a"]) == {}

    def test_a_message_is_sent_by_one_and_lost_by_none(self, store: Store) -> None:
        """What is claimed is nobody else's until the lease is over; what is settled is not sent again."""
        store.clear()
        incidents, outbox = SqlIncidents(store.database), SqlOutbox(store.database)
        incidents.commit(
            incidents.begin(0), RoundResult(1, {}, [], [Message("north", "chat", 5, ({"event": "opened"},), ())])
        )
        assert outbox.claim(now=4, lease=10, limit=9) == []
        (first,) = outbox.claim(now=5, lease=10, limit=9)
        assert outbox.claim(now=14, lease=10, limit=9) == []
        (again,) = outbox.claim(now=15, lease=10, limit=9)
        assert (first.attempts, again.attempts, again.items) == (1, 2, ({"event": "opened"},))
        outbox.settle(again, Outcome(False, "answered 503", again_at=40, at=15))
        assert outbox.claim(now=39, lease=10, limit=9) == []
        (last,) = outbox.claim(now=40, lease=10, limit=9)
        outbox.settle(last, Outcome(True, at=41))
        assert outbox.claim(now=10_000, lease=10, limit=9) == []

    def test_operations_of_the_fleet_are_what_was_told(self, store: Store) -> None:
        """Minutes and hours of a record add up, a shadow is no request, and a record that comes twice counts once."""
        store.clear()
        fleet, day = SqlFleetOperations(store.database), 1_700_438_400_000_000 // DAY * DAY
        latency = tuple(90 if place == 6 else 0 for place in range(len(LATENCY_BOUNDS) + 1))
        for number in range(3):
            parts = tuple(
                Operations(NORTH, "cost", 1, role, 90, (0, 0, 10), latency) for role in (Role.STABLE, Role.SHADOW)
            )
            record = OperationsRecord(f"r{number}", day + number * 25 * BUCKET, parts)
            for _ in range(2):
                store.operations.take(record, record.at)

        def did(records: int) -> Operated:
            return Operated(90 * records, (0, 0, 10 * records), tuple(records * count for count in latency))

        key = ("north", "cost", 1, Role.STABLE)
        assert fleet.totals(day, day + HOUR, by_hours=False)[key] == did(3)
        assert fleet.totals(day, day + HOUR, by_hours=True)[key] == did(3)
        assert fleet.totals(day, day + 30 * BUCKET, by_hours=False)[key] == did(2)
        assert {(one.role, one.start): one.did for one in fleet.hours(day, day + HOUR)}[Role.STABLE, day] == did(3)
        assert fleet.requests(day, day + DAY) == [("north", "cost", day, 300)]
        assert fleet.active(day + 5) == {("north", "cost")}
        store.operations.forget(day + DAY)
        assert fleet.active(0) == set()

    def test_what_answers_rest_on_is_read_by_hours(self, store: Store) -> None:
        """Of all models at once; answers without a level are left out."""
        store.clear()
        hour = 1_700_438_400_000_000 // HOUR * HOUR
        for name, level in (("a", "fresh"), ("b", "prior"), ("c", "")):
            store.log.store(NORTH, batch(name, level=level, at=hour + 5))
        found = SqlFleetOperations(store.database).levels(hour, hour + HOUR)
        assert [(one.tenant, one.model, one.version, one.start) for one in found] == [("north", "cost", 1, hour)]
        assert dict(found[0].levels) == {"fresh": 3, "prior": 3}
        assert SqlFleetOperations(store.database).levels(hour + HOUR, hour + DAY) == []


def batch(name: str, *, level: str, at: int) -> PredictionBatch:
    """Three answers of north."""
    moments = np.full(3, at, dtype=np.int64)
    ids = tuple(f"{name}-{row}" for row in range(3))
    score = np.array([0.1, 0.5, 0.9])
    return PredictionBatch(
        name, "r", NORTH, "cost", 1, Role.STABLE, "rest", ids, ids, moments, moments, score, {}, level
    )
