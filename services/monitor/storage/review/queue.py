"""Review queues, corrections and single labels in SQL."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from services.monitor.domain.review_words import Correction, Reason, ReviewItem, ReviewRound, State
from services.monitor.storage.labels.tables import dataset_labels, labels
from services.monitor.storage.models import insert_into
from services.monitor.storage.review.tables import corrections, review_items, review_rounds
from services.monitor.storage.tables import models

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.orm import Session

    from services.monitor.storage.models import ModelIds
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

_IDS_A_QUERY = 1_000
_KEPT_APART = ("rank", "prediction_id", "state", "value", "decided_at", "decided_by")


class SqlKnownLabels:
    """See `domain.ports.KnownLabels`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def known(self, tenant: TenantId, model: str, ids: Collection[str]) -> dict[str, tuple[int, float]]:
        """See the port."""
        found: dict[str, tuple[int, float]] = {}
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            for some in _parts(sorted(ids)) if model_id is not None else ():
                query = (
                    sa.select(labels.c.prediction_id, labels.c.known_at, labels.c.value)
                    .where(labels.c.model_id == model_id, labels.c.prediction_id.in_(some))
                    .order_by(labels.c.prediction_id, labels.c.known_at)
                )
                found |= {row[0]: (row[1], row[2]) for row in session.execute(query)}
        return found

    def withdraw(self, tenant: TenantId, model: str, prediction_id: str, known_at: int) -> None:
        """See the port."""
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            l = labels.c  # noqa: E741 - as short as in the queries above
            session.execute(
                sa.delete(labels).where(
                    l.model_id == model_id, l.prediction_id == prediction_id, l.known_at == known_at
                )
            )
            session.execute(sa.update(models).where(models.c.id == model_id).values(changes=models.c.changes + 1))


