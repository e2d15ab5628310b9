"""What is usual of a model's operations, and how unlikely it is that a window is as usual.

Shares (of requests that failed, of answers that were slow, of answers beside the model). From hour to hour a share varies by more than
chance; that excess is estimated from the hours of a week (the intraclass correlation of a beta-binomial, by moments), shrunk
towards a value that is typical while there are few hours, and never below a floor. The twentieth of the hours with the highest shares is left
out, so that a trouble of yesterday is not what is usual today. A window's p-value is the beta-binomial's tail.

Requests. How many are usual in an hour is the least of the same hour of the week (an hour sooner or later as well: clocks change twice a
year) in two to four weeks. With one week behind it, it is the least of that hour on every day so far: a model that is asked on each day of the week
can be told to have stopped, and of one that rests on some day nothing can be said yet. Within the first week nothing can be said of any. Around it counts are negative binomial; how irregular they are is estimated from hours a week apart.

Williams, D. A. (1975). The analysis of binary responses from toxicological experiments. Biometrics 31.
Griffiths, D. A. (1973). Maximum likelihood estimation for the beta-binomial distribution. Biometrics 29.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from services.monitor.domain.log.operations import HOUR
from tenon.core.operations import LATENCY_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

DAY = 24 * HOUR
WEEK = 7 * DAY
WEEKS = 4
_ENOUGH_WEEKS = 2
"""From which on the same hour of the week says what is usual by itself: the first week of a tenant is rarely like the others."""
_TERMS, _NO_MORE = 512, 1e-6
_PRIOR_ROWS = 100.0
_PRIOR_HOURS = 24.0
_KEPT_HOURS = 0.95
_REGULAR, _IRREGULAR = 0.05, 2.0
_UNKNOWN = 1 / 3
"""How irregular requests are taken to be before there are two weeks to compare."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of rows as it usually is: its mean, and how it varies between windows (0: by chance alone)."""

    mean: float
    spread: float
    rows: float
    hours: int

    def tail(self, hits: int, rows: int) -> float:
        """How likely so many or more are, if it is as usual.

        >>> usual = Share(mean=0.01, spread=0.002, rows=10_000, hours=100)
        >>> usual.tail(1, 100) > 0.2, usual.tail(50, 100) < 1e-12
        (True, True)
        """
        if hits <= 0 or rows <= 0:
            return 1.0
        # How surely the mean is known is one more reason why the window's may be another.
        spread = self.spread * (1 + 1 / (self.hours + _PRIOR_HOURS)) + 1 / (self.rows + _PRIOR_ROWS)
        size = 1 / min(spread, 0.9) - 1
        return _tail(hits, rows, self.mean * size, (1 - self.mean) * size)


def _tail(hits: int, rows: int, ups: float, downs: float) -> float:
    """The beta-binomial's, summed from the first term on: each follows from the one before."""
    first = special.betaln(hits + ups, rows - hits + downs) - special.betaln(ups, downs)
    first += special.gammaln(rows + 1) - special.gammaln(hits + 1) - special.gammaln(rows - hits + 1)
    term = total = float(np.exp(first))
    begin = hits
    while begin < rows and term > _NO_MORE * total:
        at = np.arange(begin, min(begin + _TERMS, rows), dtype=np.float64)
        terms = term * np.cumprod((rows - at) / (at + 1) * (at + ups) / (rows - at - 1 + downs))
        term, total, begin = float(terms[-1]), total + float(terms.sum()), begin + _TERMS
    return min(total, 1.0)


def usual_share(
    hits: Floats, rows: Floats, *, expected: float, spread: float, floor: float
) -> Share:  # fmt: skip
    """From hits and rows of hours. `expected` and `spread` are taken while nothing is known, and count as much as 100 rows and 24 hours.

    >>> usual_share(np.zeros(0), np.zeros(0), expected=0.01, spread=0.02, floor=0.001).mean
    0.01
    """
    asked = rows > 0
    hits, rows = hits[asked], rows[asked]
    kept = np.argsort(hits / rows, kind="stable")[: int(np.ceil(_KEPT_HOURS * len(rows)))]
    hits, rows = hits[kept], rows[kept]
    total = float(rows.sum())
    mean = (float(hits.sum()) + expected * _PRIOR_ROWS) / (total + _PRIOR_ROWS)
    binomial = mean * (1 - mean)
    pairs = float((rows * (rows - 1)).sum()) * binomial
    excess = float(((hits - rows * mean) ** 2).sum()) - total * binomial
    found = min(max(excess / pairs, 0.0), 0.5) if pairs > 0 else 0.0
    hours = len(rows)
    blended = (hours * found + _PRIOR_HOURS * spread) / (hours + _PRIOR_HOURS)
    return Share(mean, max(blended, floor), total, hours)


