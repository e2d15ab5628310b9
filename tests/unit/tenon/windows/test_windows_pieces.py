"""Entities in pieces: however their events are cut, late ones, corrected ones and pushed ones, their values are the same bits."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenon.core.expressions import Op, Step
from tenon.core.feature_semantics import FOREVER
from tenon.core.specs import Function
from tenon.windows.blob import BlobCorrupt, EntityBlob, chunks_of, decode_blob, encode_blob, with_more, without_pushed
from tenon.windows.events import Column, Events
from tenon.windows.floats import FLOATS, keys_of
from tenon.windows.held import HeldBlobs
from tenon.windows.pieces import ChunksGoneError, Sizes, cut, look_up, names_in
from tenon.windows.program import IN_PIECES, Arithmetic, Window, Windows, compiled_module
from tests.support.properties import examples
from tests.unit.tenon.windows.test_windows import COMPILED, SPANS, Row, bits, events_of, histories, truth

pytestmark = pytest.mark.skipif(compiled_module() is None, reason="the kernel is not built")

EVER = -(10**18)
SIZES = st.builds(Sizes, most=st.integers(1, 6), newest=st.integers(1, 3), chunk=st.integers(1, 3))


def _can_be_cut(window: Window) -> bool:
    return window.function not in {Function.DISTINCT, Function.QUANTILE}


CHOSEN = [[place for place, window in enumerate(some) if _can_be_cut(window)] for some in COMPILED]
SHARE = Arithmetic((Step(Op.FEATURE, "0"), Step(Op.FEATURE, "3"), Step(Op.DIVIDE)))
ENGINES = {
    name: [Windows(2, [*(all_of[p] for p in chosen), SHARE], compiled=name == "kernel")
           for all_of, chosen in zip(COMPILED, CHOSEN, strict=True)]
    for name in ("kernel", "numpy")
}  # fmt: skip


class Store:
    """An entity as it is held: a head and its chunks."""

    def __init__(self, windows: Windows, sizes: Sizes) -> None:
        self.windows, self.sizes = windows, sizes
        self.head: bytes | None = None
        self.chunks: dict[bytes, bytes] = {}
        self.reads = 0

    def add(self, events: Events, keys: Sequence[int] | None = None) -> None:
        """Some more; with keys: pushed ones."""
        fresh = EntityBlob("e", 1, EVER, events, None if keys is None else np.array(keys, np.int64))
        self.put(fresh if self.head is None else with_more(decode_blob(self.head), fresh, EVER))

    def put(self, blob: EntityBlob | None) -> None:
        """What is held from now on."""
        assert blob is not None
        left, made = cut(decode_blob(encode_blob(blob)), self.windows, self.read, self.sizes)
        self.head = encode_blob(left)
        assert encode_blob(decode_blob(self.head)) == self.head
        self.chunks = {name: data for name, data in (self.chunks | made).items() if name in names_in(self.head)}
        assert names_in(self.head) == set(self.chunks)
        if (chunks := chunks_of(self.head)) is not None:
            assert chunks.size.tolist() == [len(self.chunks[name]) for name in chunks.names]
            assert (np.diff(chunks.last) >= 0).all()

    def read(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Chunks."""
        self.reads += len(names)
        return [self.chunks.get(name) for name in names]

    def values(self, windows: Windows, times: list[int]) -> Any:
        """What is answered at some times."""
        return look_up(windows, HeldBlobs.of([self.head]), np.zeros(len(times), np.int64), np.array(times), self.read)


def in_order(rows: list[Row], floats: bool) -> Events:
    """Rows as a blob has them."""
    events = events_of(rows, floats)
    return events.take(np.argsort(events.time, kind="stable"))


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=examples(12), deadline=None)
@given(drawn=st.booleans().flatmap(lambda floats: st.tuples(st.just(floats), st.lists(histories(floats), min_size=1, max_size=4))),
       sizes=SIZES, pushed=st.sets(st.integers(0, 3)), seed=st.randoms(use_true_random=False))  # fmt: skip
