"""Connections of the HTTP door that are slow, silent, endless or too many, on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from tenon.kit.http_protocol import Limits, limited

QUICK = Limits(
    head_seconds=0.2, body_seconds=0.2, body_pace=1 << 20, idle_seconds=0.3, unread_seconds=0.3, head_bytes=4096,
    headers=20, connections=30,
)  # fmt: skip
PATIENT = QUICK._replace(head_seconds=30, body_seconds=30, idle_seconds=30, unread_seconds=30)
GET = b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers the body's length, or as much as the path says; /slow takes its time."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.6)
    body = b"x" * (32 << 20) if scope["path"] == "/big" else b"%d" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Running:
    """A server on a thread."""

    server: uvicorn.Server
    port: int

    def connect(self) -> socket.socket:
        """A connection; nothing on it takes longer than 10 s."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def said_until_the_end(self, *parts: bytes) -> bytes:
        """All that comes back for some bytes until the server closes the connection."""
        with self.connect() as sock:
            # Who is refused in the middle of a long message may not get rid of the rest.
            with suppress(ConnectionError):
                for part in parts:
                    sock.sendall(part)
            return everything(sock)


def everything(sock: socket.socket) -> bytes:
    """What comes until the other end closes."""
    found = b""
    while True:
        try:
            data = sock.recv(1 << 20)
        except ConnectionResetError:
            return found
        if not data:
            return found
        found += data


def replies(sock: socket.socket, *bodies: bytes) -> None:
    """Read one answer for each body, in this order."""
    found, wanted = b"", b"".join(b"*" + body for body in bodies)
    while (
        said := b"".join(b"*" + part.partition(b"\r\n\r\n")[2] for part in found.split(b"HTTP/1.1 200")[1:])
    ) != wanted:
        data = sock.recv(4096)
        assert data, (said, wanted)
        found += data


def run(limits: Limits) -> Iterator[Running]:
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=limited(limits), ws="none", lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        yield Running(server, sock.getsockname()[1])
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(60)


@pytest.fixture(scope="module")
def quick() -> Iterator[Running]:
    yield from run(QUICK)


@pytest.fixture(scope="module")
def patient() -> Iterator[Running]:
    yield from run(PATIENT)


def test_ordinary_requests_share_a_connection(patient: Running) -> None:
    """Keep-alive, bodies in pieces and several requests at once are answered in order."""
    with patient.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab")
        sock.sendall(b"cde")
        replies(sock, b"5")
        sock.sendall(b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc" + GET + GET)
        replies(sock, b"3", b"0", b"0")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", None),
        (b"GET / HT", "HEAD_TIMEOUT"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-never", "HEAD_TIMEOUT"),
        (b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\nhalf", "BODY_TIMEOUT"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "BODY_TIMEOUT"),
    ],
)
def test_who_stops_in_the_middle_is_cut_off(quick: Running, sent: bytes, reason: str | None) -> None:
    """By timeout and, where a request had begun, told why."""
    said = quick.said_until_the_end(sent)
    if reason is None:
        assert said == b""
    else:
        assert said.startswith(b"HTTP/1.1 408 ")
        assert json.loads(said.partition(b"\r\n\r\n")[2])["reason"] == reason


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nx: ", b"POST / HTTP/1.1\r\ncontent-length: 99999\r\n\r\n"])
def test_a_drip_does_not_keep_a_connection(quick: Running, start: bytes) -> None:
    """One byte now and then is too slow for a head and for a body; how often they come does not matter."""
    with quick.connect() as sock:
        sock.sendall(start)
        sock.settimeout(0.02)
        until, said = time.monotonic() + 60, b""
        while time.monotonic() < until and not said:
            try:
                sock.sendall(b"a")
                said = sock.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() < until


def test_a_large_body_at_a_fair_pace_is_let_through(quick: Running) -> None:
    """It may take longer than a small one: here five times the time that a silent client gets."""
    with quick.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\ncontent-length: 5000000\r\n\r\n")
        for _ in range(50):
            sock.sendall(b"a" * 100_000)
            time.sleep(0.02)
        replies(sock, b"5000000")


def test_a_slow_answer_is_waited_for_and_an_idle_connection_is_closed(quick: Running) -> None:
    """Our own time does not count against the client; after the answer the connection rests for a while, then ends."""
    said = quick.said_until_the_end(b"GET /slow HTTP/1.1\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200")
    assert said.count(b"HTTP/1.1") == 1


def test_who_does_not_take_the_answer_is_cut_off(quick: Running) -> None:
    """The memory of an answer that nobody reads is given back."""
    with quick.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        until = time.monotonic() + 60
        while quick.server.server_state.connections and time.monotonic() < until:
            time.sleep(0.02)
        assert not quick.server.server_state.connections


def test_half_closed_after_a_request_is_answered(patient: Running) -> None:
    """`nc -N` sends, closes its half and waits; one that stops in the middle is forgotten at once."""
    with patient.connect() as sock:
        sock.sendall(GET)
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock).endswith(b"\r\n\r\n0")
    with patient.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\nhalf")
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == b""


def test_an_upgrade_is_declined_and_its_body_read(patient: Running) -> None:
    """Java's client offers HTTP/2 with its first request: the body counts, in one piece or two, and what follows too."""
    offer = b"POST / HTTP/1.1\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: x\r\ncontent-length: 5\r\n\r\n"
    with patient.connect() as sock:
        for parts in ((b"abcde",), (b"ab", b"cde"), (b"abcde" + GET,)):
            sock.sendall(offer)
            for part in parts:
                sock.sendall(part)
            replies(sock, b"5", *([b"0"] if parts[-1].endswith(GET) else []))


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 21 + b"\r\n",
        b"GET / HTTP/1.1\r\na: " + b"b" * 5000 + b"\r\n\r\n",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: " + b"b" * 1_000_000,
    ],
)
def test_an_endless_head_is_refused(patient: Running, sent: bytes) -> None:
    """Too many headers, too long ones, too long an address, and a head that never ends."""
    said = patient.said_until_the_end(sent)
    assert said.startswith(b"HTTP/1.1 431 ") or (said == b"" and len(sent) > 100_000)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"HELLO\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_a_refusal_like_all_others(patient: Running, sent: bytes) -> None:
    """As JSON with `error`, and the connection ends."""
    said = patient.said_until_the_end(sent)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2]).keys() == {"error", "reason"}


def test_idle_connections_make_room_for_new_ones(patient: Running) -> None:
    """With every place taken by connections that do nothing, newcomers are answered still."""
    hoard = [patient.connect() for _ in range(40)]
    try:
        for _ in range(5):
            with patient.connect() as sock:
                sock.sendall(GET)
                replies(sock, b"0")
        assert len(patient.server.server_state.connections) <= PATIENT.connections
    finally:
        for sock in hoard:
            sock.close()
