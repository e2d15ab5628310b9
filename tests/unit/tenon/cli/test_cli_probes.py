"""What the supervisor believes: only its own programs."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tenon.cli.supervisor.probes import http_ready
from tenon.cli.supervisor.supervise import StartFailed


@contextmanager
def answering(status: int, body: Any) -> Iterator[str]:
    """The address of a door that always answers the same."""

    class Door(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/readyz"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "missing"),
    [
        (200, {"ready": True, "instance": "ours"}, None),
        (200, {"ready": True, "instance": "theirs"}, "somebody else"),
        (200, {"ready": True}, "somebody else"),
        (200, "ok", "readyz answers 200"),
        (503, {"problems": {"redis": "away"}, "instance": "ours"}, "redis: away"),
    ],
)
def test_only_the_own_program_is_believed_to_be_ready(status: int, body: Any, missing: str | None) -> None:
    """Another platform that took the port between the look and the bind says 200 too; it is not ours."""
    with answering(status, body) as url:
        said = http_ready(url, "ours")()
    assert said is None if missing is None else missing in (said or "")


def test_nobody_there_is_not_ready() -> None:
    """Before the door is open nothing is ready."""
    with answering(200, {}) as url:
        pass
    assert http_ready(url, "ours")() == "not listening yet"


@pytest.mark.parametrize(
    ("why", "taken"),
    [
        ("127.0.0.1:7741 cannot be listened on; set TENON_GRPC_PORT to a free port", True),
        ("bind: Address already in use", True),
        ("23459:M 20 Nov 2026 23:05:24.762 # Failed listening on port 7713 (TCP), aborting.", True),
        ("TENON_BLOB_URL must be set", False),
    ],
)
def test_a_lost_race_for_a_port_is_known_as_such(why: str, taken: bool) -> None:
    """Then `up` chooses other ports; whatever else keeps a program from starting is told to the user."""
    assert StartFailed("redis", why, Path("redis.log")).port_taken == taken
