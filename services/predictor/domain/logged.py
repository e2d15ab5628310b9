"""What goes to the prediction log, flat enough that writing it down costs a few microseconds; and the ids of answers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.predictor.domain.model import FloatArray, Role, Served, Source

ID_BYTES = 16
_NOISE_BYTES = 10
_NOISE_AHEAD = 512
_MANY_AHEAD = 4096


@dataclass(slots=True)
class Logged:
    """Rows answered together by one version. Nobody changes it once it is handed over."""

    source: Source
    request_id: str
    ids: bytes
    """16 bytes a row."""
    at: int
    event_time: Sequence[int] | npt.NDArray[np.int64]
    scores: FloatArray | list[float]
    numbers: FloatArray | list[float]
    """(rows, `source.numbers`), or for one row a list; NaN is missing."""
    texts: Sequence[Sequence[str | None]] = ()
    """One sequence for each of `source.texts`."""

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.ids) // ID_BYTES

    @property
    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """The rows by column; made anew each time."""
        rows = self.rows
        matrix = np.asarray(self.numbers, np.float64).reshape(rows, len(self.source.numbers))
        found: dict[str, npt.NDArray[Any]] = {name: matrix[:, place] for place, name in enumerate(self.source.numbers)}
        for name, values in zip(self.source.texts, self.texts, strict=True):
            found[name] = np.array(values, object)
        return found


def logged_columns(
    served: Served, role: Role, protocol: str, request_id: str, ids: bytes, at: int, event_time: Sequence[int] | npt.NDArray[np.int64],
    scores: FloatArray, columns: Mapping[str, npt.NDArray[Any]], level: str = "",
) -> Logged:  # fmt: skip
    """Rows that came column by column."""
    numbers = [name for name, values in columns.items() if values.dtype != object]
    texts = [name for name, values in columns.items() if values.dtype == object]
    matrix = np.empty((len(scores), len(numbers)))
    for place, name in enumerate(numbers):
        matrix[:, place] = columns[name]
    source = served.source(role, protocol, tuple(numbers), tuple(texts), level)
    return Logged(
        source, request_id, ids, at, event_time, scores, matrix, [columns[name].tolist() for name in texts]
    )  # fmt: skip


class PredictionIds:
    """Fresh ids in the form of UUID version 7: they sort by time and never repeat.

    Randomness is fetched for many ids at once, because the call into the kernel gives other threads a chance to take
    the interpreter away from the request being answered. Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._noise: Iterator[bytes] = iter(())
        self._rows = np.empty((0, _NOISE_BYTES), np.uint8)
        self._lock = threading.Lock()

    def one(self, at: int) -> tuple[bytes, str]:
        """An id for an answer given at `at` (microseconds), and its text."""
        noise = next(self._noise, None)
        while noise is None:
            self._noise = iter(_noise(_NOISE_AHEAD).view(f"V{_NOISE_BYTES}").ravel().tolist())
            noise = next(self._noise, None)
        raw = (at // 1000).to_bytes(6, "big") + noise
        text = raw.hex()
        return raw, f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def many(self, at: int, count: int) -> bytes:
        """Ids for as many answers, one behind the other."""
        if count == 1:
            return self.one(at)[0]
        found = np.empty((count, ID_BYTES), np.uint8)
        found[:, : ID_BYTES - _NOISE_BYTES] = np.frombuffer((at // 1000).to_bytes(6, "big"), np.uint8)
        with self._lock:
            rows = self._rows if count <= len(self._rows) else _noise(count + _MANY_AHEAD)
            self._rows = rows[count:]
        found[:, ID_BYTES - _NOISE_BYTES :] = rows[:count]
        return found.tobytes()


def id_texts(ids: bytes) -> list[str]:
    """The ids as they stand in answers and labels."""
    text = ids.hex()
    return [
        f"{text[at : at + 8]}-{text[at + 8 : at + 12]}-{text[at + 12 : at + 16]}-{text[at + 16 : at + 20]}-{text[at + 20 : at + 32]}"
        for at in range(0, len(text), 2 * ID_BYTES)
    ]


def _noise(count: int) -> npt.NDArray[np.uint8]:
    found = np.frombuffer(os.urandom(_NOISE_BYTES * count), np.uint8).reshape(count, _NOISE_BYTES).copy()
    found[:, 0] = found[:, 0] & 0x0F | 0x70
    found[:, 2] = found[:, 2] & 0x3F | 0x80
    return found
