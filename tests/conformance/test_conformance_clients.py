"""Unmodified clients of the Open Inference Protocol, each in a process and an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any, NamedTuple

import pytest

from tests.conformance.installed import client_python
from tests.conformance.matrix import BEGIN, END, Matrix, as_markdown
from tests.support.environments import ROOT

DOCUMENT = ROOT / "docs" / "reference" / "conformance.md"


class Client(NamedTuple):
    """A column of the table."""

    title: str
    environment: str
    program: str
    arguments: tuple[str, ...] = ()


CLIENTS = (
    Client("tritonclient HTTP", "tritonclient", "tritonclient_http", ("sync",)),
    Client("tritonclient HTTP aio", "tritonclient", "tritonclient_http", ("aio",)),
    Client("tritonclient gRPC", "tritonclient", "tritonclient_grpc", ("sync",)),
    Client("tritonclient gRPC aio", "tritonclient", "tritonclient_grpc", ("aio",)),
    Client("KServe REST", "kserve", "kserve_rest"),
    Client("KServe gRPC", "kserve", "kserve_grpc"),
    Client("MLServer codecs REST", "mlserver", "mlserver_rest"),
    Client("MLServer codecs gRPC", "mlserver", "mlserver_grpc"),
    Client("gRPC health and reflection", "grpc_tools", "grpc_tools"),
)


def run(client: Client, facts: dict[str, Any]) -> list[dict[str, str]]:
    """What a client's program reports."""
    # Nothing of ours may leak into the foreign environment but the folder that its program is in.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TENON", "VIRTUAL"))
    }
    done = subprocess.run(
        [client_python(client.environment), "-m", f"tests.conformance.clients.{client.program}", *client.arguments],
        input=json.dumps(facts), cwd=ROOT, env=inherited, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes: list[dict[str, str]] = json.loads(done.stdout)
    return outcomes


@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.title)
def test_client_can_do_what_it_offers(client: Client, facts: dict[str, Any], matrix: Matrix) -> None:
    """Everything it has, with the bundle's own answers to the last bit, and refusals in words it can read."""
    outcomes = run(client, facts)
    matrix.clients[client.title] = {item["capability"]: item["note"] for item in outcomes if not item["failure"]}
    failed = [f"{item['capability']}\n{item['failure']}" for item in outcomes if item["failure"]]
    assert not failed, "\n".join(failed)


def test_document_shows_the_table(matrix: Matrix, request: pytest.FixtureRequest) -> None:
    """docs/reference/conformance.md holds what just came out; `TENON_WRITE_CONFORMANCE=1` writes it there."""
    if len(matrix.clients) < len(CLIENTS):
        pytest.skip("not every client ran")
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}\n{as_markdown(matrix)}\n{END}{after}"
    if os.environ.get("TENON_WRITE_CONFORMANCE"):
        DOCUMENT.write_text(wanted)
    assert DOCUMENT.read_text() == wanted, "run `make conformance-table` and look at the difference"
