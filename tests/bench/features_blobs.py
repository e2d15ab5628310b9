"""`make bench-features-blobs`: what entities with few and with very many events cost online.

Sixteen features (count, sum, mean, max over four windows) from one entity's blob in memory, as a lookup computes them; the
blob's bytes, which a lookup reads from Redis; and what bringing one more event into it takes. Values become known up to
three days after their event.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from tenon.core.specs import Function
from tenon.windows.blob import EntityBlob, decode_blob, encode_blob, with_more
from tenon.windows.events import Column, Events
from tenon.windows.held import HeldBlobs
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
    return found


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
