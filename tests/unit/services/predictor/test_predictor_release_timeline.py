"""The judge of the endurance run: it must not let a wrong version pass."""

from __future__ import annotations

import pytest

from tests.support.release_timeline import Answered, Timeline


@pytest.fixture
def timeline() -> Timeline:
    """Version 1 from 0; 2 with canary 3 asked for at 10 and read back at 11; 4 asked for at 20 and not read back yet."""
    timeline = Timeline()
    timeline.begin("m", 0, frozenset({1}))
    timeline.begin("m", 10, frozenset({2, 3}))
    timeline.settle("m", 11)
    timeline.begin("m", 20, frozenset({4}))
    return timeline


@pytest.mark.parametrize(
    ("sent", "received", "versions"),
    [
        (1, 2, {1}),
        (9, 10.5, {1, 2, 3}),
        (10.2, 10.4, {1, 2, 3}),
        (11.1, 11.2, {2, 3}),
        (10.9, 11.2, {1, 2, 3}),
        (12, 19, {2, 3}),
        (21, 22, {2, 3, 4}),
        (5, 30, {1, 2, 3, 4}),
    ],
)
def test_only_versions_that_may_have_been_in_effect_pass(
    timeline: Timeline, sent: float, received: float, versions: set[int]
) -> None:
    """Between sending and receiving, with both ends of a revision as wide as can be known from outside."""
    allowed = {version for version in range(6) if timeline.allows(Answered("m", sent, received, version, "door"))}
    assert allowed == versions


def test_a_rollback_brings_a_version_back(timeline: Timeline) -> None:
    """It is in effect again from then on."""
    timeline.settle("m", 21)
    assert not timeline.allows(Answered("m", 22, 23, 1, "door"))
    timeline.begin("m", 30, frozenset({1}))
    assert timeline.allows(Answered("m", 31, 32, 1, "door"))
    assert not timeline.allows(Answered("m", 22, 23, 1, "door"))
