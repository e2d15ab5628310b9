"""What the use cases of incidents need from the outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.monitor.domain.incidents.words import Cell, Incident, Moment, Note, State
    from services.monitor.domain.log.operations import Operated
    from services.monitor.domain.model import Role, Window
    from tenon.core.tenancy import TenantId


@dataclass(frozen=True, slots=True)
class Round:
    """Where the last round ended. A replica that commits a round that another one has committed changes nothing."""

    number: int
    at: int | None
    cursors: Mapping[tuple[str, str], int]
    """Until when each tenant's model has been looked at."""
    incidents: Sequence[Incident]
    """The open ones, and those closed a short while ago."""
    told: Mapping[tuple[str, str], int]
    """When somebody was last told of an open incident: by incident and tenant (empty: the operator)."""
    notes: Sequence[Note] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What one webhook is to be told: the events of a round, in one message. `tenant` is empty for the operator."""

    tenant: str
    webhook: str
    due_at: int
    items: tuple[Mapping[str, Any], ...]
    incident_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a round changes, all of it or nothing."""

    at: int
    cursors: Mapping[tuple[str, str], int]
    incidents: Sequence[Incident]
    messages: Sequence[Message] = ()
    told_at: int = 0
    history: Sequence[Moment] = ()


class Rounds(Protocol):
    """Rounds of all replicas, one after the other."""

    def begin(self, closed_since: int) -> Round:
        """Where the last one ended."""
        ...

    def commit(self, before: Round, result: RoundResult) -> bool:
        """Keep a round; False when another replica was faster, then nothing is kept."""
        ...


class Incidents(Protocol):
    """Incidents as they are looked at."""

    def of_tenant(
        self, tenant: TenantId, *, model: str = "", states: Sequence[State] = (), limit: int = 100
    ) -> list[Incident]:  # fmt: skip
        """A tenant's, newest first, without anything of other tenants: members are its own only."""
        ...

    def of_all(self, *, states: Sequence[State] = (), limit: int = 100) -> list[Incident]:
        """Everybody's, newest first: for the operator."""
        ...

    def get(self, tenant: TenantId | None, incident_id: str) -> Incident | None:
        """One; a tenant's view of it unless `tenant` is None."""
        ...

    def notes(self, tenant: str, ids: Sequence[str]) -> dict[str, Note]:
        """Who acknowledged or snoozed what; `tenant` is empty for the operator's."""
        ...

    def put_note(self, note: Note) -> None:
        """Acknowledge or snooze, instead of what held before; the history keeps both."""
        ...

    def drop_note(self, note: Note) -> None:
        """Nothing holds any more of what `note.tenant` noted; the history keeps who took it back and when."""
        ...

    def history(self, tenant: str, incident_id: str, limit: int) -> list[Moment]:
        """The newest moments of one incident, the oldest first. A tenant gets its own; the operator (`tenant` empty) its
        own and what tenants' people did."""
        ...


@dataclass(frozen=True, slots=True)
class DidInHour:
    """What a version did in a role, in the hour that begins at `start`."""

    tenant: str
    model: str
    version: int
    role: Role
    start: int
    did: Operated


@dataclass(frozen=True, slots=True)
class LevelsInHour:
    """What its answers rested on: rows by level."""

    tenant: str
    model: str
    version: int
    role: Role
    start: int
    levels: Mapping[str, int]


class FleetOperations(Protocol):
    """What the predictors of all tenants told."""

    def totals(self, start: int, end: int, *, by_hours: bool) -> dict[tuple[str, str, int, Role], Operated]:
        """By tenant, model, version and role, of the minutes (or hours) that begin in [start, end)."""
        ...

    def hours(self, start: int, end: int) -> list[DidInHour]:
        """Hours that begin in [start, end)."""
        ...

    def requests(self, start: int, end: int) -> list[tuple[str, str, int, int]]:
        """Tenant, model, hour, and requests in it that were answered or failed; without shadows."""
        ...

    def levels(self, start: int, end: int) -> list[LevelsInHour]:
        """Of the hours that begin in [start, end): answers that have a level."""
        ...

    def active(self, since: int) -> set[tuple[str, str]]:
        """Models of which anything was told in hours that begin since then."""
        ...


class Examine(Protocol):
    """How one model's window compares with its training: a cell for each feature and the score."""

    def __call__(self, tenant: TenantId, model: str, window: Window) -> list[Cell]:
        """Empty when nothing can be said (no predictions, or no baseline to compare with)."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is due, as it is taken out of the outbox. `id` names it at the receiver, too."""

    id: int
    tenant: str
    webhook: str
    items: tuple[Mapping[str, Any], ...]
    created_at: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt. With `again_at` it is tried again then; otherwise it is done, or given up for `problem`."""

    sent: bool
    problem: str = ""
    again_at: int | None = None
    at: int = field(default=0)


class Outbox(Protocol):
    """Messages on their way."""

    def claim(self, now: int, lease: int, limit: int) -> list[Delivery]:
        """Messages that are due; nobody else gets them before the lease is over."""
        ...

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """Note what became of one. Told, or given up, is a moment of each incident in it."""
        ...
