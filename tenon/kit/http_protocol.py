"""HTTP/1 connections that end: uvicorn's protocol, and limits for clients that are slow, silent, endless or too many.

uvicorn waits forever for the rest of a head or a body, and for a client that does not take its answer. Here one sweep over
all connections, some times a second, cuts them off; a request pays only for noting which stage it is in.
"""

from __future__ import annotations

import asyncio
import heapq
import resource
from typing import Any, NamedTuple

import httptools
import orjson
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CUT = Counter("tenon_http_connections_cut_total", "Connections ended because of how the client behaves.", ["why"])

FRESH, HEAD, BODY, ANSWERING, IDLE, CLOSING = range(6)
"""Where a connection is: nothing sent yet, in a request's head, in its body, being answered, between requests, ending."""

_SPARE_FILES = 256
_AT_ONCE = 500


class Limits(NamedTuple):
    """What a client may take; times in seconds."""

    head_seconds: float = 10.0
    """From the connection, or from a request's first byte, to the end of its head."""
    body_seconds: float = 20.0
    """For a body, and a second more for every `body_pace` bytes of it that came; what we do not read does not count."""
    body_pace: int = 16 << 10
    idle_seconds: float = 75.0
    """Between two requests; longer than the usual minute of the proxies in front, so that they close first."""
    unread_seconds: float = 20.0
    """How long an answer may wait without the client taking any of it."""
    head_bytes: int = 32 << 10
    headers: int = 100
    connections: int = 10_000


def refusal(status: int, phrase: str, reason: str, text: str) -> bytes:
    """A whole answer that ends its connection, for what never gets to the app."""
    body = orjson.dumps({"error": text, "reason": reason})
    head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
    return f"{head}\r\n".encode() + body


MALFORMED = refusal(400, "Bad Request", "HTTP_MALFORMED", "the bytes are not an HTTP/1.1 request")
HEAD_TOO_LARGE = refusal(
    431, "Request Header Fields Too Large", "HEAD_TOO_LARGE", "the request's headers are too many or too long"
)
HEAD_TIMEOUT = refusal(408, "Request Timeout", "HEAD_TIMEOUT", "the request's head did not arrive in time")
BODY_TIMEOUT = refusal(408, "Request Timeout", "BODY_TIMEOUT", "the body did not arrive in time")
TOO_MANY = refusal(503, "Service Unavailable", "TOO_MANY_CONNECTIONS", "too many connections are open; try again later")


