"""The images' health check: what it takes for ready, and what it says otherwise."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tenon.kit.probe import ask, main


class Door:
    """A door that gives every request the same answer and remembers the paths."""

    def __init__(self, answer: bytes) -> None:
        self._answer, self.paths = answer, list[str]()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self.paths.append(connection.recv(4096).split(b" ")[1].decode())
                connection.sendall(self._answer)

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.close()


@pytest.fixture
def ready() -> Iterator[Door]:
    """A door that says it is ready."""
    door = Door(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    yield door
    door.close()


def test_a_ready_service_passes(ready: Door, capsys: pytest.CaptureFixture[str]) -> None:
    """200 from /readyz at TENON_HTTP_PORT is health; nothing is printed."""
    assert main([], {"TENON_HTTP_PORT": str(ready.port)}) == 0
    assert ready.paths == ["/readyz"]
    assert capsys.readouterr().out == ""


def test_what_is_missing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The body of a 503 becomes the check's output, which `docker inspect` shows."""
    door = Door(b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"problems": {"database": "no answer"}}')
    assert main([], {"TENON_HTTP_PORT": str(door.port)}) == 1
    assert "no answer" in capsys.readouterr().out
    door.close()


def test_a_closed_or_silent_door_is_no_health() -> None:
    """Nobody listens, or somebody who says nothing: a reason, never an exception."""
    silent = Door(b"")
    assert ask(silent.port, "/readyz") == "an empty answer"
    silent.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert "does not answer" in str(ask(free.getsockname()[1], "/readyz", seconds=1))


def test_a_worker_is_asked_at_its_metrics(ready: Door) -> None:
    """It has no door but its metrics' port, where TLS does not matter."""
    environment = {"TENON_HTTP_PORT": "1", "TENON_WORKER_METRICS_PORT": str(ready.port), "TENON_TLS_CERT_FILE": "/x"}
    assert main(["/metrics"], environment) == 0
    assert ready.paths == ["/metrics"]
