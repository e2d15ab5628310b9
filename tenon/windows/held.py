"""Blobs as a store's reply holds them: one piece of bytes, and where in it each blob lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenon.windows.events import IntArray


@dataclass(frozen=True, slots=True)
class HeldBlobs:
    """`data`: any buffer of bytes. `spans`: for each blob where it begins and how long it is; a length of -1: there is none."""

    data: Any
    spans: IntArray

    @classmethod
    def of(cls, blobs: Sequence[bytes | None]) -> HeldBlobs:
        """From single ones."""
        sizes = np.array([-1 if blob is None else len(blob) for blob in blobs], np.int64)
        ends = np.cumsum(np.maximum(sizes, 0))
        spans = np.stack([ends - np.maximum(sizes, 0), sizes], axis=1)
        return cls(b"".join(blob for blob in blobs if blob is not None), spans)

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> bytes | None:
        """One blob; None where there is none."""
        begin, size = self.spans[index].tolist()
        return None if size < 0 else bytes(memoryview(self.data)[begin : begin + size])

    def __iter__(self) -> Iterator[bytes | None]:
        return (self[index] for index in range(len(self)))

    def part(self, first: int, count: int) -> HeldBlobs:
        """Some that follow each other."""
        return HeldBlobs(self.data, self.spans[first : first + count])
