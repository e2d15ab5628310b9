"""Rows of the log as they are kept: many batches of one model, version, role and level, column by column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from services.monitor.domain.kept.prediction_ids import PredictionIds
from services.monitor.domain.model import Column, NumericColumn, PredictionBatch, TextColumn

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy.typing as npt

    from tenon.core.roles import Role
    from tenon.core.tenancy import TenantId


@dataclass(frozen=True, slots=True)
class Source:
    """A batch in a segment: how many of its rows, one behind the other, and where they come from."""

    batch_id: str
    rows: int
    replica: str
    protocol: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of some batches, in the order of `sources`. All of them have all columns."""

    tenant: TenantId
    model: str
    version: int
    role: Role
    level: str
    sources: tuple[Source, ...]
    ids: PredictionIds
    request_ids: npt.NDArray[np.bytes_]
    at: npt.NDArray[np.int64]
    event_time: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.at)

    def only(self, batches: Collection[str]) -> Segment | None:
        """The rows of these batches; None when it has none of them."""
        wanted = [source.batch_id in batches for source in self.sources]
        if all(wanted):
            return self
        if not any(wanted):
            return None
        chosen = np.repeat(wanted, [source.rows for source in self.sources])
        sources = tuple(source for source, keep in zip(self.sources, wanted, strict=True) if keep)
        return replace(self.take(chosen), sources=sources)

    def without(self, rows: npt.NDArray[np.bool_]) -> Segment | None:
        """All but some rows; None when nothing is left."""
        if rows.all():
            return None
        places = np.repeat(np.arange(len(self.sources)), [source.rows for source in self.sources])
        left = np.bincount(places[~rows], minlength=len(self.sources)).tolist()
        sources = tuple(replace(source, rows=count) for source, count in zip(self.sources, left, strict=True) if count)
        return replace(self.take(~rows), sources=sources)

    def take(self, rows: npt.NDArray[Any] | slice) -> Segment:
        """Some rows. What is said of their sources is left as it is."""
        return replace(
            self,
            ids=self.ids.take(rows),
            request_ids=self.request_ids[rows],
            at=self.at[rows],
            event_time=self.event_time[rows],
            score=self.score[rows],
            columns={name: take_rows(column, rows) for name, column in self.columns.items()},
        )


def take_rows(column: Column, rows: npt.NDArray[Any] | slice) -> Column:
    """Some rows of a column."""
    if isinstance(column, TextColumn):
        return TextColumn(column.codes[rows], column.levels)
    return NumericColumn(column.values[rows])


def segment_of(batch: PredictionBatch) -> Segment:
    """A single batch as a segment."""
    return Segment(
        tenant=batch.tenant,
        model=batch.model,
        version=batch.version,
        role=batch.role,
        level=batch.level,
        sources=(Source(batch.batch_id, len(batch), batch.replica, batch.protocol),),
        ids=PredictionIds.of_texts(batch.prediction_ids),
        request_ids=np.array([one.encode() for one in batch.request_ids], dtype=np.bytes_),
        at=batch.at,
        event_time=batch.event_time,
        score=batch.score,
        columns=batch.columns,
    )


def join_segments(segments: Sequence[Segment]) -> list[Segment]:
    """Segments that belong together put into one each; a batch that comes twice is taken once."""
    groups: dict[tuple[object, ...], list[Segment]] = {}
    seen: set[str] = set()
    for segment in segments:
        fresh = {source.batch_id for source in segment.sources} - seen
        seen |= fresh
        kept = segment.only(fresh)
        if kept is not None:
            groups.setdefault(_kind(kept), []).append(kept)
    return [parts[0] if len(parts) == 1 else _joined(parts) for parts in groups.values()]


def _kind(segment: Segment) -> tuple[object, ...]:
    """What segments must share to become one. A column that is known in one and not in another keeps them apart: not known is
    not the same as missing."""
    columns = tuple((name, isinstance(column, TextColumn)) for name, column in segment.columns.items())
    return segment.tenant, segment.model, segment.version, segment.role, segment.level, columns


def _joined(parts: Sequence[Segment]) -> Segment:
    return replace(
        parts[0],
        sources=tuple(source for part in parts for source in part.sources),
        ids=PredictionIds.join([part.ids for part in parts]),
        request_ids=np.concatenate([part.request_ids for part in parts]),
        at=np.concatenate([part.at for part in parts]),
        event_time=np.concatenate([part.event_time for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        columns={name: join_columns([part.columns[name] for part in parts]) for name in parts[0].columns},
    )


def join_columns(parts: Sequence[Column]) -> Column:
    """One column of several; a batch in which a text column is all missing looks numeric, its NaN are missing texts."""
    if all(isinstance(column, NumericColumn) for column in parts):
        return NumericColumn(np.concatenate([column.values for column in parts if isinstance(column, NumericColumn)]))
    places: dict[str, int] = {}
    codes = []
    for column in parts:
        if isinstance(column, TextColumn):
            mapped = [places.setdefault(level, len(places)) for level in column.levels]
            codes.append(np.array([*mapped, -1], dtype=np.int32)[column.codes])
        else:
            codes.append(np.full(len(column.values), -1, dtype=np.int32))
    return TextColumn(np.concatenate(codes), tuple(places))
