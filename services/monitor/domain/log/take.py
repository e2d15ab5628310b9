"""Take many batches of the prediction log at once: put together, counted, kept once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.domain.kept.buckets import Counting, parts_of
from services.monitor.domain.kept.segment import Segment, join_segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.monitor.domain.log.layouts import Layouts
    from services.monitor.domain.ports import PredictionStore


class TakePredictions:
    """The use case behind the log's stream. Taking the same batch again changes nothing."""

    def __init__(
        self, store: PredictionStore, layouts: Layouts, recorded: Callable[[Segment], object]
    ) -> None:  # fmt: skip
        self._store, self._layouts, self._recorded = store, layouts, recorded

    def __call__(self, segments: Iterable[Segment]) -> int:
        """Keep what was not kept before; gives its rows. All of it is kept, or, when this raises, nothing."""
        taken = self._store.take([self.count(segment) for segment in join_segments(list(segments))], self.count)
        for segment in taken:
            self._recorded(segment)
        return sum(len(segment) for segment in taken)

    def count(self, segment: Segment) -> Counting:
        """What a segment adds to the windows."""
        layout = self._layouts.of(segment.tenant, segment.model, segment.version)
        return Counting(segment, parts_of(segment, layout), layout is not None)
