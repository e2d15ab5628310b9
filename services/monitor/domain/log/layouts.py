"""The bins of versions, read once: counting must not wait for the registry."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from services.monitor.domain.drift.sketch import Layout
from tenon.core.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.ports import Versions
    from tenon.core.tenancy import TenantId

_KEPT = 1_000


class Layouts:
    """Layouts by tenant, model and version; one that could not be read is tried again after a pause."""

    def __init__(self, versions: Versions, clock: Callable[[], float], *, pause_seconds: float = 10.0) -> None:
        self._versions, self._clock, self._pause = versions, clock, pause_seconds
        self._known: dict[tuple[TenantId, str, int], Layout] = {}
        self._later: dict[tuple[TenantId, str, int], float] = {}
        self._lock = threading.Lock()

    def of(self, tenant: TenantId, model: str, version: int, *, at_once: bool = False) -> Layout | None:
        """The layout of a version; None while its manifest cannot be read. `at_once`: the pause is not waited for."""
        key = (tenant, model, version)
        with self._lock:
            known = self._known.get(key)
            if known is not None or (not at_once and self._clock() < self._later.get(key, float("-inf"))):
                return known
        try:
            found = Layout.of(self._versions.manifest(tenant, model, version).baseline)
        except (NotFound, Unavailable):
            with self._lock:
                self._later[key] = self._clock() + self._pause
            return None
        with self._lock:
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[key] = found
            self._later.pop(key, None)
        return found