def test_pieces_have_the_values_of_the_whole(
    engine: str, drawn: tuple[bool, list[list[Row]]], sizes: Sizes, pushed: set[int], seed: Any
) -> None:
    """Events that come in any order, some of them pushed first and then committed, in pieces, in one and by the definition."""
    floats, batches = drawn
    store = Store(ENGINES["kernel"][floats], sizes)
    here: list[Row] = []
    for number, batch in enumerate(batches):
        events = in_order(batch, floats)
        if number in pushed and batch:
            store.add(events, [7 + number] * len(batch))
            if seed.random() < 0.7:
                store.put(without_pushed(decode_blob(store.head or b""), {7 + number}))
                store.add(events)
        else:
            store.add(events)
        here += batch
    edges = [0, 5_000_000]
    for time, known, until, _, _ in here:
        edges += [
            time,
            known,
            *([until] if until != FOREVER else []),
            *(time + span for span in list(SPANS.values())[:3]),
        ]
    times = sorted({edge + more for edge in seed.sample(edges, min(len(edges), 6)) for more in (0, 1)})
    if engine == "numpy":
        times = times[::4]  # It reads all chunks, one after the other.
    whole = encode_blob(EntityBlob("e", 1, EVER, in_order(here, floats)))
    windows = ENGINES[engine][floats]
    alone = windows.look_up(HeldBlobs.of([whole]), np.zeros(len(times), np.int64), np.array(times))
    found = store.values(windows, times)
    assert found.values.tobytes() == alone.values.tobytes()
    assert (found.statuses == alone.statuses).all()
    assert (found.known == alone.known).all()
    for row, at in enumerate(times):
        by_definition = truth(here, at, floats)
        wanted = [by_definition[place] for place in CHOSEN[floats]]
        assert [bits(value) for value in found.values[:-1, row]] == wanted


def hot(count: int, sizes: Sizes) -> tuple[Store, int]:
    """An entity with an event a second, known a minute late, and a time after all of them."""
    windows = Windows(2, [Window(1, function, span * 1_000_000) for function in (Function.SUM, Function.STD, Function.MAX, Function.SINCE_LAST)
                          for span in (60, 600, 10**6)])  # fmt: skip
    time = np.arange(count) * 1_000_000
    store = Store(windows, sizes)
    store.add(Events(time, (Column(), Column(time + 60_000_000, None, np.arange(count) % 97))))
    return store, count * 1_000_000


def test_few_chunks_are_read() -> None:
    """Where windows cover a chunk wholly or not at all, and all of it is known, it is not read."""
    store, now = hot(5_000, Sizes(200, 50, 100))
    assert len(store.chunks) == 49
    store.reads = 0
    store.values(store.windows, [now])
    assert store.reads == 2  # one has values that are not known yet, one the edge of ten minutes
    store.values(store.windows, [now + 10**9])
    assert store.reads == 2  # all is known, and only the longest window still has anything
    store.values(store.windows, [10**12 + 2_450_500_000])
    assert store.reads == 3  # its edge


@pytest.mark.parametrize(("sizes", "reads"), [((1e6, 0.1), 0), ((1e300, -1e-300), 20)])
def test_floats_are_added_from_tiles(sizes: tuple[float, float], reads: int) -> None:
    """Sums of floats are put together exactly from those of chunks, unless the floats of a chunk differ too much in size."""
    functions = (Function.SUM, Function.MEAN, Function.STD, Function.STATIC)
    windows = Windows(2, [Window(1, function, 10**12, FLOATS) for function in functions])
    store, time = Store(windows, Sizes(200, 50, 100)), np.arange(5_000) * 1_000_000
    number = np.where(np.arange(5_000) % 3, *sizes) * np.cos(np.arange(5_000))
    events = Events(time, (Column(), Column(value=keys_of(number), valid=np.arange(5_000) < 2_000)))
    store.add(events)
    store.reads = 0
    found = store.values(windows, [int(time[-1]) + 1])
    # Nothing has a value any more after the two thousandth, so the newest is in a chunk.
    assert store.reads == reads
    whole = HeldBlobs.of([encode_blob(EntityBlob("e", 1, EVER, events))])
    assert found.values.tobytes() == windows.look_up(whole, np.zeros(1, np.int64), time[-1:] + 1).values.tobytes()
    assert found.values[3, 0] == number[1999]
    later = store.values(windows, [10**15]).values
    assert (later[3, 0], np.isnan(later[:3]).all(), store.reads) == (number[1999], True, reads)


