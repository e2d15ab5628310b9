"""JSON from strangers: measured before it is parsed, and refused when a key stands twice in one object.

The parser is fast but keeps every other thread waiting until it is done. What is slow in it is not bytes but things: 4 MB of
`[],[],[]` take it a quarter of a second, as many bytes of floats 10 ms. So the things are counted first.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tenon.core.errors import Invalid, Place, TooLarge
from tenon.kit.http import parse_json

MAX_BYTES = 8 << 20
MAX_CONTAINERS = 70_000
"""Objects and lists: 10,000 instances are 30,000 objects, 2,000 tensors 8,000 of both."""
MAX_KEYS = 400_000
MAX_VALUES = 1_000_000
_SMALL = 64 << 10
_NAMED = 1 << 20


def load(body: bytes, max_bytes: int) -> dict[str, Any]:
    """A JSON object. Raises `TooLarge`, and `Invalid` with the place of a mistake or the name of a key that stands twice."""
    if len(body) > _SMALL:
        _measure(body, max_bytes)
    found = parse_json(body)
    if not isinstance(found, dict):
        raise Invalid("REQUEST_INVALID", "the body is not a JSON object")
    keys = _keys_of(found)
    # Every key has its colon: only texts that hold colons, or a key that was overwritten, make it more.
    if body.count(b":") != keys and _keys_in(body) != keys:
        name = _repeated(body) if len(body) <= _NAMED else ""
        raise Invalid(
            "KEY_TWICE",
            f"a key stands twice in one object{f': {name[:80]!r}' if name else ''}",
            place=Place(field=name[:80]) if name else None,
            hint="which of the two was meant cannot be known; send it once",
        )
    return found


def _measure(body: bytes, max_bytes: int) -> None:
    if len(body) > max_bytes:
        raise TooLarge(
            "BODY_TOO_LARGE",
            f"the JSON is over the cap of {max_bytes >> 20} MiB",
            hint="send fewer rows at a time, or the tensors as binary data behind the JSON",
            data={"cap_bytes": max_bytes},
        )
    for what, count, most in (
        ("objects and lists", body.count(b"{") + body.count(b"["), MAX_CONTAINERS),
        ("keys", body.count(b":"), MAX_KEYS),
        ("values", body.count(b","), MAX_VALUES),
    ):
        if count > most:
            raise Invalid(
                "BODY_TOO_COMPLEX",
                f"the JSON has more than {most} {what}",
                hint="send fewer rows at a time, or one tensor for each column",
            )


def _keys_of(value: dict[str, Any]) -> int:
    """How many keys a parsed document has."""
    keys, waiting = 0, [value]
    while waiting:
        for item in waiting.pop().values():
            keys += 1
            if type(item) is dict:
                waiting.append(item)
            elif type(item) is list:
                _objects_within(item, waiting)
    return keys


def _objects_within(items: list[Any], found: list[dict[str, Any]]) -> None:
    lists = [items]
    while lists:
        current = lists.pop()
        kinds = set(map(type, current))
        if dict in kinds or list in kinds:
            for item in current:
                if type(item) is dict:
                    found.append(item)
                elif type(item) is list:
                    lists.append(item)


def _keys_in(body: bytes) -> int:
    """How many keys valid JSON has as it is written: the colons outside texts. Large bodies do not keep others waiting."""
    plain = body.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in body else body
    octets = np.frombuffer(plain, np.uint8)
    outside = np.bitwise_xor.accumulate((octets == 34).view(np.uint8)) == 0
    return int(np.count_nonzero(outside & (octets == 58)))


def _repeated(body: bytes) -> str:
    def look(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Found(name)
            seen.add(name)

    try:
        json.loads(body, object_pairs_hook=look)
    except _Found as found:
        return str(found.args[0])
    except RecursionError:
        pass
    return ""


class _Found(Exception):
    """A key that stands twice."""
