"""The words of incidents: what was found in one window (cells), and what is told of it until it is over (incidents)."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tenon.core.specs.monitor import IncidentKind as IncidentKind  # noqa: PLC0414 - a word of this module, too
from tenon.core.specs.monitor import Severity as Severity  # noqa: PLC0414

if TYPE_CHECKING:
    from services.monitor.domain.model import Window

Key = tuple[str, str, str]
"""Tenant, model and feature."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One question of one window: is this feature of this tenant's model still as it was?

    `p_value` is the test's, not adjusted for anything; None where there is no chance in it (a value that differs from
    what training would have given it). `effect` is in units of the size from which it matters. `change` says in one word
    where to (higher, lower, missing, …), so that tenants that moved the same way can be told from others.
    """

    tenant: str
    model: str
    version: int
    kind: IncidentKind
    feature: str
    window: Window
    p_value: float | None
    effect: float
    change: str
    rows: int
    enough: bool
    sentence: str
    hint: str = ""

    @property
    def key(self) -> Key:
        """Whose and which."""
        return self.tenant, self.model, self.feature

    def times(self, count: int) -> Cell:
        """The least of so many p-values (Bonferroni)."""
        return dataclasses.replace(self, p_value=None if self.p_value is None else min(1.0, self.p_value * count))


class State(enum.StrEnum):
    """What became of an incident."""

    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"  # found to be part of one that is common to several tenants


@dataclass(slots=True)
class Member:
    """One feature of one tenant's model in an incident. Times are microseconds since the epoch."""

    tenant: str
    model: str
    version: int
    kind: IncidentKind
    feature: str
    change: str
    since: int
    seen_until: int
    p_value: float | None
    effect: float
    rows: int
    sentence: str
    hint: str = ""
    quiet: int = 0
    """Windows in a row in which it was as in training."""
    over: bool = False

    @property
    def key(self) -> Key:
        """Whose and which."""
        return self.tenant, self.model, self.feature


@dataclass(slots=True)
class Incident:
    """Something that is going on, from when, for whom, on what evidence."""

    id: str
    scope: Literal["tenant", "common"]
    kind: IncidentKind
    since: int
    opened_at: int
    updated_at: int
    members: dict[Key, Member] = field(default_factory=dict)
    state: State = State.OPEN
    severity: Severity = Severity.WARNING
    closed_at: int | None = None
    close_reason: str = ""
    merged_into: str = ""
    reopened: int = 0
    causes: tuple[str, ...] = ()
    tenants_looked_at: int = 1
    """How many tenants have what moved: `common` to 180 of 200."""

    @property
    def tenants(self) -> list[str]:
        """Whose models are in it."""
        return sorted({one.tenant for one in self.members.values()})

    @property
    def features(self) -> list[str]:
        """What moved, the worst first; scores, which follow inputs, last."""
        worst: dict[tuple[bool, str], float] = {}
        for one in self.members.values():
            key = (one.kind is IncidentKind.SCORES, one.feature)
            worst[key] = max(worst.get(key, 0.0), one.effect)
        return [name for _, name in sorted(worst, key=lambda key: (key[0], -worst[key], key[1]))]

    @property
    def worst(self) -> Member:
        """The member with the largest effect; what is not over goes first, and scores, which follow inputs, last."""
        return max(
            self.members.values(),
            key=lambda one: (not one.over, one.kind is not IncidentKind.SCORES, one.effect, one.feature),
        )


class Event(enum.StrEnum):
    """What happened to an incident in a round."""

    OPENED = "opened"
    GREW = "grew"  # another feature or tenant joined
    WORSENED = "worsened"  # it is critical now
    MERGED = "merged"
    REOPENED = "reopened"
    CLOSED = "closed"
    REMINDER = "reminder"


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, for whom it is news. `tenants` is who joined, or everybody concerned."""

    event: Event
    incident: Incident
    tenants: tuple[str, ...]
    joined: tuple[Key, ...] = ()
    """Of an incident that grew: what is new in it."""


class Deed(enum.StrEnum):
    """What people did about an incident, and what became of the messages about it."""

    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    WOKEN = "woken"
    TOLD = "told"
    NOT_TOLD = "not_told"  # given up


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of an incident's history, as one reader may know it: a tenant, or with `tenant` empty the operator."""

    incident_id: str
    tenant: str
    at: int
    event: str
    """An `Event` or a `Deed`."""
    who: str = ""
    """The person, or the webhook."""
    text: str = ""
    until: int | None = None
    """Snoozed until then."""


@dataclass(frozen=True, slots=True)
class Note:
    """Who acknowledged or snoozed an incident, for themselves: `tenant` is empty for the operator."""

    incident_id: str
    tenant: str
    who: str
    at: int
    until: int | None
    """Snoozed until then; None: acknowledged until it is over."""
    text: str = ""

    def holds(self, now: int) -> bool:
        """Whether it keeps notifications back."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class IncidentPolicy:
    """When an incident is opened, when it is common, and when it is over."""

    false_discovery_rate: float = 0.05
    """Of the incidents opened in one `period`, the share that is expected to be false at most."""
    period: int = 30 * 86_400_000_000
    together: int = 86_400_000_000
    """Tenants that moved within this time moved together."""
    common_tenants: int = 3
    common_share: float = 0.1
    """Common is what at least so many tenants, and this share of those that have the feature, share."""
    overlap: float = 0.5
    """Features whose tenants are the same by this share (Jaccard) have one cause."""
    still_p: float = 0.05
    """Shared out over the members of an incident that a round looks at."""
    still_effect: float = 0.5
    """An open incident goes on while a window shows at least this; it takes less than opening one (hysteresis)."""
    quiet_windows: int = 2
    quiet_ticks: int = 6
    """The same of operations, which are looked at every five minutes: so many good looks in a row."""
    operations_share: float = 0.2
    """Of the false discovery rate, what operations may spend."""
    reopen_within: int = 86_400_000_000
    critical_effect: float = 5.0

    def quiet_of(self, kind: IncidentKind) -> int:
        """So many good looks in a row end it."""
        return self.quiet_ticks if kind is IncidentKind.OPERATIONS else self.quiet_windows
