"""What people do with incidents: look at them, say that they are at it, ask not to be told again for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.monitor.domain.incidents.history import moment_json
from services.monitor.domain.incidents.view import view
from services.monitor.domain.incidents.words import Incident, Note, State
from tenon.core.errors import Invalid, NotFound, Place, Precondition

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.incidents.ports import Incidents
    from tenon.core.tenancy import TenantId

LONGEST_SNOOZE = 90 * 86_400_000_000
MOST = 500
MOMENTS = 200
"""The newest of an incident's history."""
STATES: dict[str, tuple[State, ...]] = {
    "open": (State.OPEN,),
    "closed": (State.CLOSED, State.MERGED),
    "all": (),
}


class HandleIncidents:
    """The use cases behind every door. `tenant` None is the operator, who sees all of all."""

    def __init__(self, incidents: Incidents, now: Callable[[], int], docs_url: str = "") -> None:
        self._incidents, self._now, self._docs_url = incidents, now, docs_url

    def list(
        self, tenant: TenantId | None, *, state: str = "open", model: str = "", limit: int = 100
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Incidents, newest first, the critical ones before the others."""
        if state not in STATES:
            raise Invalid(
                "REQUEST_INVALID", f"state {state[:40]!r} is not known", place=Place(field="state"),
                hint=f"choose from {', '.join(STATES)}",
            )  # fmt: skip
        if tenant is None:
            found = self._incidents.of_all(states=STATES[state], limit=limit)
        else:
            found = self._incidents.of_tenant(tenant, model=model, states=STATES[state], limit=limit)
        notes = self._incidents.notes(_name(tenant), [one.id for one in found])
        found.sort(key=lambda one: (one.state is not State.OPEN, one.severity != "critical", -one.opened_at))
        return [
            view(one, self._holding(notes.get(one.id)), tenant=_name(tenant), docs_url=self._docs_url) for one in found
        ]

    def show(self, tenant: TenantId | None, incident_id: str) -> dict[str, Any]:
        """One. Raises `NotFound`, for another tenant's as well."""
        found = self._find(tenant, incident_id)
        note = self._incidents.notes(_name(tenant), [found.id]).get(found.id)
        return self._whole(tenant, found, self._holding(note))

    def acknowledge(self, tenant: TenantId | None, incident_id: str, who: str, text: str = "") -> dict[str, Any]:
        """Somebody is at it: no reminders, only when it gets worse and when it is over."""
        return self._note(tenant, incident_id, who, None, text)

    def snooze(
        self, tenant: TenantId | None, incident_id: str, who: str, until: int, text: str = ""
    ) -> dict[str, Any]:  # fmt: skip
        """Nothing of it until then."""
        now = self._now()
        if not now < until <= now + LONGEST_SNOOZE:
            raise Invalid(
                "SNOOZE_INVALID", "an incident can be snoozed until a time in the next 90 days",
                place=Place(field="until"), hint="send {\"for\": \"2h\"} or {\"until\": \"2026-12-01T08:00:00Z\"}",
            )  # fmt: skip
        return self._note(tenant, incident_id, who, until, text)

    def wake(self, tenant: TenantId | None, incident_id: str, who: str, text: str = "") -> dict[str, Any]:
        """Take an acknowledgement or a snooze back."""
        found = self._find(tenant, incident_id)
        note = self._incidents.notes(_name(tenant), [found.id]).get(found.id)
        if note is not None:
            self._incidents.drop_note(Note(found.id, _name(tenant), who[:200], self._now(), None, text[:2000]))
        return self._whole(tenant, found, None)

    def _note(
        self, tenant: TenantId | None, incident_id: str, who: str, until: int | None, text: str
    ) -> dict[str, Any]:  # fmt: skip
        found = self._find(tenant, incident_id)
        if found.state is not State.OPEN:
            raise Precondition(
                "INCIDENT_NOT_OPEN", f"incident {found.id} is {found.state.value}",
                hint=f"it is part of {found.merged_into} now" if found.merged_into else None,
            )  # fmt: skip
        note = Note(found.id, _name(tenant), who[:200], self._now(), until, text[:2000])
        self._incidents.put_note(note)
        return self._whole(tenant, found, note)

    def _whole(self, tenant: TenantId | None, found: Incident, note: Note | None) -> dict[str, Any]:
        """With its history."""
        kept = self._incidents.history(_name(tenant), found.id, MOMENTS)
        shown = view(found, note, tenant=_name(tenant), docs_url=self._docs_url)
        return shown | {"history": [moment_json(one, _name(tenant)) for one in kept]}

    def _find(self, tenant: TenantId | None, incident_id: str) -> Incident:
        found = self._incidents.get(tenant, incident_id[:32])
        if found is None:
            whose = "" if tenant is None else f" of tenant {tenant.value!r}"
            raise NotFound(
                "INCIDENT_NOT_FOUND", f"there is no incident {incident_id[:40]!r}{whose}",
                place=Place(field="incident"),
            )  # fmt: skip
        return found

    def _holding(self, note: Note | None) -> Note | None:
        return note if note is not None and note.holds(self._now()) else None


def _name(tenant: TenantId | None) -> str:
    return "" if tenant is None else tenant.value
