"""The answers that were most wrong: where the score and what was true disagree most, with what the model was told."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.model import Column, NumericColumn, Role, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.monitor.domain.label_words import AnsweredRows
    from services.monitor.domain.model import LabelledRows
    from services.monitor.domain.ports import Answered
    from services.monitor.domain.quality.examined import LabelLookup
    from tenon.core.tenancy import TenantId


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
    """The worst first, of so many labelled answers."""

    worst: tuple[Mistake, ...]
    labelled: int


class FindMistakes:
    """The use case behind the error table."""

    def __init__(self, answered: Answered, lookup: LabelLookup) -> None:
        self._answered, self._lookup = answered, lookup

    def __call__(
        self, tenant: TenantId, model: str, window: Window, labelled: Mapping[tuple[int, Role], LabelledRows], *,
        most: int = 20, known_at: int | None = None,
    ) -> Mistakes:  # fmt: skip
        """The worst of the window's labelled answers, shadows left out; only they are read with their columns."""
        rows = {key: found for key, found in labelled.items() if key[1] is not Role.SHADOW and len(found)}
        worst = _Worst(most)
        for moment, scores in sorted(_where(rows, most).items()):
            for part in self._answered.answered(tenant, model, Window(moment, moment + 1, window.by)):
                wanted = scores.get((part.version, part.role))
                if not wanted:
                    continue
                places = [place for place, score in enumerate(part.score.tolist()) if score in wanted]
                names = [part.prediction_ids[place] for place in places]
                known = self._lookup.known(tenant, model, names, known_at) if names else {}
                for place in places:
                    label = known.get(part.prediction_ids[place])
                    if label is not None:
                        worst.offer(part, place, label[0])
        return Mistakes(worst.sorted(), sum(len(found) for found in rows.values()))


def _where(
    rows: Mapping[tuple[int, Role], LabelledRows], most: int
) -> dict[int, dict[tuple[int, Role], set[float]]]:  # fmt: skip
    """The moments of the largest errors, and which scores to look for there."""
    found: list[tuple[float, int, tuple[int, Role], float]] = []
    for key, some in rows.items():
        error = np.abs(some.score - some.value)
        error[~np.isfinite(error)] = -1.0
        largest = [place for place in np.argsort(-error, kind="stable")[:most].tolist() if error[place] >= 0]
        found += [(float(error[at]), int(some.moment[at]), key, float(some.score[at])) for at in largest]
    found.sort(key=lambda one: -one[0])
    places: dict[int, dict[tuple[int, Role], set[float]]] = {}
    for _, moment, key, score in found[:most]:
        places.setdefault(moment, {}).setdefault(key, set()).add(score)
    return places


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
