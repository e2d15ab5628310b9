"""Waiting on an event loop for a model that is being loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.predictor.domain.cold import Cold

T = TypeVar("T")


async def once_loaded(cold: Cold, again: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Wait, without a thread, and do it `again`, as often as it says `Cold` and there is time."""
    limit = time.monotonic() + seconds
    while True:
        # Not `wait_for`: it would cancel what others wait for as well.
        done, _ = await asyncio.wait({asyncio.wrap_future(cold.loading)}, timeout=max(0.0, limit - time.monotonic()))
        if not done:
            raise cold
        try:
            return await again()
        except Cold as once_more:
            cold = once_more
            if time.monotonic() >= limit:
                raise
