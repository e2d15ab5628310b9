"""From the predictors' own counts to cells: errors, refused requests, latency, requests that stopped, stale and missing history.

Every five minutes each version in each role is looked at on the shortest stretch (5 and 15 minutes, 1, 3 and 6 hours, a day) that has requests
enough; only their number decides which. What is usual is told by the week before, without the last hour (`usual`).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from services.monitor.domain.incidents.usual import (
    DAY,
    WEEK,
    WEEKS,
    Share,
    quantile_seconds,
    slow_bound,
    usual_requests,
    usual_share,
)
from services.monitor.domain.incidents.words import Cell, IncidentKind
from services.monitor.domain.log.operations import BUCKET, HOUR, Operated
from services.monitor.domain.model import Role, Window
from tenon.core.levels import Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from services.monitor.domain.incidents.ports import FleetOperations

    Floats = npt.NDArray[np.float64]

TICK = 5 * BUCKET
SPANS = {
    TICK: "5 minutes", 3 * TICK: "15 minutes", HOUR: "hour", 3 * HOUR: "3 hours", 6 * HOUR: "6 hours", DAY: "day",
}  # fmt: skip
_BY_MINUTES = HOUR
"""Stretches up to this are counted by minutes, longer ones by hours."""
_LEAST = 20
"""Requests below which a stretch says nothing."""
_LATE = 10 * BUCKET
"""An hour is whole so long after its end: the predictors' records are minutes late at most."""
_FEW = 3.0
"""With fewer requests to be expected, that none came says nothing."""
_STOPPED = 0.9
"""Stopped is when so much of what is usual at least does not come."""
_PLAIN = 1e-9
_REFUSED, _ANSWERS = 1, 0
_FAILED = slice(2, 4)
_LATENCY = slice(4, 24)
_DOUBLE = 2.0
_LATER = 0.005
"""Seconds by which the slowest twentieth must have become slower: below, nobody notices."""
_HINTS = {
    "errors": "a version that fails, or something it needs: see the predictors' log",
    "refused requests": "clients send what the version does not take: a changed client, or another signature",
    "latency": "compare with the number of requests, the machines' load and the last release",
    "traffic": "callers, the gateway or the predictors stopped, or nothing they tell arrives here",
    "fallback answers": "history was not there in time: see the features service and its store",
    "stale features": "the online store is behind: see the features service and what feeds its data set",
}

Whose = tuple[str, str, bool]
"""Tenant, model, and whether it is the shadow."""


@dataclass(frozen=True, slots=True)
class _Matters:
    """From which size on a share matters: so much more, and twice as much. And what is taken while nothing is known."""

    more: float
    expected: float
    spread: float
    floor: float


_SHARES = {
    "errors": _Matters(more=0.02, expected=0.01, spread=0.01, floor=0.001),
    "refused requests": _Matters(more=0.1, expected=0.02, spread=0.05, floor=0.005),
    "latency": _Matters(more=0.05, expected=0.1, spread=0.1, floor=0.01),
    "fallback answers": _Matters(more=0.05, expected=0.02, spread=0.1, floor=0.005),
    "stale features": _Matters(more=0.1, expected=0.05, spread=0.1, floor=0.01),
}


