"""The kernel, its numpy substitute and the definition give the same bits for any history."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenon.core.expressions import Op, Step
from tenon.core.feature_semantics import FOREVER, Event, Value, value_at
from tenon.core.specs import Feature, Function
from tenon.core.specs.feature_view import ALL_MICROS, COUNTS
from tenon.windows.blob import EntityBlob, decode_blob, encode_blob
from tenon.windows.events import Column, Events
from tenon.windows.floats import FLOATS, key_of, keys_of
from tenon.windows.held import HeldBlobs
from tenon.windows.program import NOTHING_KNOWN, Arithmetic, Window, Windows, compiled_module
from tests.support.properties import examples

FUNCTIONS = [function for function in Function if function is not Function.EXPRESSION]
SPANS = {"1s": 1_000_000, "3s": 3_000_000, "20s": 20_000_000, "all": ALL_MICROS}
SHARES = {0.5: (1, 2), 0.9: (9, 10), 1.0: (1, 1)}
AMOUNTS = st.integers(-3, 3) | st.integers(-300, 300) | st.sampled_from([2**63 - 1, -(2**63), 2**62, -(2**62) - 1])
NUMBERS = st.sampled_from(
    [0.0, -0.0, 0.1, -0.1, 1e16, 1.0, 5e-324, -5e-324, 1e308, -1e308, 1e-308, 1.5, 1e200, 3e-170]
) | (st.floats(allow_nan=False, allow_infinity=False))
MOMENTS = st.integers(-4, 40).map(lambda n: n * 500_000)


Row = tuple[int, int, int, int | float, bool]


@st.composite
def histories(draw: Any, floats: bool = False) -> list[Row]:
    """Events as (time, known, until, value, valid): many share an instant, are late, or were corrected."""
    rows = []
    for _ in range(draw(st.integers(0, 14))):
        time = draw(MOMENTS)
        known = time + draw(st.sampled_from([0, 0, 0, 1, 500_000, 1_000_000, 9_000_000]))
        until = draw(st.sampled_from([FOREVER, FOREVER, FOREVER, known, known + 1, known + 2_000_000]))
        rows.append(
            (time, known, until, draw(NUMBERS if floats else AMOUNTS), draw(st.sampled_from([True, True, True, False])))
        )
    return rows


def all_windows(floats: bool) -> tuple[list[Window], list[Feature]]:
    """Every function over a column with a scale of 2 or of floats, and over the events, in every window."""
    compiled, defined = [], []
    for function in FUNCTIONS:
        for name, span in SPANS.items():
            for share in SHARES if function is Function.QUANTILE else [1.0]:
                for above in [0.01, -1e30, 1e30] if function is Function.RATE else [0.0]:
                    limit = {0.01: 1, -1e30: -(10**32), 1e30: 10**32, 0.0: 0}[above]
                    shown = (FLOATS, key_of(above)) if floats else (2, limit)
                    compiled.append(Window(1, function, span, *shown, SHARES.get(share, (1, 1))))
                    defined.append(Feature("v", "f", "x", function, name, above, share))
            if function in {Function.COUNT, Function.SINCE_LAST}:
                compiled.append(Window(0, function, span))
                defined.append(Feature("v", "f", None, function, name, None))
    return compiled, defined


COMPILED, DEFINED = zip(*map(all_windows, (False, True)), strict=True)
ENGINES = {
    name: [Windows(2, compiled, compiled=name == "kernel") for compiled in COMPILED]
    for name in ("numpy", *(["kernel"] if compiled_module() is not None else []))
}


def events_of(rows: list[Row], floats: bool = False) -> Events:
    """Rows in columns, as they come."""
    parts = list(zip(*rows, strict=True)) if rows else [()] * 5
    time, known, until, valid = (np.array(parts[place], np.int64) for place in (0, 1, 2, 4))
    value = keys_of(np.array(parts[3], np.float64)) if floats else np.array(parts[3], np.int64)
    return Events(time, (Column(until=until), Column(known, until, value, valid.astype(bool))))


def truth(rows: list[Row], at: int, floats: bool) -> list[bytes]:
    """Every feature by the definition."""
    events = [
        Event(time, {"x": Value(value, known, until)} if valid else {}, until)
        for time, known, until, value, valid in rows
    ]
    return [bits(value_at(feature, 2, events, at)) for feature in DEFINED[floats]]


def bits(value: float) -> bytes:
    """The float's bytes, all NaN alike."""
    return struct.pack("<d", math.nan if math.isnan(value) else value)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=examples(20), deadline=None)
@given(st.booleans().flatmap(lambda floats: st.tuples(st.just(floats), st.lists(histories(floats), min_size=1, max_size=3))),
       st.randoms(use_true_random=False))  # fmt: skip
