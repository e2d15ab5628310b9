"""A batch's rows as one compressed blob: arrays as they lie in memory, so that reading is a copy and not a parse.

Layout, deflated at level 1: 4 bytes length of the header (little endian), the header (JSON: rows, request ids, column
names with their levels), then the arrays in the header's order: at, event_time (int64), score (float64), columns
(float64, or int32 codes into the levels).
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from services.monitor.domain.model import Column, NumericColumn, TextColumn

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.monitor.domain.model import PredictionBatch


@dataclass(frozen=True, slots=True)
class StoredRows:
    """What a blob holds."""

    at: npt.NDArray[np.int64]
    event_time: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    columns: dict[str, Column]
    request_ids: tuple[str, ...]


def pack_rows(batch: PredictionBatch) -> bytes:
    """The blob of a batch."""
    header: dict[str, Any] = {"rows": len(batch), "request_ids": batch.request_ids, "columns": []}
    arrays = [batch.at.astype("<i8"), batch.event_time.astype("<i8"), batch.score.astype("<f8")]
    for name, column in batch.columns.items():
        if isinstance(column, TextColumn):
            header["columns"].append([name, column.levels])
            arrays.append(column.codes.astype("<i4"))
        else:
            header["columns"].append([name, None])
            arrays.append(column.values.astype("<f8"))
    head = json.dumps(header, separators=(",", ":")).encode()
    return zlib.compress(b"".join([len(head).to_bytes(4, "little"), head, *(array.tobytes() for array in arrays)]), 1)


def unpack_rows(payload: bytes) -> StoredRows:
    """The rows of a blob."""
    data = zlib.decompress(payload)
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    rows, offset = header["rows"], 4 + length

    def take(kind: str) -> npt.NDArray[Any]:
        nonlocal offset
        array = np.frombuffer(data, dtype=kind, count=rows, offset=offset)
        offset += array.nbytes
        return array

    at, event_time, score = take("<i8"), take("<i8"), take("<f8")
    columns: dict[str, Column] = {
        name: NumericColumn(take("<f8")) if levels is None else TextColumn(take("<i4"), tuple(levels))
        for name, levels in header["columns"]
    }
    return StoredRows(at, event_time, score, columns, tuple(header["request_ids"]))
