"""Walking down the ladder: what each row of a request rests on once its history was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from services.predictor.domain import columns as clean
from services.predictor.domain.last_known import LastKnown, Remembered
from services.predictor.domain.model import FloatArray, Served
from services.predictor.domain.ports import History, HistoryQuery, Observer
from services.predictor.domain.rungs import (
    BY_THE_MODEL,
    FIRM,
    UNDECLARED,
    WORSE,
    Constant,
    Footing,
    Footings,
    Level,
    Missing,
    Refuse,
    Rule,
    Rung,
    Stale,
    WithoutHistory,
    grouped,
    only,
)
from tenon.core.errors import Unavailable
from tenon.core.tenancy import TenantId

NOT_ASKED = "features could not be asked"


class Ladders:
    """Settles what rows rest on. `last_known` None: nothing is remembered."""

    def __init__(self, observer: Observer, last_known: LastKnown | None = None) -> None:
        self._observer = observer
        self._last_known = last_known

    def settle(
        self,
        tenant: TenantId,
        served: Served,
        columns: dict[str, npt.NDArray[Any]],
        query: HistoryQuery,
        history: History | None,
    ) -> tuple[Footings, FloatArray | None]:
        """What the rows rest on, and how old their history is (NaN: they have none); puts the history into `columns`.

        Raises `Unavailable` when the ladder of the version ends in a refusal.
        """
        ladder = served.ladder
        if ladder is None and history is not None and not history.untold and _take(served, columns, history):
            self._observer.history_level(tenant, served.model, Level.FRESH.value, len(query.keys))
            return only(FIRM), self._aged(tenant, served, history.age_seconds)
        ladder = ladder or UNDECLARED
        rows = _Rows(tenant, served, columns, query, history, self._last_known)
        if history is not None and ladder.stale_seconds is not None:
            rows.remember(ladder.stale_seconds)
        if rows.all_fresh:
            footings = only(FIRM)
        else:
            footings = grouped(_walk(rows, ladder.rungs))
        self._count(tenant, served, footings, len(query.keys))
        return footings, self._aged(tenant, served, rows.ages(footings))

    def _aged(self, tenant: TenantId, served: Served, ages: FloatArray) -> FloatArray | None:
        known = ages[~np.isnan(ages)]
        if not len(known):
            return None
        self._observer.feature_age(tenant, served.model, max(0.0, float(known.min())))
        return np.maximum(0.0, ages)

    def _count(self, tenant: TenantId, served: Served, footings: Footings, count: int) -> None:
        for place, footing in enumerate(footings.found):
            chosen = footings.rows(place)
            rows = count if chosen is None else len(chosen)
            self._observer.history_level(tenant, served.model, footing.level.value, rows)
            if WORSE[footing.level] > WORSE[Level.STALE]:
                self._observer.history_missing(tenant, served.model, rows)


def _take(served: Served, columns: dict[str, npt.NDArray[Any]], history: History) -> bool:
    """Put all history into the columns, if all is there."""
    absent = [column.name for column in served.history if column.name not in columns]
    if not all(name in history.values for name in absent):
        return False
    for name in absent:
        columns[name] = history.values[name]
    return True


def scores(served: Served, columns: Mapping[str, npt.NDArray[Any]], footings: Footings, count: int) -> FloatArray:
    """The answer of each row, by what it rests on."""
    levels = {footing.level for footing in footings.found}
    if levels <= BY_THE_MODEL:
        return served.evaluator.predict(columns)
    found = served.evaluator.predict(columns) if levels & BY_THE_MODEL else np.empty(count)
    rungs = (served.ladder or UNDECLARED).rungs
    for place, footing in enumerate(footings.found):
        if footing.level not in BY_THE_MODEL:
            answers = _answers(next(rung for rung in rungs if _level(rung) is footing.level), columns, count)
            chosen = footings.rows(place)
            if chosen is None:
                return answers
            found[chosen] = answers[chosen]
    return found


def _level(rung: Rung) -> Level | None:
    match rung:
        case WithoutHistory():
            return Level.WITHOUT_HISTORY
        case Rule():
            return Level.RULE
        case Constant():
            return rung.level
        case _:
            return None


def _answers(rung: Rung, columns: Mapping[str, npt.NDArray[Any]], count: int) -> FloatArray:
    match rung:
        case WithoutHistory():
            return rung.evaluator.predict(columns)
        case Rule():
            return rung.answers(columns, count)
        case Constant():
            return np.full(count, rung.value)
        case _:
            raise TypeError(f"{type(rung).__name__} gives no answers of its own")


def _walk(rows: _Rows, rungs: tuple[Rung, ...]) -> list[Footing]:
    """One footing for each row."""
    found: list[Footing | None] = [FIRM if fresh else None for fresh in np.all(rows.fresh, axis=1).tolist()]
    for rung in rungs:
        pending = [row for row, footing in enumerate(found) if footing is None]
        if not pending or isinstance(rung, Refuse):
            break
        if isinstance(rung, Stale):
            for row, footing in rows.stale(rung, pending).items():
                found[row] = footing
        elif isinstance(rung, Missing):
            for row in pending:
                found[row] = Footing(Level.MISSING, rows.reason(row), rows.blank(row))
        elif (level := _level(rung)) is not None:
            fits = rung.answers(rows.columns, rows.count) if isinstance(rung, Rule) else np.zeros(rows.count)
            for row in pending:
                if not np.isnan(fits[row]):
                    found[row] = Footing(level, rows.reason(row), rows.empty(row))
    pending = [row for row, footing in enumerate(found) if footing is None]
    if pending:
        served = rows.served
        some = (
            "" if len(pending) == rows.count else f" ({len(pending)} of {rows.count} rows, the first is {pending[0]})"
        )
        raise Unavailable(
            "HISTORY_UNAVAILABLE",
            f"model {served.model!r} does not answer without fresh history: {rows.reason(pending[0])}{some}",
            hint="ask again in a moment, or send the history features yourself",
            data={"model": served.model, "rows": len(pending)},
        )
    return [footing for footing in found if footing is not None]


class _Rows:
    """The rows of one part while their footing is settled. Axes are (row, view)."""

    def __init__(
        self, tenant: TenantId, served: Served, columns: dict[str, npt.NDArray[Any]], query: HistoryQuery,
        history: History | None, last_known: LastKnown | None,
    ) -> None:  # fmt: skip
        self.served, self.columns, self.count = served, columns, len(query.keys)
        self._tenant, self._query, self._history, self._last_known = tenant, query, history, last_known
        self._views = query.views
        self._max_age = (served.ladder or UNDECLARED).max_age
        self._at = np.array(query.at, np.int64)
        missing = {column.name: column for column in served.history if column.name not in columns}
        absent = list(missing)
        self.names = tuple(absent)
        """Every history feature that had to be looked up."""
        self._names_of = {view: [name for name in absent if name.partition(".")[0] == view] for view in query.views}
        self._lost = [name for name in absent if history is None or name not in history.values]
        for name in absent:
            values = None if history is None else history.values.get(name)
            columns[name] = clean.missing(missing[name], self.count) if values is None else values
        if history is None:
            self.fresh = np.zeros((self.count, len(self._views)), np.bool_)
            self._known = np.full(self.fresh.shape, -1, np.int64)
        else:
            self._known = np.stack([history.known_until.get(view, self._nothing()) for view in self._views], axis=1)
            self.fresh = np.stack([self._fresh(view) for view in self._views], axis=1)

    @property
    def all_fresh(self) -> bool:
        """The usual case."""
        return bool(self.fresh.all())

    def ages(self, footings: Footings) -> FloatArray:
        """How long before the time asked for the newest event that counts was known; NaN where there is none."""
        history = self._history
        if footings.of_row is None and footings.found[0] is FIRM and history is not None:
            return history.age_seconds
        newest = self._known.max(axis=1)
        return np.where(newest < 0, np.nan, (self._at - newest) / 1e6)

    def reason(self, row: int) -> str:
        """Why a row's history is not fresh."""
        if self._history is None:
            return NOT_ASKED
        if self._lost:
            return f"features does not give {', '.join(self._lost[:5])}"
        view = self._views[int(np.flatnonzero(~self.fresh[row])[0])]
        if self._untold(view)[row]:
            return f"features keeps no history of view {view!r} that far back"
        return f"the data of view {view!r} end {_span(self._data_age(view)[row])} before, over {_span(self._max_age[view])}"

    def blank(self, row: int) -> tuple[str, ...]:
        """Take from a row what is not fresh; gives the names of what it lacks now."""
        if self._history is None:
            return self.names
        lost = []
        for place, view in enumerate(self._views):
            if self.fresh[row, place]:
                continue
            gone = [name for name in self._names_of[view] if name in self._lost]
            # A view whose definition has changed still gives some of its features, and they are fresh.
            lost += gone or self._names_of[view]
            if not gone:
                self._known[row, place] = -1
                for name in self._names_of[view]:
                    self._forget(name, row)
        return tuple(lost)

    def empty(self, row: int) -> tuple[str, ...]:
        """Take all history from a row that its model does not answer; gives the names of what it lacks now."""
        for name in self.names:
            self._forget(name, row)
        self._known[row] = -1
        return self.names

    def remember(self, seconds: float) -> None:
        """Keep what features gave, for when it cannot be asked."""
        if self._last_known is None or self._history is None:
            return
        fetched = self._last_known.now()
        for place, view in enumerate(self._views):
            names = [name for name in self._history.values if name.partition(".")[0] == view]
            values = np.stack([self._history.values[name] for name in names], axis=1) if names else None
            if values is None:
                continue
            until, untold = self._history.data_until.get(view), self._untold(view)
            for row in range(self.count):
                key = self._key(row, view)
                if key is not None and not untold[row]:
                    known = int(self._known[row, place])
                    self._last_known.keep(
                        key,
                        Remembered(
                            tuple(names), values[row].copy(), self._query.at[row], fetched, known if known >= 0 else None, until
                        ),
                        seconds,
                    )  # fmt: skip

    def stale(self, rung: Stale, pending: list[int]) -> dict[int, Footing]:
        """The rows among `pending` whose history is old, but not too old; what is last known is put into them."""
        taken: dict[int, float] = {}
        for row in pending:
            oldest = 0.0
            recalled: list[tuple[int, Remembered]] = []
            for place, view in enumerate(self._views):
                if self.fresh[row, place]:
                    continue
                if self._untold(view)[row]:
                    break
                if self._given(view):
                    age = float(self._data_age(view)[row])
                else:
                    found = self._recall(row, view)
                    if found is None:
                        break
                    recalled.append((place, found[0]))
                    age = found[1]
                oldest = max(oldest, age)
                if not age <= rung.seconds:
                    break
            else:
                taken[row] = oldest
                for place, memory in recalled:
                    self._put(row, place, memory)
        if not taken:
            return {}
        # One sentence for all of them, with the greatest age: the ages of each are in the answer as numbers.
        cause = self.reason(next(iter(taken)))
        ago = f"; history as last known, {_span(max(taken.values()))} ago at most" if self._history is None else ""
        footing = Footing(Level.STALE, cause + ago)
        return dict.fromkeys(taken, footing)

    def _recall(self, row: int, view: str) -> tuple[Remembered, float] | None:
        """What is last known of a row's view and how old that is; for a view with `maxAge`, as old as its data at least."""
        key = self._key(row, view)
        if key is None or self._last_known is None:
            return None
        found = self._last_known.find(key, self._query.at[row])
        if found is None or not set(self._names_of[view]) <= set(found[0].names):
            return None
        memory, age = found
        if view in self._max_age and memory.data_until is not None:
            age = max(age, (self._query.at[row] - memory.data_until) / 1e6)
        return memory, age

    def _put(self, row: int, place: int, memory: Remembered) -> None:
        for name in self._names_of[self._views[place]]:
            self._own(name)[row] = memory.values[memory.names.index(name)]
        self._known[row, place] = -1 if memory.known_until is None else memory.known_until

    def _forget(self, name: str, row: int) -> None:
        column = self._own(name)
        column[row] = None if column.dtype == object else np.nan

    def _own(self, name: str) -> npt.NDArray[Any]:
        """A column that may be written to."""
        if not self.columns[name].flags.writeable or (
            self._history and self.columns[name] is self._history.values.get(name)
        ):
            self.columns[name] = self.columns[name].copy()
        found: npt.NDArray[Any] = self.columns[name]
        return found

    def _key(self, row: int, view: str) -> tuple[str, ...] | None:
        keys = self._query.keys[row]
        names = self.served.views.get(view) or tuple(sorted(keys))
        if not names or any(name not in keys for name in names):
            return None
        return (self._tenant.value, view, *(keys[name] for name in names))

    def _given(self, view: str) -> bool:
        """Whether features gave all that is needed of a view."""
        return self._history is not None and not any(name in self._lost for name in self._names_of[view])

    def _fresh(self, view: str) -> npt.NDArray[np.bool_]:
        limit = self._max_age.get(view)
        if not self._given(view):
            return np.zeros(self.count, np.bool_)
        told = ~self._untold(view)
        if limit is None:
            return told
        # Without data (or with a features service that does not say) there is nothing that could be old.
        age = self._data_age(view)
        return told & (np.isnan(age) | (age <= limit))

    def _untold(self, view: str) -> npt.NDArray[np.bool_]:
        """Rows asked for a time so far back that what features gave means nothing."""
        found = None if self._history is None else self._history.untold.get(view)
        return np.zeros(self.count, np.bool_) if found is None else found

    def _data_age(self, view: str) -> FloatArray:
        until = None if self._history is None else self._history.data_until.get(view)
        return np.full(self.count, np.nan) if until is None else (self._at - until) / 1e6

    def _nothing(self) -> npt.NDArray[np.int64]:
        return np.full(self.count, -1, np.int64)


def _span(seconds: float) -> str:
    """A duration for people."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}".replace(".0 ", " ")
    return f"{seconds:.0f} s"
