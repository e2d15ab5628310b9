"""A short form of `make bench-endurance`: nothing fails and nothing is wrong while releases change."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.predictor.settings import PredictorSettings
from tests.bench.endurance import DOORS, endure

KINDS = {"release", "canary", "arms", "promote", "rollback", "register and release"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_answer_fails_or_is_wrong_while_releases_change(tmp_path: Path) -> None:
    """Over six doors at once: every answer is the single answer of a version that was in effect, while versions are
    registered, released, tried as canaries, promoted, rolled back and evicted several times a second."""
    outcome = endure(tmp_path, 20, seed=3, pause=0.2, kinds=KINDS, at_most=400)
    assert not outcome.failures, outcome.failures[:5]
    assert not outcome.wrong_numbers, outcome.wrong_numbers[:5]
    assert not outcome.wrong_versions, outcome.wrong_versions[:5]
    assert set(outcome.doors()) == set(DOORS)
    assert len(outcome.answers) > 100
    assert set(outcome.changes) == KINDS
    assert max(outcome.settled) < 60
    if "predictor_model_memory_mib" in PredictorSettings.model_fields:
        assert outcome.evictions > 0
