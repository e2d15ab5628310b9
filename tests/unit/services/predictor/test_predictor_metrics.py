"""Requests are counted in plain numbers and come out as the metrics that dashboards know."""

from __future__ import annotations

import threading
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from services.predictor import metrics
from services.predictor.domain.model import Role
from tests.support.predictor_parts import served


def lines(registry: Any) -> set[str]:
    """The exposition without its comments and moments of creation."""
    return {
        line
        for line in generate_latest(registry).decode().splitlines()
        if not line.startswith("#") and "_created{" not in line
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
        observer.answered(version, role, "rest", number % 4, seconds)
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
            observer.answered(version, Role.STABLE, "grpc", 2, 0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally = mine.tally(version, Role.STABLE, "grpc")
    assert (tally.answers, tally.rows, sum(tally.buckets)) == (40_000, 80_000, 40_000)
