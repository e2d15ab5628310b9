"""Fixtures that several files of integration tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.predictor_process import PredictorProcess


@pytest.fixture
def started() -> Iterator[list[PredictorProcess]]:
    """Predictors to end after the test."""
    found: list[PredictorProcess] = []
    yield found
    for predictor in found:
        if predictor.process is not None and predictor.process.poll() is None:
            predictor.process.kill()
            predictor.process.wait()
