"""Requests for trainings where people see them: the model's page, the month, and a gauge."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import REGISTRY

from services.monitor.api_http.pages.retraining_list import STATES, retraining_section
from services.monitor.domain.retraining.judge import Request, Sign, State
from services.monitor.metrics import show_retraining
from tenon.core.specs.monitor import RetrainReason
from tenon.core.tenancy import TenantId

NORTH = TenantId("north")
DAY = 86_400_000_000
ASKED = Request(
    "retrain-1", NORTH, "cost", 3, 20_000 * DAY,
    (Sign(RetrainReason.DRIFT, "not as in training: <age>"), Sign(RetrainReason.AGE, "400 days old")),
)  # fmt: skip


def test_a_request_says_why_and_what_to_type() -> None:
    """One that waits shows its reasons, escaped, and the command that starts it; without any there is no section."""
    text = str(retraining_section([ASKED]))
    assert "drift: not as in training: &lt;age&gt;" in text
    assert "tenon retraining start retrain-1 --tenant north" in text
    assert "waits for you" in text
    assert "cool-down" not in text
    assert retraining_section([]) is None


def test_what_came_of_it_stands_beside_it() -> None:
    """A finished one says what the backtest found, which version was made, and until when no other is asked for."""
    done = replace(ASKED, state=State.NOT_BETTER, new_version=4, note="it would have helped by +0.01 (…)")
    text = str(retraining_section([done], until=20_030 * DAY))
    assert "it would have helped by +0.01" in text
    assert "Version 4 was made" in text
    assert "No other is asked for before 2024-11-03" in text
    assert set(STATES) == set(State)


def test_the_gauge_holds_the_newest_requests_state() -> None:
    """Exactly one state is 1 at any time, `none` where nothing was asked for."""
    for newest, told in ((None, "none"), (State.ASKED, "asked"), (State.BETTER, "better")):
        show_retraining(NORTH, "shown", newest)
        values = {
            state: REGISTRY.get_sample_value(
                "tenon_monitor_retraining_state", {"tenant": "north", "model": "shown", "state": state}
            )
            for state in ("none", *State)
        }
        assert {str(state) for state, value in values.items() if value} == {told}
