"""What monitor's storage must do: run on SQLite (unit) and on PostgreSQL (integration)."""

from __future__ import annotations

import random
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.kept.segment import Segment
from services.monitor.domain.log.layouts import Layouts
from services.monitor.domain.log.operations import BUCKET
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.log.sketch_later import SketchLater
from services.monitor.domain.log.take import TakePredictions
from services.monitor.domain.model import Drift, Label, Quality, Role, VerdictRecord, Window
from services.monitor.domain.skew.words import SkewCheck, SkewedFeature, SkewResult
from services.monitor.storage.labels.by_prediction import SqlLabels
from services.monitor.storage.labels.lookup import SqlLabelLookup
from services.monitor.storage.log.answered import SqlAnswered
from services.monitor.storage.log.archiving import Archiving
from services.monitor.storage.log.erasure import SqlErasure
from services.monitor.storage.log.read import SqlPredictionLog
from services.monitor.storage.log.take import SqlSegments
from services.monitor.storage.log.unsketched import SqlUnsketched
from services.monitor.storage.models import ModelIds
from services.monitor.storage.operations.operations import SqlCanaryVerdicts, SqlOperations
from services.monitor.storage.policies import SqlPolicies
from services.monitor.storage.segments.archive import Archive
from services.monitor.storage.skew import SqlSkewChecks
from services.monitor.storage.tables import metadata
from services.monitor.storage.verdicts import SqlManifests, SqlVerdicts
from services.monitor.storage.windows.compact import Compacting
from services.monitor.storage.windows.serve import SqlWindows
from tenon.core.errors import NotFound
from tenon.core.operations import LATENCY_BOUNDS, Operations, OperationsRecord
from tenon.core.specs import MonitorSpec, parse_spec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tenon.kit.sql import Database, migrate
from tests.support.monitor_archive_suite import ArchiveSuite
from tests.support.monitor_data import START, batch_document
from tests.support.monitor_fakes import MemoryVersions
from tests.support.monitor_window_suite import WindowSuite

NORTH, SOUTH = TenantId("north"), TenantId("south")
ALWAYS = Window(0, 2**60)


class Store:
    """The log and its labels on a database made by the migrations."""

    def __init__(self, url: str) -> None:
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.database = Database(url)
        migrate(self.database, "services.monitor.migrations")
        self._open()

    def _open(self) -> None:
        ids = ModelIds()
        if self.folder is not None:
            self.folder.cleanup()
        self.folder = tempfile.TemporaryDirectory(prefix="tenon-archive-")
        self.archive = archive = Archive(open_blobs(f"file://{self.folder.name}"))
        self.archiving, self.erasure = Archiving(self.database, archive), SqlErasure(self.database, ids, archive)
        self.log, self.labels = SqlPredictionLog(self.database, ids, archive), SqlLabels(self.database, ids, archive)
        self.verdicts, self.manifests = SqlVerdicts(self.database, ids), SqlManifests(self.database, ids)
        self.answered = SqlAnswered(self.database, ids, archive)
        self.policies = SqlPolicies(self.database)
        self.operations, self.canaries = SqlOperations(self.database), SqlCanaryVerdicts(self.database)
        self.skew = SqlSkewChecks(self.database, ids)
        self.versions, self.clock = MemoryVersions(), [0.0]
        layouts = Layouts(self.versions, lambda: self.clock[0])
        self.windows = SqlWindows(self.database, ids, layouts, archive)
        self.compact = Compacting(self.database, layouts)
        self.segments = SqlSegments(self.database, ids)
        self.taken: list[Segment] = []
        self.take = TakePredictions(self.segments, layouts, self.taken.append)
        self.sketch_later = SketchLater(SqlUnsketched(self.database, ids, archive), layouts)
        self.label_lookup = SqlLabelLookup(self.database, ids)

    def clear(self) -> None:
        """Forget everything."""
        with self.database.session() as session:
            for table in reversed(metadata.sorted_tables):
                session.execute(table.delete())
        self._open()

    def figures(self, known_at: int | None = None) -> dict[tuple[int, Role], list[tuple[float, float, int]]]:
        """Score, label and delay of every labelled row, by version and role, in a fixed order."""
        return {
            key: sorted(zip(rows.score.tolist(), rows.value.tolist(), rows.delay.tolist(), strict=True))
            for key, rows in self.labels.labelled(NORTH, "cost", ALWAYS, known_at).items()
        }


