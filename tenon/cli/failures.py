"""Failures the command itself finds, on top of the domain errors that the services answer with."""

from __future__ import annotations

from typing import Any

from tenon.cli import exits
from tenon.core.errors import Kind, Place, TenonError, Unavailable


class Stop(Exception):
    """End the command with an exit code; everything was said already."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


class NoPlatform(Unavailable):
    """No platform was found from here."""


class Unreachable(Unavailable):
    """A service does not answer."""


class NotReady(Unavailable):
    """Something did not become true in the time given."""


class BadUsage(TenonError):
    """The command line is wrong in a way that click cannot know."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__("USAGE", message, hint=hint)


class BadFile(TenonError):
    """A file of the user's cannot be used; carries its text, so that the place can be shown."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        place: Place | None = None,
        hint: str | None = None,
        data: dict[str, Any] | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(reason, message, place=place, hint=hint, data=data)
        self.source = source


class ServiceFailed(TenonError):
    """A service answered with an error of its own (5xx)."""


def exit_code(error: TenonError) -> int:
    """The exit code that goes with an error."""
    if isinstance(error, BadUsage):
        return exits.USAGE
    if error.kind in (Kind.UNAVAILABLE, Kind.DEADLINE):
        return exits.NOT_READY
    return exits.FINDINGS
