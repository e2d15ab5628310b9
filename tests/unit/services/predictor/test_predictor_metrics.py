"""Requests are counted in plain numbers and come out as the metrics that dashboards know."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from services.predictor import metrics
from services.predictor.domain.model import Role
from tests.support.predictor_parts import served


def lines(registry: Any) -> set[str]:
    """The exposition without its comments and moments of creation."""
    return {
        line
        for line in generate_latest(registry).decode().splitlines()
        if not line.startswith("#") and "_created{" not in line and "_score" not in line
    }


def test_they_are_the_metrics_that_the_client_library_would_have_made(monkeypatch: Any) -> None:
    """Names, labels, buckets and figures, also for versions that share a duration's labels, and for refusals."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = metrics.RequestMetrics()
    monkeypatch.setattr(metrics, "REQUESTS", mine)
    ours.register(mine)
    answer = ("tenant", "model", "version", "role", "protocol")
    requests = Counter("tenon_predictor_requests_total", "", (*answer, "outcome"), registry=theirs)
    rows = Counter("tenon_predictor_rows_total", "", answer, registry=theirs)
    duration = Histogram(
        "tenon_predictor_request_duration_seconds", "", ("tenant", "model", "role", "protocol"),
        buckets=metrics._FAST, registry=theirs,
    )  # fmt: skip
    observer = metrics.PrometheusObserver()
    versions = [served(1), served(2), served(1, model="other")]
    for number in range(300):
        version, role = versions[number % 3], (Role.STABLE, Role.CANARY)[number % 2]
        seconds = (0.00001, 0.00005, 0.0004, 0.02, 7.0)[number % 5]
        observer.answered(version, role, "rest", np.zeros(number % 4), seconds)
        names = ("acme", version.model, str(version.version), role.value, "rest")
        requests.labels(*names, "answered").inc()
        rows.labels(*names).inc(number % 4)
        duration.labels("acme", version.model, role.value, "rest").observe(seconds)
        if number == 150:
            observer.serving([], [])
    for _ in range(2):
        observer.refused("acme", "grpc", "NO_ROWS")
        requests.labels("acme", "", "", "", "grpc", "NO_ROWS").inc()
    mine_lines, their_lines = lines(ours), lines(theirs)
    sums = {line for line in their_lines if "_sum{" in line}
    assert mine_lines - {line for line in mine_lines if "_sum{" in line} == their_lines - sums
    assert {line.rpartition(" ")[0] for line in sums} <= {line.rpartition(" ")[0] for line in mine_lines}


def test_threads_lose_no_count(monkeypatch: Any) -> None:
    """Many at once add to the same version."""
    mine = metrics.RequestMetrics()
    monkeypatch.setattr(metrics, "REQUESTS", mine)
    observer, version = metrics.PrometheusObserver(), served(1)

    def work() -> None:
        for _ in range(5000):
            observer.answered(version, Role.STABLE, "grpc", np.ones(2), 0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally = mine.tally(version, Role.STABLE, "grpc")
    assert (tally.answers, tally.rows, sum(tally.buckets)) == (40_000, 80_000, 40_000)


@pytest.mark.parametrize(("mean", "deviation"), [(0.2, 0.1), (-40.0, 3.0), (1e9, 2.0), (5.0, 0.0)])
@pytest.mark.parametrize("rows", [1, 7])
def test_mean_and_deviation_of_scores_come_out_of_what_is_counted(mean: float, deviation: float, rows: int) -> None:
    """Also where scores are below 0, or vary little beside how large they are, and whether they come by one or by seven."""
    scores = np.random.default_rng(7).normal(mean, deviation, 7 * 3000)
    observer, version = metrics.PrometheusObserver(), served(1, model=f"scored-{mean}-{rows}")
    grown = []
    for answer in scores.reshape(-1, rows):
        observer.answered(version, Role.STABLE, "rest", float(answer[0]) if rows == 1 else answer, 0.001)
        tally = metrics.REQUESTS.tally(version, Role.STABLE, "rest")
        grown.append((tally.scores, tally.positive, tally.negative, tally.squares))
    assert (np.diff(np.array(grown), axis=0) >= 0).all(), "rates are taken of all of these: they never fall"
    assert tally.scores == len(scores)
    assert (tally.positive - tally.negative) / tally.scores == pytest.approx(mean, abs=4 * deviation / 140 + 1e-9)
    assert (tally.squares / tally.scores) ** 0.5 == pytest.approx(deviation, rel=0.03, abs=1e-9)


def test_few_scores_have_the_deviation_that_they_have() -> None:
    """Until 256 are known the squares are exact: a canary's first hundred answers count as they should."""
    scores = np.random.default_rng(3).normal(300.0, 5.0, 100)
    observer, version = metrics.PrometheusObserver(), served(1, model="few")
    for score in scores:
        observer.answered(version, Role.CANARY, "rest", float(score), 0.001)
    tally = metrics.REQUESTS.tally(version, Role.CANARY, "rest")
    assert tally.squares == pytest.approx(float(((scores - scores.mean()) ** 2).sum()))


def test_a_score_that_is_no_number_spoils_no_sum() -> None:
    """It is answered and counted as a row; what is known of the others stays."""
    observer, version = metrics.PrometheusObserver(), served(1, model="odd")
    for answer in (float("nan"), float("inf"), 1e300, np.array([np.nan, -np.inf, 2.0]), np.array([np.nan]), 4.0):
        observer.answered(version, Role.STABLE, "rest", answer, 0.001)
    tally = metrics.REQUESTS.tally(version, Role.STABLE, "rest")
    assert (tally.rows, tally.scores, tally.positive, tally.negative) == (8, 2, 6.0, 0.0)
    assert (tally.mean, tally.squares) == (3.0, 2.0)