class SqlReviews:
    """See `domain.ports.Reviews`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def current(self, tenant: TenantId, model: str) -> ReviewRound | None:
        """See the port."""
        with self._database.session() as session:
            row = self._newest(session, tenant, model)
            return None if row is None else _round(row, self._items(session, row.id))

    def start(self, tenant: TenantId, model: str, fresh: ReviewRound) -> ReviewRound:
        """See the port."""
        with self._database.session() as session:
            model_id = self._ids.need(session, tenant, model)
            number = session.execute(
                sa.insert(review_rounds)
                .values(
                    model_id=model_id, built_at=fresh.built_at, window_start=fresh.window_start,
                    window_end=fresh.window_end, looked_at=fresh.looked_at,
                )
                .returning(review_rounds.c.id)
            ).scalar_one()  # fmt: skip
            if fresh.items:
                session.execute(
                    sa.insert(review_items),
                    [
                        {
                            "round_id": number, "rank": item.rank, "prediction_id": item.prediction_id,
                            "item_json": _packed(item), "state": item.state.value,
                        }
                        for item in fresh.items
                    ],
                )  # fmt: skip
        return replace(fresh, number=number)

    def decide(
        self, tenant: TenantId, model: str, prediction_id: str, state: State, at: int, expert: str,
        correction: Correction | None,
    ) -> ReviewItem | None:  # fmt: skip
        """See the port."""
        with self._database.session() as session:
            row = self._newest(session, tenant, model)
            if row is None:
                return None
            i = review_items.c
            changed = session.execute(
                sa.update(review_items)
                .where(i.round_id == row.id, i.prediction_id == prediction_id, i.state == State.OPEN.value)
                .values(
                    state=state.value, value=correction.value if correction else None, decided_at=at, decided_by=expert
                )
                .returning(i.rank)
            ).scalar_one_or_none()
            if changed is None:
                return None
            if correction is not None:
                fresh = insert_into(session, corrections).values(
                    model_id=row.model_id, prediction_id=prediction_id, known_at=correction.known_at,
                    value=correction.value, expert=expert, event_time=correction.event_time,
                    key_json=json.dumps(dict(correction.key), ensure_ascii=False), undone_at=None,
                )  # fmt: skip
                session.execute(
                    fresh.on_conflict_do_update(
                        index_elements=["model_id", "prediction_id", "known_at"],
                        set_={"value": correction.value, "expert": expert, "undone_at": None},
                    )
                )
            return next(one for one in self._items(session, row.id) if one.rank == changed)

    def undo(self, tenant: TenantId, model: str, expert: str, at: int) -> ReviewItem | None:
        """See the port."""
        with self._database.session() as session:
            row = self._newest(session, tenant, model)
            if row is None:
                return None
            mine = [
                one for one in self._items(session, row.id) if one.decided_by == expert and one.decided_at is not None
            ]
            last = max(mine, key=lambda one: (one.decided_at or 0, one.rank), default=None)
            if last is None:
                return None
            i, c = review_items.c, corrections.c
            session.execute(
                sa.update(review_items)
                .where(i.round_id == row.id, i.rank == last.rank)
                .values(state=State.OPEN.value, value=None, decided_at=None, decided_by=None)
            )
            session.execute(
                sa.update(corrections)
                .where(c.model_id == row.model_id, c.prediction_id == last.prediction_id, c.known_at == last.decided_at)
                .values(undone_at=at)
            )
            return last

    def reviewed(self, tenant: TenantId, model: str) -> set[str]:
        """See the port."""
        c = corrections.c
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            query = sa.select(c.prediction_id).where(c.model_id == model_id, c.undone_at.is_(None))
            return set(session.execute(query).scalars())

    def corrections(self, tenant: TenantId, model: str, known_before: int) -> list[Correction]:
        """See the port."""
        c = corrections.c
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            query = (
                sa.select(corrections)
                .where(
                    c.model_id == model_id, c.known_at <= known_before,
                    sa.or_(c.undone_at.is_(None), c.undone_at > known_before),
                )
                .order_by(c.prediction_id, c.known_at)
            )  # fmt: skip
            newest = {row.prediction_id: row for row in session.execute(query)}
        return [
            Correction(
                row.prediction_id, row.value, row.known_at, row.expert, row.event_time, json.loads(row.key_json),
                row.undone_at,
            )
            for row in newest.values()
        ]  # fmt: skip

    def forget(self, tenant: TenantId, model: str, ids: Collection[str]) -> None:
        """See the port."""
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            rounds = sa.select(review_rounds.c.id).where(review_rounds.c.model_id == model_id)
            for some in _parts(sorted(ids)):
                session.execute(
                    sa.delete(review_items).where(
                        review_items.c.round_id.in_(rounds), review_items.c.prediction_id.in_(some)
                    )
                )
                for table in (corrections, dataset_labels):
                    session.execute(
                        sa.delete(table).where(table.c.model_id == model_id, table.c.prediction_id.in_(some))
                    )

    def _newest(self, session: Session, tenant: TenantId, model: str) -> Any:
        model_id = self._ids.find(session, tenant, model)
        query = sa.select(review_rounds).where(review_rounds.c.model_id == model_id)
        return session.execute(query.order_by(review_rounds.c.id.desc()).limit(1)).one_or_none()

    def _items(self, session: Session, round_id: int) -> list[ReviewItem]:
        query = sa.select(review_items).where(review_items.c.round_id == round_id).order_by(review_items.c.rank)
        return [_item(row) for row in session.execute(query)]


def _packed(item: ReviewItem) -> str:
    document = {name: value for name, value in asdict(item).items() if name not in _KEPT_APART}
    return json.dumps(document, ensure_ascii=False)


def _item(row: Any) -> ReviewItem:
    document = json.loads(row.item_json)
    return ReviewItem(
        rank=row.rank, prediction_id=row.prediction_id, state=State(row.state), value=row.value,
        decided_at=row.decided_at, decided_by=row.decided_by or "",
        **(document | {"reason": Reason(document["reason"])}),
    )  # fmt: skip


def _round(row: Any, items: Sequence[ReviewItem]) -> ReviewRound:
    return ReviewRound(row.id, row.built_at, row.window_start, row.window_end, row.looked_at, tuple(items))


def _parts(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[begin : begin + _IDS_A_QUERY] for begin in range(0, len(ids), _IDS_A_QUERY)]
