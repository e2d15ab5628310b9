"""Reading the past that a window is compared with (see `drift.season`)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from services.monitor.domain.drift.season import Reference, pasts_of
from services.monitor.domain.drift.sketch import Sketch
from services.monitor.domain.model import Role, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.monitor.domain.drift.sketch import Layout
    from services.monitor.domain.ports import PredictionLog, Windows
    from tenon.core.tenancy import TenantId

RECOUNTED = 50_000
"""Rows of versions with other bins that are counted again for a comparison; of more, those of evenly spread parts of the time."""
_PARTS = 28
_KEPT_BYTES = 32 << 20


class ReadReferences:
    """What was answered in the past, by whichever version, in the bins of one version's training.

    Versions with the same bins are put together of counts; rows of others are counted again. Shadows are left out: they were asked what
    others were asked.
    """

    def __init__(self, windows: Windows, log: PredictionLog, *, min_rows: int) -> None:
        self._windows, self._log, self._min_rows = windows, log, min_rows
        self._known: OrderedDict[tuple[object, ...], tuple[Sketch, bool]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, tenant: TenantId, model: str, window: Window, version: int, layout: Layout) -> list[Reference]:
        """The pasts of which enough is known."""
        found = []
        for past in pasts_of(window):
            like, scored = self._sum(tenant, model, past.like, version, layout)
            if like.rows >= self._min_rows:
                between, _ = self._sum(tenant, model, (past.between,), version, layout)
                found.append(Reference(past, like, between, scored))
        return found

    def _sum(
        self, tenant: TenantId, model: str, windows: tuple[Window, ...], version: int, layout: Layout
    ) -> tuple[Sketch, bool]:
        key = (tenant, model, version, layout.digest, windows)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        made = self._read(tenant, model, windows, version, layout)
        # By the time of the answer the past does not change any more; events may still come in.
        if windows[0].by == "at":
            self._keep(key, made)
        return made

    def _read(
        self, tenant: TenantId, model: str, windows: Sequence[Window], version: int, layout: Layout
    ) -> tuple[Sketch, bool]:
        total, own = Sketch(layout), True
        others: list[tuple[Window, int, Role, int]] = []
        for window in windows:
            for one in self._windows.counted(tenant, model, window):
                if one.role is Role.SHADOW:
                    continue
                own = own and one.version == version
                if one.sketch is not None and one.sketch.layout.digest == layout.digest:
                    total.merge(one.sketch)
                else:
                    others.append((window, one.version, one.role, one.rows))
        rows = sum(one[3] for one in others)
        for window, other, role, _ in others:
            for part in _spread(window, RECOUNTED / max(rows, 1)):
                for chunk in self._log.rows(tenant, model, part, other, [role]):
                    total.add(chunk.columns, chunk.score)
        return total, own

    def _keep(self, key: tuple[object, ...], made: tuple[Sketch, bool]) -> None:
        with self._lock:
            if key not in self._known:
                self._known[key] = made
                self._bytes += made[0].counts.nbytes
            while self._bytes > _KEPT_BYTES and len(self._known) > 1:
                _, (gone, _) = self._known.popitem(last=False)
                self._bytes -= gone.counts.nbytes


def _spread(window: Window, share: float) -> Iterator[Window]:
    """About this share of a window, in parts spread evenly over it.

    >>> [(part.start, part.end) for part in _spread(Window(0, 56), 0.5)][:3]
    [(0, 1), (2, 3), (4, 5)]
    """
    if share >= 1:
        yield window
        return
    length = window.end - window.start
    for part in range(_PARTS):
        start = window.start + length * part // _PARTS
        end = start + max(int(length / _PARTS * share), 1)
        yield Window(start, end, window.by)
