"""Who was forgotten: rows about them that come later, out of a stream or a predictor's spool, are dropped as they come.

What is kept of a subject is a digest of a column's value, or the 128 bits of a prediction id, for as long as the log keeps rows: what is older is
forgotten by its age. A row that was answered after its subject was forgotten is a new one, and stays.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from services.monitor.domain.kept.prediction_ids import IdLookup, PredictionIds
from services.monitor.domain.model import TextColumn
from services.monitor.storage.log.tables import forgotten
from tenon.core.tenancy import TenantId
from tenon.core.timestamps import MICROS_PER_SECOND
from tenon.kit.sql import hash_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    from sqlalchemy.orm import Session

    from services.monitor.domain.erase_words import Subject
    from services.monitor.domain.kept.segment import Segment
    from services.monitor.domain.model import Column

_F = forgotten.c
# A predictor's clock may be ahead of ours.
_SLACK = 60 * MICROS_PER_SECOND
_LOCK = hash_key("tenon.monitor.forgotten")
_NO_COLUMN = ""
_ROWS_A_STATEMENT = 500


@dataclass(slots=True)
class _Of:
    """What is known of one tenant: by column and digest until when rows are dropped."""

    values: dict[str, dict[str, int]] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    lookup: tuple[IdLookup, npt.NDArray[np.int64]] | None = None


class Forgotten:
    """What a process knows of `forgotten`, so that a transaction reads only what is new."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._of: dict[TenantId, _Of] = {}

    def learn(self, session: Session) -> None:
        """Read what is new, and keep others from adding to it until the transaction ends: what they find of the log is then what
        was taken before, and everything that is taken after knows of them."""
        if session.get_bind().dialect.name == "postgresql":
            session.execute(sa.text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _LOCK})
        with self._lock:
            for row in session.execute(sa.select(forgotten).where(_F.id > self._last).order_by(_F.id)):
                one = self._of.setdefault(TenantId(row.tenant), _Of())
                if row.column_name == _NO_COLUMN:
                    one.ids[row.digest], one.lookup = row.forgotten_at, None
                else:
                    one.values.setdefault(row.column_name, {})[row.digest] = row.forgotten_at
                self._last = row.id

    def theirs(self, segment: Segment) -> npt.NDArray[np.bool_] | None:
        """Which rows are about somebody who was forgotten; None: none of them."""
        with self._lock:
            known = self._of.get(segment.tenant)
            if known is None:
                return None
            until = np.full(len(segment), np.iinfo(np.int64).min)
            for name, digests in known.values.items():
                column = segment.columns.get(name)
                if column is not None:
                    np.maximum(until, _until(segment.tenant, name, column, digests), out=until)
            if known.ids:
                if known.lookup is None:
                    ids = PredictionIds.of_bytes(bytes.fromhex("".join(known.ids)))
                    known.lookup = IdLookup(ids), np.array(list(known.ids.values()))
                lookup, moments = known.lookup
                places = lookup.places(segment.ids)
                found = np.flatnonzero(places >= 0)
                until[found] = np.maximum(until[found], moments[places[found]])
        dropped = segment.at <= until
        return dropped if dropped.any() else None


def note_forgotten(session: Session, tenant: TenantId, subject: Subject, now: int) -> None:
    """From now on, drop what comes about a subject."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    noted = [(name, digest) for name, text in subject.key.items() for digest in _digests(tenant, name, text)]
    noted += [(_NO_COLUMN, digest) for digest in _id_digests(subject.prediction_ids)]
    for begin in range(0, len(noted), _ROWS_A_STATEMENT):
        some = noted[begin : begin + _ROWS_A_STATEMENT]
        # A new row, with a number above all others, is what `learn` finds.
        same = sa.tuple_(_F.column_name, _F.digest).in_(some)
        session.execute(forgotten.delete().where(_F.tenant == tenant.value, same))
        session.execute(
            forgotten.insert(),
            [
                {"tenant": tenant.value, "column_name": name, "digest": digest, "forgotten_at": now + _SLACK}
                for name, digest in some
            ],
        )


def _digest(tenant: TenantId, column: str, value: str) -> str:
    return hashlib.sha256(f"{tenant}\0{column}\0{value}".encode()).hexdigest()


def _digests(tenant: TenantId, column: str, text: str) -> list[str]:
    """Of a value as text, and of the number it may be."""
    digests = [_digest(tenant, column, text)]
    with suppress(ValueError):
        digests.append(_digest(tenant, column, f"number {float(text)!r}"))
    return digests


def _id_digests(ids: Iterable[str]) -> list[str]:
    kept = PredictionIds.of_texts(sorted(ids))
    return [f"{high:016x}{low:016x}" for high, low in zip(kept.high.tolist(), kept.low.tolist(), strict=True)]


def _until(tenant: TenantId, name: str, column: Column, digests: dict[str, int]) -> npt.NDArray[np.int64]:
    """For each row until when rows with its value are dropped."""
    never = int(np.iinfo(np.int64).min)
    if isinstance(column, TextColumn):
        moments = [digests.get(_digest(tenant, name, level), never) for level in column.levels]
        return np.array([*moments, never], dtype=np.int64)[column.codes]
    values, places = np.unique(column.values, return_inverse=True)
    moments = [digests.get(_digest(tenant, name, f"number {value!r}"), never) for value in values.tolist()]
    return np.array(moments, dtype=np.int64)[places]
