"""Ranges of a segment of the spool as entries of the stream: the same range gives the same batches under the same ids."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from services.predictor.storage.records import Run, parts_of
from services.predictor.storage.spool import Spool
from tenon.kit.prediction_batches import pack_batch

CHUNK_BYTES = 128 << 10
BREATH_SECONDS = 0.0005

Entry = Mapping[str, bytes]


class Range(NamedTuple):
    """Whole records from `start` on: their bytes, and where the records of each slot lie in these."""

    start: int
    data: bytes
    size: int
    found: Mapping[int, list[Run]]

    @property
    def records(self) -> int:
        """How many records there are."""
        return sum(run.records for runs in self.found.values() for run in runs)


class Segments:
    """Reads one segment after the other, each from its beginning on."""

    def __init__(self, spool: Spool, number: int) -> None:
        self._spool = spool
        self.go_to(number)

    def go_to(self, number: int) -> None:
        """Read this one from now on."""
        self.number = number
        self._reader, self._read_to = self._spool.reader(number), 0

    def read(self, start: int, size: int, stop: int) -> Range:
        """The whole records among `size` bytes from `start` on; if there are none, the one before `stop` that is larger."""
        self._learn(start)
        data = self._spool.read(self.number, start, start + size)
        whole, found = self._reader.scan(data)
        if not whole and size < stop - start:
            data = self._spool.read(self.number, start, stop)
            whole, found = self._reader.scan(data, most=1)
        self._read_to = start + whole
        return Range(start, data, whole, found)

    def entries(self, part: Range) -> tuple[list[Entry], int]:
        """A range as entries of the stream, and how many rows they are."""
        entries: list[Entry] = []
        total = 0
        for slot, runs in part.found.items():
            shape = self._reader.shapes[slot]
            for index, group in enumerate(parts_of(runs, shape.one.itemsize)):
                rows, texts = self._reader.rows(part.data, slot, group)
                batch_id = f"{shape.about['replica']}-{self.number}-{part.start}-{slot}-{index}"
                entries.append(pack_batch({"batch_id": batch_id, **shape.about}, rows, texts))
                total += len(rows) // shape.one.itemsize
        return entries, total

    def _learn(self, start: int) -> None:
        """What rows have in common stands once in a segment, maybe before the place from which it is read."""
        while self._read_to < start:
            data = self._spool.read(self.number, self._read_to, start)[: 4 * CHUNK_BYTES]
            whole, _ = self._reader.scan(data)
            if not whole:
                data = self._spool.read(self.number, self._read_to, start)
                whole, _ = self._reader.scan(data, most=1)
            if not whole:
                break
            self._read_to += whole
            time.sleep(BREATH_SECONDS)
