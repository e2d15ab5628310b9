"""Unary calls that are answered on the thread that reads them from the wire.

grpcio hands every call to a pool before its message is there; the pool's thread then waits for the reading thread to bring
it. For an answer that takes a few microseconds these two changes of threads are most of what the call costs. A method with
an `at_once` is asked here as soon as its message is read; what it does not answer (None) goes to the pool, as every call.
While more than one caller asks, it is asked by another thread, in a circle over the callers: see `grpc_turns`.

This leans on the insides of `grpc._server`; where they are not as expected, `inline_pool` gives None and nothing changes.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import grpc
from grpc import _server
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from tenon.kit.grpc_turns import Circle, Company
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)
_MOST_WAITING = 2000
_OVER_SHARE = b"more calls of this caller are waiting than its share of a busy server; ask again later"


class Later(NamedTuple):
    """The call goes to the pool after so many seconds: its caller asks more than it may, and shall feel it."""

    seconds: float
    then: Callable[[], object]
    """Called when it goes."""


AtOnce = Callable[[bytes, Sequence[tuple[str, Any]]], bytes | Later | None]
"""From a message's bytes and the call's metadata to the answer's bytes, or when to ask the pool. Must not wait for anything."""

_NEEDED = (
    "_OPEN", "_CLOSED", "_RECEIVE_MESSAGE_TOKEN", "_abort", "_possibly_finish_call", "_select_thread_pool_for_behavior",
    "_serialized_request", "_status", "_unary_response_in_pool",
)  # fmt: skip


def inline_pool(pool: futures.ThreadPoolExecutor, at_once: AtOnce) -> futures.ThreadPoolExecutor | None:
    """What to set as a behaviour's `experimental_thread_pool`; None where this grpcio is not as expected."""
    if all(hasattr(_server, name) for name in _NEEDED) and hasattr(cygrpc, "ReceiveMessageOperation"):
        return _InlinePool(pool, at_once)
    log.warning("this grpcio is not known well enough to answer calls where they are read", version=grpc.__version__)
    return None


class _Completed:
    """As much of a future as the server asks for."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Any], object]] | None = []

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call when done."""
        if self._callbacks is None:
            callback(self)
        else:
            self._callbacks.append(callback)

    def done(self, _: Any = None) -> None:
        """It is done."""
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback(self)


def _caller(metadata: Sequence[tuple[str, Any]]) -> str:
    for key, value in metadata:
        if key == "authorization":
            return str(value)
    return ""


class _Waiting:
    """Calls that go to the pool later, on one thread that is started when there is one."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Later, Callable[[], None]]] = []
        self._changed = threading.Condition()
        self._running = False
        self._count = 0

    def add(self, later: Later, submit: Callable[[], None]) -> None:
        """Submit when it is time; at once when very many wait already."""
        with self._changed:
            self._count += 1
            crowded = len(self._due) >= _MOST_WAITING
            at = time.monotonic() + (0.0 if crowded else later.seconds)
            heapq.heappush(self._due, (at, self._count, later, submit))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="grpc-later", daemon=True).start()
            elif self._due[0][1] == self._count:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._due and (wait := self._due[0][0] - time.monotonic()) > 0:
                    self._changed.wait(wait)
                if not self._due:
                    self._running = False
                    return
                _, _, later, submit = heapq.heappop(self._due)
            later.then()
            try:
                submit()
            except RuntimeError:
                log.info("a call that was held back is dropped: the server ends")


class _InlinePool(futures.ThreadPoolExecutor):
    """Stands where the server expects a pool. It has no threads: none is started before something is submitted."""

    def __init__(self, pool: futures.ThreadPoolExecutor, at_once: AtOnce) -> None:
        super().__init__(1)
        self._pool = pool
        self._at_once = at_once
        self._waiting = _Waiting()
        self._company = Company()
        self._circle = Circle()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Called by the reading thread, with the call's lock held, when a call has begun."""
        if kwargs or len(args) != 7 or args[0] is not _server._unary_response_in_pool:
            return self._pool.submit(fn, *args, **kwargs)
        respond, rpc_event, state, behavior, _, deserializer, serializer = args
        completed = _Completed()

        def received(event: Any) -> Any:
            data = _server._serialized_request(event)
            who = _caller(rpc_event.invocation_metadata)
            if data is None or not self._company.seen(who):
                answer(data)
            elif not self._circle.add(who, lambda: answer(data)):
                with state.condition:
                    _server._abort(state, rpc_event.call, cygrpc.StatusCode.resource_exhausted, _OVER_SHARE)
                    completed.done()
            with state.condition:
                return _server._possibly_finish_call(state, _server._RECEIVE_MESSAGE_TOKEN)

        def answer(data: bytes | None) -> None:
            reply = None
            try:
                if data is not None:
                    reply = self._at_once(data, rpc_event.invocation_metadata)
            except Exception:
                # The door: nothing may end the thread that reads all calls. The pool will most likely fail as well,
                # and answers for it.
                log.exception("a call could not be answered where it was read")
            with state.condition:
                if data is None:
                    if state.client is _server._OPEN:
                        state.client = _server._CLOSED
                        _server._abort(
                            state, rpc_event.call, cygrpc.StatusCode.unimplemented, b"exactly one request is required"
                        )
                    completed.done()
                elif isinstance(reply, bytes):
                    _server._status(rpc_event, state, reply)
                    completed.done()
                elif reply is None:
                    submit(data)
                else:
                    self._waiting.add(reply, lambda: submit(data))

        def submit(data: bytes) -> None:
            work = self._pool.submit(fn, respond, rpc_event, state, behavior, lambda: data, deserializer, serializer)
            work.add_done_callback(completed.done)

        rpc_event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), received)
        state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
        return completed
