"""How far the prediction log was shipped, in a file that is written in place: a full disk cannot keep it from moving on."""

from __future__ import annotations

import os
import struct
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_LINE = struct.Struct("<QQQqI4x")
_NOWHERE = -1
# Behind the two lines of the place lie those of what was sent: turn, microseconds, segment, start, end.
_SENT = struct.Struct("<QQQQQ")
_SENT_BYTES = _SENT.size + 8
_SENT_LINES = 1024


class Place(NamedTuple):
    """A range of a segment: everything before `start` was shipped; `end`, unless None, is where the range that is being
    sent ends."""

    segment: int = 0
    start: int = 0
    end: int | None = None


class Sent(NamedTuple):
    """A range of a segment that was sent."""

    segment: int
    start: int
    end: int


class PlaceFile:
    """Two lines that are written in turns, so that one of them is always whole; behind them, in turns as well, the ranges
    that were sent last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = 0
        self._fd = -1
        self._complained = False

    def load(self) -> Place:
        """The newest place; the beginning when there is none."""
        data = self._read()
        if data is None:
            return Place()
        found = []
        for start in (0, _LINE.size):
            if len(data) >= start + _LINE.size:
                *numbers, crc = _LINE.unpack_from(data, start)
                if crc == zlib.crc32(data[start : start + 32]):
                    found.append(numbers)
        if not found:
            log.warning("the place in the prediction spool is unreadable; everything in it is shipped again")
            self._path.unlink(missing_ok=True)
            return Place()
        self._turn, segment, begin, end = max(found)
        return Place(segment, begin, None if end == _NOWHERE else end)

    def sent(self, seconds: float) -> list[Sent]:
        """The ranges before the place that were sent in the last `seconds` of whoever wrote here last, oldest first."""
        place, data = self.load(), self._read() or b""
        found = []
        for start in range(2 * _LINE.size, len(data) - _SENT_BYTES + 1, _SENT_BYTES):
            line = data[start : start + _SENT.size]
            if zlib.crc32(line).to_bytes(4, "little") == data[start + _SENT.size : start + _SENT.size + 4]:
                found.append(_SENT.unpack(line))
        newest = max((at for _, at, *_ in found), default=0)
        return [
            Sent(*numbers)
            for turn, at, *numbers in sorted(found)
            if turn <= self._turn and at >= newest - seconds * 1e6 and tuple(numbers[:2]) < (place.segment, place.start)
        ]

    def save(self, place: Place) -> None:
        """Keep a place. When it cannot be kept, shipping goes on: after a crash more is then sent again."""
        self._turn += 1
        line = _LINE.pack(self._turn, place.segment, place.start, _NOWHERE if place.end is None else place.end, 0)
        line = line[:32] + zlib.crc32(line[:32]).to_bytes(4, "little") + line[36:]
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            os.pwrite(self._fd, line, _LINE.size * (self._turn % 2))
            if place.end is not None:
                sent = _SENT.pack(self._turn, time.time_ns() // 1000, place.segment, place.start, place.end)
                sent += zlib.crc32(sent).to_bytes(8, "little")
                os.pwrite(self._fd, sent, 2 * _LINE.size + _SENT_BYTES * (self._turn % _SENT_LINES))
        except OSError as err:
            if not self._complained:
                log.warning("the place in the prediction spool cannot be written", error=err.strerror)
            self._complained = True
        else:
            self._complained = False

    def close(self) -> None:
        """Let the file go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
