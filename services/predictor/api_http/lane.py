"""The fast lane: a prediction that came in one piece is answered where it was read, without a task or a cycle of messages.

A task, its context, the messages and the checks of their headers cost as much as the whole prediction. So the protocol
holds a request to a prediction path back until its body is there; if all of it came in the same read, `QuickDoor` is
asked. Whatever that does not answer, and whatever came in more than one piece, goes the way of every request.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools

from services.predictor.api_http.paths import Path, parse_path
from services.predictor.api_http.quick_door import HEAVY_BYTES
from tenon.kit.http_protocol import ANSWERING, IDLE, LimitedProtocol

if TYPE_CHECKING:
    from services.predictor.api_http.quick_door import QuickDoor, Reply
    from tenon.core.tenancy import TenantId

_JSON = b"content-type: application/json\r\ncontent-length: "
_BINARY = b"content-type: application/octet-stream\r\ninference-header-content-length: "
_HEADERS = 40
"""More than these are looked at on the long way."""


def lane(door: QuickDoor, base: type[LimitedProtocol]) -> type[LimitedProtocol]:
    """The protocol class `base` with a fast lane to a door."""
    return type("_LaneProtocol", (_Lane, base), {"door": door})


@functools.lru_cache(4096)
def _path_of(url: bytes) -> Path | None:
    # The same steps as for every request; with a query it is none of the usual ones.
    parsed = httptools.parse_url(url)
    if parsed.query:
        return None
    return parse_path(unquote(parsed.path.decode("ascii")))


class _Heads:
    """The first lines of a 200, made again whenever the server's own headers (the date) are others."""

    def __init__(self) -> None:
        self._of: Any = None
        self.json = self.binary = b""

    def look(self, defaults: list[tuple[bytes, bytes]]) -> None:
        """Follow the server's headers."""
        if defaults is not self._of:
            start = b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in defaults)
            self._of, self.json, self.binary = defaults, start + _JSON, start + _BINARY


_heads = _Heads()


class _Lane(LimitedProtocol):
    door: QuickDoor
    held: Path | None = None
    """The path of a request whose head is complete and whose body is awaited."""
    body = b""
    whole = False
    """The request is all there, but other tenants ask too and it is not known yet whose turn it is."""
    in_line = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self.door.admission.turns.begin(self.loop)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        if self.whole:
            if not self.in_line:
                self._take_turn()
        elif self.held is not None:
            self._let_go()

    def on_message_begin(self) -> None:
        """See `httptools`."""
        if self.whole:
            # One request right behind another: they are answered in order, and a line would let one pass.
            self._answer_now(None)
        super().on_message_begin()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """See `LimitedProtocol`."""
        if self.whole:
            self._answer_now(None)
        return super().eof_received()

    def shutdown(self) -> None:
        """See `HttpToolsProtocol`."""
        if self.whole:
            self._answer_now(None)
        super().shutdown()

    def on_headers_complete(self) -> None:
        """See `httptools`."""
        path = None
        if self.parser.get_method() == b"POST" and len(self.url) <= 512:
            cycle = self.cycle
            if cycle is None or cycle.response_complete:
                path = _path_of(self.url)
        if path is None or not self._is_usual():
            super().on_headers_complete()
        else:
            self.held, self.body = path, b""

    def on_body(self, body: bytes) -> None:
        """See `httptools`."""
        if self.held is None:
            super().on_body(body)
        elif self.body:
            self.body += body
        else:
            self.body = body

    def on_message_complete(self) -> None:
        """See `httptools`."""
        path = self.held
        if path is None:
            super().on_message_complete()
            return
        if self.door.admission.turns.crowded:
            self.whole, self.stage, self.since = True, ANSWERING, self.sweep.now
        else:
            self._answer_now(None)

    def _take_turn(self) -> None:
        """Answer, or line up behind the tenant's other requests."""
        headers = dict(self.headers)
        turns = self.door.admission.turns
        tenant = None if self.held is None else self.door.caller(self.held, headers)
        if tenant is None or turns.go(tenant.value):
            self._answer_now(tenant)
        elif turns.line_up(tenant.value, lambda: self._answer_now(tenant)):
            self.in_line = True
            self.flow.pause_reading()
        else:
            # The line is too long; the long way says so.
            self.whole = False
            self._let_go()
            super().on_message_complete()

    def _answer_now(self, tenant: TenantId | None) -> None:
        path, waited = self.held, self.in_line
        self.whole = self.in_line = False
        if path is None or self.parser is None or self.transport.is_closing():
            return
        if waited:
            self.flow.resume_reading()
        reply = self.door.answer(path, dict(self.headers), self.body, tenant)
        if reply is None:
            self._let_go()
            super().on_message_complete()
            return
        self.held, self.body = None, b""
        self.server_state.total_requests += 1
        self.stage, self.since = IDLE, self.sweep.now
        if self.sweep.leaving:
            self.transport.write(_answer(reply, [*self.server_state.default_headers, (b"connection", b"close")]))
            self.end()
            return
        self.transport.write(_answer(reply, self.server_state.default_headers))

    def _is_usual(self) -> bool:
        parser, limits = self.parser, self.limits
        return (
            not self.expect_100_continue
            and self.chunk <= limits.head_bytes + HEAVY_BYTES
            and len(self.headers) <= _HEADERS
            # What is refused for its size must be refused while its head is read.
            and (self.chunk <= limits.head_bytes or sum(map(_size, self.headers)) <= limits.head_bytes // 2)
            and not parser.should_upgrade()
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _let_go(self) -> None:
        """Begin what was held back, as every other request begins."""
        body, self.held, self.body = self.body, None, b""
        if self.parser is None or self.transport.is_closing():
            return
        super().on_headers_complete()
        if body:
            super().on_body(body)


def _size(header: tuple[bytes, bytes]) -> int:
    return len(header[0]) + len(header[1])


def _answer(reply: Reply, defaults: list[tuple[bytes, bytes]]) -> bytes:
    _heads.look(defaults)
    if reply.json_bytes is None:
        return b"%b%d\r\nx-request-id: %b\r\n\r\n%b" % (
            _heads.json, len(reply.body), reply.request_id.encode(), reply.body,
        )  # fmt: skip
    return b"%b%d\r\ncontent-length: %d\r\nx-request-id: %b\r\n\r\n%b" % (
        _heads.binary, reply.json_bytes, len(reply.body), reply.request_id.encode(), reply.body,
    )  # fmt: skip
