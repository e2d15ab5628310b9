"""Values of one view for the rows of a request, from the entities' blobs."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import numpy as np

from services.features.domain.plan import Plan
from tenon.core.errors import Unavailable
from tenon.windows import pieces
from tenon.windows.events import IntArray
from tenon.windows.held import HeldBlobs
from tenon.windows.pieces import ReadChunks
from tenon.windows.program import Answer


class Status(enum.Enum):
    """What a value means; the numbers are those of the wire and of the kernel."""

    PRESENT = 1
    MISSING = 2
    UNKNOWN_ENTITY = 3
    BEFORE_HORIZON = 4


STATUSES = (Status.MISSING, *Status)
"""By number; 0 is none."""
_EVER = -(1 << 63)


def nothing_in_pieces(names: Sequence[bytes]) -> list[bytes | None]:
    """Where no entity has chunks."""
    return [None] * len(names)


def look_up(
    plan: Plan, blobs: HeldBlobs, rows: IntArray, at: IntArray, horizon: int = _EVER,
    chunks: ReadChunks = nothing_in_pieces,
) -> Answer:  # fmt: skip
    """The view's values for each row, of which `rows` says whose blob it asks (-1: a key is missing). An entity has a blob
    as long as any time from the horizon on can see an event of it; of earlier times, nothing is told of one without.

    Raises `Unavailable` for a blob that cannot be read, and `ChunksGoneError`.
    """
    try:
        answer = pieces.look_up(plan.program, blobs, rows, at, chunks)
    except ValueError as err:
        raise Unavailable("BLOB_CORRUPT", "an online value cannot be read; the view has to be built again") from err
    if (at < horizon).any():
        untold = (at < horizon) & (answer.statuses[0] == Status.UNKNOWN_ENTITY.value)
        answer.values[:, untold], answer.statuses[:, untold] = np.nan, Status.BEFORE_HORIZON.value
    return answer
