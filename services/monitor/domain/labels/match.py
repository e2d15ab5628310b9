"""Which predictions does a label by entity and time belong to?

The rule. A label belongs to every answer about its event, whichever version gave it and however often it was asked for: the
truth is the event's. An answer is about the event when each key column equals the logged one (`tenon.core.matching`) and its
event time equals the label's; with `within`, the nearest event time at most that far off. Two answers that differ in a column
that the key does not name (history features apart, which may have moved on between two questions) are about different events.
Then the label is ambiguous, and no answer gets it. Shadows share the prediction id of the answer they shadow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.label_words import Match
from services.monitor.domain.model import Column, NumericColumn, Role, Window
from tenon.core.matching import key_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from services.monitor.domain.label_words import AnsweredRows, KeyedLabel
    from services.monitor.domain.ports import Answered
    from tenon.core.tenancy import TenantId

_APART = 3_600_000_000
"""Labels further apart than an hour are looked for in windows of their own."""


def is_history(column: str) -> bool:
    """Whether a logged column is a feature looked up (`view.feature`), not something the caller said."""
    return "." in column


def texts_of(column: Column, rows: npt.NDArray[np.intp]) -> list[str | None]:
    """A column's values in some rows, as keys are compared."""
    if isinstance(column, NumericColumn):
        return [key_text(value) for value in column.values[rows].tolist()]
    levels = [*(key_text(level) for level in column.levels), None]
    return [levels[code] for code in column.codes[rows].tolist()]


@dataclass(frozen=True, slots=True)
class _Found:
    prediction_id: str
    event_time: int
    facts: Mapping[str, str | None]


def find_predictions(log: Answered, tenant: TenantId, model: str, labels: Sequence[KeyedLabel]) -> list[Match]:
    """The predictions of each label, by place."""
    found: list[Match] = [Match()] * len(labels)
    for places in _near(labels):
        some = [labels[place] for place in places]
        first = min(label.event_time - label.within for label in some)
        last = max(label.event_time + label.within for label in some)
        rows = log.answered(tenant, model, Window(first, last + 1, "event_time"))
        for place, match in zip(places, match_rows(rows, some), strict=True):
            found[place] = match
    return found


def match_rows(batches: Iterable[AnsweredRows], labels: Sequence[KeyedLabel]) -> list[Match]:
    """The same among given rows."""
    tables: dict[tuple[str, ...], dict[tuple[str | None, ...], list[int]]] = {}
    for place, label in enumerate(labels):
        names = tuple(sorted(label.key))
        key = tuple(key_text(label.key[name]) for name in names)
        tables.setdefault(names, {}).setdefault(key, []).append(place)
    times = np.sort(np.fromiter((label.event_time for label in labels), np.int64, len(labels)))
    widest = max((label.within for label in labels), default=0)
    found: list[list[_Found]] = [[] for _ in labels]
    for batch in batches:
        if batch.role is Role.SHADOW:
            continue
        begin = np.searchsorted(times, batch.event_time - widest, "left")
        near = np.flatnonzero(np.searchsorted(times, batch.event_time + widest, "right") > begin)
        for names, table in tables.items():
            if near.size and all(name in batch.columns for name in names):
                _collect(batch, near, names, table, labels, found)
    return [_decide(label, rows) for label, rows in zip(labels, found, strict=True)]


def _collect(
    batch: AnsweredRows, near: npt.NDArray[np.intp], names: tuple[str, ...],
    table: Mapping[tuple[str | None, ...], list[int]], labels: Sequence[KeyedLabel], found: list[list[_Found]],
) -> None:  # fmt: skip
    keys = zip(*(texts_of(batch.columns[name], near) for name in names), strict=True)
    moments = batch.event_time[near].tolist()
    hits = [
        (row, moment, place)
        for row, moment, key in zip(near.tolist(), moments, keys, strict=True)
        for place in table.get(key, ())
        if abs(moment - labels[place].event_time) <= labels[place].within
    ]
    rows = np.unique(np.array([row for row, _, _ in hits], dtype=np.intp))
    # All rows of a column at once: a column's levels may be as many as its rows.
    said = {name: texts_of(column, rows) for name, column in batch.columns.items() if not is_history(name)}
    facts = [dict(zip(said, values, strict=True)) for values in zip(*said.values(), strict=True)]
    places_of = {row: place for place, row in enumerate(rows.tolist())}
    for row, moment, place in hits:
        found[place].append(_Found(batch.prediction_ids[row], moment, facts[places_of[row]]))


def _decide(label: KeyedLabel, found: Sequence[_Found]) -> Match:
    if not found:
        return Match()
    nearest = min(abs(one.event_time - label.event_time) for one in found)
    kept = [one for one in found if abs(one.event_time - label.event_time) == nearest]
    events: list[_Found] = []
    for one in kept:
        if not any(_same_event(one, other) for other in events):
            events.append(one)
    if len(events) > 1:
        return Match((), len(events))
    return Match(tuple(dict.fromkeys(one.prediction_id for one in kept)), 1)


def _same_event(one: _Found, other: _Found) -> bool:
    return one.event_time == other.event_time and all(
        other.facts[name] == value for name, value in one.facts.items() if name in other.facts
    )


def _near(labels: Sequence[KeyedLabel]) -> Iterator[list[int]]:
    """Places of labels that lie close together in time, so that a few old ones do not read years of the log."""
    run: list[int] = []
    last = 0
    for place in sorted(range(len(labels)), key=lambda place: labels[place].event_time):
        label = labels[place]
        if run and label.event_time - label.within - last > _APART:
            yield run
            run = []
        run.append(place)
        last = max(last, label.event_time + label.within)
    if run:
        yield run
