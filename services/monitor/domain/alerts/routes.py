"""Who is told of what, where and when: routes, quiet hours, snoozes, reminders."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from services.monitor.domain.incidents.ports import Message
from services.monitor.domain.incidents.view import for_tenant, is_critical, view
from services.monitor.domain.incidents.words import Event, Happened, Severity, State
from tenon.core.specs import MonitorSpec
from tenon.core.timestamps import datetime_from_micros, micros_from_datetime, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.monitor.domain.incidents.words import Incident, Note
    from tenon.core.specs.monitor import Quiet

OPERATOR = ""
"""The operator among tenants' names."""
_REMIND_OPERATOR = 86_400_000_000
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class OperatorHook:
    """A webhook of the operator: told of everybody's incidents from a severity on."""

    name: str
    severity: Severity = Severity.WARNING


class _Batch:
    """Messages of one round: one per listener and time, however many incidents."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str, int], list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)

    def add(self, tenant: str, webhook: str, due_at: int, event: Event, incident: Incident) -> None:
        """One event for one listener."""
        item = {"event": event.value, "incident": view(incident, tenant=tenant)}
        self._items[tenant, webhook, due_at].append((incident.id, item))

    def messages(self) -> list[Message]:
        """What is to be sent."""
        return [
            Message(tenant, webhook, due_at, tuple(item for _, item in items), tuple(key for key, _ in items))
            for (tenant, webhook, due_at), items in self._items.items()
        ]


def compose(
    incidents: Iterable[Incident], news: Sequence[Happened], declared: Mapping[tuple[str, str], MonitorSpec],
    hooks: Sequence[OperatorHook], told: Mapping[tuple[str, str], int], notes: Sequence[Note], now: int,
) -> list[Message]:  # fmt: skip
    """The messages of a round: its news, and reminders of what is open and nobody has taken on."""
    batch = _Batch()
    held = {(note.incident_id, note.tenant): note for note in notes}
    fresh: set[tuple[str, str]] = set()
    for one in news:
        for tenant in (OPERATOR, *one.tenants):
            fresh.add((one.incident.id, tenant))
            if not _held_back(held.get((one.incident.id, tenant)), one.event, now):
                _tell(batch, one.event, one.incident, tenant, declared, hooks, now)
    for incident in incidents:
        if incident.state is not State.OPEN:
            continue
        for tenant in (OPERATOR, *incident.tenants):
            last = told.get((incident.id, tenant))
            if last is None or (incident.id, tenant) in fresh:
                continue
            note = held.get((incident.id, tenant))
            woken = note is not None and note.until is not None and note.until <= now and last < note.until
            if (woken or now - last >= _remind_after(incident, tenant, declared)) and not _held_back(
                note, Event.REMINDER, now
            ):
                _tell(batch, Event.REMINDER, incident, tenant, declared, hooks, now)
    return batch.messages()


def _tell(
    batch: _Batch, event: Event, incident: Incident, tenant: str, declared: Mapping[tuple[str, str], MonitorSpec],
    hooks: Sequence[OperatorHook], now: int,
) -> None:  # fmt: skip
    if tenant == OPERATOR:
        for hook in hooks:
            if is_critical(incident) or hook.severity is not Severity.CRITICAL:
                batch.add(OPERATOR, hook.name, now, event, incident)
        return
    alerts = _policy(incident, tenant, declared).alerts
    due_at = now
    if alerts.quiet is not None and not is_critical(incident):
        due_at = quiet_until(alerts.quiet, now)
    for webhook in alerts.webhooks_for(incident.severity, incident.kind):
        batch.add(tenant, webhook, due_at, event, incident)


def _policy(incident: Incident, tenant: str, declared: Mapping[tuple[str, str], MonitorSpec]) -> MonitorSpec:
    mine = for_tenant(incident, tenant)
    model = mine.worst.model if mine.members else "unknown"
    return declared.get((tenant, model)) or MonitorSpec(name=model)


def _remind_after(incident: Incident, tenant: str, declared: Mapping[tuple[str, str], MonitorSpec]) -> float:
    if tenant == OPERATOR:
        return _REMIND_OPERATOR
    remind = _policy(incident, tenant, declared).alerts.remind
    return float("inf") if remind is None else parse_duration(remind)


def _held_back(note: Note | None, event: Event, now: int) -> bool:
    """An acknowledgement holds everything back but worse news and the end; a snooze all of it, until its time."""
    if note is None or not note.holds(now):
        return False
    return note.until is not None or event not in (Event.WORSENED, Event.CLOSED)


def quiet_until(quiet: Quiet, now: int) -> int:
    """When quiet hours are over, as microseconds; `now` if there are none now.

    >>> from tenon.core.specs.monitor import Quiet
    >>> night = Quiet(start="20:00", end="07:00")
    >>> quiet_until(night, 0) // 3_600_000_000  # midnight
    7
    """
    zone = ZoneInfo(quiet.timezone)
    start, end = time.fromisoformat(quiet.start), time.fromisoformat(quiet.end)
    moment = datetime_from_micros(now).astimezone(zone)
    # A weekend may end in a night, and a night in a weekend.
    for _ in range(4):
        later = _end_of_quiet(moment, start, end, weekend=quiet.weekend)
        if later is None:
            break
        moment = later
    return max(now, micros_from_datetime(moment))


def _end_of_quiet(moment: datetime, start: time, end: time, *, weekend: bool) -> datetime | None:
    if weekend and moment.weekday() >= _SATURDAY:
        monday = moment.date() + timedelta(days=7 - moment.weekday())
        return datetime.combine(monday, time(), moment.tzinfo)
    clock = moment.time().replace(tzinfo=None)
    if start < end:
        inside, day = start <= clock < end, moment.date()
    else:
        inside, day = clock >= start or clock < end, moment.date() + timedelta(days=int(clock >= start))
    return datetime.combine(day, end, moment.tzinfo) if inside else None
