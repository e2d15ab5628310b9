"""Turns of gRPC callers: company, and the circle in which their calls are answered."""

from __future__ import annotations

import threading

from tenon.kit.grpc_turns import MOST_IN_LINE, Circle, Company


def test_company_is_noticed_and_forgotten() -> None:
    """One caller is alone however often it asks; a second one is company for some seconds after its last call."""
    now = [100.0]
    company = Company(lambda: now[0])
    assert not any(company.seen("a") for _ in range(3))
    assert company.seen("b")
    assert company.seen("a")
    now[0] += 2.1
    assert company.seen("a"), "b asked a moment ago"
    now[0] += 2.1
    assert not company.seen("a")
    assert company.seen("b")
    now[0] += 60
    assert not company.seen("b")


def test_a_circle_over_the_callers() -> None:
    """Many pieces of one caller do not hold up another's one; each caller's come in order; a failing one stops nobody."""
    circle, done, begun, go, end = Circle(), list[str](), threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        go.wait(60)

    assert circle.add("noisy", first)
    assert begun.wait(60)
    for number in range(20):
        assert circle.add("noisy", lambda number=number: done.append(f"n{number}"))  # type: ignore[misc]
    assert circle.add("broken", lambda: done.append(str(1 // 0)))
    assert circle.add("quiet", lambda: done.append("q"))
    assert circle.add("noisy", end.set)
    go.set()
    assert end.wait(60)
    assert done.index("q") <= 2
    assert [item for item in done if item != "q"] == [f"n{number}" for number in range(20)]


def test_a_line_has_an_end() -> None:
    """So that a caller that never stops cannot fill the memory."""
    circle, begun, go = Circle(), threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        go.wait(60)

    circle.add("noisy", first)
    assert begun.wait(60)
    assert sum(circle.add("noisy", lambda: None) for _ in range(MOST_IN_LINE + 5)) == MOST_IN_LINE
    assert circle.add("quiet", lambda: None)
    go.set()
