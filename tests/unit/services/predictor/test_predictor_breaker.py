"""A dead features service costs a few calls, not every one."""

from __future__ import annotations

from services.predictor.clients.features import Breaker


def test_after_some_failures_calls_are_skipped_for_a_while() -> None:
    """Then one tries; its success opens the way, its failure makes the next pause longer."""
    now = [0.0]
    breaker = Breaker(failures=3, first_pause=1.0, longest_pause=8.0, clock=lambda: now[0])
    opened = []
    for _ in range(3):
        assert breaker.allows()
        opened.append(breaker.failed())
    assert opened == [False, False, True]
    assert not breaker.allows()
    now[0] = 1.3
    assert breaker.allows()
    assert not breaker.allows(), "only one tries"
    breaker.failed()
    now[0] = 2.5
    assert not breaker.allows(), "the second pause is longer"
    now[0] = 4.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.allows()


def test_single_failures_between_successes_change_nothing() -> None:
    """Only failures in a row count."""
    breaker = Breaker(failures=2)
    for _ in range(10):
        breaker.failed()
        breaker.succeeded()
        assert breaker.allows()
