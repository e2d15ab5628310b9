"""From the cells of a round to incidents: opened, grown, found to be common, closed."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.incidents.discovery import discover
from services.monitor.domain.incidents.words import (
    Cell,
    Event,
    Happened,
    Incident,
    IncidentKind,
    IncidentPolicy,
    Key,
    Member,
    Severity,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_TOGETHER = {IncidentKind.INPUTS: "shift", IncidentKind.SCORES: "shift"}
"""Inputs and the scores that follow them are one thing; every other kind is a thing of its own."""
_GRAVE = {IncidentKind.QUALITY, IncidentKind.SKEW}
_BY_SIZE = {IncidentKind.INPUTS, IncidentKind.OPERATIONS}
_CALLERS_FEEL, _SHADOW = ("errors", "traffic"), " (shadow)"

Moved = tuple[IncidentKind, str, str]
"""What moved, the same for all tenants: kind, feature, and the side it moved to (empty: no side)."""
SeenBy = dict[tuple[IncidentKind, str], set[str]]
"""Which tenants have a feature."""


class Ledger:
    """The incidents that are open (or closed a short while ago), through one round."""

    def __init__(
        self, incidents: Iterable[Incident], policy: IncidentPolicy, *, now: int, new_id: Callable[[], str],
        important: Callable[[str, str], bool] = lambda _tenant, _model: False,
    ) -> None:  # fmt: skip
        self._policy, self._now, self._new_id, self._important = policy, now, new_id, important
        self._all = {one.id: one for one in incidents}
        self.changed: dict[str, Incident] = {}
        self._news: dict[tuple[str, Event], set[str]] = defaultdict(set)
        self._joined: dict[str, set[Key]] = defaultdict(set)
        self._recent: dict[tuple[IncidentKind, str], list[tuple[Incident, Member]]] = {}
        """Members of single tenants' incidents of a short while ago, by what moved."""

    @property
    def incidents(self) -> list[Incident]:
        """Those it began with, and those of this round."""
        return list(self._all.values())

    @property
    def happened(self) -> list[Happened]:
        """What is news, in the order of incidents. Who was told that an incident opened is not told that it grew."""
        found = []
        for (key, event), tenants in self._news.items():
            told = self._news.get((key, Event.OPENED), set()) if event in (Event.GREW, Event.WORSENED) else set()
            if left := tenants - told:
                joined = sorted(self._joined[key]) if event is Event.GREW else ()
                found.append(Happened(event, self._all[key], tuple(sorted(left)), tuple(joined)))
        return found

    def step(self, cells: Sequence[Cell], level: float) -> None:
        """Take in a round."""
        open_members = self._open_members()
        fresh, followed = [], defaultdict[str, list[Cell]](list)
        for cell in cells:
            incident = open_members.get((cell.kind, cell.key))
            if incident is None:
                fresh.append(cell)
            else:
                followed[incident.id].append(cell)
        for key, again in followed.items():
            # Of 200 members some look moved by chance in every window: that one still is, is asked of all of them at once.
            still_p = self._policy.still_p / len(again)
            for cell in again:
                self._follow(self._all[key], cell, still_p)
        found = _discoveries(fresh, level)
        if found:
            self._place(found, _seen_by(cells))
        self._close_what_is_over()

    def end_silent(self, last_seen: Callable[[str, str], int | None], older_than: int) -> None:
        """Close incidents of models that answer no more: nothing says that they are over, and nothing will."""
        for incident in self._open():
            times = [last_seen(one.tenant, one.model) for one in incident.members.values()]
            if all(time is None or time < older_than for time in times):
                self._close(incident, "no more predictions: nothing says that it is over")

    # --- what is open

    def _open(self) -> list[Incident]:
        return [one for one in self._all.values() if one.state is State.OPEN]

    def _open_members(self) -> dict[tuple[IncidentKind, Key], Incident]:
        return {
            (member.kind, key): incident
            for incident in self._open()
            for key, member in incident.members.items()
            if not member.over
        }

    def _follow(self, incident: Incident, cell: Cell, still_p: float) -> None:
        member = incident.members[cell.key]
        policy = self._policy
        still = (cell.p_value is None or cell.p_value <= still_p) and cell.effect >= policy.still_effect
        if still:
            member.quiet, member.seen_until = 0, cell.window.end
            member.p_value, member.effect, member.rows = cell.p_value, cell.effect, cell.rows
            member.sentence, member.hint, member.version = cell.sentence, cell.hint, cell.version
            self._grade(incident)
        elif cell.enough:
            member.quiet += 1
            member.over = member.quiet >= policy.quiet_of(member.kind)
        else:
            return
        self._touch(incident)

    def _close_what_is_over(self) -> None:
        for incident in self._open():
            if all(member.over for member in incident.members.values()):
                looks = self._policy.quiet_of(incident.kind)
                usual = incident.kind is IncidentKind.OPERATIONS
                self._close(
                    incident,
                    f"as usual {looks} times in a row" if usual else f"as in training for {looks} windows in a row",
                )

    def _close(self, incident: Incident, reason: str) -> None:
        incident.state, incident.closed_at, incident.close_reason = State.CLOSED, self._now, reason
        self._touch(incident)
        self._tell(Event.CLOSED, incident, incident.tenants)

    # --- what is new

    def _place(self, found: list[Cell], seen_by: SeenBy) -> None:
        self._recent = self._recent_members()
        moved = _by_side(found)
        own: list[Cell] = []
        common: dict[Moved, list[Cell]] = {}
        for what, cells in moved.items():
            if (known := self._common_with(what)) is not None:
                self._join(known, cells)
            elif self._is_common(what, cells, seen_by):
                common[what] = cells
            else:
                own += cells
        for group in self._clusters(common):
            self._open_common(group, common, seen_by)
        mine = self._by_owner()
        for cell in own:
            self._place_own(cell, mine)

    def _is_common(self, what: Moved, cells: list[Cell], seen_by: SeenBy) -> bool:
        tenants = {cell.tenant for cell in cells} | {member.tenant for _, member in self._alike(what)}
        looked_at = seen_by[what[0], what[1]] | tenants
        return len(tenants) >= max(self._policy.common_tenants, math.ceil(self._policy.common_share * len(looked_at)))

    def _alike(self, what: Moved) -> list[tuple[Incident, Member]]:
        """Members of single tenants' incidents that moved the same way a short while ago."""
        kind, feature, side = what
        return [pair for pair in self._recent.get((kind, feature), []) if _fits(_side(pair[1].change), side)]

    def _recent_members(self) -> dict[tuple[IncidentKind, str], list[tuple[Incident, Member]]]:
        since = self._now - self._policy.together
        found: dict[tuple[IncidentKind, str], list[tuple[Incident, Member]]] = defaultdict(list)
        for incident in self._open():
            if incident.scope == "tenant" and incident.opened_at >= since:
                for member in incident.members.values():
                    if not member.over:
                        found[member.kind, member.feature].append((incident, member))
        return found

    def _by_owner(self) -> dict[tuple[str, str, str], list[Incident]]:
        """Single tenants' incidents by tenant, model and what can be one thing; the open ones first."""
        found: dict[tuple[str, str, str], list[Incident]] = defaultdict(list)
        for incident in sorted(self._all.values(), key=lambda one: (one.state is not State.OPEN, -one.opened_at)):
            if incident.scope == "tenant":
                tenant, model, _ = next(iter(incident.members))
                found[tenant, model, _TOGETHER.get(incident.kind, incident.kind)].append(incident)
        return found

    def _common_with(self, what: Moved) -> Incident | None:
        for incident in self._open():
            if incident.scope == "common" and any(
                (one.kind, one.feature) == what[:2] and _fits(_side(one.change), what[2]) and not one.over
                for one in incident.members.values()
            ):
                return incident
        return None

    def _clusters(self, common: dict[Moved, list[Cell]]) -> list[list[Moved]]:
        """What moved for the same tenants has one cause: groups of features, each with the largest of its group first."""
        tenants = {
            what: {cell.tenant for cell in cells} | {member.tenant for _, member in self._alike(what)}
            for what, cells in common.items()
        }
        groups: list[list[Moved]] = []
        for what in sorted(common, key=lambda one: (-len(tenants[one]), one)):
            for group in groups:
                first = group[0]
                both = tenants[what] | tenants[first]
                same_kind = _TOGETHER.get(what[0], what[0]) == _TOGETHER.get(first[0], first[0])
                if same_kind and len(tenants[what] & tenants[first]) >= self._policy.overlap * len(both):
                    group.append(what)
                    break
            else:
                groups.append([what])
        return groups

    def _open_common(
        self, group: list[Moved], common: dict[Moved, list[Cell]], seen_by: SeenBy
    ) -> None:  # fmt: skip
        cells = [cell for what in group for cell in common[what]]
        earlier = [pair for what in group for pair in self._alike(what)]
        since = min([cell.window.start for cell in cells] + [member.since for _, member in earlier])
        incident = self._common_of(group, {cell.tenant for cell in cells}) or self._new("common", group[0][0], since)
        for old, member in earlier:
            incident.members[member.key] = member
            del old.members[member.key]
            self._touch(old)
            if not old.members:
                # What it was about is told where it went; the incident itself keeps one line of it.
                old.members[member.key] = member
                old.state, old.closed_at, old.merged_into = State.MERGED, self._now, incident.id
        for what in group:
            incident.tenants_looked_at = max(incident.tenants_looked_at, len(seen_by[what[0], what[1]]))
        incident.tenants_looked_at = max(incident.tenants_looked_at, len(incident.tenants))
        self._join(incident, cells)
        self._tell(Event.OPENED, incident, incident.tenants)

    def _common_of(self, group: list[Moved], tenants: set[str]) -> Incident | None:
        """A common incident of the same tenants that opened a short while ago: other features of the same cause."""
        kind = _TOGETHER.get(group[0][0], group[0][0])
        for incident in self._open():
            theirs = set(incident.tenants)
            if (
                incident.scope == "common"
                and _TOGETHER.get(incident.kind, incident.kind) == kind
                and incident.opened_at >= self._now - self._policy.together
                and len(tenants & theirs) >= self._policy.overlap * len(tenants | theirs)
            ):
                return incident
        return None

    def _place_own(self, cell: Cell, by_owner: dict[tuple[str, str, str], list[Incident]]) -> None:
        mine = by_owner[cell.tenant, cell.model, _TOGETHER.get(cell.kind, cell.kind)]
        for incident in mine:
            if incident.state is State.OPEN:
                return self._join(incident, [cell])
        for incident in mine:
            if (
                incident.state is State.CLOSED
                and cell.key in incident.members
                and (incident.closed_at or 0) >= self._now - self._policy.reopen_within
            ):
                incident.state, incident.closed_at, incident.close_reason = State.OPEN, None, ""
                incident.reopened += 1
                self._take(incident, cell)
                return self._tell(Event.REOPENED, incident, [cell.tenant])
        incident = self._new("tenant", cell.kind, cell.window.start)
        self._take(incident, cell)
        mine.insert(0, incident)
        return self._tell(Event.OPENED, incident, [cell.tenant])

    def _join(self, incident: Incident, cells: list[Cell]) -> None:
        before = {key for key, one in incident.members.items() if not one.over}
        for cell in cells:
            self._take(incident, cell)
        joined = {cell.key for cell in cells if cell.key not in before}
        incident.tenants_looked_at = max(incident.tenants_looked_at, len(incident.tenants))
        if joined:
            self._joined[incident.id] |= joined
            self._tell(Event.GREW, incident, {tenant for tenant, _, _ in joined})

    def _take(self, incident: Incident, cell: Cell) -> None:
        incident.members[cell.key] = Member(
            tenant=cell.tenant, model=cell.model, version=cell.version, kind=cell.kind, feature=cell.feature,
            change=cell.change, since=cell.window.start, seen_until=cell.window.end, p_value=cell.p_value,
            effect=cell.effect, rows=cell.rows, sentence=cell.sentence, hint=cell.hint,
        )  # fmt: skip
        if cell.kind is IncidentKind.INPUTS and incident.kind is IncidentKind.SCORES:
            incident.kind = IncidentKind.INPUTS
        self._grade(incident)
        self._touch(incident)

    # --- bookkeeping

    def _new(self, scope: str, kind: IncidentKind, since: int) -> Incident:
        incident = Incident(
            id=self._new_id(), scope="common" if scope == "common" else "tenant", kind=kind, since=since,
            opened_at=self._now, updated_at=self._now,
        )  # fmt: skip
        self._all[incident.id] = incident
        return incident

    def _grade(self, incident: Incident) -> None:
        """An incident becomes critical, never less while it is open: what was grave is looked at until it is over."""
        if incident.severity is Severity.CRITICAL:
            return
        if any(
            one.kind in _GRAVE
            or (
                one.kind in _BY_SIZE
                and one.effect >= self._policy.critical_effect
                and not one.feature.endswith(_SHADOW)
            )
            or (one.kind is IncidentKind.OPERATIONS and one.feature in _CALLERS_FEEL)
            or self._important(one.tenant, one.model)
            for one in incident.members.values()
        ):
            incident.severity = Severity.CRITICAL
            if incident.opened_at < self._now:
                self._tell(Event.WORSENED, incident, incident.tenants)

    def _touch(self, incident: Incident) -> None:
        incident.updated_at = self._now
        self.changed[incident.id] = incident

    def _tell(self, event: Event, incident: Incident, tenants: Iterable[str]) -> None:
        self._news[incident.id, event] |= set(tenants)


