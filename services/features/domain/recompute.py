"""Use case: values for entities and times computed anew from the lake, as a training set would have them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.features.domain.entity import entity_texts
from services.features.domain.frames import series_of, with_entity
from services.features.domain.lookup import look_up
from services.features.domain.model import AskedRows, EntityKeys, LakeTable, View
from services.features.domain.plan import Plan, compile_view
from services.features.domain.ports import Datasets, Lake, Views
from services.features.domain.read_events import read_events
from services.features.domain.texts import TextTable, numbers_of, text_places
from tenon.core.errors import Invalid, Place, TooLarge
from tenon.core.tenancy import TenantId
from tenon.windows.events import FloatArray, IntArray
from tenon.windows.held import HeldBlobs

MAX_ROWS = 1_000
MAX_VIEWS = 50
MAX_COMMITS = 10
NO_TABLE = -1


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Values by feature and row; NaN is missing. By view, the version of the table that was read. Of the features in
    `text_features`, the values are places in `texts`."""

    features: list[str]
    values: FloatArray
    table_versions: dict[str, int]
    text_features: list[int]
    texts: list[str]


class Recompute:
    """Reads the lake; one at a time, since each holds its columns in memory. What is believed at a row's time is what the
    kernel of training sets says, so a correction that became known later does not count."""

    def __init__(self, views: Views, datasets: Datasets, lake: Lake) -> None:
        self._views, self._datasets, self._lake = views, datasets, lake
        self._turn = threading.Lock()

    def __call__(
        self, tenant: TenantId, views: Sequence[str], rows: Sequence[EntityKeys], digests: Mapping[str, str], *,
        as_of: int | None = None, commits_before: int = 0,
    ) -> Recomputed:  # fmt: skip
        """The values of the views for each row, with the tables as they were at `as_of`, or so many commits before that.

        Raises `NotFound` for a view or a definition that is not there, `Invalid`, and `Unavailable` without the lake.
        """
        _check(views, rows, commits_before)
        features: list[str] = []
        values: list[FloatArray] = []
        versions: dict[str, int] = {}
        asked = AskedRows.of(rows)
        plans, table_of_texts = list[Plan](), TextTable()
        with self._turn:
            for name in views:
                digest = digests.get(name)
                view = (
                    self._views.get(tenant, name) if digest is None else self._views.with_digest(tenant, name, digest)
                )
                plan, table = self._opened(tenant, view, as_of, commits_before)
                versions[name] = NO_TABLE if table is None else table.version
                texts = entity_texts(plan.entity, asked)
                features += [feature.reference for feature in plan.features]
                values.append(self._values(plan, table, texts, asked.at, table_of_texts))
                plans.append(plan)
        return Recomputed(features, np.concatenate(values), versions, text_places(plans), table_of_texts.texts)

    def _opened(
        self, tenant: TenantId, view: View, as_of: int | None, commits_before: int
    ) -> tuple[Plan, LakeTable | None]:
        table = self._datasets.table(tenant, view.spec.dataset)
        spec = table.spec if table else self._datasets.definition(tenant, view.spec.dataset)
        plan = compile_view(view.spec, spec)
        if table is None or (as_of is None and not commits_before):
            return plan, table
        version = self._lake.version_at(table, as_of)
        wanted = version - commits_before
        return plan, replace(table, version=wanted) if wanted >= 0 else None

    def _values(
        self, plan: Plan, table: LakeTable | None, texts: Sequence[str | None], at: IntArray, told: TextTable
    ) -> FloatArray:
        if table is None:
            # Nobody was ever seen then.
            return look_up(
                plan, HeldBlobs.of([None]), np.array([-1 if text is None else 0 for text in texts], np.int64), at
            ).values
        names = sorted({text for text in texts if text is not None})
        places = {text: place for place, text in enumerate(names)}
        asked = np.array([-1 if text is None else places[text] for text in texts], np.int64)
        source = read_events(self._lake, table, [plan])
        entities = with_entity(source, plan.entity)
        kept = entities.is_in(names).fill_null(value=False)
        codes = np.array([places[text] for text in entities.filter(kept).to_list()], np.int64)
        return numbers_of(plan, series_of(plan, source.filter(kept), (codes, asked, len(names)), at), told)


def _check(views: Sequence[str], rows: Sequence[EntityKeys], commits_before: int) -> None:
    if not views:
        raise Invalid("VIEWS_MISSING", "name at least one view", place=Place(field="views"))
    if len(set(views)) < len(views):
        raise Invalid("VIEW_TWICE", "a view is named twice", place=Place(field="views"))
    if len(views) > MAX_VIEWS or len(rows) > MAX_ROWS:
        raise TooLarge(
            "LOOKUP_TOO_LARGE",
            f"{len(rows)} rows of {len(views)} views were asked; at most {MAX_ROWS} rows of {MAX_VIEWS} views are recomputed at once",
            hint="ask in several calls",
        )
    if commits_before > MAX_COMMITS:
        raise Invalid(
            "COMMITS_INVALID", f"at most {MAX_COMMITS} commits are gone back", place=Place(field="commits_before")
        )  # fmt: skip
