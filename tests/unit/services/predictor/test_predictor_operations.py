"""What versions did is told once, in full, and never keeps an answer waiting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

from services.predictor.domain.model import Ask, Entry, ModelKey, Role
from services.predictor.metrics import PrometheusObserver, RequestMetrics
from services.predictor.storage.operations import OperationsTeller
from tenon.core.errors import Invalid, Unavailable
from tenon.core.operations import FAILURES, LATENCY_BOUNDS, Failure, Operations, unpack_operations
from tenon.core.tenancy import TenantId
from tests.support import predictor_parts as parts


class Stream:
    """As much of Redis as the teller uses."""

    def __init__(self) -> None:
        self.entries: list[dict[str, bytes]] = []
        self.fails = 0
        self.loses_answers = 0
        self.run = "first"

    def info(self, _section: str) -> dict[str, str]:
        """Who it is."""
        return {"run_id": self.run}

    def xadd(self, _stream: str, fields: dict[str, bytes], **_how: Any) -> None:
        """Append, or be away, or append and not say so."""
        if self.fails:
            self.fails -= 1
            raise redis.ConnectionError
        self.entries.append(dict(fields))
        if self.loses_answers:
            self.loses_answers -= 1
            raise redis.TimeoutError


def part(answers: int) -> Operations:
    """Some answers."""
    latency = (answers,) + (0,) * len(LATENCY_BOUNDS)
    return Operations(TenantId("acme"), "cost", 2, Role.CANARY, answers, (0,) * len(FAILURES), latency)


def test_news_are_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look gives what came since the last one, over all protocols; nothing new is nothing."""
    mine = RequestMetrics()
    monkeypatch.setattr("services.predictor.metrics.REQUESTS", mine)
    observer, served = PrometheusObserver(), parts.served(2)
    observer.answered(served, Role.CANARY, "rest", 0.5, 0.0004)
    observer.answered(served, Role.CANARY, "grpc", np.array([0.5, 0.6]), 9.0)
    observer.failed(served, Role.CANARY, "rest", Failure.BROKEN)
    (first,) = mine.news()
    assert (first.version, first.role, first.answers) == (2, Role.CANARY, 2)
    assert first.failures[FAILURES.index(Failure.BROKEN)] == 1
    assert (first.latency[4], first.latency[-1]) == (1, 1)
    assert mine.news() == []
    observer.answered(served, Role.CANARY, "rest", 0.5, 0.0004)
    (second,) = mine.news()
    assert (second.answers, sum(second.failures)) == (1, 0)


def test_record_comes_again_as_it_was() -> None:
    """What was not confirmed is sent again under the same id, and what came meanwhile in the next record."""
    stream, news = Stream(), [[part(3)], [part(4)], []]
    teller = OperationsTeller(stream, "replica", lambda: news.pop(0))  # type: ignore[arg-type]
    stream.loses_answers = 1
    with pytest.raises(Unavailable):
        teller.tell()
    teller.tell()
    teller.tell()
    teller.tell()
    told = [unpack_operations(entry["id"], entry["operations"]) for entry in stream.entries]
    assert [(record.record_id, record.parts[0].answers) for record in told[:2]] == [("replica-1", 3)] * 2
    assert len({record.record_id: record for record in told}) == 2
    assert sum({record.record_id: record.parts[0].answers for record in told}.values()) == 7


def test_a_redis_that_was_started_again_is_told_the_last_records_again() -> None:
    """As they were and before what is new; one that runs on is not."""
    stream, news = Stream(), [[part(3)], [part(4)], [], [part(5)], []]
    teller = OperationsTeller(stream, "replica", lambda: news.pop(0))  # type: ignore[arg-type]
    for _ in range(3):
        teller.tell()
    assert len(stream.entries) == 2
    stream.run = "second"
    lost = stream.entries.pop()
    teller.tell()
    told = [unpack_operations(entry["id"], entry["operations"]) for entry in stream.entries]
    assert [record.record_id for record in told] == ["replica-1", "replica-1", "replica-2", "replica-3"]
    assert stream.entries[2] == lost
    teller.tell()
    assert len(stream.entries) == 4


def test_nothing_to_tell_is_not_told() -> None:
    """No entry without news."""
    stream = Stream()
    OperationsTeller(stream, "replica", list).tell()  # type: ignore[arg-type]
    assert stream.entries == []


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"at":1,"parts":[[1]]}', b'{"at":1,"parts":[["a","b",1,"canary",-1,[],[]]]}']
)
def test_what_is_no_record_is_refused(body: bytes) -> None:
    """Unreadable records are refused by name; the consumer sets them aside."""
    with pytest.raises(Invalid, match="operations record"):
        unpack_operations(b"x", body)


def test_failures_are_the_versions_own() -> None:
    """A refusal counts for the version that refused, and a broken evaluator for the one that broke."""
    given: dict[str, Any] = {"age": [1.0, 2.0], "count": [10, 20], "urgent": [True, None], "ward": ["east", None]}
    here = parts.World()
    here.table.put(ModelKey(parts.ACME, "stay"), Entry(1, parts.served(1)))
    with pytest.raises(Invalid):
        here.predictor.predict(parts.ACME, Ask("stay", None, "rest", "request-1", 2, {"nothing": [1.0, 2.0]}))
    here.predictor.predict(parts.ACME, Ask("stay", None, "rest", "request-2", 2, dict(given)))
    here.table.put(ModelKey(parts.ACME, "stay"), Entry(2, parts.served(2, evaluator=parts.BrokenEvaluator())))
    with pytest.raises(RuntimeError):
        here.predictor.predict(parts.ACME, Ask("stay", None, "rest", "request-3", 2, dict(given)))
    assert here.observer.failures == [(1, Role.STABLE, Failure.REFUSED), (2, Role.STABLE, Failure.BROKEN)]
