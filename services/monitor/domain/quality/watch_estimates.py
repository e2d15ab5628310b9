"""Estimate again and again how good the active models are, before their labels come, and show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.monitor.domain.model import Window
from tenon.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.ports import Fleet
    from services.monitor.domain.quality.words import QualityReport
    from tenon.core.tenancy import TenantId

_PAUSE = 60_000_000
# Quality in depth is dear: it may take one part in so many of the time.
_PATIENCE = 200


@dataclass(slots=True)
class _Known:
    """What was known at the last look."""

    changes: int
    due: int


class WatchEstimates:
    """One round over the models that answered within the window; only those of which there is news are looked at."""

    def __init__(
        self, fleet: Fleet, build_quality: Callable[[TenantId, str, Window], QualityReport],
        show: Callable[[QualityReport], None], *, window: int, now: Callable[[], int],
    ) -> None:  # fmt: skip
        self._fleet, self._build_quality, self._show = fleet, build_quality, show
        self._window, self._now = window, now
        self._known: dict[tuple[TenantId, str], _Known] = {}

    def __call__(self) -> int:
        """Gives how many models were looked at. One that fails does not keep the others from their turn."""
        looked = 0
        failures: list[Exception] = []
        for tenant, model, changes in self._fleet.active(self._now() - self._window):
            known, started = self._known.get((tenant, model)), self._now()
            if known is not None and (known.changes == changes or started < known.due):
                continue
            try:
                self._show(self._build_quality(tenant, model, Window(started - self._window, started + 1)))
                looked += 1
            except NotFound:
                continue  # Erased since the list was made.
            except Exception as err:  # noqa: BLE001 - part of a background loop; the caller logs and counts
                failures.append(err)
            ended = self._now()
            pause = max(_PAUSE, _PATIENCE * (ended - started))
            self._known[tenant, model] = _Known(changes, ended + pause)
        if failures:
            raise ExceptionGroup(f"quality of {len(failures)} models could not be estimated", failures)
        return looked
