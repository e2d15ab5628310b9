"""Use case: the values of views for entities at a time, from the online store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, time_ns

import numpy as np

from services.features.domain.entity import entity_texts
from services.features.domain.lookup import STATUSES, Status, look_up
from services.features.domain.model import AskedRows, EntityKeys, View, pinned_name
from services.features.domain.plan import EntityColumn, Plan
from services.features.domain.ports import EntityNames, Meter, OnlineStore, ServedView, ViewsByName
from services.features.domain.texts import TextTable, place_texts, text_places
from tenon.core.errors import Invalid, Place, TooLarge, Unavailable, did_you_mean
from tenon.core.tenancy import TenantId
from tenon.windows.events import IntArray
from tenon.windows.pieces import ChunksGoneError
from tenon.windows.program import NOTHING_KNOWN, Answer

MAX_ROWS = 10_000
MAX_VIEWS = 50
_NOTED_EVERY = 60_000_000
_TOLD_EVERY = 300_000_000
_AGED_EVERY = 16
_REMEMBERED = 100_000
_TRIES = 4


@dataclass(frozen=True, slots=True)
class RowValues:
    """One row: values and statuses of all features, and for each view when its newest value that counts was known."""

    values: list[float]
    statuses: list[Status]
    known_until: list[int | None]


@dataclass(frozen=True, slots=True)
class OnlineAnswer:
    """References `view.feature` in the order of the views and their declarations, the rows, and for each view the newest
    event of any entity in its data (None: there is none). Of the features in `text_features`, the values are places in `texts`."""

    features: list[str]
    rows: list[RowValues]
    data_until: list[int | None]
    text_features: list[int]
    texts: list[str]


@dataclass(frozen=True, slots=True)
class ViewColumns:
    """One view's answer in columns. The values of text features are places in `texts`, which is that of the whole answer."""

    plan: Plan
    newest_event: int | None
    answer: Answer
    texts: TextTable


class LookUpOnline:
    """Answers from one round trip to the store, and one more for a view of whose entities some are in pieces; the database
    is asked only when a view is not there."""

    def __init__(
        self,
        online: OnlineStore,
        views: ViewsByName,
        meter: Meter,
        request_build: Callable[[TenantId, str], None] = lambda _tenant, _view: None,
        now: Callable[[], int] = lambda: time_ns() // 1000,
    ) -> None:
        self._online, self._views, self._meter, self._request_build = online, views, meter, request_build
        self._now = now
        # Two threads may count as one; nothing but the share of lookups whose age is measured hangs on it.
        self._count = 0
        # Whether a definition was last found under its own name, and when it was last noted that it is asked for.
        self._beside: dict[tuple[TenantId, str, str], bool] = {}
        self._noted: dict[tuple[TenantId, str, str], int] = {}
        self._told: dict[tuple[TenantId, str], int] = {}

    def look_up(
        self,
        tenant: TenantId,
        views: Sequence[str],
        rows: Sequence[EntityKeys],
        digests: Mapping[str, str] | None = None,
    ) -> OnlineAnswer:
        """The values of the views for each row, under the definitions with these digests, else the newest. Raises `NotFound`, `Invalid`, or `Unavailable` when the store cannot
        be reached or a view is not built yet."""
        return self.look_up_asked(tenant, views, AskedRows.of(rows), digests)

    def look_up_asked(
        self, tenant: TenantId, views: Sequence[str], rows: AskedRows, digests: Mapping[str, str] | None = None
    ) -> OnlineAnswer:
        """The same, of rows in columns."""
        found = self.look_up_columns(tenant, views, rows, digests)
        answers = [RowValues([], [], []) for _ in range(len(rows))]
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
            text_places([view.plan for view in found]),
            found[0].texts.texts,
        )

    def look_up_columns(
        self,
        tenant: TenantId,
        views: Sequence[str],
        rows: AskedRows,
        digests: Mapping[str, str] | None = None,
    ) -> list[ViewColumns]:
        """The same in columns, a view after the other."""
        began = perf_counter()
        _check_request(views, rows)
        # Views of the same entity ask for the same.
        by_columns: dict[tuple[EntityColumn, ...], tuple[list[str], IntArray]] = {}

        def entities(plan: Plan) -> list[str]:
            if (found := by_columns.get(plan.entity)) is None:
                found = by_columns[plan.entity] = _each_once(entity_texts(plan.entity, rows))
            return found[0]

        for number in range(_TRIES):
            names, found = self._served(tenant, views, digests, entities)
            if not number:
                _check_keys([view.plan for view in found], rows)
            answers, texts = list[ViewColumns](), TextTable()
            try:
                for view in found:
                    answers.append(_answer(view, rows, by_columns[view.plan.entity][1], texts))
                break
            except ChunksGoneError as err:
                # Somebody has written the entity between the two round trips; else it was no writer who took them.
                if number == _TRIES - 1:
                    self._note_damaged(tenant, views[len(answers)], names[len(answers)])
                    raise Unavailable(
                        "VIEW_CHANGING", "an entity's values are changing all the time; try again"
                    ) from err
            except Unavailable as err:
                if err.reason == "BLOB_CORRUPT":
                    self._note_damaged(tenant, views[len(answers)], names[len(answers)])
                raise
        self._meter.looked_up(len(rows), perf_counter() - began)
        self._count += 1
        if len(rows) and self._count % _AGED_EVERY == 0:
            for of_it in answers:
                if (known := int(of_it.answer.known[0])) != NOTHING_KNOWN:
                    self._meter.aged(tenant, of_it.plan.view, (int(rows.at[0]) - known) / 1e6)
        return answers

    def _served(
        self, tenant: TenantId, views: Sequence[str], digests: Mapping[str, str] | None, entities: EntityNames
    ) -> tuple[list[str], list[ServedView]]:
        """Each view's blobs, under the definition that is wanted, and the names under which they are."""
        names = list(views)
        if digests:
            names = [self._name(tenant, view, digests.get(view)) for view in views]
        served = self._online.serve(tenant, names, entities)
        if digests and (moved := self._moved(tenant, views, names, digests, served)):
            names = [moved.get(name, name) for name in names]
            served = self._online.serve(tenant, names, entities)
            self._moved(tenant, views, names, digests, served)
        found = []
        for view, name in zip(views, names, strict=True):
            of_it = served[name]
            digest = digests.get(view) if digests else None
            if of_it is None or (digest is not None and name == view and not of_it.state.answers(digest)):
                if digest is None:
                    self._views.get(tenant, view)
                else:
                    self._views.with_digest(tenant, view, digest)
                    self._noted.pop((tenant, view, digest), None)
                    self._note(tenant, view, digest)
                self._request_build(tenant, view)
                raise Unavailable(
                    "VIEW_NOT_BUILT",
                    f"the online values of view {view!r} are being built",
                    place=Place(field="views"),
                    hint="ask again in a few seconds",
                )
            if digest is not None:
                self._note(tenant, view, digest)
            found.append(of_it)
        return names, found

    def _name(self, tenant: TenantId, view: str, digest: str | None) -> str:
        beside = digest is not None and self._beside.get((tenant, view, digest), False)
        return pinned_name(view, digest) if beside and digest is not None else view

    def _moved(
        self, tenant: TenantId, views: Sequence[str], names: Sequence[str], digests: Mapping[str, str],
        served: Mapping[str, ServedView | None],
    ) -> dict[str, str]:  # fmt: skip
        """Names under which a definition was not found, with the other one under which it may be."""
        moved = {}
        for view, name in zip(views, names, strict=True):
            digest, of_it = digests.get(view), served[name]
            if digest is None or (of_it is not None and of_it.state.answers(digest)):
                continue
            beside = name == view
            if len(self._beside) > _REMEMBERED:
                self._beside.clear()
            self._beside[tenant, view, digest] = beside
            moved[name] = pinned_name(view, digest) if beside else view
        return moved

    def _note_damaged(self, tenant: TenantId, view: str, name: str) -> None:
        """See to it that the view is built whole, unless that was asked for a moment ago."""
        now = self._now()
        if now - self._told.get((tenant, name), 0) >= _TOLD_EVERY:
            self._told[tenant, name] = now
            self._online.note_damaged(tenant, name)
            self._request_build(tenant, view)

    def _note(self, tenant: TenantId, view: str, digest: str) -> None:
        """Say that the definition is in use, so that it is kept."""
        now = self._now()
        if now - self._noted.get((tenant, view, digest), 0) < _NOTED_EVERY:
            return
        if len(self._noted) > _REMEMBERED:
            self._noted.clear()
        self._online.note_asked(tenant, view, digest, now)
        self._noted[tenant, view, digest] = now


