"""The window a caller means."""

from __future__ import annotations

from services.monitor.domain.model import Window
from tenon.core.errors import Invalid, Place, did_you_mean
from tenon.core.roles import ROLES, Role


def window_from(start: int | None, end: int | None, by: str, *, now: int, length: int) -> Window:
    """A window with its defaults: up to now, `length` back. Raises `Invalid`."""
    if by not in {"at", "event_time"}:
        raise _not_one_of("by", by, ("at", "event_time"))
    # One microsecond on, so that what was answered this very moment is inside.
    last = now + 1 if end is None else end
    first = last - length if start is None else start
    if first >= last:
        raise Invalid(
            "WINDOW_EMPTY", "the window ends before it begins", place=Place(field="from"),
            hint="give `from` before `to`; without them it is the last days up to now",
        )  # fmt: skip
    return Window(first, last, "at" if by == "at" else "event_time")


def role_from(text: str | None) -> Role | None:
    """A role, or None for all. Raises `Invalid`."""
    if not text:
        return None
    try:
        role = Role(text)
    except ValueError:
        raise _not_one_of("role", text, ROLES) from None
    if role.is_arm and did_you_mean(role, ROLES):
        # The registry gives no arm a name so near to these.
        raise _not_one_of("role", text, ROLES)
    return role


def _not_one_of(field: str, given: str, known: tuple[str, ...]) -> Invalid:
    near = did_you_mean(given, known)
    return Invalid(
        "VALUE_UNKNOWN", f"{field} {given[:40]!r} is not one of {', '.join(known)}", place=Place(field=field),
        hint=f"did you mean {near!r}?" if near else None,
    )  # fmt: skip
