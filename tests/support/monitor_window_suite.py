"""What monitor's windows must do: whatever was counted as rows came in is what counting the rows themselves gives."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.kept.buckets import DAY, HOUR, Axis
from services.monitor.domain.kept.segment import segment_of
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import PredictionBatch, Role, Window
from tenon.core.manifest import CategoricalBaseline, NumericBaseline
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import START, batch_document, categorical_baseline, manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryLog, MemoryWindows

if TYPE_CHECKING:
    from services.monitor.domain.kept.counted import Counted
    from tests.support.monitor_storage_suite import Store

NORTH = TenantId("north")
ALWAYS = Window(0, 2**60)
AXES: tuple[Axis, ...] = ("at", "event_time")
BASELINE = np.linspace(0, 1, 50)
SPANS = st.sampled_from([HOUR // 7, HOUR, 5 * HOUR, 9 * DAY, 200 * DAY, 3_000 * DAY])


def plain(counted: list[Counted]) -> list[Any]:
    """What can be compared of windows."""
    return [
        (one.version, one.role, one.rows, one.levels, None if one.sketch is None else one.sketch.counts.tolist())
        for one in counted
    ]


def some_batch(rng: np.random.Generator, number: int, span: int) -> PredictionBatch:
    """Rows whose answers spread over a span, and whose events spread over ten times as much."""
    rows = int(rng.integers(1, 30))
    document = batch_document(
        rng.random(rows), {"x": rng.random(rows), "kind": rng.choice(["a", "b", "z"], rows).tolist()},
        batch_id=f"b{number}", version=1 + int(rng.integers(2)), role=str(rng.choice(["stable", "shadow"])),
    )  # fmt: skip
    first = START + int(rng.integers(20 * HOUR))
    document["at"] = (first + rng.integers(0, span, rows)).tolist()
    document["event_time"] = (first - rng.integers(0, 10 * span, rows)).tolist()
    document["level"] = str(rng.choice(["", "fresh", "prior"]))
    return batch_from_document(document)


def know_versions(store: Store) -> None:
    """Both versions have a training baseline."""
    columns: dict[str, NumericBaseline | CategoricalBaseline] = {
        "x": numeric_baseline(BASELINE),
        "kind": categorical_baseline(["a", "b"] * 10),
    }
    for version in (1, 2):
        store.versions.manifests[version] = manifest(columns, numeric_baseline(BASELINE))


class WindowSuite:
    """Subclasses give a fixture `store`."""

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        seed=st.integers(0, 2**32), spans=st.lists(SPANS, min_size=1, max_size=6), by=st.sampled_from(["at", "event_time"]),
        ends=st.tuples(st.integers(-40 * DAY, 9 * DAY), st.integers(-40 * DAY, 9 * DAY)),
    )  # fmt: skip
    def test_windows_are_what_counting_the_rows_gives(
        self, store: Store, seed: int, spans: list[int], by: Any, ends: tuple[int, int]
    ) -> None:
        """Batches of minutes and of years in any mixture, repeated ones too; windows cut anywhere; registry away for a while."""
        store.clear()
        rng = np.random.default_rng(seed)
        batches = [some_batch(rng, number, span) for number, span in enumerate(spans)]
        log = MemoryLog()
        know_versions(store)
        store.versions.down = bool(rng.integers(2))
        for place in range(0, len(batches), 2):
            again = batches[: int(rng.integers(place + 1))]
            store.take([segment_of(batch) for batch in [*again, *batches[place : place + 2]]])
            store.versions.down = False
        store.clock[0] += 100
        late = rng.integers(2)
        for batch in batches:
            log.store(NORTH, batch)
        expected = MemoryWindows(log, store.versions)
        for window in (
            ALWAYS,
            Window(-ALWAYS.end, ALWAYS.end, by),
            Window(START + min(ends), START + max(ends) + 1, by),
        ):
            if late:
                store.sketch_later()
            assert plain(store.windows.counted(NORTH, "cost", window)) == plain(expected.counted(NORTH, "cost", window))
            assert store.log.traffic(NORTH, "cost", window) == log.traffic(NORTH, "cost", window)
            assert store.log.levels(NORTH, "cost", window) == log.levels(NORTH, "cost", window)
        assert store.sketch_later() == 0 or not late

    def test_a_series_adds_up_to_the_total(self, store: Store) -> None:
        """Hours of three days, by day: as many rows and counts as the total has, each version and role apart."""
        store.clear()
        know_versions(store)
        rng = np.random.default_rng(5)
        for number in range(40):
            store.take([segment_of(some_batch(rng, number, HOUR))])
        window = Window(START - DAY, START + 3 * DAY)
        series = store.windows.counted(NORTH, "cost", window, step=6 * HOUR, version=1, roles=[Role.STABLE])
        (total,) = store.windows.counted(NORTH, "cost", window, version=1, roles=[Role.STABLE])
        assert len(series) > 2
        assert all(one.start % (6 * HOUR) == 0 and one.end - one.start == 6 * HOUR for one in series)
        assert sum(one.rows for one in series) == total.rows
        assert total.sketch is not None
        assert (
            np.sum([one.sketch.counts for one in series if one.sketch], axis=0).tolist() == total.sketch.counts.tolist()
        )

    def test_several_takers_count_each_row_once(self, store: Store) -> None:
        """Four at once on the same batches, cut differently each time: rows, windows and the log agree."""
        store.clear()
        know_versions(store)
        rng = np.random.default_rng(7)
        batches = [some_batch(rng, number, 5 * HOUR) for number in range(24)]

        def take_some(seed: int) -> int:
            mine = random.Random(seed).sample(batches, k=len(batches))
            return sum(store.take([segment_of(batch) for batch in mine[at : at + 5]]) for at in range(0, len(mine), 5))

        with ThreadPoolExecutor(4) as pool:
            taken = sum(pool.map(take_some, range(4)))
        rows = sum(len(batch) for batch in batches)
        assert taken == rows == sum(len(segment) for segment in store.taken)
        for by in ("at", "event_time"):
            counted = store.windows.counted(NORTH, "cost", Window(-ALWAYS.end, ALWAYS.end, by))
            assert sum(one.rows for one in counted) == rows
        found = [rows for version in (1, 2) for rows in store.log.rows(NORTH, "cost", ALWAYS, version, [])]
        seen = store.log.seen_model(NORTH, "cost")
        assert seen is not None
        assert seen.predictions == rows
        assert sum(len(one.score) for one in found) == sum(len(b) for b in batches if b.level != "prior")

    def test_takers_of_many_models_count_each_row_once(self, store: Store) -> None:
        """Four at once on batches of six tenants, of hours and of years in one transaction: no circle, and each tenant's rows once."""
        store.clear()
        know_versions(store)
        rng = np.random.default_rng(9)
        tenants = [TenantId(f"t{place}") for place in range(6)]
        spans = (HOUR, 9 * DAY, 3_000 * DAY)
        batches = [
            replace(some_batch(rng, number, spans[number % 3]), tenant=tenants[number % 5 * number % 6])
            for number in range(36)
        ]

        def take_some(seed: int) -> int:
            mine = random.Random(seed).sample(batches, k=len(batches))
            return sum(store.take([segment_of(one) for one in mine[at : at + 9]]) for at in range(0, len(mine), 9))

        with ThreadPoolExecutor(4) as pool:
            taken = sum(pool.map(take_some, range(4)))
        assert taken == sum(len(batch) for batch in batches)
        log = MemoryLog()
        for batch in batches:
            log.store(batch.tenant, batch)
        expected = MemoryWindows(log, store.versions)
        for tenant in tenants:
            for by in AXES:
                whole = Window(-ALWAYS.end, ALWAYS.end, by)
                assert plain(store.windows.counted(tenant, "cost", whole)) == plain(
                    expected.counted(tenant, "cost", whole)
                )
            assert store.log.traffic(tenant, "cost", ALWAYS) == log.traffic(tenant, "cost", ALWAYS)

    def test_statements_are_as_many_for_fifty_models_as_for_one(self, store: Store) -> None:
        """What many small tenants cost is not by statements: a database on a network is asked as often for one as for all."""
        store.clear()
        know_versions(store)
        rng = np.random.default_rng(3)
        asked: list[str] = []

        def note(_c: object, _u: object, statement: str, *_: object) -> None:
            # SQLite, which is on no network, gives numbers in order only one by one.
            if store.database.engine.dialect.name != "sqlite" or not statement.startswith("INSERT INTO segments"):
                asked.append(statement)

        sa.event.listen(store.database.engine, "before_cursor_execute", note)
        try:
            counts = []
            for tenants in (1, 50):
                for _ in range(2):
                    documents = [
                        batch_document(rng.random(3), {"x": rng.random(3)}, tenant=f"t{tenants}x{place}")
                        for place in range(tenants)
                    ]
                    asked.clear()
                    store.take([segment_of(batch_from_document(one)) for one in documents])
                counts.append(len(asked))
        finally:
            sa.event.remove(store.database.engine, "before_cursor_execute", note)
        assert counts[0] == counts[1] <= 12

    def test_a_series_knows_when_its_events_were(self, store: Store) -> None:
        """First and last time of events stand beside those of answers."""
        store.clear()
        for at, event_time in ((START, START - DAY), (START + 5, START - 9 * DAY)):
            store.take(
                [segment_of(batch_from_document(batch_document(np.array([0.5]), {}, at=at, event_time=event_time)))]
            )
        seen = store.log.seen_model(NORTH, "cost")
        assert seen is not None
        (series,) = seen.series
        assert (series.first_event, series.last_event) == (START - 9 * DAY, START - DAY)

    @pytest.mark.parametrize("rows", [3, 400])
    def test_rows_come_back_as_they_were(self, store: Store, rows: int) -> None:
        """Numbers, texts, missing ones and ids of both kinds; few rows and many are kept in different forms."""
        store.clear()
        score = np.linspace(0, 1, rows)
        kinds = [None if row % 3 == 0 else f"k{row % 5}" for row in range(rows)]
        ids = [f"order {row}" if row % 2 else f"00000000-0000-7000-8000-{row:012x}" for row in range(rows)]
        x = np.where(np.arange(rows) % 4 == 1, np.nan, np.arange(rows))
        batch = batch_from_document(batch_document(score, {"x": x, "kind": kinds}, ids=ids))
        store.take([segment_of(batch)])
        (found,) = store.log.rows(NORTH, "cost", ALWAYS, 1, [])
        columns: dict[str, Any] = found.columns
        np.testing.assert_array_equal(found.score, score)
        np.testing.assert_array_equal(columns["x"].values, x)
        texts = [columns["kind"].levels[code] if code >= 0 else None for code in columns["kind"].codes]
        assert texts == kinds
        (answered,) = store.answered.answered(NORTH, "cost", ALWAYS)
        assert list(answered.prediction_ids) == ids
        (one,) = store.answered.answered(NORTH, "cost", ALWAYS, ids=[ids[1]])
        assert one.prediction_ids == (ids[1],)
        assert list(store.answered.answered(NORTH, "cost", ALWAYS, after=answered.position)) == []

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 2**32), spans=st.lists(SPANS, min_size=2, max_size=6))
    def test_windows_put_together_count_the_same(self, store: Store, seed: int, spans: list[int]) -> None:
        """Hours that became days and days that became four weeks: the same rows, levels and bins, also with rows that come later,
        with the log's rows and without them; windows side by side count every row once."""
        store.clear()
        know_versions(store)
        rng = np.random.default_rng(seed)
        for number, span in enumerate(spans):
            store.take([segment_of(some_batch(rng, number, span))])
        before = {by: plain(store.windows.counted(NORTH, "cost", Window(-(2**60), 2**60, by))) for by in AXES}
        cut = Window(START + 5 * HOUR, START + 40 * DAY)
        some = plain(store.windows.counted(NORTH, "cost", cut))
        store.compact(2**60, START)
        assert {by: plain(store.windows.counted(NORTH, "cost", Window(-(2**60), 2**60, by))) for by in AXES} == before
        assert plain(store.windows.counted(NORTH, "cost", cut)) == some
        store.archiving.forget(2**60, -(2**60), 0)
        store.compact(2**60, 2**60)
        assert store.compact(2**60, 2**60) == 0
        assert {by: plain(store.windows.counted(NORTH, "cost", Window(-(2**60), 2**60, by))) for by in AXES} == before
        total = sum(one[2] for one in before["at"])
        edges = [-(2**60), START + 3 * HOUR, START + 9 * DAY, START + 150 * DAY, 2**60]
        for by in AXES:
            parts = [Window(first, last, by) for first, last in itertools.pairwise(edges)]
            assert sum(one.rows for part in parts for one in store.windows.counted(NORTH, "cost", part)) == total
        store.take([segment_of(some_batch(rng, 99, HOUR))])
        (more,) = {
            sum(one.rows for one in store.windows.counted(NORTH, "cost", Window(-(2**60), 2**60, by))) for by in AXES
        }
        assert more > total