def limited(limits: Limits) -> type[LimitedProtocol]:
    """The protocol class for a server with these limits; for `uvicorn.Config(http=…)`."""
    # Files are connections too: running out of them would keep everybody from connecting.
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitting = limits._replace(connections=min(limits.connections, max(16, files - _SPARE_FILES)))
    return type("_Protocol", (LimitedProtocol,), {"sweep": _Sweep(fitting), "limits": fitting})


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    sweep: _Sweep
    limits: Limits
    stage = FRESH
    since = 0.0
    seen = 0
    """Bytes of the head after the read it began in, or of the body."""
    chunk = 0
    begun = False
    owed = 0
    """Bytes of a body that the parser does not know of, because its request offered an upgrade."""
    unread = 0
    """Bytes of the answer that the client had not taken at the last look."""
    refused = MALFORMED

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self.sweep.begin(self)
        self.since = self.sweep.now
        if len(self.connections) > self.limits.connections and not self.sweep.make_room(self):
            CUT.labels("too_many").inc()
            self.end(TOO_MANY)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.stage == CLOSING:
            return
        if self.owed:
            data = self._take_owed(data)
        self.chunk = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")
        if self.stage == HEAD:
            # What else was in the read that the head began in is not known; a read is at most 256 KiB.
            self.seen = 0 if self.begun else self.seen + self.chunk
            self.begun = False
            if self.seen > self.limits.head_bytes:
                self.refused = HEAD_TOO_LARGE
                self.send_400_response("")

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A client that has said all it wants still gets its answer; one that stops in the middle does not."""
        if self.stage != ANSWERING or self.scheme == "https":
            return None
        self.cycle.keep_alive = False
        return True

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """The refusal of what is no request, instead of uvicorn's plain text."""
        CUT.labels("malformed" if self.refused is MALFORMED else "head_too_large").inc()
        self.end(self.refused)

    def on_message_begin(self) -> None:
        """See `httptools`."""
        self.stage, self.since, self.begun = HEAD, self.sweep.now, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See `httptools`."""
        if len(self.headers) > self.limits.headers or (
            self.chunk > self.limits.head_bytes
            and len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.limits.head_bytes
        ):
            self.refused = HEAD_TOO_LARGE
            raise ValueError("the head is too large")
        self.stage, self.since, self.seen = BODY, self.sweep.now, 0
        super().on_headers_complete()
        if self.sweep.leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """See `httptools`."""
        self.seen += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See `httptools`."""
        super().on_message_complete()
        self.since = self.sweep.now
        self.stage = IDLE if self.cycle.response_complete and not self.pipeline else ANSWERING

    def on_response_complete(self) -> None:
        """The next request of the pipeline, or none: without uvicorn's timer, because the sweep looks after idle ones."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.stage == ANSWERING and self.cycle.response_complete:
            self.stage, self.since = IDLE, self.sweep.now

    def _decline_upgrade(self, rest: bytes) -> None:
        """Java's client offers HTTP/2 with every first request. The parser then skips the body; we read it."""
        headers = dict(self.headers)
        if b"transfer-encoding" in headers:
            self.send_400_response("")
            return
        self.owed = int(headers.get(b"content-length", b"0"))
        if self.owed:
            self.cycle.more_body = True
            self.cycle.message_event.clear()
            self.stage, self.since = BODY, self.sweep.now
        if rest:
            self.data_received(rest)

    def _take_owed(self, data: bytes) -> bytes:
        part = data[: self.owed]
        self.owed -= len(part)
        self.on_body(part)
        if not self.owed:
            self.on_message_complete()
        return data[len(part) :]

    def end(self, words: bytes = b"") -> None:
        """Close; `words` are said when no answer has begun."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if words and not (answering and (self.cycle.response_started or self.stage != BODY)):
            self.transport.write(words)
        if answering:
            # The app hears at once that nobody is there any more; what it still sends goes nowhere.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.pipeline.clear()
        self.transport.close()
        self.stage, self.since = CLOSING, self.sweep.now

    def look(self, now: float) -> None:
        """End what has taken too long."""
        limits, taken = self.limits, now - self.since
        pending = self.cycle is not None and not self.cycle.response_complete
        if self.stage in (ANSWERING, IDLE, CLOSING) and (unread := self.transport.get_write_buffer_size()):
            if unread != self.unread:
                self.unread, self.since = unread, now
            elif taken > limits.unread_seconds:
                CUT.labels("unread").inc()
                self.end()
                self.transport.abort()
        elif self.stage == IDLE:
            if taken > limits.idle_seconds:
                self.end()
        elif self.stage == CLOSING:
            if taken > limits.unread_seconds:
                self.transport.abort()
        elif self.stage == ANSWERING or (self.stage == BODY and self.flow.read_paused):
            # The answer is for us to give, and a body that we do not read costs its client no time.
            self.since = now
        elif self.stage == BODY:
            if taken > limits.body_seconds + self.seen / limits.body_pace:
                self._cut("body_timeout", BODY_TIMEOUT)
        elif taken > limits.head_seconds and not pending:
            self._cut("head_timeout", HEAD_TIMEOUT if self.stage == HEAD else b"")

    def _cut(self, why: str, words: bytes) -> None:
        CUT.labels(why).inc()
        self.end(words)


class _Sweep:
    """Looks at all connections of a server, and is the clock of their stages."""

    def __init__(self, limits: Limits) -> None:
        times = (limits.head_seconds, limits.body_seconds, limits.idle_seconds, limits.unread_seconds)
        self.period = min(1.0, min(times) / 4)
        self.now = 0.0
        self._patience = min(limits.idle_seconds, limits.unread_seconds)
        self._running = False
        self.leaving = False

    def leave(self) -> None:
        """From now on every answer is the last of its connection and says so: whoever sends requests goes elsewhere
        between two of them, and none meets a connection that is being closed."""
        self.leaving = True

    def begin(self, first: LimitedProtocol) -> None:
        """Run as long as there are connections."""
        if not self._running:
            self._running, self.now = True, first.loop.time()
            connections: set[Any] = first.connections
            first.loop.call_later(self.period, self._look, first.loop, connections)

    def make_room(self, newcomer: LimitedProtocol) -> bool:
        """End some connections that are doing nothing, silent strangers first; whether there were any."""
        connections: set[Any] = newcomer.connections
        resting = [item for item in connections if item.stage in (FRESH, IDLE) and item is not newcomer]
        few = max(1, newcomer.limits.connections // 50)
        for item in heapq.nsmallest(few, resting, key=lambda item: (item.stage, item.since)):
            CUT.labels("made_room").inc()
            item.end()
        return bool(resting)

    def _look(self, loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
        self.now = loop.time()
        self._some(loop, connections, list(connections), 0)

    def _some(self, loop: asyncio.AbstractEventLoop, connections: set[Any], found: list[Any], start: int) -> None:
        """Look at some and let requests in between: ten thousand together would keep them waiting for milliseconds."""
        now, young = self.now, self.now - self._patience
        for connection in found[start : start + _AT_ONCE]:
            if connection.stage != IDLE or connection.since < young:
                connection.look(now)
        if start + _AT_ONCE < len(found):
            loop.call_soon(self._some, loop, connections, found, start + _AT_ONCE)
            return
        self._running = bool(connections)
        if self._running:
            loop.call_later(self.period, self._look, loop, connections)
