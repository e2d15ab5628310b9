"""A shadow's answers beside the stable version's, request by request, as totals: how often only one of the two was at or below a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from services.monitor.domain.canary.words import Pairs
from services.monitor.domain.model import Window

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.monitor.domain.canary.words import Stage, Trial
    from tenon.core.tenancy import TenantId

    Floats = npt.NDArray[np.float64]

MINUTE = 60 * 10**6
_LATE = 60 * MINUTE
"""Of answers this old both have arrived: they are counted once."""
_SHORTEST, _LONGEST = MINUTE, 1440 * MINUTE
_FEW, _MANY = 50_000, 200_000
"""Rows of a stretch that is read at once: with fewer the next one is longer, with more shorter."""
_A_LOOK = 1_000_000
"""Rows that are read in one look. What is left is read in the next: evidence on the first requests is evidence, too."""
_REMEMBERED = 1_000


class SameRequests(Protocol):
    """The log by request."""

    def scores(
        self, tenant: TenantId, model: str, window: Window, stable: int, shadow: int
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Scores of both versions on the requests that the stable one answered in the window and the shadow was asked, too,
        row by row. What a rung beside the model answered is left out."""
        ...


class CountPairs:
    """Counts each request once, as time goes on; a replica that begins anew reads the trial from its beginning."""

    def __init__(self, same: SameRequests) -> None:
        self._same = same
        self._counted: dict[tuple[object, ...], tuple[int, int, Pairs]] = {}
        """By trial, stage and bounds: until when, how long a stretch was, and what was found."""

    def __call__(self, trial: Trial, stage: Stage, bounds: Floats, now: int) -> Pairs:
        """What is known of a stage."""
        end = stage.end if stage.end is not None else now + 1
        key = (trial.key, trial.stable, trial.candidate, stage.start, bounds.tobytes())
        reached, length, found = self._counted.get(key, (stage.start, 60 * MINUTE, Pairs.none(len(bounds))))
        settled, left = min(end, now - _LATE), _A_LOOK
        while reached < settled and left > 0:
            until = min(reached + length, settled)
            more = self._count(trial, reached, until, bounds)
            found, reached, left = found + more, until, left - more.rows
            if more.rows < _FEW:
                length = min(2 * length, _LONGEST)
            elif more.rows > _MANY:
                length = max(length // 2, _SHORTEST)
        if len(self._counted) >= _REMEMBERED and key not in self._counted:
            self._counted.clear()
        self._counted[key] = reached, length, found
        # Behind the newest that is settled, everything is counted anew in each look, for some of it may not have arrived.
        while reached < end and left > 0:
            until = min(reached + length, end)
            more = self._count(trial, reached, until, bounds)
            found, reached, left = found + more, until, left - more.rows
        return found

    def _count(self, trial: Trial, start: int, end: int, bounds: Floats) -> Pairs:
        stable, own = self._same.scores(trial.tenant, trial.model, Window(start, end), trial.stable, trial.candidate)
        usable = np.isfinite(stable) & np.isfinite(own)
        there, here = (scores[usable][:, None] <= bounds for scores in (stable, own))
        return Pairs(
            int(usable.sum()), (here & ~there).sum(axis=0).astype(float), (there & ~here).sum(axis=0).astype(float)
        )