@dataclass(slots=True)
class _Hours:
    """What was counted in whole hours that are over: read once, kept in memory."""

    did: dict[Whose, dict[int, npt.NDArray[np.int64]]] = field(default_factory=lambda: defaultdict(dict))
    """Of a week."""
    levels: dict[Whose, dict[int, tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(dict))
    """Of a week: answers with a level, beside the model or without history, stale."""
    requests: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """Of four weeks."""
    until: int | None = None

    def read(self, fleet: FleetOperations, tick: int) -> None:
        """Bring it up to date."""
        until = (tick - _LATE) // HOUR * HOUR
        oldest = until - WEEKS * WEEK - 2 * HOUR
        since = oldest if self.until is None else max(self.until, oldest)
        if since >= until:
            return
        for tenant, model, start, count in fleet.requests(since, until):
            self.requests[tenant, model][start] = count
        week = max(since, until - WEEK)
        for one in fleet.hours(week, until):
            whose = (one.tenant, one.model, one.role is Role.SHADOW)
            known = self.did[whose].get(one.start)
            self.did[whose][one.start] = _vector(one.did) if known is None else known + _vector(one.did)
        for told in fleet.levels(week, until):
            whose = (told.tenant, told.model, told.role is Role.SHADOW)
            kept = self.levels[whose].get(told.start, (0, 0, 0))
            rows, beside, stale = (sum(pair) for pair in zip(kept, _levels(told.levels), strict=True))
            self.levels[whose][told.start] = rows, beside, stale
        self.until = until
        _forget(self.requests, oldest)
        _forget(self.did, until - WEEK)
        _forget(self.levels, until - WEEK)


class ExamineOperations:
    """Cells of all tenants' models at a tick, a multiple of `TICK`."""

    def __init__(self, fleet: FleetOperations) -> None:
        self._fleet, self._hours = fleet, _Hours()
        self._lock = threading.Lock()

    def __call__(self, tick: int) -> list[Cell]:
        """Look at what happened up to the tick."""
        with self._lock:
            self._hours.read(self._fleet, tick)
            by_span = {
                span: self._fleet.totals(_begin(tick, span), tick, by_hours=span > _BY_MINUTES) for span in SPANS
            }
            cells = [*self._versions(tick, by_span), *self._levels(tick), *self._stopped(tick, by_span)]
        return _one_each(cells)

    def active(self, since: int) -> set[tuple[str, str]]:
        """Models of which anything was told since then."""
        return self._fleet.active(since)

    # --- errors and latency

    def _versions(self, tick: int, by_span: Mapping[int, Mapping[_Version, Operated]]) -> Iterator[Cell]:
        for key in by_span[DAY]:
            tenant, model, version, role = key
            chosen = next(
                (
                    (span, did)
                    for span, found in by_span.items()
                    if (did := found.get(key)) is not None and did.answers + did.errors >= _LEAST
                ),
                None,
            )
            if chosen is None:
                continue
            span, did = chosen
            place = _Place(tenant, model, version, role, Window(_begin(tick, span), tick), f"in the last {SPANS[span]}")
            yield from self._failures(place, _vector(did), self._week_of(place))

    def _week_of(self, place: _Place) -> Floats:
        """Counts by hours, those of the last hour before the window left out; a row an hour."""
        answering = self._hours.did.get((place.tenant, place.model, False), {})
        # Of a shadow that was never asked, what answers tell is the nearest there is.
        kept = self._hours.did.get((place.tenant, place.model, True), answering) if place.is_shadow else answering
        before = place.window.start - HOUR
        rows = [counts for start, counts in kept.items() if start + HOUR <= before]
        return np.array(rows, dtype=np.float64).reshape(-1, _LATENCY.stop)

    def _failures(self, place: _Place, did: npt.NDArray[np.int64], week: Floats) -> Iterator[Cell]:
        requests = int(did[: _LATENCY.start].sum())
        asked = week[:, : _LATENCY.start].sum(axis=1)
        for name, hits, before, words in (
            ("errors", int(did[_FAILED].sum()), week[:, _FAILED].sum(axis=1), "requests failed"),
            ("refused requests", int(did[_REFUSED]), week[:, _REFUSED], "requests were refused by the version"),
        ):
            usual = _usual(name, before, asked)
            share = hits / requests
            sentence = f"{share:.1%} of {requests:,} {words} {place.when}, {usual.mean:.2%} are usual"
            yield place.cell(name, usual.tail(hits, requests), _size(name, share, usual.mean), requests, sentence)
        if int(did[_ANSWERS]) >= _LEAST and len(week):
            yield self._latency(place, did[_LATENCY], week[:, _LATENCY])

    def _latency(self, place: _Place, latency: npt.NDArray[np.int64], week: Floats) -> Cell:
        summed = week.sum(axis=0).astype(np.int64)
        bound = slow_bound(summed)
        answers, slow = int(latency.sum()), int(latency[bound + 1 :].sum())
        usual = _usual("latency", week[:, bound + 1 :].sum(axis=1), week.sum(axis=1))
        now, before = quantile_seconds(latency), quantile_seconds(summed) if summed.sum() else np.inf
        effect = min(np.log2(now / before) / np.log2(_DOUBLE), (now - before) / _LATER)
        sentence = (
            f"19 of 20 answers took up to {now * 1000:.3g} ms {place.when}, {before * 1000:.3g} ms are usual "
            f"(n = {answers:,})"
        )
        return place.cell("latency", usual.tail(slow, answers), float(effect), answers, sentence)

    # --- what answers rest on

    def _levels(self, tick: int) -> Iterator[Cell]:
        hour = tick // HOUR * HOUR
        now: dict[_Version, list[tuple[int, Mapping[str, int]]]] = defaultdict(list)
        for one in self._fleet.levels(hour - HOUR, tick):
            now[one.tenant, one.model, one.version, one.role].append((one.start, one.levels))
        for (tenant, model, version, role), found in now.items():
            since = hour
            rows, beside, stale = _summed([levels for start, levels in found if start >= hour])
            if rows < _LEAST or tick - hour < 2 * TICK:
                since = hour - HOUR
                rows, beside, stale = _summed([levels for _, levels in found])
            if rows < _LEAST:
                continue
            place = _Place(
                tenant, model, version, role, Window(since, tick), f"in the last {(tick - since) // BUCKET} minutes"
            )
            kept = self._hours.levels.get((tenant, model, role is Role.SHADOW), {})
            week = np.array([counts for start, counts in kept.items() if start + HOUR < since], dtype=np.float64)
            week = week.reshape(-1, 3)
            for name, hits, column, words in (
                ("fallback answers", beside, 1, "answers had no history or were not the model's own"),
                ("stale features", stale, 2, "answers rest on history that is too old"),
            ):
                usual = _usual(name, week[:, column], week[:, 0])
                share = hits / rows
                sentence = f"{share:.1%} of {rows:,} {words} {place.when}, {usual.mean:.2%} are usual"
                yield place.cell(name, usual.tail(hits, rows), _size(name, share, usual.mean), rows, sentence)

    # --- requests that stopped

    def _stopped(self, tick: int, by_span: Mapping[int, Mapping[_Version, Operated]]) -> Iterator[Cell]:
        counted = {span: _requests(found) for span, found in by_span.items()}
        newest = {
            (tenant, model): version
            for (tenant, model, version, role), _ in sorted(by_span[DAY].items(), key=lambda one: one[1].answers)
            if role is not Role.SHADOW
        }
        for (tenant, model), counts in self._hours.requests.items():
            if not counts:
                continue
            first, stopped = min(counts), None
            for span, words in SPANS.items():
                start = _begin(tick, span)
                usual = usual_requests(counts, first, start, tick)
                count = counted[span].get((tenant, model), 0)
                effect = (1 - count / usual.least) / _STOPPED if usual.least > 0 else 0.0
                place = _Place(tenant, model, newest.get((tenant, model), 0), Role.STABLE, Window(start, tick), words)
                cell = place.cell(
                    "traffic", min(1.0, usual.tail(count) * len(SPANS)), effect, count,
                    f"{count:,} requests in the last {words}; " + (
                        f"at this time of the week {usual.least:,.0f} are usual at least" if usual.known
                        else "not enough history to say how many are usual"
                    ),
                    change="lower", enough=usual.least >= _FEW,
                )  # fmt: skip
                if cell.enough and effect < 1:
                    # They come (again), whatever longer stretches show; or stopped not so long ago.
                    stopped = stopped if stopped is not None and stopped.enough else cell
                    break
                # The shortest stretch that says it plainly also says best since when.
                if stopped is None or (_p(stopped) > _PLAIN and _p(cell) < _p(stopped)):
                    stopped = cell
            if stopped is not None:
                yield stopped


_Version = tuple[str, str, int, Role]


@dataclass(frozen=True, slots=True)
class _Place:
    """What is looked at, and when."""

    tenant: str
    model: str
    version: int
    role: Role
    window: Window
    when: str

    @property
    def is_shadow(self) -> bool:
        """Whether nobody waits for it."""
        return self.role is Role.SHADOW

    def cell(
        self, name: str, p_value: float, effect: float, rows: int, sentence: str, *, change: str = "higher",
        enough: bool = True,
    ) -> Cell:  # fmt: skip
        """One question's cell."""
        feature = name if self.role is Role.STABLE else f"{name} ({self.role.value})"
        return Cell(
            tenant=self.tenant, model=self.model, version=self.version, kind=IncidentKind.OPERATIONS, feature=feature,
            window=self.window, p_value=p_value, effect=max(effect, 0.0), change=change, rows=rows, enough=enough,
            sentence=sentence, hint=_HINTS[name],
        )  # fmt: skip


def _one_each(cells: list[Cell]) -> list[Cell]:
    """Two versions in one role are one question: the worse of the two, its p-value times two (Bonferroni)."""
    by_key: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        by_key[cell.key].append(cell)
    found = []
    for some in by_key.values():
        worst = min(some, key=lambda cell: (cell.effect < 1, _p(cell)))
        found.append(worst if len(some) == 1 else worst.times(len(some)))
    return found


def _p(cell: Cell) -> float:
    return 1.0 if cell.p_value is None else cell.p_value


def _usual(name: str, hits: Floats, rows: Floats) -> Share:
    known = _SHARES[name]
    return usual_share(hits, rows, expected=known.expected, spread=known.spread, floor=known.floor)


def _size(name: str, share: float, usual: float) -> float:
    """In units of what matters: so much more, and twice as much."""
    return min((share - usual) / _SHARES[name].more, share / max(usual, 1e-9) - 1)


def _begin(tick: int, span: int) -> int:
    return tick - span if span <= _BY_MINUTES else (tick - span) // HOUR * HOUR


def _requests(found: Mapping[_Version, Operated]) -> dict[tuple[str, str], int]:
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for (tenant, model, _, role), did in found.items():
        if role is not Role.SHADOW:
            totals[tenant, model] += did.answers + did.errors
    return totals


def _vector(did: Operated) -> npt.NDArray[np.int64]:
    return np.array((did.answers, *did.failures, *did.latency), dtype=np.int64)


def _levels(levels: Mapping[str, int]) -> tuple[int, int, int]:
    rows, stale = sum(levels.values()), levels.get(Level.STALE, 0)
    return rows, rows - stale - levels.get(Level.FRESH, 0), stale


def _summed(found: list[Mapping[str, int]]) -> tuple[int, int, int]:
    rows, beside, stale = (sum(column) for column in zip((0, 0, 0), *map(_levels, found), strict=True))
    return rows, beside, stale


def _forget(kept: Mapping[Any, dict[int, Any]], before: int) -> None:
    for counts in kept.values():
        for start in [start for start in counts if start < before]:
            del counts[start]
