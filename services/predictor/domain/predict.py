"""The one use case behind all four doors: route, clean, look history up, evaluate, log, answer.

`plan` and `answer` only compute; `look_up` may wait for features, so that a door on an event loop can put just that
on a thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.predictor.domain import columns as clean
from services.predictor.domain import ladder, quick
from services.predictor.domain.at_once import AtOnce, alike
from services.predictor.domain.cold import Patience
from services.predictor.domain.explaining import Explaining
from services.predictor.domain.given import input_missing, refuse_unknown, split_matrix
from services.predictor.domain.ladder import Ladders
from services.predictor.domain.last_known import LastKnown
from services.predictor.domain.logged import ID_BYTES, Logged, PredictionIds, logged_columns
from services.predictor.domain.model import (
    Answer,
    Ask,
    Entry,
    FloatArray,
    Kind,
    Served,
    Serving,
    Values,
    with_arrays,
)
from services.predictor.domain.ports import HistoryQuery, HistorySource, Observer, PredictionLog
from services.predictor.domain.routing import Table, choose
from services.predictor.domain.rungs import Footings
from services.predictor.domain.shadow import ShadowQueue
from tenon.core.errors import Invalid, Place, TenonError, TooLarge
from tenon.core.operations import Failure
from tenon.core.tenancy import TenantId


@dataclass(slots=True)
class Part:
    """The rows of a request that one version answers."""

    serving: Serving
    rows: npt.NDArray[np.intp] | None
    count: int
    columns: dict[str, npt.NDArray[Any]]
    event_time: Sequence[int] | npt.NDArray[np.int64]
    quick: quick.Quick | None = None
    """The inputs when they came the quick way; `columns` is empty then."""
    query: HistoryQuery | None = None
    keys: Sequence[Mapping[str, str]] = ()
    """What history was looked up by, a row at a time; empty when none was."""
    footings: Footings | None = None
    ages: FloatArray | None = None


@dataclass(slots=True)
class Plan:
    """A request on its way."""

    tenant: TenantId
    ask: Ask
    entry: Entry
    parts: list[Part]
    started: float

    @property
    def waits(self) -> bool:
        """Whether history has to be looked up."""
        return any(part.query is not None for part in self.parts)


class Predictor:
    """Answers requests."""

    def __init__(
        self,
        table: Table,
        history: HistorySource,
        log: PredictionLog,
        shadows: ShadowQueue,
        observer: Observer,
        *,
        max_rows: int = 10_000,
        last_known: LastKnown | None = None,
        explaining: Explaining | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.table = table
        self.patience = patience or Patience(5.0, 4)
        self._history = history
        self._log = log
        self._shadows = shadows
        self._observer = observer
        self._max_rows = max_rows
        self._ids = PredictionIds()
        self._explaining = explaining
        self._ladders = Ladders(observer, last_known)
        self.at_once = AtOnce(table, log, shadows, observer)

    def predict(self, tenant: TenantId, ask: Ask) -> list[Answer]:
        """All steps in one; see `plan`."""
        plan = self.plan(tenant, ask)
        if plan.waits:
            self.look_up(plan)
        return self.answer(plan)

    def plan(self, tenant: TenantId, ask: Ask) -> Plan:
        """Route and clean a request. Raises `NotFound` and `Invalid`, naming the column and row."""
        started = time.perf_counter()
        if ask.version is None:
            entry, fixed = self.table.find(tenant, ask.model), None
        else:
            fixed = self.table.find_version(tenant, ask.model, ask.version)
            entry = self.table.find(tenant, ask.model)
        if ask.rows < 1:
            raise Invalid("NO_ROWS", "the request has no rows")
        if ask.rows > self._max_rows:
            raise TooLarge(
                "TOO_MANY_ROWS", f"the request has {ask.rows} rows; at most {self._max_rows} are answered at once"
            )
        if ask.explain and self._explaining is not None:
            self._explaining.check(ask.rows)
        now = time.time_ns() // 1000
        lead = fixed.served if fixed else entry.stable
        alone = fixed is not None or not entry.split
        if ask.matrix is not None:
            serving = fixed or self._of_matrix(tenant, ask, entry)
            if serving is not None and (layout := serving.served.layout) is not None:
                rows = quick.of_matrix(layout, ask.matrix, ask.rows)
                if rows is not None:
                    part = Part(serving, None, ask.rows, {}, np.full(ask.rows, now), rows)
                    return Plan(tenant, ask, entry, [part], started)
            ask.columns = split_matrix(lead, ask.matrix)
        if alone:
            serving = fixed or entry.lead
            parts = [self._part(serving, ask, ask.columns, None, ask.rows, now)]
        else:
            ask.columns = with_arrays(ask.columns)
            parts = [
                self._part(
                    serving, ask, _take(ask.columns, rows), rows, len(rows) if rows is not None else ask.rows, now
                )
                for serving, rows in self._route(tenant, ask, entry)
            ]
        return Plan(tenant, ask, entry, parts, started)

    def look_up(self, plan: Plan) -> None:
        """Fetch the history that the plan needs, one call for each version that answers. When features cannot be asked the
        version's ladder says what answers instead. Raises `Unavailable` where it says: nothing."""
        for part in plan.parts:
            if part.query is not None:
                history, served = self._history.fetch(plan.tenant, part.query), part.serving.served
                try:
                    settled = self._ladders.settle(plan.tenant, served, part.columns, part.query, history)
                except TenonError:
                    self._observer.failed(*part.serving, plan.ask.protocol, Failure.UNAVAILABLE)
                    raise
                part.footings, part.ages = settled
                part.keys, part.query = part.query.keys, None

    def answer(self, plan: Plan) -> list[Answer]:
        """Evaluate, log, and answer; what the shadow says is found out later."""
        ask, answers, logged = plan.ask, [], []
        at = time.time_ns() // 1000
        for part in plan.parts:
            served, role = part.serving
            try:
                scores = _scores(part)
            except Exception:
                self._observer.failed(served, role, ask.protocol, Failure.BROKEN)
                raise
            ids = self._ids.many(at, part.count)
            lost = () if part.footings is None else part.footings.lost
            answers.append(Answer(served, role, part.rows, scores, ids, lost, part.ages, part.footings))
            if ask.explain and self._explaining is not None:
                answers[-1].explained = self._explaining.explain(served, _columns(part), part.footings, part.count)
            logged += _logged(part, ask, ids, at, scores)
        self._log.append(logged)
        elapsed = time.perf_counter() - plan.started
        for answer in answers:
            self._observer.answered(answer.served, answer.role, ask.protocol, answer.scores, elapsed)
        shadow = plan.entry.shadow
        if shadow is not None and ask.version is None:
            for entry in logged:
                self._shadows.offer(shadow, entry)
        return answers

    def _of_matrix(self, tenant: TenantId, ask: Ask, entry: Entry) -> Serving | None:
        """Who answers a matrix, when no column of it decides that and all versions read it alike."""
        if not entry.split:
            return entry.lead
        if entry.stable.lookups:
            return None
        serving = choose(entry, tenant, ask.model, (ask.request_id,))
        return serving if alike(entry.stable, serving.served) else None

    def _route(self, tenant: TenantId, ask: Ask, entry: Entry) -> list[tuple[Serving, npt.NDArray[np.intp] | None]]:
        lookups = entry.stable.lookups
        columns = [column for column in lookups if column.name in ask.columns]
        if not columns:
            return [(choose(entry, tenant, ask.model, (ask.request_id,)), None)]
        rows = ask.rows if ask.split_rows else 1
        texts = [clean.key_texts(column, ask.columns[column.name][:rows]) for column in columns]
        keys = list(zip(*texts, strict=True))
        if rows == 1:
            return [(choose(entry, tenant, ask.model, _key(keys[0], ask)), None)]
        chosen = [choose(entry, tenant, ask.model, _key(key, ask)) for key in keys]
        groups = []
        for serving in entry.answering():
            found = np.array([row for row, item in enumerate(chosen) if item.role == serving.role], np.intp)
            if len(found):
                groups.append((serving, found if len(found) < ask.rows else None))
        return groups

    def _part(self, serving: Serving, ask: Ask, *given: Any) -> Part:
        try:
            return self._cleaned(serving, ask, *given)
        except TenonError:
            self._observer.failed(*serving, ask.protocol, Failure.REFUSED)
            raise

    def _cleaned(
        self,
        serving: Serving,
        ask: Ask,
        given: Mapping[str, Values],
        rows: npt.NDArray[np.intp] | None,
        count: int,
        now: int,
    ) -> Part:
        served = serving.served
        refuse_unknown(served, given)
        if served.layout is not None and not ask.partial:
            found = quick.of_columns(served.layout, given, count)
            if found is not None:
                return Part(serving, rows, count, {}, _times(served, given, count, now), found)
        given = with_arrays(given)
        columns: dict[str, npt.NDArray[Any]] = {}
        wanted: dict[str, None] = {}
        for column in served.inputs:
            values = given.get(column.name)
            if values is not None:
                if ask.partial and column.source == "history" and column.name in ask.partial:
                    raise Invalid(
                        "HISTORY_PARTIAL",
                        f"history feature {column.name!r} is given for some rows only; give it for all or for none",
                        place=Place(field=column.name),
                    )
                columns[column.name] = (
                    clean.texts(column, values) if column.kind is Kind.TEXT else clean.numbers(column, values)
                )
            elif column.source == "history":
                wanted[column.name.partition(".")[0]] = None
            elif column.nullable:
                columns[column.name] = clean.missing(column, count)
            else:
                raise input_missing(served, column)
        times = _times(served, given, count, now)
        part = Part(serving, rows, count, columns, times)
        if wanted:
            part.query = self._query(served, given, tuple(wanted), count, times)
        return part

    def _query(
        self, served: Served, given: Mapping[str, Values], views: tuple[str, ...], count: int, times: list[int]
    ) -> HistoryQuery:
        needed = {name for view in views for name in served.views.get(view, ())}
        keys: list[dict[str, str]] = [{} for _ in range(count)]
        for column in served.lookups:
            values = given.get(column.name)
            if values is None:
                if column.name in needed or (not served.views and column.source == "entity"):
                    raise Invalid(
                        "INPUT_MISSING",
                        f"input {column.name!r} is missing: the history of {', '.join(views)} is looked up by it",
                        place=Place(field=column.name),
                        hint=f"send {column.name!r}, or the history features themselves",
                    )
                continue
            for row, text in enumerate(clean.key_texts(column, values)):
                if text is not None:
                    keys[row][column.name] = text
        digests = {view: digest for view in views if (digest := served.definitions.get(view))}
        return HistoryQuery(views, keys, times, digests)


