"""Use case: the values of views for entities at a time, from the online store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from services.features.domain.entity import entity_texts
from services.features.domain.lookup import STATUSES, Status, look_up
from services.features.domain.model import EntityKeys
from services.features.domain.plan import EntityColumn, Plan
from services.features.domain.ports import Meter, OnlineStore, Views
from tenon.core.errors import Invalid, Place, TooLarge, Unavailable, did_you_mean
from tenon.core.tenancy import TenantId
from tenon.windows.program import NOTHING_KNOWN, Answer

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


@dataclass(frozen=True, slots=True)
class ViewColumns:
    """One view's answer in columns, as it came from the kernel."""

    plan: Plan
    newest_event: int | None
    answer: Answer


class LookUpOnline:
    """Answers from one round trip to the store; the database is asked only when a view is not there."""

    def __init__(self, online: OnlineStore, views: Views, meter: Meter) -> None:
        self._online, self._views, self._meter = online, views, meter

    def look_up(self, tenant: TenantId, views: Sequence[str], rows: Sequence[EntityKeys]) -> OnlineAnswer:
        """The values of the views for each row. Raises `NotFound`, `Invalid`, or `Unavailable` when the store cannot
        be reached or a view is not built yet."""
        found = self.look_up_columns(tenant, views, rows)
        answers = [RowValues([], [], []) for _ in rows]
        for view in found:
            of_it = view.answer
            columns = of_it.values.T.tolist(), of_it.statuses.T.tolist(), of_it.known.tolist()
            for answer, values, statuses, known in zip(answers, *columns, strict=True):
                answer.values.extend(values)
                answer.statuses.extend(STATUSES[status] for status in statuses)
                answer.known_until.append(None if known == NOTHING_KNOWN else known)
        return OnlineAnswer(
            [feature.reference for view in found for feature in view.plan.features],
            answers,
            [view.newest_event for view in found],
        )

    def look_up_columns(
        self, tenant: TenantId, views: Sequence[str], rows: Sequence[EntityKeys]
    ) -> list[ViewColumns]:  # fmt: skip
        """The same in columns, a view after the other."""
        began = perf_counter()
        _check_request(views, rows)
        texts: dict[str, list[str | None]] = {}
        # Views of the same entity have the same texts.
        by_columns: dict[tuple[EntityColumn, ...], list[str | None]] = {}

        def entities(plan: Plan) -> Iterator[str]:
            if (found := by_columns.get(plan.entity)) is None:
                found = by_columns[plan.entity] = entity_texts(plan.entity, [row.keys for row in rows])
            texts[plan.view] = found
            return (text for text in found if text is not None)

        served = self._online.serve(tenant, views, entities)
        found = []
        for name in views:
            view = served[name]
            if view is None:
                self._views.get(tenant, name)
                raise Unavailable(
                    "VIEW_NOT_BUILT",
                    f"the online values of view {name!r} are being built",
                    place=Place(field="views"),
                    hint="ask again in a few seconds",
                )
            found.append(view)
        _check_keys([view.plan for view in found], rows)
        answers = []
        at = np.array([row.at for row in rows], np.int64)
        for view in found:
            blobs = [b"" if text is None else view.blobs.get(text) for text in texts[view.plan.view]]
            answers.append(ViewColumns(view.plan, view.state.newest_event, look_up(view.plan, blobs, at)))
        self._meter.looked_up(len(rows), perf_counter() - began)
        return answers


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
