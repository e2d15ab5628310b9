"""What versions did by the predictors' own count: kept by minutes, counted once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tenon.core.operations import FAILURES, LATENCY_BOUNDS
from tenon.core.operations import Operations as Operations  # noqa: PLC0414 - the noun of this module
from tenon.core.operations import OperationsRecord as OperationsRecord  # noqa: PLC0414

if TYPE_CHECKING:
    from services.monitor.domain.model import Role
    from tenon.core.tenancy import TenantId

BUCKET = 60 * 10**6
HOUR = 60 * BUCKET
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Operated:
    """The same of a version in one role, over a stretch of time."""

    answers: int = 0
    failures: tuple[int, ...] = (0,) * len(FAILURES)
    latency: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS) + 1)

    def __add__(self, other: Operated) -> Operated:
        return Operated(
            self.answers + other.answers,
            tuple(map(sum, zip(self.failures, other.failures, strict=True))),
            tuple(map(sum, zip(self.latency, other.latency, strict=True))),
        )

    @property
    def errors(self) -> int:
        """Requests that reached the version and got no answer."""
        return sum(self.failures)

    def slower_than(self, seconds: float) -> int:
        """Answers that took longer, at the first bound that is not below it."""
        place = next((index for index, bound in enumerate(LATENCY_BOUNDS) if bound >= seconds), len(LATENCY_BOUNDS))
        return sum(self.latency[place + 1 :])


class OperationsLog(Protocol):
    """What the predictors told."""

    def take(self, record: OperationsRecord, now: int) -> bool:
        """Count a record; False when it was counted before, then nothing changes."""
        ...

    def totals(self, tenant: TenantId, model: str, start: int, end: int) -> dict[tuple[int, Role], Operated]:
        """By version and role, of the buckets that begin in [start, end)."""
        ...

    def forget(self, before: int) -> int:
        """Drop what is older; gives how many buckets."""
        ...