def _times(served: Served, given: Mapping[str, Values], count: int, now: int) -> list[int]:
    if served.event_time is not None and (values := given.get(served.event_time.name)) is not None:
        return clean.moments(served.event_time, with_arrays({"": values})[""], now)
    return [now] * count


def _scores(part: Part) -> FloatArray:
    served, rows = part.serving.served, part.quick
    if part.footings is not None:
        return ladder.scores(served, part.columns, part.footings, part.count)
    if rows is None or served.layout is None:
        return served.evaluator.predict(part.columns)
    order = served.layout.order
    if isinstance(rows, list):
        return np.array([served.evaluator.predict_row(rows if order is None else [rows[place] for place in order])])
    return served.evaluator.predict_matrix(rows if order is None else rows[:, order])


def _columns(part: Part) -> Mapping[str, npt.NDArray[Any]]:
    """The inputs by name, whichever way they came."""
    rows, layout = part.quick, part.serving.served.layout
    if rows is None or layout is None:
        return part.columns
    matrix = np.asarray(rows, np.float64).reshape(part.count, len(layout.names))
    return {name: matrix[:, place] for place, name in enumerate(layout.names)}


def _logged(part: Part, ask: Ask, ids: bytes, at: int, scores: FloatArray) -> list[Logged]:
    """What is logged of a part: of rows that rest on different things, each by itself. History that could not be had is
    not known; logged as missing it would look like drift."""
    (served, role), rows = part.serving, part.quick
    if rows is not None and served.layout is not None:
        return [Logged(served.source(role, ask.protocol), ask.request_id, ids, at, part.event_time, scores, rows)]
    head = (served, role, ask.protocol, ask.request_id)
    columns = {**part.columns, **_entities(part)} if part.keys else part.columns
    if part.footings is None:
        return [logged_columns(*head, ids, at, part.event_time, scores, columns)]
    found = []
    for place, footing in enumerate(part.footings.found):
        known = {name: values for name, values in columns.items() if name not in footing.lost}
        chosen = part.footings.rows(place)
        if chosen is None:
            found.append(logged_columns(*head, ids, at, part.event_time, scores, known, footing.level))
            continue
        times = [part.event_time[row] for row in chosen]
        own = b"".join(ids[ID_BYTES * row : ID_BYTES * (row + 1)] for row in chosen)
        some = {name: values[chosen] for name, values in known.items()}
        found.append(logged_columns(*head, own, at, times, scores[chosen], some, footing.level))
    return found


def _entities(part: Part) -> Mapping[str, npt.NDArray[Any]]:
    """Whom a row is about, where the model itself does not see it: labels, erasure and a look at the same row as training
    would make it need it."""
    names = [column.name for column in part.serving.served.lookups if column.name not in part.columns]
    return {name: np.array([key.get(name) for key in part.keys], object) for name in names}


def _key(parts: Sequence[str | None], ask: Ask) -> Sequence[str]:
    """An entity that is missing altogether cannot be sticky; the request id stands in for it."""
    if all(part is None for part in parts):
        return (ask.request_id,)
    return tuple("" if part is None else f"={part}" for part in parts)


def _take(columns: Any, rows: npt.NDArray[np.intp] | None) -> Any:
    if rows is None:
        return columns
    return {
        name: values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows.tolist()]
        for name, values in columns.items()
    }