def _answer(view: ServedView, rows: AskedRows, asked: IntArray, texts: TextTable) -> ViewColumns:
    answer = look_up(view.plan, view.blobs, asked, rows.at, view.state.horizon, view.chunks)
    place_texts(view.plan, answer, view.blobs, asked, texts)
    return ViewColumns(view.plan, view.state.newest_event, answer, texts)


def _each_once(texts: list[str | None]) -> tuple[list[str], IntArray]:
    """The different texts, and which of them each row asks for (-1: none)."""
    places = dict.fromkeys(texts)
    places.pop(None, None)
    names = [name for name in places if name is not None]
    if len(names) == len(texts):
        return names, np.arange(len(names))
    index: dict[str | None, int] = {name: place for place, name in enumerate(names)}
    return names, np.array([index.get(text, -1) for text in texts], np.int64)


class NoViews:
    """Stands for the views where nobody may wait for a database: what is not online cannot be told."""

    def get(self, tenant: TenantId, name: str) -> View:
        """See `ports.ViewsByName`."""
        raise Unavailable("VIEW_NOT_BUILT", f"the online values of view {name!r} of {tenant} are not there")

    def with_digest(self, tenant: TenantId, name: str, digest: str) -> View:  # noqa: ARG002 - none is there
        """See `ports.ViewsByName`."""
        return self.get(tenant, name)


def _check_request(views: Sequence[str], rows: AskedRows) -> None:
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


def _check_keys(plans: Sequence[Plan], rows: AskedRows) -> None:
    """A key that no view knows is refused: a misspelt one would silently mean a missing history."""
    known = {column.name for plan in plans for column in plan.entity}
    if known.issuperset(rows.keys):
        return
    name = min(set(rows.keys) - known)
    index = next((index for index, text in enumerate(rows.keys[name]) if text is not None), 0)
    near = did_you_mean(name, known)
    raise Invalid(
        "ENTITY_KEY_UNKNOWN",
        f"rows.{index}.keys: {name[:80]!r} identifies no entity of these views",
        place=Place(field=f"rows.{index}.keys.{name[:80]}"),
        hint=f"did you mean `{near}`?" if near else f"the keys are: {', '.join(sorted(known))}",
    )
