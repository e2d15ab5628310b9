"""Which answers should an expert look at? Four lists, taken in turns, so that no reason crowds out the others.

- disagrees with its label: the answer was sure and the label says otherwise; one of them is wrong,
- costly: the expected regret of the answer, by the declared business value (Monitor document), is largest,
- uncertain: nearest to the threshold (binary) or with the widest prediction interval (regression),
- disagrees with history: far from what was true of the same entity in its other labelled answers.

Everything is decided by the answers, labels and manifest alone and ties are broken by id, so that the same log gives the same
queue. Memory is by candidates kept, and by labels and entities of the window.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.labels.match import is_history, texts_of
from services.monitor.domain.model import Column, NumericColumn, Role
from services.monitor.domain.quality.measure import plain
from services.monitor.domain.review_words import Reason, ReviewItem
from tenon.core.levels import BESIDE_THE_MODEL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from services.monitor.domain.label_words import AnsweredRows, KeyValue
    from tenon.core.manifest import Manifest
    from tenon.core.specs.monitor import BusinessValue

_TURNS = (Reason.LABEL, Reason.COSTLY, Reason.UNCERTAIN, Reason.HISTORY)
_SURE = 0.7
"""A probability this far from its label was sure of itself."""
_ODD = 0.5
_ODD_DEVIATIONS = 3.0
_FEWEST_EARLIER = 3
_BESIDE = {level.value for level in BESIDE_THE_MODEL}


@dataclass(frozen=True, slots=True)
class Judge:
    """What the ranking knows of the model."""

    manifest: Manifest
    value: BusinessValue | None

    @property
    def binary(self) -> bool:
        """Whether answers are probabilities."""
        return self.manifest.task == "binary"

    @property
    def threshold(self) -> float:
        """From which probability on an answer is a yes."""
        declared = self.value.threshold if self.value is not None else None
        return declared or self.manifest.threshold or 0.5

    @property
    def entity(self) -> tuple[str, ...]:
        """The columns that say whom an answer is about."""
        return tuple(dict.fromkeys(name for names in self.manifest.signature.views.values() for name in names))

    def word(self, label: float) -> str:
        """A true value as people say it."""
        return ("yes" if label else "no") if self.binary else plain(label)

    def width(self, score: float) -> float:
        """Width of the answer's prediction interval; 0: there is none."""
        interval = self.manifest.evidence.interval
        if interval is None:
            return 0.0
        low, high = interval.around(score)
        return high - low

    def uncertainty(self, score: float) -> float:
        """1 at the threshold and 0 where the model is sure; for a regression the width of its interval."""
        if not self.binary:
            return self.width(score)
        edge = self.threshold
        return 1 - abs(score - edge) / (edge if score < edge else 1 - edge)

    def regret(self, score: float) -> float:
        """What the answer is expected to cost against knowing the truth, in units of the business value."""
        if self.value is None:
            return 0.0
        if not self.binary:
            return abs(self.value.per_unit_of_error or 0.0) * self.width(score) / 2
        true_positive, false_positive, false_negative, true_negative = self.value.per_answer
        if score >= self.threshold:
            return (1 - score) * max(0.0, true_negative - false_positive)
        return score * max(0.0, true_positive - false_negative)

    def disagreement(self, score: float, label: float) -> float:
        """How far a label is from a sure answer; 0 where they can both be right."""
        if self.binary:
            off = abs(label - score)
            return off if off >= _SURE else 0.0
        width = self.width(score)
        off = abs(label - score) / (width / 2) if width else 0.0
        return off if off > 1 else 0.0


@dataclass
class _Entities:
    """Labels by entity."""

    sums: dict[tuple[str | None, ...], list[float]] = field(default_factory=dict)

    def add(self, key: tuple[str | None, ...], value: float) -> None:
        """Count one label."""
        found = self.sums.setdefault(key, [0.0, 0.0, 0.0])
        found[0] += 1
        found[1] += value
        found[2] += value * value

    def oddness(self, key: tuple[str | None, ...], score: float, binary: bool) -> tuple[float, int, float]:
        """How far an answer is from what was true before, over how many labels, and their mean."""
        count, total, squares = self.sums.get(key, (0.0, 0.0, 0.0))
        if count < _FEWEST_EARLIER:
            return 0.0, int(count), 0.0
        mean = total / count
        off = abs(score - mean)
        if not binary:
            spread = math.sqrt(max(0.0, squares / count - mean * mean))
            off = off / spread / _ODD_DEVIATIONS if spread else 0.0
            return (off if off > 1 else 0.0), int(count), mean
        return (off if off > _ODD else 0.0), int(count), mean


@dataclass(order=True, frozen=True, slots=True)
class _Candidate:
    priority: float
    prediction_id: str
    why: str = field(compare=False)


