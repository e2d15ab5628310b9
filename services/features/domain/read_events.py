"""The rows of a table as events: those it has, and those it had before they were corrected.

A correction is a row with the primary key of an earlier one. It replaces the earlier row's values from the moment at which
it became known, which is read from the correcting row itself, column by column: its `knownAt`; without one, its event
time; and where the `knownAt` is missing, when the correction came in. At any time the value believed is that of the last
version of the row that was known before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from services.features.domain.frames import micros, until_name
from services.features.domain.model import LakeTable
from services.features.domain.plan import Plan
from services.features.domain.ports import REPLACED_AT, REPLACED_IN, Lake
from tenon.core.specs import DatasetSpec


def read_events(lake: Lake, table: LakeTable, plans: Sequence[Plan], *, since: int | None = None) -> pl.DataFrame:
    """The columns that the plans read, of every row (from `since` on), followed by the rows that were corrected, with the
    moments up to which they were believed in columns named by `until_name`."""
    columns = list(dict.fromkeys(name for plan in plans for name in plan.source_columns))
    before = replaced_rows(lake, table, plans, since=since)
    if since is None:
        rows = lake.read(table, columns)
    else:
        rows = lake.read_since(table, columns, table.spec.event_time, since)
    if before is None:
        return rows
    before = before.with_columns(pl.col(name).cast(rows.schema[name]) for name in columns)
    return pl.concat([rows, before], how="diagonal")


def replaced_rows(
    lake: Lake, table: LakeTable, plans: Sequence[Plan], *, since: int | None = None
) -> pl.DataFrame | None:  # fmt: skip
    """Of these only the rows that were corrected; None when there are none."""
    spec = table.spec
    columns = list(dict.fromkeys(name for plan in plans for name in plan.source_columns))
    keys = list(spec.primary_key)
    replaced = lake.read_replaced(table, list(dict.fromkeys([*keys, *columns])))
    if replaced.is_empty():
        return None
    known_ats, moments = moments_of(plans, spec)
    wanted = replaced.select(keys).unique().lazy()
    present = lake.scan(table, list(dict.fromkeys([*keys, *moments]))).join(wanted, on=keys, how="semi")
    before = believed_before(known_ats, keys, spec.event_time, replaced, present.collect(engine="streaming"))
    if since is not None:
        before = before.filter(micros(spec.event_time) >= since)
    return None if before.is_empty() else before.select(*columns, *(until_name(known_at) for known_at in known_ats))


def moments_of(plans: Sequence[Plan], spec: DatasetSpec) -> tuple[list[tuple[str, ...]], list[str]]:
    """By which columns the plans' values are known, each combination once; and all those columns."""
    known_ats = list(dict.fromkeys([(), *(column.known_at for plan in plans for column in plan.columns)]))
    return known_ats, list(dict.fromkeys([spec.event_time, *(name for known_at in known_ats for name in known_at)]))


def believed_before(
    known_ats: Sequence[tuple[str, ...]],
    primary_key: Sequence[str],
    event_time: str,
    replaced: pl.DataFrame,
    present: pl.DataFrame,
) -> pl.DataFrame:
    """The replaced rows that were believed for some time, with the moment up to which they were."""
    keys = list(primary_key)
    order = pl.col(REPLACED_IN)
    # The present row is the last version of each key.
    last = present.join(replaced.select(keys).unique(), on=keys, how="semi").with_columns(
        pl.lit(None, pl.Int64).alias(REPLACED_IN)
    )
    versions = pl.concat(
        [replaced.join(last.select(keys), on=keys, how="semi").cast({REPLACED_IN: pl.Int64}), last], how="diagonal"
    ).sort([*keys, REPLACED_IN], nulls_last=True)
    untils, lasting = [], []
    for known_at in known_ats:
        # `max_horizontal` passes over what is missing: a missing moment has to stay missing.
        moment = pl.when(
            pl.all_horizontal(pl.lit(value=True), *(pl.col(name).is_not_null() for name in known_at))
        ).then(pl.max_horizontal(micros(event_time), *(micros(name) for name in known_at)))
        follower = moment.shift(-1).over(keys)
        withdrawn = pl.when(order.is_not_null()).then(follower.fill_null(micros(REPLACED_AT)))
        untils.append(withdrawn.cum_min(reverse=True).over(keys).alias(until_name(known_at)))
        lasting.append(pl.col(until_name(known_at)) > moment)
    versions = versions.with_columns(untils).filter(order.is_not_null())
    return versions.filter(pl.any_horizontal(lasting))
