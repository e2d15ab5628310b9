"""Use case: bring one received file into the lake, exactly once, whatever happens in between."""

from __future__ import annotations

import gzip
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import polars as pl

from services.ingest.domain.cast_rows import cast_chunk
from services.ingest.domain.model import BadRow, Batch, BatchState, Dataset, FileRefused, RowCounts, Table
from services.ingest.domain.ports import (
    Datasets,
    Lake,
    LoadQueue,
    Quarantine,
    QuarantineWriter,
    RawFiles,
    Stage,
    Stages,
)
from services.ingest.domain.read_csv import CHUNK_ROWS, read_chunks
from tenon.core.errors import Place
from tenon.core.specs import DatasetSpec
from tenon.core.tenancy import TenantId


class LoadBatch:
    """Loads batches. Everything before the lake commit can be done again; the commit carries the batch's id, so that
    a load which was cut off right after it is recognised and only its outcome is written."""

    def __init__(
        self,
        *,
        datasets: Datasets,
        queue: LoadQueue,
        raw: RawFiles,
        quarantine: Quarantine,
        stages: Stages,
        lake: Lake,
        max_text_bytes: int,
        chunk_rows: int = CHUNK_ROWS,
        now_micros: Callable[[], int] = lambda: time.time_ns() // 1000,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` is called between chunks; what it raises ends the load, which can be done again."""
        self._datasets, self._queue, self._raw = datasets, queue, raw
        self._quarantine, self._stages, self._lake = quarantine, stages, lake
        self._max_text, self._chunk_rows, self._now = max_text_bytes, chunk_rows, now_micros
        self._check = check

    def load(self, tenant: TenantId, batch: Batch) -> Batch:
        """Load a claimed batch; gives it back with its outcome."""
        contract = self._datasets.get(tenant, batch.dataset, batch.revision)
        stage = self._stages.open(tenant, batch.id)
        tally = _Tally()
        try:
            self._validate(tenant, batch, contract, stage, tally)
            superseded = superseded_lines(contract.spec, pl.concat(tally.keys), stage)
            counts = tally.counts(len(superseded))
            table = self._commit(tenant, batch, contract, stage, counts, superseded)
        except FileRefused as err:
            counts = tally.so_far()
            problem = err.problem()
            self._queue.refuse(tenant, batch.id, counts, problem)
            return replace(batch, state=BatchState.REFUSED, counts=counts, problem=problem)
        finally:
            stage.close()
        at = self._now()
        self._queue.commit(tenant, batch, counts, table, at)
        return replace(
            batch, state=BatchState.COMMITTED, counts=counts, table_version=table.version, committed_at=at
        )  # fmt: skip

    def _validate(self, tenant: TenantId, batch: Batch, contract: Dataset, stage: Stage, tally: _Tally) -> None:
        spec, quarantine = contract.spec, None
        now = pl.lit(self._now()).cast(pl.Datetime("us", "UTC"))
        with self._raw.open(tenant, batch.dataset, batch.file.sha256) as stored:
            text = open_text(stored, batch, self._max_text)
            for chunk in read_chunks(text, batch.file.name, spec, self._chunk_rows):
                self._check()
                good, bad = cast_chunk(spec, chunk)
                good = good.with_columns(pl.lit(batch.id).alias("_batch_id"), now.alias("_ingested_at"))
                tally.add(spec, good, bad)
                if bad:
                    quarantine = quarantine or self._quarantine.write(tenant, batch.dataset, batch.id, chunk.header)
                    quarantine.add(bad)
                if len(good):
                    stage.add(good)
                self._queue.report(tenant, batch.id, tally.so_far())
        self._judge(batch, spec, tally, quarantine)

    @staticmethod
    def _judge(batch: Batch, spec: DatasetSpec, tally: _Tally, quarantine: QuarantineWriter | None) -> None:
        """Keep the quarantine, and refuse the file when too little of it is left."""
        file, read, bad = batch.file.name, tally.read, tally.bad
        if read == 0:
            raise FileRefused("NO_ROWS", f"{file} has a header but no rows", place=Place(file, 1))
        if quarantine is not None:
            quarantine.keep()
        if bad == 0 or (bad < read and bad / read <= spec.max_bad_rows):
            return
        first = tally.first_bad
        place = Place(file, first.line, None, first.column) if first else Place(file)
        common = ", ".join(f"{reason} {count}" for reason, count in tally.reasons.most_common(3))
        if bad == read:
            raise FileRefused(
                "NO_VALID_ROWS", f"none of the {read} rows of {file} is valid ({common})", place=place,
                hint="see the batch's quarantine for each row's reason",
            )  # fmt: skip
        raise FileRefused(
            "TOO_MANY_BAD_ROWS",
            f"{bad} of the {read} rows of {file} are not valid ({common}); maxBadRows allows {spec.max_bad_rows:.4g}",
            place=place, hint="see the batch's quarantine for each row's reason",
        )  # fmt: skip

    def _commit(
        self, tenant: TenantId, batch: Batch, contract: Dataset, stage: Stage, counts: RowCounts, superseded: pl.Series
    ) -> Table:
        done = self._lake.find(tenant, batch.dataset, batch.id)
        if done is not None:
            return done

        def frames() -> Iterator[pl.DataFrame]:
            return without_lines(stage.frames(), superseded)

        return self._lake.upsert(tenant, contract.spec, batch.id, counts.committed, frames)


def without_lines(frames: Iterator[pl.DataFrame], lines: pl.Series) -> Iterator[pl.DataFrame]:
    """The rows of `frames` that do not start on one of `lines`."""
    for frame in frames:
        kept = frame.filter(~pl.col("_line").is_in(lines.implode())) if len(lines) else frame
        if len(kept):
            yield kept


@dataclass(slots=True)
class _Tally:
    """What is counted while a file is read, and the hashes of the keys by which its rows replace each other."""

    read: int = 0
    bad: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_bad: BadRow | None = None
    keys: list[pl.DataFrame] = field(default_factory=list)

    def add(self, spec: DatasetSpec, good: pl.DataFrame, bad: list[BadRow]) -> None:
        self.read += len(good) + len(bad)
        self.bad += len(bad)
        self.reasons.update(row.reason for row in bad)
        if self.first_bad is None and bad:
            self.first_bad = bad[0]
        self.keys.append(pl.DataFrame({"hash": good.select(spec.primary_key).hash_rows(), "_line": good["_line"]}))

    def so_far(self) -> RowCounts:
        return RowCounts(read=self.read, quarantined=self.bad, reasons=Counter(self.reasons))

    def counts(self, superseded: int) -> RowCounts:
        return RowCounts(
            read=self.read,
            committed=self.read - self.bad - superseded,
            superseded=superseded,
            quarantined=self.bad,
            reasons=Counter(self.reasons),
        )


def superseded_lines(spec: DatasetSpec, keys: pl.DataFrame, stage: Stage) -> pl.Series:
    """The lines whose row a later row of the file replaces. `keys` has the hash of each good row's key and its line.

    Only hashes are held for all rows; rows whose hash occurs twice are looked at again, key by key.
    """
    suspects = keys.filter(pl.col("hash").is_duplicated())["_line"].implode()
    if suspects.list.len().item() == 0:
        return pl.Series("_line", [], pl.Int64)
    columns = [*spec.primary_key, "_line"]
    rows = pl.concat([frame.filter(pl.col("_line").is_in(suspects)).select(columns) for frame in stage.frames()])
    last = rows.unique(subset=spec.primary_key, keep="last")["_line"].implode()
    return rows.filter(~pl.col("_line").is_in(last))["_line"]


def open_text(stored: BinaryIO, batch: Batch, max_bytes: int) -> BinaryIO:
    """The bytes of the text, unpacked if need be, with a cap on how many there may be."""
    source = gzip.GzipFile(fileobj=stored) if batch.file.gzipped else stored
    return io.BufferedReader(_Capped(source, batch.file.name, max_bytes), 1 << 18)


class _Capped(io.RawIOBase):
    """A stream that refuses to give more than a number of bytes, so that a small file cannot become a huge one."""

    def __init__(self, source: Any, file: str, max_bytes: int) -> None:
        self._source, self._file, self._max, self._seen = source, file, max_bytes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        self._seen += len(data)
        if self._seen > self._max:
            raise FileRefused(
                "TEXT_TOO_LARGE", f"{self._file} unpacks to more than {self._max >> 20} MiB",
                place=Place(self._file), hint="split it into smaller files",
            )  # fmt: skip
        buffer[: len(data)] = data
        return len(data)