@dataclass(frozen=True, slots=True)
class Requests:
    """How many requests are usual in a window at least, and how irregular they are (the square of their relative deviation)."""

    least: float
    irregular: float
    known: bool = True
    """Whether there is history enough to say it of any part of the window."""

    def tail(self, count: int) -> float:
        """How likely so few are.

        >>> Requests(least=100.0, irregular=0.05).tail(0) < 1e-10
        True
        >>> Requests(least=3.0, irregular=0.05).tail(0) > 0.01
        True
        """
        if self.least <= 0:
            return 1.0
        size = 1 / self.irregular
        return float(special.betainc(size, count + 1.0, size / (size + self.least)))


def usual_requests(counts: Mapping[int, int], first: int, start: int, end: int) -> Requests:
    """What [start, end) should have, from counts by the hour they began in; `first` is the first hour that was looked at."""
    least, known = 0.0, False
    hour = start // HOUR * HOUR
    while hour < end:
        share = (min(end, hour + HOUR) - max(start, hour)) / HOUR
        of_hour = _least_of_hour(counts, first, hour)
        if of_hour is not None:
            least, known = least + share * of_hour, True
        hour += HOUR
    return Requests(least, _irregular(counts, first, start), known)


def _least_of_hour(counts: Mapping[int, int], first: int, hour: int) -> float | None:
    """None while nothing is known of this hour of the week."""
    lags = [weeks * WEEK for weeks in range(1, WEEKS + 1) if hour - weeks * WEEK - HOUR >= first]
    if not lags:
        return None
    if len(lags) < _ENOUGH_WEEKS:
        lags = [days * DAY for days in range(1, 2 * 7) if hour - days * DAY - HOUR >= first]
    near = (hour - lag + away for lag in lags for away in (-HOUR, 0, HOUR))
    return float(min((counts.get(one, 0) for one in near), default=0))


def _irregular(counts: Mapping[int, int], first: int, start: int) -> float:
    last = start // HOUR * HOUR - 2 * HOUR
    if last - 2 * WEEK < first:
        return _UNKNOWN
    hours = np.arange(last - WEEK, last, HOUR)
    now = np.array([counts.get(int(one), 0) for one in hours], dtype=np.float64)
    before = np.array([counts.get(int(one - WEEK), 0) for one in hours], dtype=np.float64)
    excess = float(((now - before) ** 2 - (now + before)).sum())
    squares = float(((now + before) ** 2).sum()) / 2
    return float(np.clip(excess / squares, _REGULAR, _IRREGULAR)) if squares > 0 else _IRREGULAR


def slow_bound(latency: npt.NDArray[np.int64]) -> int:
    """The place of the first bound that at most a tenth of usual answers is above."""
    total = int(latency.sum())
    above = total - np.cumsum(latency)[:-1]
    places = np.flatnonzero(above <= total / 10)
    return int(places[0]) if len(places) else len(LATENCY_BOUNDS) - 1


def quantile_seconds(latency: npt.NDArray[np.int64], share: float = 0.95) -> float:
    """So many of the answers took no longer, read between the bounds.

    >>> counts = np.zeros(20, dtype=np.int64)
    >>> counts[6] = 100  # all between 0.75 and 1 ms
    >>> 0.00075 < quantile_seconds(counts) <= 0.001
    True
    """
    reached = np.cumsum(latency)
    wanted = share * float(reached[-1])
    place = int(np.searchsorted(reached, wanted))
    if place >= len(LATENCY_BOUNDS):
        return 2 * LATENCY_BOUNDS[-1]
    high = LATENCY_BOUNDS[place]
    low = LATENCY_BOUNDS[place - 1] if place else high / 2
    before = float(reached[place - 1]) if place else 0.0
    inside = (wanted - before) / max(float(latency[place]), 1.0)
    return float(low * (high / low) ** min(max(inside, 0.0), 1.0))
