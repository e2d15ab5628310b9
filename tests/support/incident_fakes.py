"""The ports of incidents in memory, for tests of their use cases."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.monitor.domain.incidents.history import of_delivery, of_note
from services.monitor.domain.incidents.ports import Delivery, Message, Outcome, Round, RoundResult
from services.monitor.domain.incidents.words import Cell, Deed, Incident, IncidentKind, Moment, Note, State
from services.monitor.domain.model import Role, Window
from services.monitor.domain.releases import Known, Release
from tenon.core.specs import MonitorSpec
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class MemoryRounds:
    """`Rounds` and `Incidents` in memory."""

    number: int = 0
    at: int | None = None
    cursors: dict[tuple[str, str], int] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    told: dict[tuple[str, str], int] = field(default_factory=dict)
    all_notes: dict[tuple[str, str], Note] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    lose: bool = False
    """Another replica is always faster."""

    def begin(self, closed_since: int) -> Round:
        """See the port."""
        known = [
            one
            for one in self.incidents.values()
            if one.state is State.OPEN or (one.state is State.CLOSED and (one.closed_at or 0) >= closed_since)
        ]
        return Round(
            self.number,
            self.at,
            dict(self.cursors),
            copy.deepcopy(known),
            dict(self.told),
            list(self.all_notes.values()),
        )

    def commit(self, before: Round, result: RoundResult) -> bool:
        """See the port."""
        if self.lose or before.number != self.number:
            return False
        self.number, self.at = self.number + 1, result.at
        self.cursors |= result.cursors
        self.incidents |= {one.id: copy.deepcopy(one) for one in result.incidents}
        self.messages += result.messages
        self.moments += result.history
        self.told |= {
            (one, message.tenant): result.told_at for message in result.messages for one in message.incident_ids
        }
        return True

    def of_tenant(
        self, tenant: TenantId, *, model: str = "", states: Sequence[State] = (), limit: int = 100
    ) -> list[Incident]:  # fmt: skip
        """See the port."""
        found = [one for one in self.of_all(states=states, limit=10**9) if tenant.value in one.tenants]
        return [
            self._mine(one, tenant)
            for one in found
            if not model or any(member.model == model for member in one.members.values())
        ][:limit]

    def of_all(self, *, states: Sequence[State] = (), limit: int = 100) -> list[Incident]:
        """See the port."""
        found = [one for one in self.incidents.values() if not states or one.state in states]
        return sorted(found, key=lambda one: -one.opened_at)[:limit]

    def get(self, tenant: TenantId | None, incident_id: str) -> Incident | None:
        """See the port."""
        found = self.incidents.get(incident_id)
        if found is None or (tenant is not None and tenant.value not in found.tenants):
            return None
        return found if tenant is None else self._mine(found, tenant)

    def notes(self, tenant: str, ids: Sequence[str]) -> dict[str, Note]:
        """See the port."""
        return {key: note for (key, owner), note in self.all_notes.items() if owner == tenant and key in ids}

    def put_note(self, note: Note) -> None:
        """See the port."""
        self.all_notes[note.incident_id, note.tenant] = note
        self.moments.append(of_note(note))

    def drop_note(self, note: Note) -> None:
        """See the port."""
        self.all_notes.pop((note.incident_id, note.tenant), None)
        self.moments.append(of_note(note, taken_back=True))

    def history(self, tenant: str, incident_id: str, limit: int) -> list[Moment]:
        """See the port."""
        found = [
            one
            for one in self.moments
            if one.incident_id == incident_id
            and (one.tenant == tenant or (not tenant and one.event in (Deed.ACKNOWLEDGED, Deed.SNOOZED, Deed.WOKEN)))
        ]
        return sorted(found, key=lambda one: one.at)[-limit:]

    def _mine(self, incident: Incident, tenant: TenantId) -> Incident:
        mine = copy.deepcopy(incident)
        mine.members = {key: one for key, one in mine.members.items() if one.tenant == tenant.value}
        return mine


@dataclass
class SimulatedFleet:
    """`Fleet`, the part of `PredictionLog` that says how many rows came in, `Examine`, `Policies` and `Releases`.

    Every model answers `rows` an hour; a feature that is in `moved` (from an instant on) is found to have moved.
    """

    models: list[tuple[str, str]]
    rows: dict[str, int] = field(default_factory=dict)
    moved: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    features: tuple[str, ...] = ("age", "sex", "score")
    declared: dict[tuple[str, str], MonitorSpec] = field(default_factory=dict)
    made: list[Release] = field(default_factory=list)
    looked: list[tuple[str, Window]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)

    def active(self, since: int) -> list[tuple[TenantId, str, int]]:
        """See the port."""
        return [(TenantId(tenant), model, 0) for tenant, model in self.models if tenant not in self.silent]

    def traffic(self, tenant: TenantId, model: str, window: Window) -> dict[tuple[int, Role], int]:
        """See the port."""
        count = self.rows.get(tenant.value, 2_000) * (window.end - window.start) // 3_600_000_000
        return {(1, Role.STABLE): count, (2, Role.SHADOW): 10 * count}

    def __call__(self, tenant: TenantId, model: str, window: Window) -> list[Cell]:
        """See `Examine`."""
        if tenant.value in self.broken:
            raise RuntimeError("the registry is away")
        self.looked.append((tenant.value, window))
        found = []
        for feature in self.features:
            since, change = self.moved.get((tenant.value, feature), (2**62, ""))
            off = since < window.end
            found.append(
                Cell(
                    tenant=tenant.value, model=model, version=1,
                    kind=IncidentKind.SCORES if feature == "score" else IncidentKind.INPUTS, feature=feature,
                    window=window, p_value=1e-40 if off else 0.5, effect=3.0 if off else 0.1,
                    change=change if off else "none", rows=2_000, enough=True,
                    sentence=f"values are {change} than in training (KS 0.30)" if off else "as in training",
                )
            )  # fmt: skip
        return found

    def of(self, tenant: TenantId, model: str) -> MonitorSpec:
        """See `Policies`."""
        return self.declared.get((tenant.value, model)) or MonitorSpec(name=model)

    def everybody(self) -> dict[tuple[str, str], MonitorSpec]:
        """See `Policies`."""
        return self.declared

    def current(self, tenant: TenantId | None) -> Known:
        """See `Releases`."""
        return Known()

    def history(self, tenant: TenantId, model: str) -> Known:
        """See `Releases`."""
        return Known(tuple(one for one in self.made if (one.tenant, one.model) == (tenant.value, model)))


@dataclass
class MemoryOutbox:
    """`Outbox` in memory: what is due is given out once, and again when it is settled so."""

    waiting: list[tuple[int, Delivery]] = field(default_factory=list)
    settled: list[Outcome] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    """A `MemoryRounds`' own, to be read there."""

    def claim(self, now: int, lease: int, limit: int) -> list[Delivery]:
        """See the port."""
        due = [pair for pair in self.waiting if pair[0] <= now][:limit]
        self.waiting = [pair for pair in self.waiting if pair not in due]
        return [delivery for _, delivery in due]

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """See the port."""
        self.settled.append(outcome)
        self.moments += of_delivery(delivery, outcome)
        if outcome.again_at is not None:
            again = Delivery(
                delivery.id,
                delivery.tenant,
                delivery.webhook,
                delivery.items,
                delivery.created_at,
                delivery.attempts + 1,
            )
            self.waiting.append((outcome.again_at, again))