def _side(change: str) -> str:
    return change if change in ("higher", "lower") else ""


def _fits(one: str, other: str) -> bool:
    """Whether two sides can be one movement: only higher and lower cannot."""
    return not one or not other or one == other


def _by_side(cells: list[Cell]) -> dict[Moved, list[Cell]]:
    """Cells by what moved; what moved to no side is counted with the side most tenants moved to."""
    by_feature: dict[tuple[IncidentKind, str], dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        by_feature[cell.kind, cell.feature][_side(cell.change)].append(cell)
    found: dict[Moved, list[Cell]] = {}
    for (kind, feature), sides in by_feature.items():
        most = max(sides, key=lambda side: (len(sides[side]) if side else 0, side))
        sides[most] += sides.pop("", []) if most else []
        for side, some in sides.items():
            found[kind, feature, side] = some
    return found


def _discoveries(cells: list[Cell], level: float) -> list[Cell]:
    tested = [cell for cell in cells if cell.p_value is not None]
    found = discover(
        np.array([cell.p_value for cell in tested], dtype=np.float64),
        np.array([cell.effect for cell in tested], dtype=np.float64),
        level,
    )
    certain = [cell for cell in cells if cell.p_value is None and cell.effect >= 1.0]
    return certain + [cell for cell, yes in zip(tested, found.tolist(), strict=True) if yes]


def _seen_by(cells: Sequence[Cell]) -> SeenBy:
    """Which tenants have a feature."""
    found: SeenBy = defaultdict(set)
    for cell in cells:
        found[cell.kind, cell.feature].add(cell.tenant)
    return found
