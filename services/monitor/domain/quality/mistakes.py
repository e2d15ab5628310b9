"""The answers that were most wrong: where the score and what was true disagree most, with what the model was told."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.model import Column, NumericColumn, Role
from tenon.core.levels import BESIDE_THE_MODEL

if TYPE_CHECKING:
    from services.monitor.domain.label_words import AnsweredRows
    from services.monitor.domain.model import Window
    from services.monitor.domain.ports import Answered, KnownLabels, PredictionLog
    from tenon.core.tenancy import TenantId

_BESIDE = {level.value for level in BESIDE_THE_MODEL}
MOST_ROWS = 100_000
"""Of larger windows every n-th row is looked at."""
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Mistake:
    """One answer, its truth, and the columns it rests on (None: missing)."""

    prediction_id: str
    version: int
    role: str
    at: int
    event_time: int
    score: float
    value: float
    columns: dict[str, float | str | None]

    @property
    def error(self) -> float:
        """How far off it was."""
        return abs(self.score - self.value)


@dataclass(frozen=True, slots=True)
class Mistakes:
    """The worst first. `examined` of the window's `rows` were looked at."""

    worst: tuple[Mistake, ...]
    labelled: int
    examined: int
    rows: int


class FindMistakes:
    """The use case behind the error table."""

    def __init__(self, log: PredictionLog, answered: Answered, labels: KnownLabels) -> None:
        self._log, self._answered, self._labels = log, answered, labels

    def __call__(self, tenant: TenantId, model: str, window: Window, *, most: int = 20) -> Mistakes:
        """The worst of the window, shadows and rungs beside the model left out."""
        rows = sum(
            count for (_, role), count in self._log.traffic(tenant, model, window).items() if role is not Role.SHADOW
        )
        stride = max(1, math.ceil(rows / MOST_ROWS))
        found = _Worst(most)
        waiting: list[tuple[AnsweredRows, list[int]]] = []
        seen = examined = labelled = 0

        def look() -> int:
            names = [part.prediction_ids[place] for part, places in waiting for place in places]
            known = self._labels.known(tenant, model, names) if names else {}
            for part, places in waiting:
                for place in places:
                    label = known.get(part.prediction_ids[place])
                    if label is not None:
                        found.offer(part, place, label[1])
            waiting.clear()
            return len(known)

        for part in self._answered.answered(tenant, model, window):
            if part.role is Role.SHADOW or part.level in _BESIDE:
                continue
            places = [place for place in range(-seen % stride, len(part), stride) if np.isfinite(part.score[place])]
            seen += len(part)
            examined += len(places)
            waiting.append((part, places))
            if sum(len(some) for _, some in waiting) >= _AT_ONCE:
                labelled += look()
        labelled += look()
        return Mistakes(found.sorted(), labelled, examined, rows)


class _Worst:
    """The largest errors so far; rows are taken out of their batch only when they are among them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Mistake]] = []
        self._count = 0

    def offer(self, rows: AnsweredRows, place: int, value: float) -> None:
        score = float(rows.score[place])
        error = abs(score - value)
        if not math.isfinite(error) or (len(self._heap) == self._most and error <= self._heap[0][0]):
            return
        self._count += 1
        mistake = Mistake(
            rows.prediction_ids[place], rows.version, rows.role.value, int(rows.at[place]), int(rows.event_time[place]), score,
            value, {name: _cell(column, place) for name, column in rows.columns.items()},
        )  # fmt: skip
        # The count keeps two equal errors from being compared by their rows.
        heapq.heappush(self._heap, (error, -self._count, mistake))
        if len(self._heap) > self._most:
            heapq.heappop(self._heap)

    def sorted(self) -> tuple[Mistake, ...]:
        return tuple(mistake for _, _, mistake in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1])))


def _cell(column: Column, place: int) -> float | str | None:
    if isinstance(column, NumericColumn):
        number = float(column.values[place])
        return None if math.isnan(number) else number
    code = int(column.codes[place])
    return None if code < 0 else column.levels[code]
