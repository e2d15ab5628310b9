"""Messages as chats show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.monitor.domain.incidents.ports import Delivery

_WORDS = {
    "opened": "New incident", "grew": "More is affected", "worsened": "Now critical", "merged": "Part of a common one",
    "reopened": "Back again", "closed": "Over", "reminder": "Still open",
}  # fmt: skip
_SIGNS = {"critical": "🔴", "warning": "🟠", "closed": "🟢"}
_LONGEST = 2_900
"""Slack takes 3,000 characters in a section."""
_MOST = 20


def slack_body(delivery: Delivery) -> dict[str, Any]:
    """A message for Slack, and for chats that take its format (Mattermost, Rocket.Chat, Zulip).

    Text from data (names of levels, of people) is escaped: it can neither mention a channel nor hide a link.
    """
    parts = [_paragraph(item) for item in delivery.items[:_MOST]]
    if len(delivery.items) > _MOST:
        parts.append(f"… and {len(delivery.items) - _MOST} more: `tenon incidents list`")
    headline = parts[0].partition("\n")[0] if len(delivery.items) == 1 else f"{len(delivery.items)} incidents"
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": part[:_LONGEST]}} for part in parts]
    return {"text": headline, "blocks": blocks}


def json_body(delivery: Delivery) -> dict[str, Any]:
    """A message for programs: the same incidents that the API gives."""
    return {
        "schema": "tenon.alerts.v1",
        "id": delivery.id,
        "tenant": delivery.tenant or None,
        "created_at_us": delivery.created_at,
        "events": [dict(item) for item in delivery.items],
    }


def _paragraph(item: Any) -> str:
    incident = item["incident"]
    closed = incident["state"] != "open"
    sign = _SIGNS["closed" if closed else incident["severity"]]
    whose = incident["tenant"] or ("several tenants" if incident["common"] else "")
    lines = [f"{sign} *{_WORDS.get(item['event'], item['event'])}*: {_safe(incident['title'])} ({_safe(whose)})"]
    if closed:
        lines.append(_safe(incident["close_reason"]))
    else:
        lines += [f"since {incident['since'][:16]}Z, {incident['severity']}"]
        lines += [line for one in incident["evidence"][:3] if (line := _evidence(incident, one))]
        lines += [f"_why?_ {_safe(cause)}" for cause in incident["causes"][:2]]
        lines += [f"_do:_ {_safe(step)}" for step in incident["advice"][:1]]
        lines.append(f"`tenon incidents show {incident['id']}`")
    return "\n".join(lines)


def _evidence(incident: Any, one: Any) -> str:
    """One member of an incident; of several tenants' whose it is. Not what the title has said already."""
    if incident["tenant"] is None:
        return f"• {_safe(one['tenant'])}, {_safe(one['feature'])}: {_safe(one['sentence'])}"
    return "" if one["sentence"] in incident["title"] else f"• {_safe(one['feature'])}: {_safe(one['sentence'])}"


def _safe(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'").replace("*", "∗")
