"""Two versions' answers to the same requests: found in the log, and counted once each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.monitor.domain.canary.same_requests import MINUTE, CountPairs, SameRequests
from services.monitor.domain.canary.words import Stage
from services.monitor.domain.model import PredictionBatch, Role, Window
from services.monitor.storage.log.same_requests import SqlSameRequests
from services.monitor.storage.models import ModelIds
from tests.support.canary_trials import TRIAL
from tests.support.monitor_fakes import MemoryLog
from tests.support.monitor_storage_suite import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.monitor.domain.ports import PredictionLog

START = 1_700_000_000_000_000
HOUR = 60 * MINUTE
SHADOWED = replace(TRIAL, role=Role.SHADOW, stages=(Stage(START, None, 1.0),))


@pytest.fixture(params=["memory", "sqlite"])
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PredictionLog, SameRequests]]:
    """A log, and its answers by request."""
    if request.param == "memory":
        log = MemoryLog()
        yield log, log
        return
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('same')}/monitor.db")
    yield store.log, SqlSameRequests(store.database, ModelIds(), store.archive)
    store.database.close()


def answer(log: PredictionLog, version: int, role: Role, rows: dict[str, float], *, at: int, level: str = "") -> None:
    """Rows of one batch, a second apart."""
    ids = tuple(rows)
    moments = at + 10**6 * np.arange(len(ids), dtype=np.int64)
    name = f"{version}-{role}-{at}-{level}"
    score = np.array(list(rows.values()))
    owner = TRIAL.tenant
    log.store(
        owner,
        PredictionBatch(
            name, "r", owner, TRIAL.model, version, role, "rest", ids, ids, moments, moments, score, {}, level
        ),
    )


def test_answers_to_the_same_requests_are_found(kept: tuple[PredictionLog, SameRequests]) -> None:
    """By id, in any order; what only one of the two answered, in another role or beside the model, is left out; a shadow is a little later."""
    log, same = kept
    answer(log, 1, Role.STABLE, {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}, at=START)
    answer(log, 1, Role.STABLE, {"e": 0.5}, at=START + HOUR)
    answer(log, 1, Role.STABLE, {"g": 0.6}, at=START, level="rule")
    answer(log, 2, Role.SHADOW, {"c": 0.31, "x": 0.9, "a": 0.11, "g": 0.7}, at=START + 5)
    answer(log, 2, Role.STABLE, {"b": 0.21}, at=START + 5)
    answer(log, 2, Role.SHADOW, {"e": 0.51}, at=START + HOUR + 20 * 10**6)
    stable, own = same.scores(TRIAL.tenant, TRIAL.model, Window(START, START + HOUR), 1, 2)
    assert sorted(zip(stable.tolist(), own.tolist(), strict=True)) == [(0.1, 0.11), (0.3, 0.31)]
    # The answer lies within the window, the shadow's behind it.
    stable, own = same.scores(TRIAL.tenant, TRIAL.model, Window(START + HOUR, START + HOUR + 10**6), 1, 2)
    assert (stable.tolist(), own.tolist()) == ([0.5], [0.51])
    assert len(same.scores(TRIAL.tenant, TRIAL.model, Window(START - HOUR, START), 1, 2)[0]) == 0


def test_each_request_counts_once(kept: tuple[PredictionLog, SameRequests]) -> None:
    """Looked at again and again while more comes, some of it late, the totals are those of one look at the end."""
    log, same = kept
    bounds, rng, rows, count = np.array([0.25, 0.5, 0.75]), np.random.default_rng(2), 20, CountPairs(same)
    stage = SHADOWED.stages[0]
    for hour in range(6):
        scores = rng.random((2, rows))
        for version, role, late, score in ((1, Role.STABLE, 0, scores[0]), (2, Role.SHADOW, 30 * MINUTE, scores[1])):
            named = {f"{hour}-{row}": float(one) for row, one in enumerate(score)}
            answer(log, version, role, named, at=START + hour * HOUR + 7)
            count(SHADOWED, stage, bounds, START + hour * HOUR + 10 * MINUTE + late)
    found = count(SHADOWED, stage, bounds, START + 8 * HOUR)
    anew = CountPairs(same)(SHADOWED, stage, bounds, START + 8 * HOUR)
    assert (found.rows, found.ups.tolist(), found.downs.tolist()) == (120, anew.ups.tolist(), anew.downs.tolist())
    assert anew.rows == 120
    assert 0 < found.ups.sum() < 3 * 120


def test_a_long_trial_is_read_some_at_a_time() -> None:
    """A replica that begins anew with a busy model reads a bounded part in a look, and has all of it after some."""

    class Busy:
        read: list[int]

        def __init__(self) -> None:
            self.read = []

        def scores(
            self, tenant: object, model: str, window: Window, stable: int, shadow: int
        ) -> tuple[np.ndarray, np.ndarray]:
            rows = 5_000 * (window.end - window.start) // MINUTE
            self.read.append(rows)
            return np.zeros(rows), np.ones(rows)

    busy = Busy()
    count, found, looks = CountPairs(busy), 0, 0
    now = START + 12 * HOUR
    while found < 5_000 * (now - START) // MINUTE:
        busy.read.clear()
        pairs = count(SHADOWED, SHADOWED.stages[0], np.array([0.5]), now)
        assert pairs.rows > found
        assert max(busy.read) <= 500_000
        assert sum(busy.read) <= 1_500_000
        assert pairs.downs.tolist() == [pairs.rows]
        found, looks = pairs.rows, looks + 1
    assert looks > 2
