"""What a join of labels has read before, as arrays: whoever looks at a page of a year a second time reads what is new only."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import sqlalchemy as sa

from services.monitor.domain.kept.prediction_ids import PredictionIds
from services.monitor.storage.labels.tables import labels

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    import numpy.typing as npt
    from sqlalchemy.orm import Session

    from tenon.kit.sql import Database

Kept = TypeVar("Kept")

_LABELS_A_READ = 100_000
_MOST_BYTES = 48 << 20
_PRIME = 1_000_000_007
_L = labels.c


class Remembered(Generic[Kept]):
    """Values with their size in bytes; the ones that were not asked for longest go first."""

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._known: OrderedDict[Hashable, tuple[Kept, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Kept | None:
        """What is known under a key."""
        with self._lock:
            found = self._known.get(key)
            if found is None:
                return None
            self._known.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Kept, size: int) -> None:
        """Keep one in mind, if it is not larger than half of what there is room for."""
        if size > self._most // 2:
            return
        with self._lock:
            former = self._known.pop(key, None)
            self._bytes += size - (former[1] if former is not None else 0)
            self._known[key] = value, size
            while self._bytes > self._most:
                self._bytes -= self._known.popitem(last=False)[1][1]


@dataclass(frozen=True, slots=True)
class NewestLabels:
    """Of each labelled prediction of a model the newest value that was known."""

    ids: PredictionIds
    value: npt.NDArray[np.float64]
    known_at: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


class ReadLabels:
    """A model's labels, read whole where anything of them has changed since the last time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = Remembered[tuple[tuple[Any, ...], NewestLabels]]()

    def newest(self, model_id: int, known_at: int | None) -> NewestLabels:
        """As they were known then (None: now)."""
        with self._database.session() as session:
            state = _state(session, model_id)
        known = self._known.get((model_id, known_at))
        if known is not None and known[0] == state:
            return known[1]
        found = self._read(model_id, known_at)
        self._known.put((model_id, known_at), (state, found), 48 * len(found) + 1024)
        return found

    def _read(self, model_id: int, known_at: int | None) -> NewestLabels:
        parts = list(self._parts(model_id, known_at))
        if not parts:
            return NewestLabels(PredictionIds.of_texts([]), np.zeros(0), np.zeros(0, np.int64))
        names = [name for part in parts for name in part[0]]
        moments, values = (np.concatenate([np.array(part[place]) for part in parts]) for place in (1, 2))
        # They come by prediction and time: the last of each prediction holds.
        last = np.array([*(one != two for one, two in pairwise(names)), True])
        if not last.all():
            names = [name for name, holds in zip(names, last.tolist(), strict=True) if holds]
        ids = PredictionIds.of_texts(names)
        return NewestLabels(ids, values[last].astype(np.float64), moments[last].astype(np.int64))

    def _parts(self, model_id: int, known_at: int | None) -> Iterator[tuple[tuple[Any, ...], ...]]:
        """Labels by prediction and time, some at a time, column by column."""
        after: tuple[str, int] | None = None
        while True:
            query = sa.select(_L.prediction_id, _L.known_at, _L.value).where(_L.model_id == model_id)
            if known_at is not None:
                query = query.where(_L.known_at <= known_at)
            if after is not None:
                place = sa.tuple_(_L.prediction_id, _L.known_at)
                query = query.where(place > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])))
            query = query.order_by(_L.prediction_id, _L.known_at).limit(_LABELS_A_READ)
            with self._database.session() as session:
                some = session.execute(query).all()
            if some:
                yield tuple(zip(*some, strict=True))
            if len(some) < _LABELS_A_READ:
                return
            after = (some[-1][0], some[-1][1])


def _state(session: Session, model_id: int) -> tuple[Any, ...]:
    """Differs when a label came, went or was corrected: each is recorded at a time of its own."""
    count, newest = sa.func.count(), sa.func.max(_L.recorded_at)
    query = sa.select(count, newest, sa.func.sum(_L.recorded_at % _PRIME)).where(_L.model_id == model_id)
    return tuple(session.execute(query).one())
