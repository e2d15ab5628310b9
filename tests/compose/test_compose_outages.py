"""Containers die under load: what must go on goes on, and nothing that was answered or taken in is lost."""

from __future__ import annotations

import pytest

from tests.support.compose import Composed
from tests.support.docker import docker, inspect
from tests.support.kiosk import Load, all_logged
from tests.support.platform import eventually

pytestmark = pytest.mark.timeout(1800)

OTHERS = ("registry", "features", "trainer", "worker", "ingest", "monitor", "redis", "postgres", "objects")
"""Everything but the predictor."""


def test_the_predictor_answers_with_everything_else_dead(composed: Composed, load: Load) -> None:
    """Registry, features, worker, monitor, Redis, PostgreSQL and the objects are killed at once; not a request fails, the
    answers say what they did without, and all of them are in the log when the others are back."""
    docker("kill", *(composed.container(name) for name in OTHERS))
    load.wait(200)
    assert load.failed == []
    assert load.refused == 0
    assert load.levels - {"fresh"}
    assert inspect(composed.container("predictor"))["State"]["Health"]["Status"] == "healthy"
    composed.up()
    load.levels.clear()
    eventually(lambda: "fresh" in load.levels, "history is looked up again", seconds=180)
    load.wait(50)
    assert load.failed == []
    assert load.refused == 0
    load.__exit__()
    all_logged(composed, load)


def test_a_killed_predictor_comes_back_with_its_log(composed: Composed, load: Load) -> None:
    """After kill -9 the same volume is spooled on: nothing that was answered is missing, and no request is answered wrongly."""
    docker("kill", composed.container("predictor"))
    before = len(load.answered)
    composed.up("predictor")
    load.wait(50)
    assert load.failed == []
    assert load.refused > 0
    assert len(load.answered) > before
    load.__exit__()
    all_logged(composed, load)


def test_a_stopped_predictor_finishes_what_it_began(composed: Composed, load: Load) -> None:
    """SIGTERM: running requests end, the container ends with code 0 within its grace, and started again it serves from its
    volume."""
    docker("stop", "--time", "60", composed.container("predictor"))
    assert inspect(composed.container("predictor"))["State"]["ExitCode"] == 0
    composed.up("predictor")
    load.wait(50)
    assert load.failed == []
    load.__exit__()
    all_logged(composed, load)
