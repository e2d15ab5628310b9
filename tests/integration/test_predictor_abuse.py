"""The list of odd requests against a real predictor: nothing of it is our fault, and no number is altered in silence."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import httpx
import pytest

from tests.bench.abuse import INSIDES, MODEL, Outcome, own_predictor, run
from tests.support.abuse import REFUSE, cases
from tests.support.abuse_grpc import calls, send, values_of
from tests.support.predictor_bundles import KEYS
from tests.support.predictor_process import PredictorProcess

NEVER = (
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
)


@pytest.fixture(scope="module")
def predictor() -> Iterator[PredictorProcess]:
    with own_predictor(TENON_HTTP_BODY_SECONDS="4", TENON_HTTP_HEAD_SECONDS="4") as found:
        yield found


def test_the_list_is_long_enough() -> None:
    """At least 431 requests of which 323 must be refused, and 77 calls; the same ones every time."""
    found = cases()
    assert len(found) >= 431
    assert sum(1 for case in found if case.expect == REFUSE) >= 323
    assert [(case.name, case.body) for case in found] == [(case.name, case.body) for case in cases()]
    assert len(calls(MODEL)) >= 77


def test_odd_requests_are_refused_or_answered_right(predictor: PredictorProcess) -> None:
    """0 answers of 5xx, 0 wrongly 2xx, no word of our insides; and the process is as well as before."""
    outcomes = run("127.0.0.1", predictor.http, MODEL, KEYS["acme"], cases())
    wrong = [outcome for outcome in outcomes if outcome.verdict]
    assert not wrong, [_shown(outcome) for outcome in wrong]
    assert httpx.get(f"{predictor.url}/readyz", timeout=60).status_code == 200
    assert predictor.metric("tenon_unknown_errors_total") == 0


def test_odd_calls_are_never_internal_or_unknown(predictor: PredictorProcess) -> None:
    """Over gRPC: refused as the caller's, or answered with exactly the right numbers."""
    wrong = []
    options = [("grpc.max_send_message_length", 80 << 20), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc}", options) as channel:
        for call in calls(MODEL):
            code, words, data = send(channel, call, KEYS["acme"])
            refused = code is not grpc.StatusCode.OK
            right = refused if call.expect == REFUSE else not refused and values_of(call, data) == call.expect
            if not right or code in NEVER or INSIDES.search(words):
                wrong.append((call.name, code.name, words[:100]))
    assert not wrong


def _shown(outcome: Outcome) -> tuple[str, str, int | None, bytes]:
    return outcome.verdict, outcome.case.name, outcome.status, outcome.body[:150]
