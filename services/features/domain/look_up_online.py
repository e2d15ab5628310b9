"""Use case: the values of views for entities at a time, from the online store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from services.features.domain.entity import entity_text
from services.features.domain.lookup import STATUSES, Lookup, Status, look_up
from services.features.domain.model import EntityKeys
from services.features.domain.plan import Plan
from services.features.domain.ports import Meter, OnlineStore, Views
from tenon.core.errors import Invalid, Place, TooLarge, Unavailable, did_you_mean
from tenon.core.tenancy import TenantId
from tenon.windows.program import NOTHING_KNOWN

MAX_ROWS = 10_000
MAX_VIEWS = 50


@dataclass(frozen=True, slots=True)
class RowValues:
    """One row: values and statuses of all features, and for each view when its newest value that counts was known."""

    values: list[float]
    statuses: list[Status]
    known_until: list[int | None]


@dataclass(frozen=True, slots=True)
class OnlineAnswer:
    """References `view.feature` in the order of the views and their declarations, the rows, and for each view the newest
    event of any entity in its data (None: there is none)."""

    features: list[str]
    rows: list[RowValues]
    data_until: list[int | None]


class LookUpOnline:
    """Answers from one round trip to the store; the database is asked only when a view is not there."""

    def __init__(self, online: OnlineStore, views: Views, meter: Meter) -> None:
        self._online, self._views, self._meter = online, views, meter

    def look_up(self, tenant: TenantId, views: Sequence[str], rows: Sequence[EntityKeys]) -> OnlineAnswer:
        """The values of the views for each row. Raises `NotFound`, `Invalid`, or `Unavailable` when the store cannot
        be reached or a view is not built yet."""
        began = perf_counter()
        _check_request(views, rows)
        served = self._online.serve(tenant, views, lambda plan: _entities(plan, rows))
        for name in views:
            if served[name] is None:
                self._views.get(tenant, name)
                raise Unavailable(
                    "VIEW_NOT_BUILT",
                    f"the online values of view {name!r} are being built",
                    place=Place(field="views"),
                    hint="ask again in a few seconds",
                )
        found = [view for name in views if (view := served[name]) is not None]
        _check_keys([view.plan for view in found], rows)
        answers = [RowValues([], [], []) for _ in rows]
        for view in found:
            lookups = []
            for index, row in enumerate(rows):
                entity = entity_text(view.plan.entity, row.keys, f"rows.{index}")
                lookups.append(Lookup(entity, view.blobs.get(entity) if entity is not None else None, row.at))
            found_of = look_up(view.plan, lookups)
            columns = found_of.values.T.tolist(), found_of.statuses.T.tolist(), found_of.known.tolist()
            for answer, values, statuses, known in zip(answers, *columns, strict=True):
                answer.values.extend(values)
                answer.statuses.extend(STATUSES[status] for status in statuses)
                answer.known_until.append(None if known == NOTHING_KNOWN else known)
        self._meter.looked_up(len(rows), perf_counter() - began)
        return OnlineAnswer(
            [feature.reference for view in found for feature in view.plan.features],
            answers,
            [view.state.newest_event for view in found],
        )


def _entities(plan: Plan, rows: Sequence[EntityKeys]) -> Iterator[str]:
    for index, row in enumerate(rows):
        entity = entity_text(plan.entity, row.keys, f"rows.{index}")
        if entity is not None:
            yield entity


def _check_request(views: Sequence[str], rows: Sequence[EntityKeys]) -> None:
    if not views:
        raise Invalid("VIEWS_MISSING", "name at least one view", place=Place(field="views"))
    if len(set(views)) < len(views):
        raise Invalid("VIEW_TWICE", "a view is named twice", place=Place(field="views"))
    if len(views) > MAX_VIEWS or len(rows) > MAX_ROWS:
        raise TooLarge(
            "LOOKUP_TOO_LARGE",
            f"{len(rows)} rows of {len(views)} views were asked; at most {MAX_ROWS} rows of {MAX_VIEWS} views go at once",
            hint="ask in several calls",
        )


def _check_keys(plans: Sequence[Plan], rows: Sequence[EntityKeys]) -> None:
    """A key that no view knows is refused: a misspelt one would silently mean a missing history."""
    known = {column.name for plan in plans for column in plan.entity}
    for index, row in enumerate(rows):
        unknown = row.keys.keys() - known
        if unknown:
            name = min(unknown)
            near = did_you_mean(name, known)
            raise Invalid(
                "ENTITY_KEY_UNKNOWN",
                f"rows.{index}.keys: {name[:80]!r} identifies no entity of these views",
                place=Place(field=f"rows.{index}.keys.{name[:80]}"),
                hint=f"did you mean `{near}`?" if near else f"the keys are: {', '.join(sorted(known))}",
            )
