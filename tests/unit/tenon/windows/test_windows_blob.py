"""The binary form of an entity's events gives back exactly what went in, or says that it is damaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenon.windows.blob import BlobCorrupt, EntityBlob, decode_blob, encode_blob
from tenon.windows.events import FOREVER, Column, Events

INT64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)
TIMES = st.integers(-(10**16), 10**16)
EVENTS = st.lists(st.tuples(TIMES, st.integers(0, 10**15), INT64, st.booleans()), max_size=12).map(sorted)


def blob_of(entity: str, events: list) -> EntityBlob:
    """A blob with one column."""
    times, late, values, valid = (np.array(c, np.int64) for c in (zip(*events, strict=True) if events else ([],) * 4))
    until = np.where(values % 3 == 0, times + late + 7, FOREVER)
    return EntityBlob(entity, 7, -5, Events(times, (Column(), Column(times + late, until, values, valid.astype(bool)))))


def rows_of(blob: EntityBlob) -> list:
    """Each event's (time, known, until, value) where there is a value, in one order."""
    events, column = blob.events, blob.events.columns[1]
    until = np.full(len(events), FOREVER) if column.until is None else column.until
    assert column.known is not None
    assert column.value is not None
    assert column.valid is not None
    rows = zip(events.time, column.known, until, column.value, column.valid, strict=True)
    return sorted((*(int(item) for item in row[:4]),) if row[4] else (int(row[0]),) for row in rows)


@given(st.text(max_size=9), EVENTS)
def test_a_blob_comes_back_exactly(entity: str, events: list) -> None:
    """Every valid value, its time and when it was known survive, whatever their size."""
    blob = blob_of(entity, events)
    back = decode_blob(encode_blob(blob))
    assert (back.entity, back.table_version, back.horizon) == (entity, 7, -5)
    assert back.events.time.tolist() == blob.events.time.tolist()
    assert rows_of(back) == rows_of(blob)
    assert encode_blob(back) == encode_blob(blob)


def test_a_blob_is_small() -> None:
    """Ten events of a sensible size take tens of bytes a column, not hundreds."""
    hour = 3_600_000_000
    events = [(n * hour, hour, 100 + n, True) for n in range(10)]
    assert len(encode_blob(blob_of("a", events))) < 300


@given(EVENTS, st.integers(0, 400))
def test_a_damaged_blob_is_refused(events: list, cut: int) -> None:
    """A blob that is cut short is refused, never read as something else."""
    data = encode_blob(blob_of("abc", events))
    if cut < len(data):
        with pytest.raises(BlobCorrupt):
            decode_blob(data[:cut])
    with pytest.raises(BlobCorrupt):
        decode_blob(b"X" + data[1:])
