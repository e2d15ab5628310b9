"""Values of one view for the rows of a request, from the entities' blobs."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.features.domain.plan import Plan
from tenon.core.errors import Unavailable
from tenon.windows.program import Answer


class Status(enum.Enum):
    """What a value means; the numbers are those of the wire and of the kernel."""

    PRESENT = 1
    MISSING = 2
    UNKNOWN_ENTITY = 3
    BEFORE_HORIZON = 4


STATUSES = (Status.MISSING, *Status)
"""By number; 0 is none."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One row asked of one view: the entity (None: a key is missing), its blob (None: never seen), the time."""

    entity: str | None
    blob: bytes | None
    at: int


def look_up(plan: Plan, rows: Sequence[Lookup]) -> Answer:
    """The view's values for each row. Every entity that was ever seen has a blob, so one without was never seen.

    Raises `Unavailable` for a blob that cannot be read.
    """
    blobs = [b"" if row.entity is None else row.blob for row in rows]
    try:
        return plan.program.look_up(blobs, np.array([row.at for row in rows], np.int64))
    except ValueError as err:
        raise Unavailable("BLOB_CORRUPT", "an online value cannot be read; the view has to be built again") from err
