"""How the supervisor finds out that a program is ready: each probe gives None, or what is still missing."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

_TIMEOUT = 2.0


def http_ready(url: str, instance: str = "") -> Callable[[], str | None]:
    """Ready when GET `url` answers 200 and names `instance`; a 503 tells what is missing.

    Without the name, another platform that took the port a moment ago would be believed to be ours.
    """
    parts = urlsplit(url)

    def probe() -> str | None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT)
        try:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            body = answer.read(65536)
        except (OSError, http.client.HTTPException):
            return "not listening yet"
        finally:
            connection.close()
        try:
            said = json.loads(body)
            if instance and said.get("instance") != instance:
                return f"port {parts.port} is answered by somebody else"
            if answer.status == 200:
                return None
            problems = said["problems"]
            return "; ".join(f"{name}: {text}" for name, text in problems.items())
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"/readyz answers {answer.status}"

    return probe


def redis_ready(port: int, password: str) -> Callable[[], str | None]:
    """Ready when the server answers PING, which it does not while it reads its file."""

    def probe() -> str | None:
        try:
            answer = _ask_redis(port, password, "PING", b"+PONG")
        except OSError:
            return "not listening yet"
        if b"+PONG" in answer:
            return None
        return "reading its file" if b"LOADING" in answer else answer.decode(errors="replace").strip()

    return probe


def takes_work(port: int, password: str, *, at_most: float = 20.0) -> Callable[[], str | None]:
    """Ready when somebody waits for tasks at the queue; for a worker, which has no door.

    A worker that was given a task the moment it started waits for nothing, so after a while being alive is enough.
    """
    until: list[float] = []

    def probe() -> str | None:
        until[:] = until or [time.monotonic() + at_most]
        try:
            waits = b"cmd=brpop" in _ask_redis(port, password, "CLIENT LIST", b"\n\r\n")
        except OSError:
            return "redis does not answer"
        if waits or time.monotonic() >= until[0]:
            until.clear()
            return None
        return "not at the queue yet"

    return probe


def _ask_redis(port: int, password: str, command: str, end: bytes) -> bytes:
    """Redis' raw answer to one command, read up to `end`, an error or a timeout."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as connection:
        connection.sendall(f"AUTH {password}\r\n{command}\r\n".encode())
        while end not in answer and b"\n-" not in b"\n" + answer and len(answer) < 1 << 20:
            part = connection.recv(65536)
            if not part:
                break
            answer += part
    return answer
