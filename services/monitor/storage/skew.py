"""Comparisons of served with trained values, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from services.monitor.domain.skew.words import Logged, SkewCheck, SkewedFeature, SkewResult
from services.monitor.storage.tables import KEY, metadata

if TYPE_CHECKING:
    from services.monitor.domain.model import Window
    from services.monitor.storage.models import ModelIds
    from tenon.core.tenancy import TenantId
    from tenon.kit.sql import Database

# What one comparison found. No ids of predictions or entities: an example is a feature's two values.
skew_checks = sa.Table(
    "skew_checks",
    metadata,
    sa.Column("id", KEY, primary_key=True, autoincrement=True),
    sa.Column("model_id", KEY, sa.ForeignKey("models.id"), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("checked_at", sa.BigInteger, nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Index(None, "model_id", "checked_at"),
    sa.Index(None, "checked_at"),
)


class SqlSkewChecks:
    """See `domain.skew_words.SkewChecks`."""

    def __init__(self, database: Database, ids: ModelIds) -> None:
        self._database, self._ids = database, ids

    def add(self, tenant: TenantId, check: SkewCheck) -> None:
        """Keep one."""
        features = [[one.feature, one.rows, _kept(one.served), _kept(one.trained), one.at] for one in check.features]
        with self._database.session() as session:
            session.execute(
                sa.insert(skew_checks).values(
                    model_id=self._ids.need(session, tenant, check.model),
                    version=check.version,
                    checked_at=check.checked_at,
                    counts={result.value: count for result, count in check.counts.items()},
                    features=features,
                )
            )

    def between(self, tenant: TenantId, model: str, window: Window) -> list[SkewCheck]:
        """Those made in a window, oldest first."""
        with self._database.session() as session:
            model_id = self._ids.find(session, tenant, model)
            query = (
                sa.select(skew_checks)
                .where(
                    skew_checks.c.model_id == model_id,
                    skew_checks.c.checked_at >= window.start,
                    skew_checks.c.checked_at < window.end,
                )
                .order_by(skew_checks.c.id)
            )
            found = session.execute(query).all() if model_id is not None else []
        return [
            SkewCheck(
                model, row.version, row.checked_at, {SkewResult(name): count for name, count in row.counts.items()},
                tuple(
                    SkewedFeature(name, row.version, rows, _value(served), _value(trained), at)
                    for name, rows, served, trained, at in row.features
                ),
            )
            for row in found
        ]  # fmt: skip

    def drop_before(self, moment: int) -> int:
        """Forget what was found before a time."""
        with self._database.session() as session:
            gone = sa.delete(skew_checks).where(skew_checks.c.checked_at < moment).returning(skew_checks.c.id)
            return len(session.execute(gone).all())


def _kept(value: Logged) -> Any:
    """Numbers in hexadecimal, so that JSON takes what is missing and every bit of what is not; texts in a list of one."""
    return value.hex() if isinstance(value, float) else [value]


def _value(kept: Any) -> Logged:
    return float.fromhex(kept) if isinstance(kept, str) else kept[0]
