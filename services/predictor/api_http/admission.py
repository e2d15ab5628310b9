"""Who gets in: quotas and turns of the tenants, and how a refusal is said so that it costs its sender more than us."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

from services.predictor.domain.quotas import HELD_SECONDS, Meter, Quotas
from services.predictor.domain.turns import Turns
from tenon.core.errors import RateLimited
from tenon.core.tenancy import TenantId

_MOST_HELD = 2000
_LARGE_BYTES = 128 << 20
_LARGE_BYTES_IN_COMPANY = 32 << 20


class Admission:
    """What the HTTP doors ask before they take up a request."""

    def __init__(self, quotas: Quotas, turns: Turns) -> None:
        self.quotas = quotas
        self.turns = turns
        self._held = 0
        self._large: dict[str, int] = {}

    async def turn(self, tenant: TenantId) -> None:
        """Wait for the tenant's turn while others ask as well. Raises `RateLimited` when too many of its requests wait."""
        if self.turns.go(tenant.value):
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self.turns.line_up(tenant.value, lambda: None if mine.done() else mine.set_result(None)):
            raise overloaded()
        await mine

    @contextmanager
    def large(self, tenant: TenantId, size: int) -> Iterator[None]:
        """Around the reading of a large body: a tenant may have a few megabytes waiting while others have some as well.
        Raises `RateLimited`."""
        mine = self._large.get(tenant.value, 0)
        if mine and (mine + size > _LARGE_BYTES or (self.turns.crowded and mine + size > _LARGE_BYTES_IN_COMPANY)):
            raise overloaded()
        self._large[tenant.value] = mine + size
        try:
            yield
        finally:
            left = self._large[tenant.value] - size
            if left:
                self._large[tenant.value] = left
            else:
                del self._large[tenant.value]

    async def hold(self, error: RateLimited, meter: Meter | None = None) -> list[tuple[bytes, bytes]]:
        """Hold a refusal back for a moment; gives the headers it needs."""
        seconds = float(error.data.get("retry_after_seconds", 1.0))
        headers = [(b"retry-after", b"%d" % max(1, math.ceil(seconds)))]
        if self._held >= _MOST_HELD:
            return [*headers, (b"connection", b"close")]
        self._held += 1
        if meter is not None:
            meter.hold()
        try:
            await asyncio.sleep(min(seconds, HELD_SECONDS))
        finally:
            self._held -= 1
            if meter is not None:
                meter.let_go()
        return headers


def overloaded() -> RateLimited:
    """A tenant's requests come faster than its share of this replica."""
    return RateLimited(
        "OVER_SHARE",
        "more requests of this tenant are waiting than its share of a busy server; ask again in 1 s",
        data={"retry_after_seconds": 1.0},
    )
