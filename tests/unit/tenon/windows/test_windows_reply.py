"""What asks a store for blobs, and where they are in its reply: nothing is read beyond what has come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenon.windows.held import HeldBlobs
from tenon.windows.program import compiled_module

MODULE = compiled_module()
pytestmark = pytest.mark.skipif(MODULE is None, reason="the kernel is not built")


def read(data: bytes, count: int, steps: list[int]) -> list[bytes | None] | int:
    """The blobs of a reply that comes in pieces; how much is missing at least when it ended too soon."""
    assert MODULE is not None
    state, spans, filled, missing = np.array([0, -1]), np.zeros((count, 2), np.int64), 0, 1
    for step in [*steps, len(data)]:
        filled = min(filled + step, len(data))
        # A copy that ends where the bytes end: a sanitizer sees what is read after it.
        missing = MODULE.read_reply(bytes(data[:filled]), filled, state, spans)
        if not missing:
            return list(HeldBlobs(data, spans))
    return missing


@given(st.lists(st.none() | st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 30), max_size=6))
def test_a_reply_in_any_pieces(blobs: list[bytes | None], steps: list[int]) -> None:
    """Blobs come back as they were sent; of a reply that is cut short something is missing."""
    parts = [b"$-1\r\n" if blob is None else b"$%d\r\n%b\r\n" % (len(blob), blob) for blob in blobs]
    data = b"*%d\r\n" % len(blobs) + b"".join(parts)
    assert read(data, len(blobs), steps) == blobs
    assert read(data[:-1], len(blobs), []) != blobs


@given(st.binary(max_size=60), st.integers(0, 3))
def test_junk_is_no_reply(junk: bytes, count: int) -> None:
    """Any bytes are refused, or wait for more; never read as blobs that are not there."""
    for data in (junk, b"*%d\r\n" % count + junk, b"*%d\r\n$" % count + junk):
        try:
            found = read(data, count, [3])
        except ValueError:
            continue
        assert isinstance(found, int) or all(blob is None or blob in data for blob in found)


@pytest.mark.parametrize(
    "groups",
    [[(b"",)], [("", [])], [(b"", ("a",))], [(b"", [1])], [[b"", []]], "no list", [(b"", ["a"]), (b"", [None])]],
)
def test_names_are_texts_or_bytes(groups: Any) -> None:
    """Anything else is refused before a byte is sent."""
    assert MODULE is not None
    with pytest.raises((TypeError, ValueError)):
        MODULE.question(groups)


@given(st.lists(st.tuples(st.binary(max_size=9), st.lists(st.binary(max_size=200) | st.text(max_size=9)))))
def test_a_question_names_every_key(groups: list[tuple[bytes, list[bytes | str]]]) -> None:
    """The command is what the protocol says, whatever the keys."""
    assert MODULE is not None
    keys = [
        prefix + (b"=" + name.encode() if isinstance(name, str) else name) for prefix, names in groups for name in names
    ]
    words = [b"MGET", *keys]
    assert MODULE.question(groups) == b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


@pytest.mark.parametrize(("filled", "state"), [(99, [0, -1]), (4, [5, 0]), (4, [-1, 0]), (4, [0, -2])])
def test_a_reply_is_read_within_its_bytes(filled: int, state: list[int]) -> None:
    """Positions outside of what has come are refused."""
    assert MODULE is not None
    with pytest.raises(ValueError, match="reply"):
        MODULE.read_reply(b"*1\r\n$1\r\na\r\n", filled, np.array(state), np.zeros((1, 2), np.int64))