@dataclass
class Ranking:
    """Collects candidates: first `learn` over all batches, then `weigh`, then `chosen`."""

    judge: Judge
    labels: Mapping[str, float]
    reviewed: Collection[str]
    size: int
    looked_at: int = 0
    _best: dict[Reason, list[_Candidate]] = field(default_factory=lambda: {reason: [] for reason in Reason})
    _entities: _Entities = field(default_factory=_Entities)

    def learn(self, batch: AnsweredRows) -> None:
        """Note what was true of each entity."""
        names = self.judge.entity
        if not names or not usable(batch) or not all(name in batch.columns for name in names):
            return
        rows = np.array([row for row, one in enumerate(batch.prediction_ids) if one in self.labels], dtype=np.intp)
        if len(rows):
            for row, key in zip(
                rows, zip(*(texts_of(batch.columns[name], rows) for name in names), strict=True), strict=True
            ):
                self._entities.add(key, self.labels[batch.prediction_ids[row]])

    def weigh(self, batch: AnsweredRows) -> None:
        """Keep the batch's best candidates of each reason."""
        if not usable(batch):
            return
        names = self.judge.entity
        everyone = np.arange(len(batch), dtype=np.intp)
        known = bool(names) and bool(self._entities.sums) and all(name in batch.columns for name in names)
        keys = list(zip(*(texts_of(batch.columns[name], everyone) for name in names), strict=True)) if known else None
        for row, (one, score) in enumerate(zip(batch.prediction_ids, batch.score.tolist(), strict=True)):
            if one in self.reviewed or not math.isfinite(score):
                continue
            self.looked_at += 1
            label = self.labels.get(one)
            if label is not None:
                self._offer(Reason.LABEL, self.judge.disagreement(score, label), one,
                            f"Answered {plain(score)}, and the label says {self.judge.word(label)}")  # fmt: skip
                continue
            self._offer(Reason.UNCERTAIN, self.judge.uncertainty(score), one, self._doubt(score))
            if self.judge.value is not None:
                regret = self.judge.regret(score)
                cost = f"being wrong is expected to cost {plain(regret)} {self.judge.value.unit}"
                self._offer(Reason.COSTLY, regret, one, f"Answered {plain(score)}; {cost}")
            if keys is not None:
                off, count, mean = self._entities.oddness(keys[row], score, self.judge.binary)
                who = ", ".join(f"{name} {key}" for name, key in zip(names, keys[row], strict=True))
                earlier = f"the {count} labels of {who} average {plain(mean)}"
                self._offer(Reason.HISTORY, off, one, f"Answered {plain(score)}; {earlier}")

    def _doubt(self, score: float) -> str:
        if self.judge.binary:
            return f"Answered {plain(score)}, near {plain(self.judge.threshold)}, where a yes becomes a no"
        return f"Answered {plain(score)}, give or take {plain(self.judge.width(score) / 2)}"

    def _offer(self, reason: Reason, priority: float, prediction_id: str, why: str) -> None:
        if priority <= 0:
            return
        best, one = self._best[reason], _Candidate(priority, prediction_id, why)
        if len(best) < self.size:
            heapq.heappush(best, one)
        elif one > best[0]:
            heapq.heapreplace(best, one)

    def chosen(self) -> dict[str, tuple[Reason, str]]:
        """The queue: prediction ids in order, each with its reason."""
        # An answer that was logged more than once (a canary's twin under one id) is asked for once.
        lists = [(reason, iter(sorted(self._best[reason], reverse=True))) for reason in _TURNS]
        found: dict[str, tuple[Reason, str]] = {}
        while lists and len(found) < self.size:
            for turn in list(lists):
                candidate = next((one for one in turn[1] if one.prediction_id not in found), None)
                if candidate is None:
                    lists.remove(turn)
                elif len(found) < self.size:
                    found[candidate.prediction_id] = (turn[0], candidate.why)
        return found


def usable(batch: AnsweredRows) -> bool:
    """Whether the version's own model answered callers."""
    return batch.role is not Role.SHADOW and batch.level not in _BESIDE


def items_of(
    chosen: Mapping[str, tuple[Reason, str]], batches: Iterable[AnsweredRows], labels: Mapping[str, float]
) -> list[ReviewItem]:
    """The queue's items, with everything an expert sees of them."""
    found: dict[str, ReviewItem] = {}
    ranks = {one: rank for rank, one in enumerate(chosen, 1)}
    for batch in batches:
        if not usable(batch):
            continue
        for row, one in enumerate(batch.prediction_ids):
            if one in ranks and one not in found:
                # What the caller said comes first, then what was looked up.
                names = sorted(batch.columns, key=is_history)
                reason, why = chosen[one]
                found[one] = ReviewItem(
                    ranks[one], one, int(batch.at[row]), int(batch.event_time[row]), batch.version, float(batch.score[row]),
                    labels.get(one), reason, why, {name: _value(batch.columns[name], row) for name in names},
                )  # fmt: skip
    return [found[one] for one in ranks if one in found]


def _value(column: Column, row: int) -> KeyValue | None:
    if isinstance(column, NumericColumn):
        number = float(column.values[row])
        return None if math.isnan(number) else number
    code = int(column.codes[row])
    return None if code < 0 else column.levels[code]
