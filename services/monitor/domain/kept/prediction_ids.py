"""Prediction ids as columns: two whole numbers a row, so that a million of them are compared without a Python object each.

An id in the form of a UUID (lower case, with dashes), as the predictor makes them, is its own 128 bits: they sort by time, which tells
where in the log to look. Any other text is kept beside a digest of as many bits.

>>> ids = PredictionIds.of_texts(["00010203-0405-0607-0809-0a0b0c0d0e0f", "order 7"])
>>> ids.texts()
['00010203-0405-0607-0809-0a0b0c0d0e0f', 'order 7']
>>> [ids.take(slice(1, 2)).texts(), len(ids)]
[['order 7'], 2]
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_DASHES = (8, 13, 18, 23)
_LENGTH = 36
_SIGN = np.uint64(1 << 63)
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class PredictionIds:
    """Ids of rows, in their order. `other` holds the texts of ids that are no UUIDs, empty where one is; None: all are."""

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    other: npt.NDArray[np.bytes_] | None = None

    def __len__(self) -> int:
        return len(self.high)

    @classmethod
    def of_bytes(cls, raw: bytes | npt.NDArray[Any]) -> Self:
        """16 bytes an id, one behind the other."""
        pairs = np.frombuffer(raw, ">u8").reshape(-1, 2)
        return cls(pairs[:, 0].astype(np.uint64), pairs[:, 1].astype(np.uint64))

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> Self:
        """Ids as they stand in answers, labels and documents."""
        uuids = _uuid_bytes(texts)
        if uuids is not None:
            return cls.of_bytes(uuids)
        raw, other = [], []
        for text in texts:
            one = _uuid_bytes([text])
            raw.append(hashlib.blake2b(text.encode(), digest_size=16).digest() if one is None else one)
            other.append(text.encode() if one is None else b"")
        found = cls.of_bytes(b"".join(raw))
        return cls(found.high, found.low, np.array(other, dtype=np.bytes_))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The ids of some parts, one part behind the other."""
        other = None
        if any(part.other is not None for part in parts):
            other = np.concatenate([np.zeros(len(one), "S1") if one.other is None else one.other for one in parts])
        return cls(np.concatenate([one.high for one in parts]), np.concatenate([one.low for one in parts]), other)

    def take(self, rows: npt.NDArray[Any] | slice) -> PredictionIds:
        """Some of them."""
        return PredictionIds(self.high[rows], self.low[rows], None if self.other is None else self.other[rows])

    def texts(self) -> list[str]:
        """The ids as texts."""
        pairs = np.empty((len(self), 2), ">u8")
        pairs[:, 0], pairs[:, 1] = self.high, self.low
        text = pairs.tobytes().hex()
        found = [
            f"{text[at : at + 8]}-{text[at + 8 : at + 12]}-{text[at + 12 : at + 16]}-{text[at + 16 : at + 20]}-{text[at + 20 : at + 32]}"
            for at in range(0, len(text), 32)
        ]
        if self.other is not None:
            for row in np.flatnonzero(self.other != b"").tolist():
                found[row] = self.other[row].decode()
        return found

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """Numbers in the order of the ids, which a signed column of a database can hold: ids made later have greater ones."""
        return (self.high ^ _SIGN).view(np.int64)


class IdLookup:
    """Finds rows by id, exactly."""

    def __init__(self, ids: PredictionIds) -> None:
        mixed = _mixed(ids)
        self._order = np.argsort(mixed, kind="stable")
        self._mixed = mixed[self._order]
        self._high, self._low = ids.high[self._order], ids.low[self._order]
        changes = np.flatnonzero(np.diff(self._mixed)) + 1
        runs = np.diff(np.concatenate([[0], changes, [len(mixed)]])) if len(mixed) else np.zeros(1, np.int64)
        self._longest = int(runs.max())

    def places(self, ids: PredictionIds) -> npt.NDArray[np.int64]:
        """For each id its place among those of this lookup (which must differ from each other); -1: not there."""
        found = np.full(len(ids), -1, dtype=np.int64)
        if not len(self._mixed):
            return found
        at = np.searchsorted(self._mixed, _mixed(ids))
        for step in range(self._longest):
            place = np.minimum(at + step, len(self._mixed) - 1)
            same = (self._high[place] == ids.high) & (self._low[place] == ids.low)
            found[same] = self._order[place[same]]
        return found


def _mixed(ids: PredictionIds) -> npt.NDArray[np.uint64]:
    return ids.high * _MIX ^ ids.low


def _uuid_bytes(texts: Sequence[str]) -> bytes | None:
    """The bits of texts that are all UUIDs in their usual form; None when one is not."""
    joined = "".join(texts)
    if len(joined) != _LENGTH * len(texts) or not joined.isascii() or any(len(text) != _LENGTH for text in texts):
        return None
    marks = np.frombuffer(joined.encode(), np.uint8).reshape(-1, _LENGTH)
    dashes = np.zeros(_LENGTH, bool)
    dashes[list(_DASHES)] = True
    digits = ((marks >= ord("0")) & (marks <= ord("9"))) | ((marks >= ord("a")) & (marks <= ord("f")))
    if not (np.where(dashes, marks == ord("-"), digits)).all():
        return None
    return bytes.fromhex(marks[:, ~dashes].tobytes().decode())
