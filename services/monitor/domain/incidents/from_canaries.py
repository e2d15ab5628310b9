"""From canaries' verdicts to cells: one that must be taken back is an incident until it is gone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from services.monitor.domain.canary.words import CanaryVerdict
from services.monitor.domain.incidents.words import Cell, IncidentKind
from services.monitor.domain.model import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.monitor.domain.canary.judge_all import CanaryGauges
    from services.monitor.domain.canary.words import CanaryJudgement


class CanaryCells:
    """Shows verdicts where they were shown before, and remembers them for the next round of incidents."""

    def __init__(self, gauges: CanaryGauges, now: Callable[[], int]) -> None:
        self._gauges, self._now = gauges, now
        self._worse: dict[tuple[str, str, str], Cell] = {}
        self._over: dict[tuple[str, str, str], tuple[Cell, int]] = {}
        self._lock = threading.Lock()

    def show(self, judgements: Iterable[CanaryJudgement]) -> None:
        """See `judge_canaries.CanaryGauges`."""
        found = list(judgements)
        self._gauges.show(found)
        worse = {
            cell.key: cell for one in found if one.verdict is CanaryVerdict.ROLL_BACK for cell in [self._cell(one)]
        }
        with self._lock:
            gone = self._worse.keys() - worse.keys()
            self._over = {key: pair for key, pair in self._over.items() if key not in worse}
            self._over |= {key: (self._worse[key], 0) for key in gone}
            self._worse = worse

    def __call__(self) -> list[Cell]:
        """What must be taken back; and, a few times, what no longer needs to be."""
        with self._lock:
            cells = [*self._worse.values(), *(_fine(cell) for cell, _ in self._over.values())]
            self._over = {key: (cell, told + 1) for key, (cell, told) in self._over.items() if told < _TELL}
        return cells

    def _cell(self, judged: CanaryJudgement) -> Cell:
        now = self._now()
        return Cell(
            tenant=judged.trial.tenant.value, model=judged.trial.model, version=judged.trial.candidate,
            kind=IncidentKind.CANARY, feature=f"version {judged.trial.candidate}", window=Window(now, now), p_value=None,
            effect=1.0, change="worse", rows=judged.answers, enough=True, sentence=judged.summary,
        )  # fmt: skip


_TELL = 4
"""Rounds in which the end is told: another replica may have kept one of them."""


def _fine(cell: Cell) -> Cell:
    return Cell(
        tenant=cell.tenant, model=cell.model, version=cell.version, kind=cell.kind, feature=cell.feature,
        window=cell.window, p_value=None, effect=0.0, change=cell.change, rows=cell.rows, enough=True,
        sentence="it was taken back, or its verdict is another one now",
    )  # fmt: skip
