"""Use case: fresh events, pushed past the lake straight to the online store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.features.domain.known_keys import KnownKeys
from services.features.domain.model import LakeTable, pinned_name
from services.features.domain.pending import Rows, blobs_of_pushed, entities_of_pushed, known_rows
from services.features.domain.plan import Plan
from services.features.domain.ports import Datasets, Meter, OnlineStore, PushedRows, Views
from services.features.domain.pushed_lately import HELD, Given, PushedLately
from services.features.domain.read_pushed import read_rows, stored_row
from tenon.core.errors import Invalid, Kind, Place, TenonError, TooLarge, Unavailable
from tenon.core.specs import DatasetSpec
from tenon.core.tenancy import TenantId
from tenon.windows.blob import EntityBlob

MAX_ROWS = 1000
"""Rows of one push."""
MAX_ROW_BYTES = 16 << 10
MOST_PENDING = 100_000
"""Rows of one data set that were pushed and have not come with a commit."""
KEEP = 3 * 86_400_000_000
"""How long a pushed row waits for its commit."""
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Pushed:
    """How many rows are online now, how many the table had already, and the views that show them."""

    accepted: int
    known: int
    views: list[str]


class PushEvents:
    """A pushed row counts as a row that the next commit adds: at once, and until the table has a row of its key, which
    then stands in its place. Pushing a row again, before or after its commit, changes nothing."""

    def __init__(
        self, views: Views, datasets: Datasets, online: OnlineStore, pushed: PushedRows, known: KnownKeys,
        meter: Meter, now: Callable[[], int], *, most: int = MOST_PENDING, keep: int = KEEP,
    ) -> None:  # fmt: skip
        self._views, self._datasets, self._online, self._pushed, self._known = views, datasets, online, pushed, known
        self._meter, self._now, self._most, self._keep = meter, now, most, keep
        self._lately = PushedLately(most)
        # As it was seen last: where another one answers by now, what is pushed is given once more than it need be.
        self._run = ""

    def push(self, tenant: TenantId, dataset: str, rows: Sequence[Mapping[str, Any]]) -> Pushed:
        """Take all of the rows, or none. Raises `Invalid` naming the row and column, `NotFound`, `TooLarge`,
        `RateLimited` while too many rows wait for their commit, and `Unavailable`."""
        if len(rows) > MAX_ROWS:
            raise TooLarge("PUSH_TOO_LARGE", f"{len(rows)} rows were pushed; at most {MAX_ROWS} go at once",
                           hint="push in several calls, or ingest a file")  # fmt: skip
        spec, table = self._contract(tenant, dataset)
        names = self._names(tenant, dataset)
        if not names:
            raise Invalid("PUSH_WITHOUT_VIEW", f"no feature view is made of data set {dataset!r}",
                          place=Place(field="dataset"), hint="apply a feature view first")  # fmt: skip
        now, run = self._now(), self._run or self._pushed.run()
        read = {row.key: row.to_bytes(now, table.version if table else -1) for row in read_rows(spec, rows)}
        if max(map(len, read.values()), default=0) > MAX_ROW_BYTES:
            raise TooLarge("PUSH_TOO_LARGE", f"a row is longer than {MAX_ROW_BYTES >> 10} KiB of JSON")
        known = known_rows(self._known, spec, table, read)
        fresh = {key: row for key, row in read.items() if key not in known}
        if fresh:
            # Before the rows are put, so that the places of earlier ones of the same keys are known.
            before = self._pushed.get(tenant, dataset, list(fresh))
            self._pushed.put(tenant, dataset, fresh, self._most)
            self._show(tenant, dataset, spec, table, (before, fresh))
            self._lately.note(Given(run, now, tenant, dataset, fresh))
            self._meter.pushed(tenant, dataset, len(fresh))
        return Pushed(len(fresh), len(known), names)

    def withdraw(self, tenant: TenantId, dataset: str, column: str, value: str) -> int:
        """Take back the pushed rows whose column has this value, as for a person whose data are to be erased."""
        spec, table = self._contract(tenant, dataset)
        if column not in spec.columns:
            raise Invalid(
                "COLUMN_UNKNOWN", f"data set {dataset!r} has no column {column[:80]!r}", place=Place(field=column[:80])
            )
        rows, run = self._pushed.all(tenant, dataset), self._run or self._pushed.run()
        gone = {key: data for key, data in rows.items() if _text(stored_row(data)[1].get(column)) == value}
        if gone:
            self._lately.forget(tenant, dataset, gone.keys())
            self._pushed.remove(tenant, dataset, gone)
            self._show(tenant, dataset, spec, table, (gone,))
            self._lately.note(Given(run, self._now(), tenant, dataset, gone, gone=True))
        return len(gone)

    def push_again(self) -> int:
        """Where another run of Redis answers than the one that took them, give it again what this replica pushed and withdrew
        in the last seconds; gives how many rows. Raises `Unavailable`; then once more."""
        self._run = run = self._pushed.run()
        rows = 0
        for given in self._lately.of_others(run, self._now() - HELD):
            try:
                self._give(given)
            except TenonError as err:
                if err.kind in (Kind.UNAVAILABLE, Kind.DEADLINE, Kind.RATE_LIMITED):
                    raise
                # Its data set or its views are gone.
            self._lately.done(given, run, self._now())
            rows += len(given.rows)
        return rows

    def _give(self, given: Given) -> None:
        tenant, dataset = given.tenant, given.dataset
        spec, table = self._contract(tenant, dataset)
        held = self._pushed.get(tenant, dataset, list(given.rows))
        if given.gone:
            rows = {key: data for key, data in given.rows.items() if held.get(key) == data}
            self._pushed.remove(tenant, dataset, rows)
        else:
            known = known_rows(self._known, spec, table, given.rows)
            rows = {key: data for key, data in given.rows.items() if key not in known}
            # What is there may have been pushed later.
            missing = {key: data for key, data in rows.items() if key not in held}
            if missing:
                self._pushed.put(tenant, dataset, missing, self._most)
        if rows:
            self._show(tenant, dataset, spec, table, (rows,))

    def settle(self, tenant: TenantId, dataset: str) -> int:
        """Forget the rows that every view has from the table by now, and those whose commit did not come in time; gives
        how many still wait."""
        rows = self._pushed.all(tenant, dataset)
        if not rows:
            return 0
        spec, table = self._contract(tenant, dataset)
        version, uri = (table.version, table.uri) if table else (-1, "")
        late = {key for key, data in rows.items() if stored_row(data)[0] < self._now() - self._keep}
        states = [self._online.state(tenant, name) for name in self._names(tenant, dataset)]
        behind = any(state is not None and (state.table_uri, state.table_version) != (uri, version) for state in states)
        settled = late if behind else late | known_rows(self._known, spec, table, rows)
        gone = {key: data for key, data in rows.items() if key in settled}
        if gone:
            names = self._names(tenant, dataset)
            of_rows = _entities(gone)
            if not all(self._online.lay_over(tenant, n, version, frozenset(gone), of_rows, _nothing) for n in names):
                # The table has grown meanwhile; the next look will do.
                return len(rows)
            self._pushed.remove(tenant, dataset, gone)
        return len(rows) - len(gone)

    def _show(
        self, tenant: TenantId, dataset: str, spec: DatasetSpec, table: LakeTable | None, rows: tuple[Rows, ...]
    ) -> None:  # fmt: skip
        """Bring the entities of the rows to what is now kept under their keys."""
        keys = {key for some in rows for key in some}
        for _ in range(_TRIES):
            version = table.version if table else -1

            wanted = frozenset(keys)

            def events(plan: Plan, wanted: frozenset[int] = wanted) -> dict[str, EntityBlob]:
                kept = self._pushed.get(tenant, dataset, sorted(wanted))
                return {blob.entity: blob for blob in blobs_of_pushed(plan, kept, table_version=-1, horizon=0)}

            done = [
                self._online.lay_over(tenant, name, version, wanted, _entities(*rows), events)
                for name in self._names(tenant, dataset)
            ]
            if all(done):
                return
            # The table has grown meanwhile: what it has by now is the builder's to settle.
            spec, table = self._contract(tenant, dataset)
            keys -= known_rows(self._known, spec, table, {key: row for some in rows for key, row in some.items()})
        raise Unavailable("VIEW_CHANGING", "the views of this data set are changing right now; push again")

    def _contract(self, tenant: TenantId, dataset: str) -> tuple[DatasetSpec, LakeTable | None]:
        table = self._datasets.table(tenant, dataset)
        return (table.spec if table else self._datasets.definition(tenant, dataset)), table

    def _names(self, tenant: TenantId, dataset: str) -> list[str]:
        names = []
        for view in self._views.list(tenant):
            if view.spec.dataset == dataset:
                names.append(view.name)
                names += [pinned_name(view.name, digest) for digest in self._online.asked(tenant, view.name)]
        return names


def _entities(*rows: Rows) -> Callable[[Plan], Iterable[str]]:
    return lambda plan: sorted({entity for some in rows for entity in entities_of_pushed(plan, some)})


def _nothing(_plan: Plan) -> dict[str, EntityBlob]:
    return {}


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
