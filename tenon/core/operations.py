"""The operations record: what a predictor's versions did since the last one, by its own count. No rows, no personal data.

Each replica sends one every few seconds, when there is something to tell; an id makes it count once however often it comes.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenon.core.errors import Invalid
from tenon.core.roles import Role
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Sequence

LATENCY_BOUNDS = (
    0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
)  # fmt: skip
"""Seconds. An answer is counted at the first bound that is not below it, or after the last."""


class Failure(enum.StrEnum):
    """Why a version did not answer a request that had reached it."""

    REFUSED = (
        "refused"  # the version does not take what was sent: what clients do wrong, they do wrong with every version
    )
    UNAVAILABLE = "unavailable"  # what it needs could not be had in time
    BROKEN = "broken"  # it failed


FAILURES = tuple(Failure)


@dataclass(frozen=True, slots=True)
class Operations:
    """What one version did in one role, since the record before."""

    tenant: TenantId
    model: str
    version: int
    role: Role
    answers: int
    failures: tuple[int, ...]
    """In the order of `FAILURES`."""
    latency: tuple[int, ...]
    """Answers by `LATENCY_BOUNDS`, and after the last."""


@dataclass(frozen=True, slots=True)
class OperationsRecord:
    """What one replica tells; `at` in microseconds since the epoch."""

    record_id: str
    at: int
    parts: tuple[Operations, ...]


def pack_operations(record: OperationsRecord) -> dict[str, bytes]:
    """A record as the fields of a stream's entry."""
    parts = [
        [one.tenant.value, one.model, one.version, one.role.value, one.answers, one.failures, one.latency]
        for one in record.parts
    ]
    body = json.dumps({"at": record.at, "parts": parts}, separators=(",", ":"))
    return {"id": record.record_id.encode(), "operations": body.encode()}


def unpack_operations(record_id: bytes, body: bytes) -> OperationsRecord:
    """The record again. Raises `Invalid` for what is none."""
    try:
        document = json.loads(body)
        parts = tuple(
            Operations(
                TenantId(tenant), str(model)[:63], int(version), Role(role), _count(answers),
                _counts(failures, len(FAILURES)), _counts(latency, len(LATENCY_BOUNDS) + 1),
            )
            for tenant, model, version, role, answers, failures, latency in document["parts"]
        )  # fmt: skip
        found = OperationsRecord(record_id.decode(), int(document["at"]), parts)
    except (ValueError, TypeError, KeyError, UnicodeDecodeError) as err:
        raise Invalid("OPERATIONS_INVALID", f"an operations record cannot be read: {err}") from err
    if not 0 < len(found.record_id) <= 128:
        raise Invalid("OPERATIONS_INVALID", "an operations record has an id of at most 128 characters")
    return found


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f"{str(value)[:40]} is not a count")
    return value


def _counts(values: Sequence[object], length: int) -> tuple[int, ...]:
    if len(values) != length:
        raise ValueError(f"{len(values)} counts instead of {length}")
    return tuple(map(_count, values))
