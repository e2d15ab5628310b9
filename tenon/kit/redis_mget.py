"""MGET without what the client library does around it, for answers that take less time than that.

Each thread has a connection of its own, made by the library (so with its TLS, password and timeouts). Whatever is not the
plain reply to an MGET is left to the library: the connection is dropped and the question asked again through it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import redis

_FIRST_READ = 1 << 16
_SLOWER = 1.02


class QuickMget:
    """Thread-safe. `floor_seconds` is about the shortest time that a reply has taken lately."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._local = threading.local()
        self.floor_seconds = 0.0

    def __call__(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values, None where there is none. Raises the library's errors."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connected()
        if connection is not None:
            began = time.perf_counter()
            try:
                found = _ask(connection._sock, keys)
            except TimeoutError as err:
                self._drop(connection)
                raise redis.TimeoutError("Timeout reading from socket") from err
            except (OSError, ValueError, AttributeError):
                self._drop(connection)
            else:
                took = time.perf_counter() - began
                self.floor_seconds = min(took, self.floor_seconds * _SLOWER or took)
                return found
        found_slowly: Any = self._client.mget(keys)
        return list(found_slowly)

    def _connected(self) -> Any:
        connection: Any = self._client.connection_pool.make_connection()
        connection.connect()
        # The insides of the library: where they are not as expected, it is asked as usual.
        return connection if hasattr(connection, "_sock") else None

    def _drop(self, connection: Any) -> None:
        self._local.connection = None
        connection.disconnect()


def _ask(sock: Any, keys: Sequence[bytes]) -> list[bytes | None]:
    sock.sendall(
        b"*%d\r\n$4\r\nMGET\r\n" % (len(keys) + 1) + b"".join([b"$%d\r\n%b\r\n" % (len(key), key) for key in keys])
    )
    data = sock.recv(_FIRST_READ)
    head = b"*%d\r\n" % len(keys)
    while len(data) < len(head):
        data += _more(sock, _FIRST_READ)
    if not data.startswith(head):
        raise ValueError("not the reply that was expected")
    found: list[bytes | None] = []
    at = len(head)
    for _ in keys:
        while (end := data.find(b"\r\n", at)) < 0:
            data += _more(sock, _FIRST_READ)
        if data[at : at + 1] != b"$":
            if data[at:end] == b"_":
                found.append(None)
                at = end + 2
                continue
            raise ValueError("not the reply that was expected")
        size = int(data[at + 1 : end])
        at = end + 2
        if size < 0:
            found.append(None)
            continue
        if len(data) < at + size + 2:
            # Values that are read already are not copied again and again: what is left over begins anew.
            data, at = data[at:], 0
            parts, have = [data], len(data)
            while have < size + 2:
                parts.append(_more(sock, max(size + 2 - have, _FIRST_READ)))
                have += len(parts[-1])
            data = b"".join(parts)
        found.append(data[at : at + size])
        at += size + 2
    if at != len(data):
        raise ValueError("more than the reply came")
    return found


def _more(sock: Any, size: int) -> bytes:
    data: bytes = sock.recv(size)
    if not data:
        raise ConnectionError("closed")
    return data
