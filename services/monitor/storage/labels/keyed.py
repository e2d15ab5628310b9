"""Labels by entity and time, and bookmarks, in SQL."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from services.monitor.domain.label_words import KeyedLabel
from services.monitor.storage.labels.tables import bookmarks, keyed_labels
from services.monitor.storage.models import insert_into
from services.monitor.storage.tables import models
from tenon.core.matching import key_text
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.monitor.storage.models import ModelIds
    from tenon.kit.sql import Database


class SqlKeyedLabels:
    """See `domain.ports.KeyedLabels`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def keep(self, tenant: TenantId, model: str, labels: Sequence[KeyedLabel]) -> None:
        """See the port."""
        if not labels:
            return
        with self._database.session() as session:
            model_id = self._ids.need(session, tenant, model)
            rows = {}
            for one in labels:
                text = _canonical(one.key)
                digest = hashlib.sha256(text.encode()).hexdigest()
                rows[one.event_time, digest, one.known_at] = {
                    "model_id": model_id, "event_time": one.event_time, "key_digest": digest, "known_at": one.known_at,
                    "within": one.within, "key_json": text, "value": one.value,
                }  # fmt: skip
            insert = insert_into(session, keyed_labels)
            session.execute(
                insert.on_conflict_do_update(
                    index_elements=["model_id", "event_time", "key_digest", "known_at"],
                    set_={"value": insert.excluded.value, "within": insert.excluded.within},
                ),
                [rows[place] for place in sorted(rows)],
            )
        self._ids.committed(tenant, model, model_id)

    def between(self, tenant: TenantId, model: str, first: int, last: int) -> list[KeyedLabel]:
        """See the port."""
        k = keyed_labels.c
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            if model_id is None:
                return []
            widest = session.execute(sa.select(sa.func.max(k.within)).where(k.model_id == model_id)).scalar_one() or 0
            query = (
                sa.select(keyed_labels)
                .where(k.model_id == model_id, k.event_time >= first - widest, k.event_time <= last + widest)
                .order_by(k.event_time, k.key_digest, k.known_at)
            )
            return [
                KeyedLabel(json.loads(row.key_json), row.event_time, row.value, row.known_at, row.within)
                for row in session.execute(query)
                if first - row.within <= row.event_time <= last + row.within
            ]

    def models(self) -> list[tuple[TenantId, str]]:
        """See the port."""
        some = sa.exists().where(keyed_labels.c.model_id == models.c.id)
        query = sa.select(models.c.tenant, models.c.model).where(some).order_by(models.c.tenant, models.c.model)
        with self._database.session() as session:
            return [(TenantId(tenant), model) for tenant, model in session.execute(query)]

    def forget(self, tenant: TenantId, model: str, column: str, value: str) -> int:
        """See the port."""
        # A quote inside a text is written with a backslash, so that this is found as a member of the key and nowhere else.
        member = json.dumps({column: value}, ensure_ascii=False)[1:-1]
        k = keyed_labels.c
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            theirs = sa.delete(keyed_labels).where(
                k.model_id == model_id, sa.func.replace(k.key_json, member, "") != k.key_json
            )
            return len(session.execute(theirs.returning(k.key_digest)).all())


class SqlBookmarks:
    """See `domain.ports.Bookmarks`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def get(self, tenant: TenantId, model: str, name: str) -> int:
        """See the port."""
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            query = sa.select(bookmarks.c.position).where(bookmarks.c.model_id == model_id, bookmarks.c.name == name)
            return int(session.execute(query).scalar_one_or_none() or 0)

    def put(self, tenant: TenantId, model: str, name: str, position: int) -> None:
        """See the port."""
        with self._database.session() as session:
            model_id = self._ids.need(session, tenant, model)
            fresh = insert_into(session, bookmarks).values(model_id=model_id, name=name, position=position)
            session.execute(
                fresh.on_conflict_do_update(index_elements=["model_id", "name"], set_={"position": position})
            )


def _canonical(key: Mapping[str, object]) -> str:
    return json.dumps({name: key_text(key[name]) for name in sorted(key)}, ensure_ascii=False)
