"""MGET of blobs without what the client library does around it, for answers that take less time than that.

The command is written and the reply read by the windows' kernel, which then takes the blobs from where they lie. Each
thread has a connection of its own, made by the library (so with its TLS, password and timeouts). Whatever is not the plain
reply to an MGET is left to the library: the connection is dropped and the question asked again through it.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import redis

from tenon.windows.held import HeldBlobs
from tenon.windows.program import compiled_module

_FIRST_READ = 1 << 16
_MOST_KEPT = 1 << 22
_SLOWER = 1.02

Group = tuple[bytes, list[Any]]
"""A prefix and the last parts of keys: bytes as they are, a text with `=` before it."""


class BlobMget:
    """Thread-safe. `floor_seconds` is about the shortest time that a reply has taken lately."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._local = threading.local()
        self._module = compiled_module()
        self.floor_seconds = 0.0

    def __call__(self, groups: list[Group]) -> HeldBlobs:
        """The values of all keys, in order. Raises the library's errors."""
        connection, module = getattr(self._local, "connection", None), self._module
        if connection is None and module is not None:
            connection = self._local.connection = self._connected()
        if connection is not None and module is not None:
            command = module.question(groups)
            began = time.perf_counter()
            try:
                found = self._ask(module, connection._sock, command, sum([len(names) for _, names in groups]))
            except TimeoutError as err:
                self._drop(connection)
                raise redis.TimeoutError("Timeout reading from socket") from err
            except (OSError, ValueError, AttributeError):
                self._drop(connection)
            else:
                took = time.perf_counter() - began
                self.floor_seconds = min(took, self.floor_seconds * _SLOWER or took)
                return found
        keys = [
            prefix + (b"=" + name.encode() if isinstance(name, str) else name) for prefix, of in groups for name in of
        ]
        found_slowly: Any = self._client.mget(keys) if keys else []
        return HeldBlobs.of(found_slowly)

    def _ask(self, module: Any, sock: Any, command: bytes, count: int) -> HeldBlobs:
        sock.sendall(command)
        # As much room as was needed last, not zeroed; nobody else ever writes into it.
        data: Any = np.empty(getattr(self._local, "room", _FIRST_READ), np.uint8)
        filled = sock.recv_into(data)
        state, spans = np.array([0, -1]), np.empty((count, 2), np.int64)
        while missing := module.read_reply(data, filled, state, spans):
            if len(data) - filled < missing + _FIRST_READ // 2:
                grown = np.empty(max(2 * len(data), filled + missing + _FIRST_READ), np.uint8)
                grown[:filled] = data[:filled]
                data, self._local.room = grown, min(len(grown), _MOST_KEPT)
            got = sock.recv_into(memoryview(data)[filled:])
            if not got:
                raise ConnectionError("closed")
            filled += got
        return HeldBlobs(data, spans)

    def _connected(self) -> Any:
        connection: Any = self._client.connection_pool.make_connection()
        connection.connect()
        # The insides of the library: where they are not as expected, it is asked as usual.
        return connection if hasattr(connection, "_sock") else None

    def _drop(self, connection: Any) -> None:
        self._local.connection = None
        connection.disconnect()
