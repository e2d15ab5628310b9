"""The prediction log and its labels in SQL."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services.monitor.domain.model import (
    Column,
    LabelledRows,
    NumericColumn,
    Role,
    Rows,
    SeenModel,
    Series,
    TextColumn,
    Window,
)
from services.monitor.storage import tables as t
from services.monitor.storage.payload import StoredRows, pack_rows, unpack_rows
from tenon.core.levels import BESIDE_THE_MODEL
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.orm import Session

    from services.monitor.domain.model import Label, PredictionBatch
    from tenon.kit.sql import Database

# Small batches are put together before they are counted; large windows are read in short transactions.
_ROWS_A_CHUNK = 8_192
_BATCHES_A_READ = 256
_IDS_A_QUERY = 1_000
# A constant, or a second model, says nothing about how good the version's own is.
_BY_THE_MODEL = t.batches.c.level.not_in([level.value for level in BESIDE_THE_MODEL])


def insert_into(session: Session, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT, on either database."""
    return (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(table)


def now_micros() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


class ModelIds:
    """Numbers of (tenant, model), kept in memory: they never change."""

    def __init__(self) -> None:
        self._known: dict[tuple[TenantId, str], int] = {}
        self._lock = threading.Lock()

    def find(self, session: Session, tenant: TenantId, model: str) -> int | None:
        """The number, None when the model was never seen."""
        with self._lock:
            known = self._known.get((tenant, model))
        if known is not None:
            return known
        query = sa.select(t.models.c.id).where(t.models.c.tenant == tenant.value, t.models.c.model == model)
        return session.execute(query).scalar_one_or_none()

    def committed(self, tenant: TenantId, model: str, number: int) -> None:
        """Keep a number in mind; only once its row is committed, for a rolled-back one may be given again."""
        with self._lock:
            self._known[tenant, model] = number

    def need(self, session: Session, tenant: TenantId, model: str) -> int:
        """The number, made when there is none."""
        found = self.find(session, tenant, model)
        if found is None:
            row = {"tenant": tenant.value, "model": model}
            session.execute(insert_into(session, t.models).values(row).on_conflict_do_nothing())
            found = self.find(session, tenant, model)
        assert found is not None  # noqa: S101 - inserted in this transaction
        return found


class SqlPredictionLog:
    """See `domain.ports.PredictionLog` and `domain.ports.Fleet`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def store(self, tenant: TenantId, batch: PredictionBatch) -> bool:
        """Keep a batch in one transaction with the note that it was taken."""
        payload = pack_rows(batch)
        with self._database.session() as session:
            taken = insert_into(session, t.taken_batches).values(batch_id=batch.batch_id, taken_at=now_micros())
            fresh = taken.on_conflict_do_nothing().returning(t.taken_batches.c.batch_id)
            if session.execute(fresh).scalar_one_or_none() is None:
                return False
            model_id = self._ids.need(session, tenant, batch.model)
            bounds = {
                "at_min": int(batch.at.min()),
                "at_max": int(batch.at.max()),
                "event_time_min": int(batch.event_time.min()),
                "event_time_max": int(batch.event_time.max()),
            }
            number = session.execute(
                sa.insert(t.batches)
                .values(
                    model_id=model_id, version=batch.version, role=batch.role.value, protocol=batch.protocol[:10],
                    replica=batch.replica[:128], rows=len(batch), level=batch.level, **bounds,
                )
                .returning(t.batches.c.id)
            ).scalar_one()  # fmt: skip
            session.execute(sa.insert(t.batch_rows).values(batch_id=number, payload=payload))
            scores = [score if math.isfinite(score) else None for score in batch.score.tolist()]
            narrow = zip(batch.prediction_ids, batch.at.tolist(), batch.event_time.tolist(), scores, strict=True)
            session.execute(
                sa.insert(t.predictions),
                [
                    {
                        "batch_id": number, "row": row, "model_id": model_id, "prediction_id": prediction_id,
                        "at": at, "event_time": event_time, "score": score,
                    }
                    for row, (prediction_id, at, event_time, score) in enumerate(narrow)
                ],
            )  # fmt: skip
            self._count(session, model_id, batch, bounds)
            _note_change(session, model_id)
        self._ids.committed(tenant, batch.model, model_id)
        return True

    def _count(self, session: Session, model_id: int, batch: PredictionBatch, bounds: dict[str, int]) -> None:
        fresh = insert_into(session, t.series).values(
            model_id=model_id, version=batch.version, role=batch.role.value, predictions=len(batch),
            first_at=bounds["at_min"], last_at=bounds["at_max"],
        )  # fmt: skip
        first, last = t.series.c.first_at, t.series.c.last_at
        session.execute(
            fresh.on_conflict_do_update(
                index_elements=["model_id", "version", "role"],
                set_={
                    "predictions": t.series.c.predictions + len(batch),
                    "first_at": sa.case((first < bounds["at_min"], first), else_=bounds["at_min"]),
                    "last_at": sa.case((last > bounds["at_max"], last), else_=bounds["at_max"]),
                },
            )
        )

    def seen(self, tenant: TenantId) -> list[SeenModel]:
        """All models of the tenant, by name."""
        return self._seen(tenant, None)

    def seen_model(self, tenant: TenantId, model: str) -> SeenModel | None:
        """One of them."""
        return next(iter(self._seen(tenant, model)), None)

    def _seen(self, tenant: TenantId, model: str | None) -> list[SeenModel]:
        with self._database.session() as session:
            wanted = sa.select(t.models.c.id, t.models.c.model).where(t.models.c.tenant == tenant.value)
            if model is not None:
                wanted = wanted.where(t.models.c.model == model)
            names = dict(session.execute(wanted.order_by(t.models.c.model)).all())
            counted = (
                sa.select(t.series).where(t.series.c.model_id.in_(names)).order_by(t.series.c.version, t.series.c.role)
            )
            parts: dict[int, list[Series]] = {number: [] for number in names}
            for row in session.execute(counted):
                parts[row.model_id].append(
                    Series(names[row.model_id], row.version, Role(row.role), row.predictions, row.first_at, row.last_at)
                )
            labelled = (
                sa.select(t.labels.c.model_id, sa.func.count(sa.distinct(t.labels.c.prediction_id)))
                .where(t.labels.c.model_id.in_(names))
                .group_by(t.labels.c.model_id)
            )
            labels: dict[int, int] = dict(session.execute(labelled).all())
        return [SeenModel(name, tuple(parts[number]), labels.get(number, 0)) for number, name in names.items()]

    def active(self, since: int) -> list[tuple[TenantId, str, int]]:
        """Models of all tenants that answered at or after `since`, with their change counter."""
        query = (
            sa.select(t.models.c.tenant, t.models.c.model, t.models.c.changes)
            .where(sa.exists().where(t.series.c.model_id == t.models.c.id, t.series.c.last_at >= since))
            .order_by(t.models.c.tenant, t.models.c.model)
        )
        with self._database.session() as session:
            return [(TenantId(tenant), model, changes) for tenant, model, changes in session.execute(query)]

    def span(self, tenant: TenantId, model: str, by: Literal["at", "event_time"]) -> tuple[int, int] | None:
        """See the port; from the batches alone."""
        first, last = getattr(t.batches.c, f"{by}_min"), getattr(t.batches.c, f"{by}_max")
        with self._database.session() as session:
            query = sa.select(sa.func.min(first), sa.func.max(last))
            found = session.execute(query.where(t.batches.c.model_id == self._ids.find(session, tenant, model))).one()
        return None if found[0] is None else (int(found[0]), int(found[1]))

    def traffic(self, tenant: TenantId, model: str, window: Window) -> dict[tuple[int, Role], int]:
        """Batches that lie wholly in the window count by their size, the others row by row."""
        totals: dict[tuple[int, Role], int] = {}
        for version, role, rows in self._totals(tenant, model, window, (t.batches.c.version, t.batches.c.role)):
            totals[version, Role(role)] = totals.get((version, Role(role)), 0) + int(rows)
        return totals

    def levels(self, tenant: TenantId, model: str, window: Window) -> dict[str, int]:
        """The same by what the answers rest on, without shadows."""
        totals: dict[str, int] = {}
        for level, role, rows in self._totals(tenant, model, window, (t.batches.c.level, t.batches.c.role)):
            if level and Role(role) is not Role.SHADOW:
                totals[level] = totals.get(level, 0) + int(rows)
        return totals

    def _totals(self, tenant: TenantId, model: str, window: Window, group: tuple[Any, Any]) -> list[Any]:
        low, high, time_of = _columns_of(window)
        inside = sa.and_(low >= window.start, high < window.end)
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            if model_id is None:
                return []
            whole = sa.select(*group, sa.func.sum(t.batches.c.rows)).where(t.batches.c.model_id == model_id, inside)
            partial = (
                sa.select(*group, sa.func.count())
                .join(t.predictions, t.predictions.c.batch_id == t.batches.c.id)
                .where(
                    t.batches.c.model_id == model_id, high >= window.start, low < window.end, ~inside,
                    time_of >= window.start, time_of < window.end,
                )
            )  # fmt: skip
            return [row for query in (whole, partial) for row in session.execute(query.group_by(*group))]

    def rows(
        self, tenant: TenantId, model: str, window: Window, version: int, roles: Sequence[Role]
    ) -> Iterator[Rows]:  # fmt: skip
        """The window's rows of one version, in the order they were taken, each read in a short transaction."""
        low, high, _ = _columns_of(window)
        last, waiting, count = 0, [], 0
        while True:
            with self._database.session() as session:
                model_id = self._ids.find(session, tenant, model)
                query = (
                    sa.select(t.batches.c.id, t.batch_rows.c.payload)
                    .join(t.batch_rows, t.batch_rows.c.batch_id == t.batches.c.id)
                    .where(
                        t.batches.c.model_id == model_id, t.batches.c.version == version,
                        *((t.batches.c.role.in_([role.value for role in roles]),) if roles else ()),
                        high >= window.start, low < window.end, t.batches.c.id > last, _BY_THE_MODEL,
                    )
                    .order_by(t.batches.c.id)
                    .limit(_BATCHES_A_READ)
                )  # fmt: skip
                found = session.execute(query).all()
            for number, payload in found:
                last = number
                stored = _cut(unpack_rows(payload), window)
                waiting.append(stored)
                count += len(stored.score)
                if count >= _ROWS_A_CHUNK:
                    yield _join(waiting)
                    waiting, count = [], 0
            if len(found) < _BATCHES_A_READ:
                break
        if count:
            yield _join(waiting)


class SqlLabels:
    """See `domain.ports.Labels`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def record(self, tenant: TenantId, model: str, labels: Sequence[Label]) -> int:
        """Keep labels; the same label again changes nothing."""
        wanted = sorted({label.prediction_id for label in labels})
        matched = 0
        with self._database.session() as session:
            model_id = self._ids.need(session, tenant, model)
            insert = insert_into(session, t.labels)
            moment = now_micros()
            session.execute(
                insert.on_conflict_do_update(
                    index_elements=["model_id", "prediction_id", "known_at"],
                    set_={"value": insert.excluded.value, "recorded_at": insert.excluded.recorded_at},
                ),
                [
                    {
                        "model_id": model_id, "prediction_id": label.prediction_id, "known_at": label.known_at,
                        "value": label.value, "recorded_at": moment,
                    }
                    for label in sorted(labels, key=lambda one: (one.prediction_id, one.known_at))
                ],
            )  # fmt: skip
            for begin in range(0, len(wanted), _IDS_A_QUERY):
                some = wanted[begin : begin + _IDS_A_QUERY]
                query = sa.select(sa.func.count(sa.distinct(t.predictions.c.prediction_id))).where(
                    t.predictions.c.model_id == model_id, t.predictions.c.prediction_id.in_(some)
                )
                matched += session.execute(query).scalar_one()
            _note_change(session, model_id)
        self._ids.committed(tenant, model, model_id)
        return matched

    def labelled(
        self, tenant: TenantId, model: str, window: Window, known_at: int | None
    ) -> dict[tuple[int, Role], LabelledRows]:
        """Join by prediction id; of a label's values the newest known one holds."""
        low, high, time_of = _columns_of(window)
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            if model_id is None:
                return {}
            query = (
                sa.select(
                    t.batches.c.version, t.batches.c.role, t.predictions.c.batch_id, t.predictions.c.row,
                    t.predictions.c.score, t.predictions.c.event_time, t.labels.c.known_at, t.labels.c.value,
                )
                .join(t.predictions, t.predictions.c.batch_id == t.batches.c.id)
                .join(
                    t.labels,
                    sa.and_(
                        t.labels.c.model_id == t.predictions.c.model_id,
                        t.labels.c.prediction_id == t.predictions.c.prediction_id,
                    ),
                )
                .where(
                    t.batches.c.model_id == model_id, high >= window.start, low < window.end,
                    time_of >= window.start, time_of < window.end, _BY_THE_MODEL,
                )
                .order_by(t.predictions.c.batch_id, t.predictions.c.row, t.labels.c.known_at)
            )  # fmt: skip
            if known_at is not None:
                query = query.where(t.labels.c.known_at <= known_at)
            found = session.execute(query).all()
        newest: dict[tuple[int, int], tuple[Any, ...]] = {(row[2], row[3]): tuple(row) for row in found}
        groups: dict[tuple[int, Role], list[tuple[float, float, int]]] = {}
        for version, role, _, _, score, event_time, known, value in newest.values():
            answer = np.nan if score is None else score
            groups.setdefault((version, Role(role)), []).append((answer, value, known - event_time))
        return {
            key: LabelledRows(
                score=np.array([row[0] for row in rows], dtype=np.float64),
                value=np.array([row[1] for row in rows], dtype=np.float64),
                delay=np.array([row[2] for row in rows], dtype=np.int64),
            )
            for key, rows in groups.items()
        }


def _note_change(session: Session, model_id: int) -> None:
    counted = sa.update(t.models).where(t.models.c.id == model_id).values(changes=t.models.c.changes + 1)
    session.execute(counted)


def _columns_of(window: Window) -> tuple[sa.ColumnElement[int], sa.ColumnElement[int], sa.ColumnElement[int]]:
    """The columns that bound a batch in the window's time, and the row's own time."""
    if window.by == "at":
        return t.batches.c.at_min, t.batches.c.at_max, t.predictions.c.at
    return t.batches.c.event_time_min, t.batches.c.event_time_max, t.predictions.c.event_time


def _cut(stored: StoredRows, window: Window) -> StoredRows:
    """Only the rows inside the window."""
    moments = stored.at if window.by == "at" else stored.event_time
    inside = (moments >= window.start) & (moments < window.end)
    if inside.all():
        return stored
    columns: dict[str, Column] = {
        name: TextColumn(column.codes[inside], column.levels)
        if isinstance(column, TextColumn)
        else NumericColumn(column.values[inside])
        for name, column in stored.columns.items()
    }
    return StoredRows(stored.at[inside], stored.event_time[inside], stored.score[inside], columns, ())


def _join(parts: Sequence[StoredRows]) -> Rows:
    """Put batches together. What a batch does not have was not known there, which is not the same as missing: such a column
    has fewer rows than there are answers."""
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns = {name: _join_column([part.columns[name] for part in parts if name in part.columns]) for name in names}
    return Rows(np.concatenate([part.score for part in parts]), columns)


def _join_column(parts: Sequence[Column]) -> Column:
    if all(isinstance(column, NumericColumn) for column in parts):
        return NumericColumn(np.concatenate([column.values for column in parts if isinstance(column, NumericColumn)]))
    # A batch in which a text column is all missing looks numeric; its NaN are missing texts.
    places: dict[str, int] = {}
    codes = []
    for column in parts:
        if isinstance(column, TextColumn):
            mapped = [places.setdefault(level, len(places)) for level in column.levels]
            codes.append(np.array([*mapped, -1], dtype=np.int32)[column.codes])
        else:
            codes.append(np.full(len(column.values), -1, dtype=np.int32))
    return TextColumn(np.concatenate(codes), tuple(places))
