"""An incident as people and programs read it: the same at every door and in every message."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from services.monitor.domain.incidents.words import Incident, IncidentKind, Severity, State
from tenon.core.timestamps import rfc3339

if TYPE_CHECKING:
    from services.monitor.domain.incidents.words import Member, Note

DOCS = "docs/concepts/incidents.md"
_EVIDENCE = 50
_ADVICE: dict[IncidentKind, tuple[str, ...]] = {
    IncidentKind.INPUTS: (
        "look at the source of the columns first: a unit, a code list, a join that finds nothing",
        "if the change is real, train anew and release the version as a canary",
    ),
    IncidentKind.SCORES: (
        "look whether a release or a change of the inputs explains it; compare with the version before",
    ),
    IncidentKind.QUALITY: (
        "roll back if a release did it; otherwise train anew",
        "until then tell those who rely on the answers",
    ),
    IncidentKind.SKEW: ("do not trust this feature's online value: rebuild the view's online store and compare again",),
    IncidentKind.OPERATIONS: ("see the service's dashboard and its log; callers are told by status codes",),
    IncidentKind.CANARY: ("take the canary back, and look at what it answers differently",),
}


def for_tenant(incident: Incident, tenant: str) -> Incident:
    """What a tenant may know of an incident: its own members, and that it is common. No name and no number of others."""
    mine = {key: one for key, one in incident.members.items() if one.tenant == tenant}
    causes = incident.causes
    if incident.scope == "common":
        causes = ("common to several tenants: the operator looks at what they share", *_own_causes(incident, mine))
    return dataclasses.replace(incident, members=mine, causes=causes, tenants_looked_at=0)


def _own_causes(incident: Incident, mine: dict[tuple[str, str, str], Member]) -> tuple[str, ...]:
    hints = {one.hint for one in mine.values() if one.hint}
    return tuple(cause for cause in incident.causes if cause in hints)


def title(incident: Incident) -> str:
    """One line: what, of which model, how bad."""
    if not incident.members:
        return f"{incident.kind.value}: nothing of it is yours any more"
    worst = incident.worst
    features = incident.features
    more = f" and {len(features) - 1} more" if len(features) > 1 else ""
    models = sorted({one.model for one in incident.members.values()})
    of = models[0] if len(models) == 1 else f"{len(models)} models"
    if incident.kind is IncidentKind.QUALITY:
        return f"{of} answers worse than on its test"
    if incident.kind is IncidentKind.SCORES:
        return f"the answers of {of} are not as they were"
    if incident.kind is IncidentKind.SKEW:
        return f"{of} is served other values than training gives"
    if incident.kind is IncidentKind.INPUTS:
        return f"{worst.feature}{more} of {of}: {worst.sentence.partition(' (')[0].partition(';')[0]}"
    return f"{of}: {worst.sentence}"


def view(incident: Incident, note: Note | None = None, *, tenant: str = "", docs_url: str = "") -> dict[str, Any]:
    """As JSON data: a tenant's view, or with `tenant` empty the operator's. Open members go first."""
    shown = for_tenant(incident, tenant) if tenant else incident
    members = sorted(shown.members.values(), key=lambda one: (one.over, -one.effect, one.tenant, one.feature))
    models = sorted({one.model for one in members})
    data: dict[str, Any] = {
        "id": shown.id,
        "title": title(shown),
        "state": shown.state.value,
        "severity": shown.severity.value,
        "kind": shown.kind.value,
        "common": shown.scope == "common",
        "tenant": members[0].tenant if members and (tenant or shown.scope == "tenant") else None,
        "models": models,
        "features": shown.features,
        "since": rfc3339(shown.since),
        "opened_at": rfc3339(shown.opened_at),
        "updated_at": rfc3339(shown.updated_at),
        "closed_at": None if shown.closed_at is None else rfc3339(shown.closed_at),
        "close_reason": shown.close_reason,
        "merged_into": shown.merged_into,
        "reopened": shown.reopened,
        "causes": list(shown.causes),
        "advice": list(_ADVICE[shown.kind]) if shown.state is State.OPEN else [],
        "evidence": [_evidence(one) for one in members[:_EVIDENCE]],
        "evidence_left_out": max(0, len(members) - _EVIDENCE),
        "note": None if note is None else note_json(note),
        "docs": f"{docs_url}{DOCS}#{shown.kind.value}",
    }
    if not tenant:
        data["tenants"] = shown.tenants
        data["tenants_looked_at"] = shown.tenants_looked_at
    return data


def note_json(note: Note) -> dict[str, Any]:
    """Who said what until when."""
    return {
        "action": "acknowledged" if note.until is None else "snoozed",
        "who": note.who,
        "at": rfc3339(note.at),
        "until": None if note.until is None else rfc3339(note.until),
        "text": note.text,
    }


def is_critical(incident: Incident) -> bool:
    """Whether it is told at night, too."""
    return incident.severity is Severity.CRITICAL


def _evidence(one: Member) -> dict[str, Any]:
    return {
        "tenant": one.tenant,
        "model": one.model,
        "version": one.version,
        "feature": one.feature,
        "change": one.change,
        "since": rfc3339(one.since),
        "seen_until": rfc3339(one.seen_until),
        "rows": one.rows,
        "p_value": one.p_value,
        "effect": one.effect,
        "sentence": one.sentence,
        "hint": one.hint,
        "over": one.over,
    }
