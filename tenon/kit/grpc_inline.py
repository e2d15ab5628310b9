"""Unary calls that are answered on the thread that reads them from the wire.

grpcio hands every call to a pool before its message is there; the pool's thread then waits for the reading thread to bring
it. For an answer that takes a few microseconds these two changes of threads are most of what the call costs. A method with
an `at_once` is asked here as soon as its message is read; what it does not answer (None) goes to the pool, as every call.

This leans on the insides of `grpc._server`; where they are not as expected, `inline_pool` gives None and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import grpc
from grpc import _server
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

AtOnce = Callable[[bytes, Sequence[tuple[str, Any]]], bytes | None]
"""From a message's bytes and the call's metadata to the answer's bytes, or None. Must not wait for anything."""

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


class _InlinePool(futures.ThreadPoolExecutor):
    """Stands where the server expects a pool. It has no threads: none is started before something is submitted."""

    def __init__(self, pool: futures.ThreadPoolExecutor, at_once: AtOnce) -> None:
        super().__init__(1)
        self._pool = pool
        self._at_once = at_once

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Called by the reading thread, with the call's lock held, when a call has begun."""
        if kwargs or len(args) != 7 or args[0] is not _server._unary_response_in_pool:
            return self._pool.submit(fn, *args, **kwargs)
        respond, rpc_event, state, behavior, _, deserializer, serializer = args
        completed = _Completed()

        def received(event: Any) -> Any:
            data, reply = None, None
            try:
                data = _server._serialized_request(event)
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
                elif reply is not None:
                    _server._status(rpc_event, state, reply)
                    completed.done()
                else:
                    work = self._pool.submit(
                        fn, respond, rpc_event, state, behavior, lambda: data, deserializer, serializer
                    )
                    work.add_done_callback(completed.done)
                return _server._possibly_finish_call(state, _server._RECEIVE_MESSAGE_TOKEN)

        rpc_event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), received)
        state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
        return completed
