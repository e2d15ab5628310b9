"""Bring messages to their webhooks: each at least once, soon, and not for ever."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from services.monitor.domain.incidents.ports import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.incidents.ports import Delivery, Outbox

_SECOND = 1_000_000
LEASE = 60 * _SECOND
AT_ONCE = 20
ATTEMPTS = 8
_FIRST_PAUSE = 10 * _SECOND
_LONGEST_PAUSE = 3600 * _SECOND


class Undelivered(Exception):
    """A message did not arrive. `again` says whether it may later; the text names no address."""

    def __init__(self, problem: str, *, again: bool) -> None:
        super().__init__(problem)
        self.again = again


class Webhooks(Protocol):
    """Where messages go."""

    def send(self, delivery: Delivery) -> None:
        """Bring one. Raises `Undelivered`."""
        ...


@dataclass(slots=True)
class Delivered:
    """What a round of deliveries did."""

    sent: int = 0
    again: int = 0
    given_up: int = 0
    problems: list[str] = field(default_factory=list)


class DeliverAlerts:
    """One round: what is due is sent; what does not arrive is tried again, later each time."""

    def __init__(
        self, outbox: Outbox, webhooks: Webhooks, now: Callable[[], int],
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.5),
    ) -> None:  # fmt: skip
        self._outbox, self._webhooks, self._now, self._jitter = outbox, webhooks, now, jitter

    def __call__(self) -> Delivered:
        """Send what is due."""
        done = Delivered()
        for delivery in self._outbox.claim(self._now(), LEASE, AT_ONCE):
            try:
                self._webhooks.send(delivery)
            except Undelivered as err:
                again = err.again and delivery.attempts < ATTEMPTS
                pause = min(_FIRST_PAUSE * 4 ** (delivery.attempts - 1), _LONGEST_PAUSE)
                again_at = self._now() + int(pause * self._jitter()) if again else None
                self._outbox.settle(delivery, Outcome(False, str(err), again_at, self._now()))
                done.problems.append(f"{delivery.webhook}: {err}")
                done.again += again
                done.given_up += not again
            else:
                self._outbox.settle(delivery, Outcome(True, at=self._now()))
                done.sent += 1
        return done