def test_offline_online_and_definition_agree(engine: str, drawn: tuple[bool, list], seed: Any) -> None:
    """All functions over all windows, for many entities at many times from arrays, and for each from its blob."""
    floats, entities = drawn
    windows = ENGINES[engine][floats]
    rows = [(code, row) for code, history in enumerate(entities) for row in history]
    seed.shuffle(rows)
    edges = [0, 5_000_000]
    for _, (time, known, until, _, _) in rows:
        edges += [
            time,
            known,
            *([until] if until != FOREVER else []),
            *(time + span for span in list(SPANS.values())[:3]),
        ]
    times = sorted({edge + more for edge in seed.sample(edges, min(len(edges), 5)) for more in (0, 1)})
    asked = [(code, at) for code in range(len(entities) + 1) for at in times]
    seed.shuffle(asked)
    found = windows.evaluate(
        events_of([row for _, row in rows], floats),
        np.array([code for code, _ in rows], np.int64),
        np.array([code for code, _ in asked], np.int64),
        np.array([at for _, at in asked], np.int64),
        len(entities),
    )
    blobs = []
    for history in entities:
        events = events_of(history, floats)
        order = np.argsort(events.time, kind="stable")
        blobs.append(encode_blob(EntityBlob("e", 1, -(10**9), events.take(order))))
        assert encode_blob(decode_blob(blobs[-1])) == blobs[-1]
    online = windows.look_up(
        HeldBlobs.of([*blobs, None]),
        np.array([min(c, len(blobs)) for c, _ in asked], np.int64),
        np.array([t for _, t in asked]),
    )
    for index, (code, at) in enumerate(asked):
        wanted = truth(entities[code] if code < len(entities) else [], at, floats)
        assert [bits(value) for value in found[:, index]] == wanted
        assert [bits(value) for value in online.values[:, index]] == wanted
        history = entities[code] if code < len(entities) else []
        counted = [max(time, known if valid else time) for time, known, until, _, valid in history
                   if time < at <= until and ((valid and known < at) or not valid)]  # fmt: skip
        counted += [time for time, _, until, _, _ in history if time < at <= until]
        assert online.known[index] == max(counted, default=NOTHING_KNOWN)


@pytest.mark.skipif("kernel" not in ENGINES, reason="the kernel is not built")
@settings(max_examples=examples(12), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ties=st.sampled_from([0, 1, 60]), late=st.booleans(), corrected=st.booleans(),
       floats=st.booleans())  # fmt: skip
@example(seed=1, ties=60, late=True, corrected=True, floats=False)
@example(seed=1, ties=60, late=True, corrected=True, floats=True)
def test_a_hot_entity_is_no_other(seed: int, ties: int, late: bool, corrected: bool, floats: bool) -> None:
    """Hundreds of events and times of one entity go through the tree, and give the same bits as one look after the other."""
    random = np.random.default_rng(seed)
    count, asked = 700, 60
    time = np.sort(random.integers(0, 40 if ties == 60 else 60_000_000, count))
    if ties == 60:
        time *= 1_000_000
    known = time + (random.integers(0, 9_000_000, count) if late else 0)
    until = np.where(random.random(count) < 0.2, known + random.integers(0, 5_000_000, count), FOREVER)
    values = random.integers(-9, 9, count) * 2**59
    if floats:
        values = keys_of(random.normal(size=count) * 10.0 ** random.integers(-300, 300 if ties else -298, count))
    column = Column(known if late else None, until if corrected else None, values,
                    random.random(count) < 0.9 if ties else None)  # fmt: skip
    events = Events(time, (Column(until=until if corrected else None), column))
    at = np.sort(random.integers(0, 70_000_000, asked))
    windows, zeros = ENGINES["kernel"][floats], np.zeros(asked, np.int64)
    together = windows.evaluate(events, np.zeros(count, np.int64), zeros, at, 1)
    blob = encode_blob(EntityBlob("hot", 1, -(10**9), events))
    alone = windows.look_up(HeldBlobs.of([blob]), zeros, at).values
    numpy_s = ENGINES["numpy"][floats].evaluate(events, np.zeros(count, np.int64), zeros[:5], at[:5], 1)
    assert together.tobytes() == alone.tobytes()
    assert np.nan_to_num(together[:, :5], nan=1e300).tobytes() == np.nan_to_num(numpy_s, nan=1e300).tobytes()


@pytest.mark.parametrize("engine", ENGINES)
def test_expressions(engine: str) -> None:
    """Expressions are computed from the view's other features; what is not finite is missing."""
    steps = (Step(Op.FEATURE, "0"), Step(Op.FEATURE, "1"), Step(Op.DIVIDE))
    guarded = (*steps, Step(Op.NUMBER, number=-1.0), Step(Op.COALESCE))
    windows = Windows(
        2, [Window(1, Function.SUM, 10), Window(0, Function.COUNT, 5), Arithmetic(steps), Arithmetic(guarded)],
        compiled=engine == "kernel",
    )  # fmt: skip
    events = Events(np.array([0, 8]), (Column(), Column(value=np.array([3, 4]))))
    zeros = np.zeros(3, np.int64)
    found = windows.evaluate(events, np.zeros(2, np.int64), zeros, np.array([9, 14, 2]), 1)
    assert np.nan_to_num(found, nan=-9).tolist() == [[7, 4, 3], [1, 0, 1], [7, -9, 3], [7, -1, 3]]


@pytest.mark.parametrize("engine", ENGINES)
@given(st.binary(max_size=80), st.integers(0, 200))
def test_hostile_blobs_are_refused(engine: str, junk: bytes, cut: int) -> None:
    """Bytes that are no blob raise ValueError and read nothing beyond their end."""
    windows = ENGINES[engine][0]
    whole = encode_blob(EntityBlob("e", 1, 0, events_of([(5, 6, FOREVER, 300, True), (9, 10**9, 10**10, -1, True)])))
    for data in (junk, whole[:cut], b"TNF\x03" + junk, whole[:24] + junk):
        if data and data != whole:
            try:
                windows.look_up(HeldBlobs.of([data]), np.zeros(1, np.int64), np.array([7]))
            except ValueError:
                continue
    with pytest.raises(ValueError, match="blob"):
        windows.look_up(HeldBlobs.of([b"TNF\x01" + whole[4:]]), np.zeros(1, np.int64), np.array([7]))


def test_counts_are_the_only_zeros() -> None:
    """Of an entity without history counts are 0 and the rest is missing."""
    empty = events_of([])
    found = ENGINES["numpy"][0].evaluate(empty, empty.time, np.zeros(1, np.int64), np.array([5]), 1)[:, 0]
    assert [math.isnan(value) for value in found] == [feature.function not in COUNTS for feature in DEFINED[0]]
