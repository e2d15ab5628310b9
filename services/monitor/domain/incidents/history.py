"""An incident's history: what is kept of a round, and how it is read. A line belongs to one reader, who may know all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.monitor.domain.incidents.view import for_tenant, title
from services.monitor.domain.incidents.words import Deed, Event, Incident, Moment, Note, State
from tenon.core.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.monitor.domain.incidents.ports import Delivery, Outcome
    from services.monitor.domain.incidents.words import Happened, Key

OPERATOR = ""
_NAMED = 4
_LONGEST = 2_000


def of_round(news: Sequence[Happened], changed: Iterable[Incident], now: int) -> list[Moment]:
    """What a round is remembered by: its news, and incidents that became part of another."""
    found: list[Moment] = []
    for one in news:
        found += [
            Moment(one.incident.id, reader, now, one.event.value, text=_text(one, reader)[:_LONGEST])
            for reader in (OPERATOR, *one.tenants)
        ]
    for incident in changed:
        if incident.state is State.MERGED:
            text = f"part of {incident.merged_into} now"
            found += [
                Moment(incident.id, reader, now, Event.MERGED.value, text=text)
                for reader in (OPERATOR, *incident.tenants)
            ]
    return found


def of_note(note: Note, *, taken_back: bool = False) -> Moment:
    """What somebody did."""
    deed = Deed.WOKEN if taken_back else Deed.ACKNOWLEDGED if note.until is None else Deed.SNOOZED
    return Moment(note.incident_id, note.tenant, note.at, deed.value, note.who, note.text, note.until)


def of_delivery(delivery: Delivery, outcome: Outcome) -> list[Moment]:
    """A message that arrived, or was given up, for each incident in it; nothing of one that is tried again."""
    if not outcome.sent and outcome.again_at is not None:
        return []
    deed = Deed.TOLD if outcome.sent else Deed.NOT_TOLD
    events: dict[str, list[str]] = {}
    for item in delivery.items:
        incident = item.get("incident")
        if incident is not None:
            events.setdefault(incident["id"], []).append(item["event"])
    return [
        Moment(
            key, delivery.tenant, outcome.at, deed.value, delivery.webhook,
            ", ".join(names) + ("" if outcome.sent else f": {outcome.problem}"[:_LONGEST]),
        )
        for key, names in events.items()
    ]  # fmt: skip


def moment_json(one: Moment, reader: str) -> dict[str, Any]:
    """As JSON data. `tenant` says whose people did it, where the operator reads."""
    shown: dict[str, Any] = {
        "at": rfc3339(one.at),
        "event": one.event,
        "who": one.who,
        "text": one.text,
        "until": None if one.until is None else rfc3339(one.until),
    }
    if not reader:
        shown["tenant"] = one.tenant or None
    return shown


def _text(one: Happened, reader: str) -> str:
    """What a reader is told of an event."""
    incident = one.incident if reader == OPERATOR else for_tenant(one.incident, reader)
    match one.event:
        case Event.GREW:
            return _joined([key for key in one.joined if reader in (OPERATOR, key[0])], names=reader == OPERATOR)
        case Event.CLOSED:
            return incident.close_reason
        case _:
            return title(incident)


def _joined(keys: Sequence[Key], *, names: bool) -> str:
    """What is new in an incident: features, and for the operator of how many tenants' models."""
    features = list(dict.fromkeys(feature for _, _, feature in keys))
    models = list(dict.fromkeys((f"{tenant}/{model}" if names else model) for tenant, model, _ in keys))
    return f"{_few(features)} of {_few(models)}"


def _few(texts: Sequence[str]) -> str:
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
