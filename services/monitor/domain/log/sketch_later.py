"""Look into the rows that were only counted, because their version's training baseline could not be read when they came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.domain.kept.buckets import parts_of

if TYPE_CHECKING:
    from services.monitor.domain.log.layouts import Layouts
    from services.monitor.domain.ports import Unsketched

_AT_ONCE = 64


class SketchLater:
    """One round over all that waits. Two replicas may do it at once: each segment is added by one of them."""

    def __init__(self, waiting: Unsketched, layouts: Layouts) -> None:
        self._waiting, self._layouts = waiting, layouts

    def __call__(self) -> int:
        """Sketch what can be sketched now; gives how many segments."""
        done = 0
        for tenant, model, version in self._waiting.versions():
            layout = self._layouts.of(tenant, model, version)
            if layout is None:
                continue
            after = 0
            while True:
                some = self._waiting.segments(tenant, model, version, after, _AT_ONCE)
                for number, segment in some:
                    after = number
                    parts = [part for part in parts_of(segment, layout) if part.sketch is not None]
                    done += self._waiting.add(tenant, number, segment, parts)
                if len(some) < _AT_ONCE:
                    break
        return done
