"""`make bench-features-blobs`: what entities with few and with very many events cost online.

Sixteen features (count, sum, mean, max over four windows) from one entity's blob in memory, as a lookup computes them; the
blob's bytes, which a lookup reads from Redis; and what bringing one more event into it takes. Values become known up to
three days after their event. The largest entity is measured once more in pieces, as the store keeps it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from tenon.core.specs import Function
from tenon.windows.blob import EntityBlob, decode_blob, encode_blob, with_more
from tenon.windows.events import Column, Events
from tenon.windows.held import HeldBlobs
from tenon.windows.pieces import USUAL, cut, look_up, names_in
from tenon.windows.program import Window, Windows
from tests.bench import frame

DAY, SECOND = 86_400_000_000, 1_000_000
LONG_AGO = -(10**18)
SIZES = ((60, (1, 7, 30, 60)), (2_000, (1, 7, 30, 60)), (250_000, (30, 90, 365, 1825)))


def figures() -> list[frame.Figure]:
    """Measure."""
    found, random = [], np.random.default_rng(1)
    for count, windows in SIZES:
        functions = (Function.COUNT, Function.SUM, Function.MEAN, Function.MAX)
        program = Windows(2, [Window(1, function, days * DAY, 2) for days in windows for function in functions])
        at = np.sort(random.integers(0, windows[-1] * 86_400, count)) * SECOND
        known = at + random.integers(0, 3 * 86_400, count) * SECOND
        events = Events(at, (Column(), Column(known, None, random.integers(0, 100_000, count))))
        data = encode_blob(EntityBlob("e", 1, LONG_AGO, events))
        held, row, now = HeldBlobs.of([data]), np.zeros(1, np.int64), np.array([windows[-1] * DAY])
        one = EntityBlob("e", 2, LONG_AGO, events.take(slice(count - 1, count)))
        look = _seconds(lambda: program.look_up(held, row, now))  # noqa: B023 - called before the next
        more = _seconds(lambda: encode_blob(with_more(decode_blob(data), one, LONG_AGO)))  # noqa: B023
        label = f"{count:,} events, windows up to {windows[-1]} days"
        found += [
            frame.figure(f"16 features of {label}", look * 1e6, "µs"),
            frame.figure(f"its blob, {label}", len(data) / 1e3, "kB"),
            frame.figure(f"one more event, {label}", more * 1e3, "ms"),
        ]
        if count > USUAL.most:
            blob = replace(decode_blob(data), table_version=1)
            found += _in_pieces(program, blob, windows[-1] * DAY, label)
    return found


def _in_pieces(program: Windows, blob: EntityBlob, now: int, label: str) -> list[frame.Figure]:
    chunks: dict[bytes, bytes] = {}
    read = [0, 0]

    def some(names: Sequence[bytes]) -> list[bytes]:
        read[0], read[1] = len(names), sum(len(chunks[name]) for name in names)
        return [chunks[name] for name in names]

    def grown(held: bytes, fresh: EntityBlob) -> bytes:
        head, made = cut(with_more(decode_blob(held), fresh, LONG_AGO), program, some, USUAL)
        chunks.update(made)
        return encode_blob(head)

    def of(times: np.ndarray) -> EntityBlob:
        value = Column(times + 3_600 * SECOND, None, times // SECOND % 1000)
        return EntityBlob("e", 2, LONG_AGO, Events(times, (Column(), value)))

    began = time.process_time()
    head, made = cut(blob, program, some, USUAL)
    chunks.update(made)
    whole = time.process_time() - began
    held, row, at = encode_blob(head), np.zeros(1, np.int64), np.array([now])
    blobs = HeldBlobs.of([held])
    assert look_up(program, blobs, row, at, some).values.tobytes() == program.look_up(
        HeldBlobs.of([encode_blob(blob)]), row, at
    ).values.tobytes()  # fmt: skip
    look = _seconds(lambda: look_up(program, blobs, row, at, some))
    number, size = read
    newest = int(blob.events.time[-1])
    room = USUAL.most - len(head.events)
    full = grown(held, of(newest + np.arange(room - 1) * SECOND))
    random = np.random.default_rng(2)
    late = grown(held, of(np.sort(random.integers(0, newest, room - 1))))
    one = of(np.array([newest + DAY]))
    more, cuts, far = (_seconds(partial(grown, data, fresh)) for data, fresh in
                       ((held, one), (full, of(newest + DAY + np.arange(2) * SECOND)), (late, of(newest + DAY + np.arange(2) * SECOND))))  # fmt: skip
    return [
        frame.figure(f"in pieces, 16 features of {label}", look * 1e6, "µs"),
        frame.figure(f"in pieces, its head, which names {len(names_in(held))} chunks", len(held) / 1e3, "kB"),
        frame.figure(f"in pieces, the {number} chunks that are read", size / 1e3, "kB"),
        frame.figure("in pieces, one more event", more * 1e3, "ms"),
        frame.figure(f"in pieces, the one in {room} that cuts", cuts * 1e3, "ms"),
        frame.figure(f"in pieces, the one in {room} that cuts, where all came late", far * 1e3, "ms"),
        frame.figure("in pieces, cutting it the first time", whole * 1e3, "ms"),
    ]


def _seconds(what: Callable[[], object]) -> float:
    """Of processor time, the median of some tries."""
    taken = []
    for _ in range(15):
        began = time.process_time()
        for _ in range(3):
            what()
        taken.append((time.process_time() - began) / 3)
    return statistics.median(taken)


if __name__ == "__main__":
    frame.report("features-blobs", "entities with few and with many events", figures())
