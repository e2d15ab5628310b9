"""A segment's rows as one blob: Parquet, of which the ids can be read without the rest; a few rows as deflated arrays.

Columns of the Parquet file: `id.high`, `id.low` (128 bits of the prediction id), `id.text` (only where an id is no UUID), `request.N` (the request id, eight
bytes a column), `at`, `event_time`, `score`, then the model's columns as `=NAME`, texts as categories. What a few rows say is wrapped in a
header instead, as a Parquet file's own description would be larger than they are.
"""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from services.monitor.domain.kept.prediction_ids import PredictionIds
from services.monitor.domain.model import Column, NumericColumn, TextColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from services.monitor.domain.kept.segment import Segment

_FEW = 200
_MAGIC = b"PAR1"
_PREFIX = "="


@dataclass(frozen=True, slots=True)
class KeptRows:
    """What a blob holds, or the part of it that was asked for."""

    ids: PredictionIds
    at: npt.NDArray[np.int64]
    event_time: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    columns: dict[str, Column]
    request_ids: npt.NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.at)


def pack_segment(segment: Segment) -> bytes:
    """The blob of a segment."""
    return _pack_few(segment) if len(segment) < _FEW else _pack_many(segment)


def unpack_segment(payload: bytes, columns: Sequence[str] | None = None) -> KeptRows:
    """Rows of a blob, with the named columns (None: all); request ids come with all columns only."""
    if payload[:4] == _MAGIC:
        return rows_of_frame(_read(payload, columns), columns)
    return _unpack_few(payload, columns)


def frame_of(segment: Segment) -> pl.DataFrame:
    """A segment's rows as they stand in the blob."""
    series = [pl.Series("id.high", segment.ids.high), pl.Series("id.low", segment.ids.low)]
    if segment.ids.other is not None:
        series.append(pl.Series("id.text", [one.decode() for one in segment.ids.other.tolist()], dtype=pl.String))
    series += [pl.Series(f"request.{place}", part) for place, part in enumerate(_words(segment.request_ids))]
    series += [
        pl.Series("at", segment.at), pl.Series("event_time", segment.event_time), pl.Series("score", segment.score),
    ]  # fmt: skip
    for name, column in segment.columns.items():
        if isinstance(column, NumericColumn):
            series.append(pl.Series(_PREFIX + name, column.values))
        else:
            levels = pl.Series(list(column.levels), dtype=pl.String)
            codes = pl.Series(column.codes)
            texts = (
                levels.gather(codes.replace(-1, None))
                if len(levels)
                else pl.repeat(None, len(codes), dtype=pl.String, eager=True)
            )
            series.append(texts.alias(_PREFIX + name))
    return pl.DataFrame(series)


def rows_of_frame(frame: pl.DataFrame, columns: Sequence[str] | None = None) -> KeptRows:
    """What a frame of `frame_of` says."""
    other = None
    if "id.text" in frame.columns:
        other = np.array([(one or "").encode() for one in frame["id.text"].to_list()], dtype=np.bytes_)
    wanted = [name[1:] for name in frame.columns if name.startswith(_PREFIX)]
    if columns is not None:
        wanted = [name for name in wanted if name in columns]
    words = [frame[name].to_numpy() for name in frame.columns if name.startswith("request.")]
    return KeptRows(
        PredictionIds(frame["id.high"].to_numpy(), frame["id.low"].to_numpy(), other),
        frame["at"].to_numpy(),
        frame["event_time"].to_numpy(),
        frame["score"].to_numpy(),
        {name: _column(frame[_PREFIX + name]) for name in wanted},
        _texts(words, len(frame)),
    )


def _column(series: pl.Series) -> Column:
    if series.dtype != pl.String:
        return NumericColumn(series.to_numpy())
    levels = series.drop_nulls().unique(maintain_order=True)
    codes = (
        series.replace_strict(levels, pl.Series(range(len(levels)), dtype=pl.Int32), default=-1)
        if len(levels)
        else None
    )
    if codes is None:
        return TextColumn(np.full(len(series), -1, np.int32), ())
    return TextColumn(codes.fill_null(-1).to_numpy().astype(np.int32), tuple(levels.to_list()))


def _read(payload: bytes, columns: Sequence[str] | None) -> pl.DataFrame:
    if columns is None:
        return pl.read_parquet(io.BytesIO(payload))
    present = pl.read_parquet_schema(io.BytesIO(payload))
    fixed = ["id.high", "id.low", "id.text", "at", "event_time", "score", *(_PREFIX + name for name in columns)]
    return pl.read_parquet(io.BytesIO(payload), columns=[name for name in fixed if name in present])


def _pack_many(segment: Segment) -> bytes:
    out = io.BytesIO()
    frame_of(segment).write_parquet(out, compression="zstd", compression_level=1, statistics=False)
    return out.getvalue()


def _pack_few(segment: Segment) -> bytes:
    header: dict[str, Any] = {
        "rows": len(segment),
        "columns": [],
        "request": [one.decode(errors="replace") for one in segment.request_ids.tolist()],
    }
    if segment.ids.other is not None:
        header["ids"] = segment.ids.texts()
    arrays = [segment.ids.high, segment.ids.low, segment.at, segment.event_time, segment.score]
    for name, column in segment.columns.items():
        if isinstance(column, TextColumn):
            header["columns"].append([name, column.levels])
            arrays.append(column.codes.astype("<i4"))
        else:
            header["columns"].append([name, None])
            arrays.append(column.values.astype("<f8"))
    head = json.dumps(header, separators=(",", ":")).encode()
    data = b"".join([len(head).to_bytes(4, "little"), head, *(array.tobytes() for array in arrays)])
    return zlib.compress(data, 1)


def _unpack_few(payload: bytes, columns: Sequence[str] | None) -> KeptRows:
    data = zlib.decompress(payload)
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    rows, offset = header["rows"], 4 + length

    def take(kind: str) -> npt.NDArray[Any]:
        nonlocal offset
        array = np.frombuffer(data, dtype=kind, count=rows, offset=offset)
        offset += array.nbytes
        return array

    ids = PredictionIds(take("<u8"), take("<u8"))
    if "ids" in header:
        ids = PredictionIds.of_texts(header["ids"])
    at, event_time, score = take("<i8"), take("<i8"), take("<f8")
    found: dict[str, Column] = {}
    for name, levels in header["columns"]:
        column: Column = NumericColumn(take("<f8")) if levels is None else TextColumn(take("<i4"), tuple(levels))
        if columns is None or name in columns:
            found[name] = column
    requests = np.array([one.encode() for one in header["request"]], dtype=np.bytes_)
    return KeptRows(ids, at, event_time, score, found, requests)


def _words(texts: npt.NDArray[np.bytes_]) -> list[npt.NDArray[np.uint64]]:
    """Texts of bounded length as numbers, eight bytes each."""
    width = -(-max(texts.dtype.itemsize, 1) // 8) * 8
    table = np.ascontiguousarray(texts.astype(f"S{width}")).view(np.uint64).reshape(len(texts), -1)
    return [np.ascontiguousarray(table[:, place]) for place in range(table.shape[1])]


def _texts(words: Sequence[npt.NDArray[np.uint64]], rows: int) -> npt.NDArray[np.bytes_]:
    if not words:
        return np.zeros(rows, dtype="S1")
    return np.ascontiguousarray(np.stack(words, axis=1)).view(f"S{8 * len(words)}").ravel()