IDS = [f"p{number}" for number in range(8)]
# One correction a known-at time and prediction: two values known at the same time are the later call's.
HISTORY = st.dictionaries(st.tuples(st.sampled_from(IDS), st.integers(1, 5)), st.sampled_from([0.0, 1.0]), max_size=12)


class MonitorStorageSuite(WindowSuite, ArchiveSuite):
    """Subclasses give a fixture `store`."""

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(history=HISTORY, seed=st.integers(0, 2**32), as_of=st.none() | st.integers(0, 6))
    def test_any_order_of_arrival_gives_the_same_figures(
        self, store: Store, history: dict[tuple[str, int], float], seed: int, as_of: int | None
    ) -> None:
        """Batches, labels, corrections and duplicates of all three are shuffled; the figures are those of a plain replay."""
        batches = [
            batch_from_document(
                batch_document(
                    np.array([0.1, 0.2]) + number / 10, {}, ids=IDS[2 * number : 2 * number + 2], batch_id=f"b{number}",
                    version=1 + number % 2, at=START + number,
                )
            )
            for number in range(4)
        ]  # fmt: skip
        labels = [Label(name, value, START + known) for (name, known), value in history.items()]
        arrivals: list[object] = [*batches, *labels, *batches[:2], *labels[:5]]
        random.Random(seed).shuffle(arrivals)
        store.clear()
        for arrival in arrivals:
            if isinstance(arrival, Label):
                store.labels.record(NORTH, "cost", [arrival])
            else:
                store.log.store(NORTH, arrival)  # type: ignore[arg-type]
        known_at = None if as_of is None else START + as_of
        expected: dict[tuple[int, Role], list[tuple[float, float, int]]] = {}
        for batch in batches:
            for row, name in enumerate(batch.prediction_ids):
                known = [
                    (label.known_at, label.value)
                    for label in labels
                    if label.prediction_id == name and (known_at is None or label.known_at <= known_at)
                ]
                if known:
                    moment, value = max(known)
                    delay = moment - int(batch.event_time[row])
                    expected.setdefault((batch.version, Role.STABLE), []).append(
                        (float(batch.score[row]), value, delay)
                    )
        assert store.figures(known_at) == {key: sorted(rows) for key, rows in expected.items()}
        assert sum(store.log.traffic(NORTH, "cost", ALWAYS).values()) == 8

    def test_a_batch_counts_once_however_often_it_comes(self, store: Store) -> None:
        """The same batch id again changes no count, also when it comes from several threads at once."""
        store.clear()
        batch = batch_from_document(batch_document(np.linspace(0, 1, 50), {"x": np.arange(50.0)}))
        with ThreadPoolExecutor(4) as pool:
            stored = list(pool.map(lambda _: store.log.store(NORTH, batch), range(8)))
        assert stored.count(True) == 1
        seen = store.log.seen_model(NORTH, "cost")
        assert seen is not None
        assert seen.predictions == 50

    def test_the_later_call_wins_at_the_same_known_at(self, store: Store) -> None:
        """A value sent again for the same moment replaces the one before."""
        store.clear()
        store.log.store(NORTH, batch_from_document(batch_document(np.array([0.5]), {}, ids=["p"])))
        store.labels.record(NORTH, "cost", [Label("p", 0.0, START)])
        store.labels.record(NORTH, "cost", [Label("p", 1.0, START)])
        assert store.figures() == {(1, Role.STABLE): [(0.5, 1.0, 0)]}

    def test_a_label_reaches_every_version_that_answered_under_its_id(self, store: Store) -> None:
        """A shadow that logs the prediction id of the answer it shadows shares its label."""
        store.clear()
        for role, score in (("stable", 0.5), ("shadow", 0.7)):
            document = batch_document(np.array([score]), {}, ids=["p"], role=role, version=1 + (role == "shadow"))
            store.log.store(NORTH, batch_from_document(document))
        assert store.labels.record(NORTH, "cost", [Label("p", 1.0, START)]) == 1
        assert store.figures() == {(1, Role.STABLE): [(0.5, 1.0, 0)], (2, Role.SHADOW): [(0.7, 1.0, 0)]}

    def test_labels_say_how_many_predictions_they_found(self, store: Store) -> None:
        """Labels whose prediction is not there yet are kept and not counted as matched."""
        store.clear()
        store.log.store(NORTH, batch_from_document(batch_document(np.array([0.5, 0.6]), {}, ids=["p", "q"])))
        labels = [Label("p", 0.0, START), Label("p", 1.0, START + 1), Label("later", 1.0, START)]
        assert store.labels.record(NORTH, "cost", labels) == 1

    def test_tenants_and_models_do_not_meet(self, store: Store) -> None:
        """The same prediction id under another tenant or model is another prediction."""
        store.clear()
        store.log.store(NORTH, batch_from_document(batch_document(np.array([0.5]), {}, ids=["p"])))
        store.labels.record(SOUTH, "cost", [Label("p", 1.0, START)])
        store.labels.record(NORTH, "stay", [Label("p", 1.0, START)])
        assert store.figures() == {}
        assert [seen.model for seen in store.log.seen(NORTH)] == ["cost", "stay"]
        assert [seen.predictions for seen in store.log.seen(SOUTH)] == [0]
        assert store.log.traffic(SOUTH, "cost", ALWAYS) == {}
        assert list(store.log.rows(SOUTH, "cost", ALWAYS, 1, [])) == []

    @pytest.mark.parametrize("by", ["at", "event_time"])
    def test_a_window_cuts_inside_a_batch(self, store: Store, by: str) -> None:
        """Rows, traffic and labels are cut at the window's ends to the microsecond, by either time."""
        store.clear()
        first = START if by == "at" else START - 10**12
        ids = [f"p{row}" for row in range(100)]
        document = batch_document(
            np.arange(100.0),
            {"x": np.arange(100.0), "kind": ["a", None] * 50},
            at=START,
            event_time=START - 10**12,
            ids=ids,
        )
        store.log.store(NORTH, batch_from_document(document))
        store.labels.record(NORTH, "cost", [Label(name, 1.0, START) for name in ids])
        window = Window(first + 10_000, first + 30_000, by)  # type: ignore[arg-type]
        assert store.log.traffic(NORTH, "cost", window) == {(1, Role.STABLE): 20}
        (rows,) = store.log.rows(NORTH, "cost", window, 1, [])
        assert rows.score.tolist() == list(range(10, 30))
        assert rows.columns["x"].values.tolist() == list(range(10, 30))  # type: ignore[union-attr]
        (labelled,) = store.labels.labelled(NORTH, "cost", window, None).values()
        assert sorted(labelled.score.tolist()) == list(range(10, 30))

    def test_many_small_batches_read_as_one(self, store: Store) -> None:
        """Many batches of one row, with columns that come and go, give the same rows in few chunks; where a batch lacks a
        column it was not known, and is not counted as missing."""
        store.clear()
        for number in range(150):
            columns = {"x": np.array([float(number)])} if number % 3 else {"kind": [f"k{number % 5}"]}
            document = batch_document(np.array([number / 150]), columns, at=START + number)
            store.log.store(NORTH, batch_from_document(document))
        chunks = list(store.log.rows(NORTH, "cost", ALWAYS, 1, []))
        assert len(chunks) == 1
        assert len(chunks[0].score) == 150
        kind = chunks[0].columns["kind"]
        assert (kind.codes >= 0).sum() == len(kind.codes) == 50  # type: ignore[union-attr]
        assert len(chunks[0].columns["x"].values) == 100  # type: ignore[union-attr]
        assert not np.isnan(chunks[0].columns["x"].values).any()  # type: ignore[union-attr]

    def test_answers_beside_the_model_are_counted_but_judge_nothing(self, store: Store) -> None:
        """A constant or a second model answered: it is in the traffic and the levels, not in rows and labelled figures."""
        store.clear()
        for level, rows in (("fresh", 5), ("stale", 4), ("without_history", 3), ("constant", 2), ("", 1)):
            ids = [f"{level}{row}" for row in range(rows)]
            document = batch_document(np.full(rows, 0.5), {"x": np.ones(rows)}, ids=ids) | {"level": level}
            store.log.store(NORTH, batch_from_document(document))
            store.labels.record(NORTH, "cost", [Label(name, 1.0, START) for name in ids])
        shadow = batch_document(np.ones(7), {"x": np.ones(7)}, role="shadow") | {"level": "fresh"}
        store.log.store(NORTH, batch_from_document(shadow))
        assert store.log.traffic(NORTH, "cost", ALWAYS)[1, Role.STABLE] == 15
        wanted = {"fresh": 5, "stale": 4, "without_history": 3, "constant": 2}
        assert store.log.levels(NORTH, "cost", ALWAYS) == wanted
        assert sum(len(rows.score) for rows in store.log.rows(NORTH, "cost", ALWAYS, 1, [Role.STABLE])) == 10
        labelled = store.labels.labelled(NORTH, "cost", ALWAYS, None)
        assert len(labelled[1, Role.STABLE]) == 10
        assert store.log.levels(SOUTH, "cost", ALWAYS) == {}

    def test_migrations_make_the_tables_of_the_code(self, store: Store) -> None:
        """What the migrations made is what the program's tables say."""
        with store.database.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            differences = compare_metadata(context, metadata)
        assert differences == []

    def test_verdicts_and_manifests_are_kept_apart_by_tenant(self, store: Store) -> None:
        """History is newest first, the latest is the newest, and another tenant has none of it."""
        store.clear()
        for number in range(3):
            record = VerdictRecord(
                "cost", START + number, START, START + 1, 1, Drift.DRIFT, Quality.WORSE, 10, 5, ("x",), f"text {number}"
            )
            store.verdicts.add(NORTH, record)
        assert [one.summary for one in store.verdicts.history(NORTH, "cost", 2)] == ["text 2", "text 1"]
        assert store.verdicts.latest(NORTH)["cost"] == record
        assert store.verdicts.latest(SOUTH) == {}
        assert store.verdicts.history(SOUTH, "cost", 5) == []
        for text in (b"first", b"second"):
            store.manifests.put(NORTH, "cost", 1, "0" * 64, text)
        assert store.manifests.get(NORTH, "cost", 1) == b"first"
        assert store.manifests.get(SOUTH, "cost", 1) is None

    def test_comparisons_are_kept_to_the_last_bit(self, store: Store) -> None:
        """What was served may be missing; another tenant sees nothing, and what is old goes."""
        store.clear()
        features = (
            SkewedFeature("v.x", 2, 3, 0.1 + 0.2, 0.3, START),
            SkewedFeature("v.y", 2, 1, float("nan"), 1.0, START),
            SkewedFeature("v.maker_latest", 2, 1, "boeing", None, START),
        )
        for moment in (START, START + 10):
            check = SkewCheck("cost", 2, moment, {SkewResult.SAME: 7, SkewResult.SKEW: 3}, features)
            store.skew.add(NORTH, check)
        assert repr(store.skew.between(NORTH, "cost", Window(START + 1, START + 11))) == repr([check])
        assert store.skew.between(SOUTH, "cost", ALWAYS) == []
        assert store.skew.drop_before(START + 10) == 1
        assert repr(store.skew.between(NORTH, "cost", ALWAYS)) == repr([check])

    def test_labels_of_single_predictions_as_known_at_a_time(self, store: Store) -> None:
        """Of a corrected label the newest that was known; of others nothing; another tenant has none of it."""
        store.clear()
        store.labels.record(
            NORTH, "cost", [Label("p", 1.0, START), Label("p", 0.0, START + 9), Label("q", 1.0, START + 5)]
        )
        many = ["p", "q", *(f"x{number}" for number in range(2500))]
        assert store.label_lookup.known(NORTH, "cost", many, None) == {"p": (0.0, START + 9), "q": (1.0, START + 5)}
        assert store.label_lookup.known(NORTH, "cost", many, START + 4) == {"p": (1.0, START)}
        assert store.label_lookup.known(SOUTH, "cost", many, None) == {}

    def test_changes_are_counted_for_the_evaluator(self, store: Store) -> None:
        """A batch and a call with labels each raise the model's counter; a repeated batch does not."""
        store.clear()
        batch = batch_from_document(batch_document(np.array([0.5]), {}, ids=["p"]))
        store.log.store(NORTH, batch)
        store.log.store(NORTH, batch)
        assert store.log.active(START) == [(NORTH, "cost", 1)]
        store.labels.record(NORTH, "cost", [Label("p", 1.0, START)])
        assert store.log.active(START) == [(NORTH, "cost", 2)]
        assert store.log.active(START + 1) == []

    def test_how_a_model_is_watched_is_kept_by_tenant(self, store: Store) -> None:
        """What nobody declared are the defaults; an equal document makes no new revision; others see nothing of it."""
        store.clear()
        assert store.policies.of(NORTH, "cost") == MonitorSpec(name="cost")
        declared = parse_spec(MonitorSpec, {"name": "cost", "slices": ["ward"]})
        assert store.policies.apply(NORTH, declared, dry_run=True)[0] == "created"
        assert [store.policies.apply(NORTH, declared, dry_run=False)[0] for _ in range(2)] == ["created", "unchanged"]
        assert store.policies.of(NORTH, "cost") == declared
        assert store.policies.of(SOUTH, "cost").slices == []
        assert [one.tenant for one in store.policies.list(None)] == [NORTH]
        with pytest.raises(NotFound, match="no monitor 'cost'"):
            store.policies.get(SOUTH, "cost")

    def test_operations_count_once_and_are_forgotten(self, store: Store) -> None:
        """A record that comes again, also from two consumers at once, changes nothing; buckets add up over replicas."""
        latency = tuple(range(len(LATENCY_BOUNDS) + 1))
        answers = sum(latency)
        part = Operations(NORTH, "cost", 2, Role.CANARY, answers, (1, 0, 2), latency)
        records = [
            OperationsRecord(f"replica-{number}", START + number * BUCKET // 2, (part, part)) for number in range(4)
        ]
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(lambda record: store.operations.take(record, START), records * 3))
        assert sum(taken) == 4
        begin = START // BUCKET * BUCKET
        found = store.operations.totals(NORTH, "cost", begin, START + 10 * BUCKET)
        assert list(found) == [(2, Role.CANARY)]
        total = found[2, Role.CANARY]
        assert (total.answers, total.errors, sum(total.latency)) == (8 * answers, 8 * 3, 8 * answers)
        parts = [store.operations.totals(NORTH, "cost", *ends) for ends in ((begin, START + 1), (START + 1, 2 * START))]
        assert sum(part[2, Role.CANARY].answers for part in parts) == total.answers
        assert store.operations.totals(SOUTH, "cost", begin, START + 10 * BUCKET) == {}
        assert store.operations.totals(NORTH, "cost", START + 5 * BUCKET, START + 10 * BUCKET) == {}
        assert store.operations.forget(START + 10 * BUCKET) > 0
        assert store.operations.totals(NORTH, "cost", 0, START + 10 * BUCKET) == {}

    def test_canary_verdicts_are_kept_word_for_word(self, store: Store) -> None:
        """Newest first, of one tenant's model."""
        first = {"revision": 3, "candidate": 2, "verdict": "hold", "questions": [{"value": 0.5}]}
        second = first | {"verdict": "promote"}
        for judgement in (first, second):
            store.canaries.add(NORTH, "cost", judgement, START)
        assert store.canaries.history(NORTH, "cost", 10) == [second, first]
        assert store.canaries.history(NORTH, "cost", 1) == [second]
        assert store.canaries.history(SOUTH, "cost", 10) == []
