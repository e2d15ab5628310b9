"""The reply to an MGET, however it comes over the wire."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import redis

from services.features.storage.mget import BlobMget


class Pool:
    """Gives a connection to the far end of a socket pair."""

    def __init__(self, reply: bytes, step: int) -> None:
        self.asked = b""
        self._reply, self._step = reply, step

    def make_connection(self) -> Any:
        """A connected one, whose other end answers in pieces."""
        near, far = socket.socketpair()
        near.settimeout(5)

        def answer() -> None:
            self.asked += far.recv(1 << 16)
            for at in range(0, len(self._reply), self._step):
                far.sendall(self._reply[at : at + self._step])
            far.close()

        threading.Thread(target=answer, daemon=True).start()
        return type(
            "Connection", (), {"_sock": near, "connect": lambda _: None, "disconnect": lambda _: near.close()}
        )()


class Client:
    """As much of a client as is needed; `mget` is the library's own way."""

    def __init__(self, reply: bytes, step: int) -> None:
        self.connection_pool = Pool(reply, step)

    def mget(self, keys: list[bytes]) -> list[bytes]:
        """Says that it was asked."""
        return [b"by the library" for _ in keys]


BIG = bytes(range(256)) * 700


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_values_come_in_any_pieces(step: int) -> None:
    """Empty, missing (in both versions of the protocol), with line ends in them, larger than a read."""
    big = BIG if step > 7 else BIG[:300]
    reply = b"*5\r\n$0\r\n\r\n$-1\r\n_\r\n$4\r\na\r\nb\r\n$%d\r\n%b\r\n" % (len(big), big)
    client: Any = Client(reply, step)
    mget = BlobMget(client)
    assert list(mget([(b"", [b"a", b"bb"]), (b"c", ["", "ä"]), (b"d", [b"e"])])) == [b"", None, None, b"a\r\nb", big]
    assert (
        client.connection_pool.asked
        == b"*6\r\n$4\r\nMGET\r\n$1\r\na\r\n$2\r\nbb\r\n$2\r\nc=\r\n$4\r\nc=\xc3\xa4\r\n$2\r\nde\r\n"
    )
    assert 0 < mget.floor_seconds < 5


@pytest.mark.parametrize(
    "reply", [b"-LOADING\r\n", b"*2\r\n$1\r\na\r\n", b"*1\r\n:5\r\n", b"*1\r\n$1\r\na\r\nmore", b""]
)
def test_anything_else_is_left_to_the_library(reply: bytes) -> None:
    """Errors, other lengths and kinds, too much, a connection that ends."""
    client: Any = Client(reply, 1 << 20)
    mget = BlobMget(client)
    for _ in range(2):
        assert list(mget([(b"", [b"a"])])) == [b"by the library"]


def test_a_server_that_does_not_answer() -> None:
    """It is not asked twice: that would take twice as long."""
    near, far = socket.socketpair()
    near.settimeout(0.01)
    client: Any = Client(b"", 1)
    client.connection_pool.make_connection = type(
        "Connection", (), {"_sock": near, "connect": lambda _: None, "disconnect": lambda _: near.close()}
    )
    with pytest.raises(redis.TimeoutError):
        BlobMget(client)([(b"", [b"a"])])
    far.close()