def test_a_late_event_rewrites_one_chunk() -> None:
    """What comes late leaves all chunks but its own as they were, and old ones go with their time."""
    store, _ = hot(1_000, Sizes(60, 50, 100))
    before = dict(store.chunks)
    for _ in range(4):
        one = np.array([150_500_000] * 5)
        store.add(Events(one, (Column(), Column(one, None, one))))
    assert len(before.keys() - store.chunks.keys()) == 1
    assert len(store.chunks.keys() - before.keys()) == 1
    more = EntityBlob("e", 2, EVER, Events(one, (Column(), Column(one, None, one))))
    later = with_more(decode_blob(store.head or b""), more, 500_000_000)
    assert later.chunks is not None
    assert 0 < len(later.chunks) < len(store.chunks)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=6), st.booleans())
def test_hostile_pieces_are_refused_or_answered(flips: list[tuple[int, int]], of_chunks: bool) -> None:
    """Whatever a head and its chunks say, there is an answer or a refusal."""
    store, now = hot(300, Sizes(60, 30, 30))
    for place, change in flips:
        name = sorted(store.chunks)[place % len(store.chunks)] if of_chunks else None
        data = bytearray(store.head or b"" if name is None else store.chunks[name])
        data[place % len(data)] ^= change
        if name is None:
            store.head = bytes(data)
        else:
            store.chunks[name] = bytes(data)
    for times in ([now], [now + 500_000_000], [150_000_000]):
        with contextlib.suppress(ValueError, ChunksGoneError):
            store.values(store.windows, times)


def test_what_is_damaged_or_gone_is_refused() -> None:
    """A head whose chunks are not there is read again; damaged ones and those of other views are refused."""
    store, now = hot(500, Sizes(100, 50, 50))
    head, kept = store.head or b"", dict(store.chunks)
    assert (
        store.windows.look_up(HeldBlobs.of([head]), np.zeros(1, np.int64), np.array([now])).statuses == IN_PIECES
    ).all()
    store.chunks.clear()
    with pytest.raises(ChunksGoneError):
        store.values(store.windows, [now])
    late = np.zeros(90, np.int64)
    with pytest.raises(BlobCorrupt):
        store.add(Events(late, (Column(), Column(late, None, late))))
    store.chunks = dict.fromkeys(kept, b"TNF")
    with pytest.raises(ValueError, match="no blob of this view"):
        store.values(store.windows, [now])
    store.chunks = kept
    other = Windows(2, [Window(1, Function.SUM, 60)])
    with pytest.raises(ValueError, match="none of this view"):
        store.values(other, [now])
    for end in range(0, len(head), 7):
        store.head = head[:end]
        with pytest.raises(ValueError, match=r"blob|chunks|head"):
            store.values(store.windows, [now])


@pytest.mark.parametrize(
    ("window", "in_pieces"),
    [
        (Window(1, Function.SUM, 60, 2), True), (Window(1, Function.MAX, 60, FLOATS), True),
        (Window(1, Function.RATE, 60, FLOATS), True), (Window(1, Function.DISTINCT, 60), False),
        (Window(1, Function.QUANTILE, 60, 2), False), (Window(1, Function.STATIC, 60), True),
        (Window(1, Function.LAST, 60, texts=True), False), (Window(1, Function.MEAN, 60, FLOATS), True),
    ],
)  # fmt: skip
def test_who_stays_in_one_piece(window: Window, in_pieces: bool) -> None:
    """An entity is cut only where every value can be put together from those of parts, and by the compiled kernel alone."""
    windows = Windows(2, [Window(0, Function.COUNT, 60), window])
    blob = EntityBlob("e", 1, EVER, events_of([(n, n, FOREVER, n, True) for n in range(40)]))
    left, made = cut(blob, windows, lambda _: [], Sizes(20, 10, 10))
    assert (windows.in_pieces, bool(made), left.chunks is not None) == (in_pieces,) * 3
    assert not Windows(2, windows.features, compiled=False).in_pieces
