"""Releases as monitor needs to know them: what should serve with which share, and when that changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenon.core.tenancy import TenantId


@dataclass(frozen=True, slots=True)
class Track:
    """A version in a release. `role` is stable, canary, shadow or an arm's name; a shadow's share is 0."""

    role: str
    version: int
    share: float


@dataclass(frozen=True, slots=True)
class Release:
    """One revision of what serves; without tracks nothing does."""

    tenant: str
    model: str
    revision: int
    tracks: tuple[Track, ...]
    made_at: int
    made_by: str
    action: str
    reason: str = ""
    from_revision: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry said, and when: `asked_at` lies back when it does not answer, and is None when it never did."""

    releases: tuple[Release, ...] = ()
    tenants: tuple[str, ...] = ()
    asked_at: int | None = None
    fresh: bool = False


class Releases(Protocol):
    """What the registry knows of releases. Never raises: without the registry the last answer holds, marked as such."""

    def current(self, tenant: TenantId | None) -> Known:
        """The releases in effect of one tenant, or of all (with all their names)."""
        ...

    def history(self, tenant: TenantId, model: str) -> Known:
        """A model's releases, newest first."""
        ...


def with_shares(weights: Sequence[tuple[str, int, int]]) -> tuple[Track, ...]:
    """Tracks of (role, version, permille); the stable version has what the others leave."""
    given = sum(permille for role, _, permille in weights if role not in {"stable", "shadow"})
    return tuple(
        Track(
            role, version, (1000 - given) / 1000 if role == "stable" else (0.0 if role == "shadow" else permille / 1000)
        )
        for role, version, permille in weights
    )
