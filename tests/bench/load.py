"""The load generator: a process of its own that keeps N connections busy with one fixed request each, and counts.

`python -m tests.bench.load` reads its task as JSON on stdin and prints `{"answers", "seconds", "p50_ms", "p99_ms"}`.
It speaks HTTP/1.1 and gRPC (HTTP/2) on raw sockets from prepared bytes, because a library's client costs more than
the server it would measure. Any answer that is not a success ends it with that answer on stderr.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import sys
import time
from typing import Any, Protocol

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1


class Refused(Exception):
    """The server did not answer with a success."""


class Conversation(Protocol):
    """One connection's side of a protocol: bytes to send for a request, and when it is answered."""

    def opening(self) -> bytes:
        """What to send once."""
        ...

    def request(self) -> bytes:
        """The next request."""
        ...

    def feed(self, data: bytes) -> tuple[bool, bytes]:
        """(whether the answer is complete, what must be sent at once). Raises `Refused`."""
        ...


class Rest:
    """HTTP/1.1, keep-alive."""

    def __init__(self, task: dict[str, Any]) -> None:
        body = task["body"].encode("latin-1")
        head = f"POST {task['path']} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in task["headers"].items())
        self._request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        self._buffer = b""

    def opening(self) -> bytes:
        """Nothing."""
        return b""

    def request(self) -> bytes:
        """The same bytes each time."""
        return self._request

    def feed(self, data: bytes) -> tuple[bool, bytes]:
        """Complete when the announced length is there."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False, b""
        head = self._buffer[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise Refused(self._buffer[:600].decode(errors="replace"))
        start = head.index(b"content-length:") + 15
        length = int(head[start : start + 12].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return False, b""
        self._buffer = b""
        return True, b""


class Grpc:
    """Unary calls over HTTP/2, one at a time on each connection; headers are sent as literals, never indexed."""

    def __init__(self, task: dict[str, Any]) -> None:
        fields = {":method": "POST", ":scheme": "http", ":path": task["path"], ":authority": "localhost",
                  "te": "trailers", "content-type": "application/grpc", **task["headers"]}  # fmt: skip
        self._head = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields.items())
        message = task["body"].encode("latin-1")
        self._data = b"\x00" + struct.pack(">I", len(message)) + message
        self._stream, self._buffer, self._answered, self._received = -1, b"", False, 0

    def opening(self) -> bytes:
        """Preface, and a window wide enough never to matter within one answer."""
        return _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_WINDOW, 0, 0, struct.pack(">I", 1 << 24))

    def request(self) -> bytes:
        """Headers and the message on the next stream."""
        self._stream += 2
        self._answered = False
        return _frame(_HEADERS, _END_HEADERS, self._stream, self._head) + _frame(
            _DATA, _END_STREAM, self._stream, self._data
        )

    def feed(self, data: bytes) -> tuple[bool, bytes]:
        """Complete when the stream ends; a call that ends without a message was refused."""
        self._buffer += data
        done, reply, place = False, b"", 0
        while len(self._buffer) - place >= 9:
            length = int.from_bytes(self._buffer[place : place + 3], "big")
            kind, flags = self._buffer[place + 3], self._buffer[place + 4]
            end = place + 9 + length
            if len(self._buffer) < end:
                break
            payload = self._buffer[place + 9 : end]
            place = end
            if kind == _DATA:
                self._answered = True
                self._received += length
                if self._received > 1 << 20:
                    reply += _frame(_WINDOW, 0, 0, struct.pack(">I", self._received))
                    self._received = 0
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                reply += _frame(kind, _ACK, 0, payload if kind == _PING else b"")
            elif kind in (_RESET, _GOAWAY):
                raise Refused(f"HTTP/2 frame {kind}: {payload!r}")
            if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                if not self._answered:
                    raise Refused(f"no message; trailers {payload[:600]!r}")
                done = True
        self._buffer = self._buffer[place:]
        return done, reply


def _text(value: str) -> bytes:
    """A literal string of HPACK, not Huffman-coded."""
    data = value.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, out = len(data) - 127, [127]
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes([*out, rest]) + data


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def generate(task: dict[str, Any]) -> dict[str, float]:
    """Ask until the seconds are over; only whole answers within them count."""
    selector = selectors.DefaultSelector()
    began: dict[int, float] = {}
    sockets: dict[int, socket.socket] = {}
    for _ in range(task["connections"]):
        sock = socket.create_connection((task["host"], task["port"]), timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conversation: Conversation = Rest(task) if task["protocol"] == "rest" else Grpc(task)
        selector.register(sock, selectors.EVENT_READ, conversation)
        sockets[sock.fileno()] = sock
        began[sock.fileno()] = time.perf_counter()
        sock.sendall(conversation.opening() + conversation.request())
    took: list[float] = []
    started = time.perf_counter()
    until = started + task["seconds"]
    now = started
    while now < until:
        events = selector.select(10)
        if not events:
            raise Refused("no answer for 10 s")
        for key, _ in events:
            sock, talk = sockets[key.fd], key.data
            data = sock.recv(1 << 16)
            if not data:
                raise Refused("the server closed the connection")
            done, reply = talk.feed(data)
            now = time.perf_counter()
            if done:
                took.append(now - began[key.fd])
                began[key.fd] = now
                reply += talk.request()
            if reply:
                sock.sendall(reply)
    elapsed = time.perf_counter() - started
    took.sort()
    return {
        "answers": len(took),
        "seconds": elapsed,
        "p50_ms": 1000 * took[len(took) // 2],
        "p99_ms": 1000 * took[int(len(took) * 0.99)],
    }


def main() -> None:
    """Read the task, generate, print."""
    task = json.load(sys.stdin)
    if task.get("core") is not None:
        os.sched_setaffinity(0, {task["core"]})
    try:
        print(json.dumps(generate(task)))
    except Refused as err:
        sys.exit(f"refused: {err}")


if __name__ == "__main__":
    main()
