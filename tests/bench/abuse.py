"""`python -m tests.bench.abuse --url http://127.0.0.1:8080 --model m [--key KEY]`: one list of odd requests against any server
of the Open Inference Protocol that serves `1 + 2 x0 + 3 x1`; without `--url` a predictor of ours is started for it.

Each request must be refused with 4xx, `{"error"}` and nothing of the server's insides, or be answered with exactly the right number.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.abuse import REFUSE, Case, cases
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import KEYS, linear_bundle
from tests.support.predictor_process import PredictorProcess

INSIDES = re.compile(
    r"Traceback|File \"|line \d+, in |site-packages|/usr/|/home/|\.py\b|numpy|orjson|msgspec|pydantic|starlette|fastapi|"
    r"uvicorn|httptools|xgboost|zlib|asyncio|<class|object at 0x",
    re.IGNORECASE,
)
LONGEST_REFUSAL = 4000
MODEL = "price"


@dataclass(frozen=True)
class Outcome:
    """What became of a request; `verdict` is "" when it is what must be."""

    case: Case
    status: int | None
    body: bytes
    verdict: str


def ask(host: str, port: int, case: Case, model: str, key: str, timeout: float = 60.0) -> Outcome:
    """Send one request on a connection of its own, and judge what comes back."""
    status, body = None, b""
    with socket.create_connection((host, port), timeout=timeout) as sock:
        # Who is refused before all is sent may find the answer there all the same.
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(_wire(case, model, key))
        try:
            response = http.client.HTTPResponse(sock, method=case.method)
            response.begin()
            status, body = response.status, response.read()
        except TimeoutError:
            return Outcome(case, None, b"", "not answered in time")
        except (OSError, http.client.HTTPException):
            pass
    return Outcome(case, status, body, judge(case, status, body))


def judge(case: Case, status: int | None, body: bytes) -> str:
    """What is wrong about an answer."""
    if status is None:
        # Bytes that are no HTTP may simply be hung up on, and so may one who goes on sending after a refusal.
        return "" if case.raw is not None or len(case.body) > 1 << 20 else "no answer"
    if status >= 500:
        return "5xx"
    if case.expect == REFUSE:
        if status < 400:
            return "wrongly 2xx"
        return _refusal(body)
    if status != 200:
        return "wrongly refused"
    return "" if _numbers(body) == case.expect else "wrong numbers"


def _refusal(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return "refusal without `error`"
    if not isinstance(error, str) or not error:
        return "refusal without `error`"
    if found := INSIDES.search(body.decode("utf-8", "replace")):
        return f"says {found[0]!r}"
    return "refusal too long" if len(body) > LONGEST_REFUSAL else ""


def _numbers(body: bytes) -> list[float] | None:
    try:
        answer = json.loads(body)
        if "predictions" in answer:
            return [line["value"] for line in answer["predictions"]]
        found: list[float] = answer["outputs"][0]["data"]
        return found
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def _wire(case: Case, model: str, key: str) -> bytes:
    if case.raw is not None:
        return case.raw.replace(b"{model}", model.encode()).replace(b"{key}", key.encode())
    path = (case.path or "/v2/models/{model}/infer").replace("{model}", model)
    headers = {"host": "predictor", "content-length": str(len(case.body))} | dict(case.headers)
    if "authorization" not in headers and not case.name.startswith("key: none"):
        headers["authorization"] = "Bearer {key}"
    lines = [f"{case.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items() if value != "")]
    return "\r\n".join(lines).replace("{key}", key).encode("latin-1") + b"\r\n\r\n" + case.body


@contextmanager
def own_predictor(**settings: str) -> Iterator[PredictorProcess]:
    """A predictor of ours with the model of the list, for tenant acme."""
    with tempfile.TemporaryDirectory(prefix="tenon-abuse-") as folder:
        registry = FakeRegistry().start()
        registry.add("acme", MODEL, 1, linear_bundle())
        registry.release("acme", MODEL, 1)
        predictor = PredictorProcess(Path(folder), registry=registry.port, extra=settings)
        try:
            yield predictor.start()
        finally:
            predictor.stop()
            registry.stop()


def run(host: str, port: int, model: str, key: str, chosen: list[Case]) -> list[Outcome]:
    """The outcome of every case."""
    return [ask(host, port, case, model, key) for case in chosen]


def main() -> None:
    """Run the list and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a server that serves the model; without it a predictor of ours is started")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--key", default="")
    parser.add_argument("--only", default="", help="part of the cases' names")
    options = parser.parse_args()
    chosen = [case for case in cases() if options.only in case.name]
    if options.url:
        where = urlsplit(options.url)
        outcomes = run(where.hostname or "127.0.0.1", where.port or 80, options.model, options.key, chosen)
    else:
        with own_predictor(TENON_HTTP_BODY_SECONDS="1", TENON_HTTP_HEAD_SECONDS="1") as predictor:
            outcomes = run("127.0.0.1", predictor.http, MODEL, KEYS["acme"], chosen)
    report(outcomes)
    sys.exit(1 if any(outcome.verdict for outcome in outcomes) else 0)


def report(outcomes: list[Outcome]) -> None:
    """One line for each kind of wrong answer, and one for each case of it."""
    refused = sum(1 for outcome in outcomes if outcome.case.expect == REFUSE)
    print(f"{len(outcomes)} requests, {refused} of which must be refused")
    counts: Any = Counter(outcome.verdict or "right" for outcome in outcomes)
    for verdict, count in counts.most_common():
        print(f"{count:6} {verdict}")
    for outcome in outcomes:
        if outcome.verdict:
            print(f"  {outcome.verdict}: {outcome.case.name}: {outcome.status} {outcome.body[:200]!r}")


if __name__ == "__main__":
    main()
