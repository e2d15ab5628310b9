"""Domain errors: a kind, an UPPER_SNAKE reason and data, and no status code.

The doors translate kinds to HTTP and gRPC in one table each (`tenon.kit.http`, `tenon.kit.grpc`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class Kind(enum.Enum):
    """What sort of refusal an error is; the doors map each kind to one status."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    PRECONDITION = "precondition"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"
    RATE_LIMITED = "rate_limited"
    DEADLINE = "deadline"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's input a problem is; every part is optional. Lines and columns count from 1."""

    file: str | None = None
    line: int | None = None
    column: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        spot = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{spot}: {self.field}" if spot and self.field else (spot or self.field or "")

    def as_dict(self) -> dict[str, Any]:
        """The parts that are known, for JSON."""
        parts = {"file": self.file, "line": self.line, "column": self.column, "field": self.field}
        return {name: part for name, part in parts.items() if part is not None}


class TenonError(Exception):
    """An expected refusal: it is answered, not reported as an incident.

    `message` names the thing, `place` says where, `hint` is a way out that can be pasted, `data` holds identifiers.
    """

    kind: Kind = Kind.INVALID

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        place: Place | None = None,
        hint: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.place = place
        self.hint = hint
        self.data = data or {}

    def as_dict(self) -> dict[str, Any]:
        """The error as every door sends it (under the key `error` there is always the readable message)."""
        body: dict[str, Any] = {"error": self.message, "reason": self.reason}
        if self.place is not None and self.place.as_dict():
            body["place"] = self.place.as_dict()
        if self.hint:
            body["hint"] = self.hint
        if self.data:
            body["data"] = self.data
        return body


class Invalid(TenonError):
    """The caller's input is wrong."""

    kind = Kind.INVALID


class Unauthenticated(TenonError):
    """No credential, or one that is not valid."""

    kind = Kind.UNAUTHENTICATED


class Forbidden(TenonError):
    """A valid credential without the scope for this; never used for another tenant's things (those are not found)."""

    kind = Kind.FORBIDDEN


class NotFound(TenonError):
    """There is no such thing, or it belongs to another tenant; the two look exactly alike."""

    kind = Kind.NOT_FOUND


class Conflict(TenonError):
    """The thing exists already, or has changed since the caller looked."""

    kind = Kind.CONFLICT


class Precondition(TenonError):
    """The request is well formed but the state does not allow it."""

    kind = Kind.PRECONDITION


class TooLarge(TenonError):
    """The body is over the cap."""

    kind = Kind.TOO_LARGE


class UnsupportedMedia(TenonError):
    """The encoding or content type is not one we read."""

    kind = Kind.UNSUPPORTED_MEDIA


class RateLimited(TenonError):
    """The tenant's quota is used up for now."""

    kind = Kind.RATE_LIMITED


class DeadlineExceeded(TenonError):
    """The work did not finish in the time the caller gave."""

    kind = Kind.DEADLINE


class Unavailable(TenonError):
    """Something this needs is not reachable right now; asking again later can help."""

    kind = Kind.UNAVAILABLE


def error_class(kind: Kind) -> type[TenonError]:
    """The class of a kind, for clients that rebuild an error from the wire."""
    return _BY_KIND[kind]


_BY_KIND: dict[Kind, type[TenonError]] = {
    cls.kind: cls
    for cls in (
        Invalid, Unauthenticated, Forbidden, NotFound, Conflict, Precondition,
        TooLarge, UnsupportedMedia, RateLimited, DeadlineExceeded, Unavailable,
    )
}  # fmt: skip


def did_you_mean(wrong: str, known: Iterable[str]) -> str | None:
    """The known name nearest to a wrong one, or None when nothing is near.

    >>> did_you_mean("primarykey", ["primaryKey", "eventTime"])
    'primaryKey'
    """
    names = list(known)
    for name in names:
        if name.lower().replace("_", "").replace("-", "") == wrong.lower().replace("_", "").replace("-", ""):
            return name
    near = get_close_matches(wrong, names, n=1, cutoff=0.6)
    return near[0] if near else None
