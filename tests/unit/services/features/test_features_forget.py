"""Rows that were erased from the lake leave the training sets that were made from them; on fakes and on real files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from services.features.domain.build_online import BuildOnline
from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.forget_rows import ForgetRows
from services.features.domain.model import LakeTable, TrainingSet
from services.features.storage.lake import DeltaLake
from services.features.storage.training_files import BlobTrainingFiles
from services.features.worker import DatasetCommittedHandler
from tenon.core.errors import Precondition, Unavailable
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import open_blobs
from tests.support.fake_ingest import lake_frame
from tests.support.features_fakes import FakeLake, FakeMeter, FakeOnlineStore, FakeTrainingFiles, FakeViews

NORTH = TenantId("north")
START = datetime(2025, 1, 1, tzinfo=UTC)
_COLUMNS = {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string"}}
SPECS = {
    name: DatasetSpec.model_validate({"name": name, "primaryKey": ["id"], "eventTime": "at", "columns": _COLUMNS})
    for name in ("stays", "visits")
}
VIEW = FeatureViewSpec.model_validate(
    {"name": "history", "dataset": "visits", "entity": ["who"], "aggregates": [{"functions": ["count"], "windows": ["all"]}]}
)  # fmt: skip


def frame(dataset: str, *numbers: int) -> pl.DataFrame:
    """Rows of a data set; each is about somebody."""
    return lake_frame(
        SPECS[dataset], [{"id": n, "at": START + timedelta(days=n), "who": f"p{n % 4}"} for n in numbers]
    )  # fmt: skip


@dataclass
class InMemory:
    """Fakes."""

    lake: FakeLake = field(default_factory=FakeLake)
    files: FakeTrainingFiles = field(default_factory=FakeTrainingFiles)

    def __post_init__(self) -> None:
        self.lake.specs = {(NORTH, name): spec for name, spec in SPECS.items()}

    def commit(self, dataset: str, *numbers: int) -> None:
        before = self.lake.commits.get(f"fake://{NORTH}/{dataset}", [frame(dataset)])[-1]
        self.lake.commit(NORTH, dataset, pl.concat([before, frame(dataset, *numbers)]))

    def erase(self, dataset: str, *numbers: int) -> None:
        self.lake.commit(
            NORTH, dataset, self.lake.commits[f"fake://{NORTH}/{dataset}"][-1].filter(~pl.col("id").is_in(numbers))
        )

    def time(self, dataset: str, version: int) -> int:
        assert version < len(self.lake.commits[f"fake://{NORTH}/{dataset}"])
        return version

    def rows_of(self, made: TrainingSet) -> list[int] | None:
        found = self.files.frames.get((NORTH, made.fingerprint))
        return None if found is None else found["id"].to_list()

    def table(self, tenant: TenantId, dataset: str) -> LakeTable | None:
        return self.lake.table(tenant, dataset)

    def definition(self, tenant: TenantId, dataset: str) -> DatasetSpec:
        return SPECS[dataset]


@dataclass
class OnDisk:
    """Delta tables and Parquet files."""

    folder: Path
    batch: str = "b0"

    def __post_init__(self) -> None:
        self.blobs = open_blobs(self.folder.as_uri())
        self.lake, self.files = DeltaLake(self.blobs), BlobTrainingFiles(self.blobs, self.folder / "scratch")

    def uri(self, dataset: str) -> str:
        return self.blobs.uri(f"lake/{NORTH}/{dataset}")

    def commit(self, dataset: str, *numbers: int) -> None:
        write_deltalake(
            self.uri(dataset), self.brought(dataset, *numbers), mode="append",
            configuration={"delta.enableChangeDataFeed": "true"}, commit_properties=self.says(),
        )  # fmt: skip

    def correct(self, dataset: str, *numbers: int) -> None:
        rows = self.brought(dataset, *numbers).with_columns(pl.lit("p9").alias("who"))
        merge = DeltaTable(self.uri(dataset)).merge(
            rows, "t.id = s.id", source_alias="s", target_alias="t", commit_properties=self.says()
        )
        merge.when_matched_update_all().when_not_matched_insert_all().execute()

    def brought(self, dataset: str, *numbers: int) -> pl.DataFrame:
        """As ingest writes rows: with the batch that brought them."""
        self.batch = f"b{int(self.batch[1:]) + 1}"
        return frame(dataset, *numbers).with_columns(pl.lit(self.batch).alias("_batch_id"))

    def says(self) -> CommitProperties:
        return CommitProperties(custom_metadata={"tenon.batch_id": self.batch})

    def erase(self, dataset: str, *numbers: int) -> None:
        DeltaTable(self.uri(dataset)).delete(f"id IN ({', '.join(str(n) for n in numbers)})")

    def time(self, dataset: str, version: int) -> int:
        found = {entry["version"]: entry["timestamp"] for entry in DeltaTable(self.uri(dataset)).history()}
        return int(found[version]) * 1000

    def rows_of(self, made: TrainingSet) -> list[int] | None:
        key = f"features/{NORTH}/training/{made.fingerprint}.parquet"
        return pl.read_parquet(self.folder / key)["id"].to_list() if self.blobs.exists(key) else None

    def table(self, tenant: TenantId, dataset: str) -> LakeTable | None:
        uri = self.uri(dataset)
        found = tenant == NORTH and DeltaTable.is_deltatable(uri)
        return LakeTable(uri, int(DeltaTable(uri).version()), SPECS[dataset]) if found else None

    def definition(self, tenant: TenantId, dataset: str) -> DatasetSpec:
        return SPECS[dataset]


class World:
    """Two data sets, and training sets of stays with the history of visits."""

    def __init__(self, storage: Any) -> None:
        self.storage, self.views, self.clock = storage, FakeViews(), 100
        self.views.apply(NORTH, VIEW, dry_run=False)
        storage.commit("stays", 1, 2, 3)
        storage.commit("visits", 10, 11, 12)
        self.restart()

    def restart(self, datasets: Any = None) -> None:
        """The same storage under new programs."""
        datasets = datasets or self.storage
        self.forget = ForgetRows(datasets, self.storage.lake, self.storage.files, lambda: self.clock)
        self.training = BuildTrainingSet(
            self.views, datasets, self.storage.lake, self.storage.files, FakeMeter(), forget=self.forget, now=lambda: 5
        )

    def build(self, *views: str) -> TrainingSet:
        """A training set of stays."""
        return self.training.build(NORTH, "stays", ["who"], list(views))

    def record(self, made: TrainingSet) -> TrainingSet:
        """What is known of a training set."""
        (found,) = [one for one in self.storage.files.list(NORTH) if one.fingerprint == made.fingerprint]
        return found


@pytest.fixture(params=["in memory", "on disk"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """On fakes and on Delta tables and Parquet files."""
    return World(InMemory() if request.param == "in memory" else OnDisk(tmp_path))


def test_a_training_set_as_of_a_time(world: World) -> None:
    """From the tables as they were then, the same file as then; before the first commit there is nothing, and what was erased
    since is refused."""
    before = world.build("history")
    world.storage.commit("stays", 4)
    world.storage.commit("visits", 0)
    then = world.storage.time("stays", 1) - 1
    again = world.training.build(NORTH, "stays", ["who"], ["history"], then)
    assert (again.fingerprint, again.file_sha256) == (before.fingerprint, before.file_sha256)
    assert world.build("history").dataset_versions == {"stays": 1, "visits": 1}
    with pytest.raises(Precondition, match=r"nothing was ever committed to data set 'stays' by 1969"):
        world.training.build(NORTH, "stays", ["who"], ["history"], -1)
    world.storage.erase("stays", 2)
    with pytest.raises(Precondition, match="were erased"):
        world.training.build(NORTH, "stays", [], ["history"], then)


def test_rows_of_the_spine(world: World) -> None:
    """The file goes, its record stays and says when and why; asked again, a new one is made without the rows."""
    made = world.build("history")
    assert world.storage.rows_of(made) == [1, 2, 3]
    world.storage.erase("stays", 2)
    assert [one.fingerprint for one in world.forget.forget(NORTH, "stays")] == [made.fingerprint]
    assert world.storage.rows_of(made) is None
    record = world.record(made)
    why = record.erased
    assert why is not None
    assert (why.dataset, why.rows, why.at, why.table_version) == ("stays", 1, 100, made.dataset_versions["stays"] + 1)
    assert replace(record, erased=None) == made
    assert (made.spine, made.columns, made.made_at) == ("stays", ("id", "at", "who"), 5)
    again = world.build("history")
    assert again.fingerprint != made.fingerprint
    assert world.storage.rows_of(again) == [1, 3]
    assert world.forget.forget(NORTH, "stays") == [], "once is enough"
    assert world.storage.rows_of(again) == [1, 3]


def test_rows_of_a_view(world: World) -> None:
    """Features that were computed from erased rows go, too; training sets that never read them stay."""
    with_history, without = world.build("history"), world.build()
    world.storage.commit("visits", 13, 14)
    world.storage.erase("visits", 14)
    assert world.forget.forget(NORTH, "visits") == [], "14 came after it was made"
    world.storage.erase("visits", 11, 13)
    assert [one.fingerprint for one in world.forget.forget(NORTH, "visits")] == [with_history.fingerprint]
    why = world.record(with_history).erased
    assert why is not None
    assert (why.dataset, why.rows) == ("visits", 1), "of the two it had one"
    assert world.storage.rows_of(without) == [1, 2, 3]


def test_events_that_are_late_lost_or_doubled(world: World) -> None:
    """What no event told is found by looking through everything, also after a restart; and nothing goes twice."""
    first = world.build("history")
    world.storage.erase("visits", 10)
    world.storage.commit("visits", 15)
    second = world.build("history")
    world.restart()
    erased, failed = world.forget.forget_all()
    assert ([one.fingerprint for one in erased], failed) == ([first.fingerprint], {})
    world.storage.erase("stays", 3)
    world.restart()
    erased, failed = world.forget.forget_all()
    assert ([one.fingerprint for one in erased], failed) == ([second.fingerprint], {})
    world.clock = 200
    world.restart()
    assert world.forget.forget_all() == ([], {})
    assert world.record(first).erased is not None


def test_the_event_on_its_way(world: World) -> None:
    """The commit's event erases; while the lake cannot be read it is given back, and the views are built all the same."""
    made, online, down = world.build("history"), FakeOnlineStore(), [True]

    class Flaky:
        """Ingest, which is away the first time."""

        def table(self, tenant: TenantId, dataset: str) -> LakeTable | None:
            if down.pop() if down else False:
                raise Unavailable("SERVICE_UNAVAILABLE", "ingest is down")
            return world.storage.table(tenant, dataset)

        def definition(self, tenant: TenantId, dataset: str) -> DatasetSpec:
            return SPECS[dataset]

    world.restart(Flaky())
    builds = BuildOnline(world.views, Flaky(), world.storage.lake, online, FakeMeter(), slack=10, now=lambda: 0)  # type: ignore[arg-type]
    handle = DatasetCommittedHandler(builds, world.forget)
    world.storage.erase("visits", 12)
    event = {b"tenant": b"north", b"dataset": b"visits"}
    with pytest.raises(Unavailable):
        handle("1-0", event)
    assert online.states, "built"
    assert world.storage.rows_of(made) is not None
    for entry in ("1-0", "1-0", "2-0"):
        handle(entry, event)
    assert world.storage.rows_of(made) is None


@pytest.mark.parametrize("dataset", ["stays", "visits"])
def test_an_erasure_while_it_is_made(world: World, dataset: str) -> None:
    """Rows that are erased while a training set is written are not in the one that is given out."""
    write, gone = world.storage.files.write, {"stays": 2, "visits": 11}[dataset]

    def erased_meanwhile(*args: Any) -> TrainingSet:
        made: TrainingSet = write(*args)
        world.storage.files.write = write
        world.storage.erase(dataset, gone)
        # The event overtakes the one who makes it, or comes later; here it came before the file was there.
        return made

    world.storage.files.write = erased_meanwhile
    given = world.build("history")
    everything = list(world.storage.files.list(NORTH))
    assert [one.fingerprint for one in everything if one.erased is None] == [given.fingerprint]
    assert len(everything) == 2
    assert gone not in (world.storage.rows_of(given) or [])


def test_an_ingest_from_a_backup(world: World) -> None:
    """An ingest that names the table of before the erasure gets no training set with the erased rows."""
    before = {name: world.storage.table(NORTH, name) for name in SPECS}
    made = world.build("history")
    world.storage.erase("stays", 1)
    world.forget.forget(NORTH, "stays")

    class Restored:
        """Ingest as it was."""

        def table(self, tenant: TenantId, dataset: str) -> LakeTable | None:
            return before[dataset]

        def definition(self, tenant: TenantId, dataset: str) -> DatasetSpec:
            return SPECS[dataset]

    world.restart(Restored())
    with pytest.raises(Precondition, match="were erased"):
        world.build("history")
    assert world.storage.rows_of(made) is None


def test_files_that_are_put_back(tmp_path: Path) -> None:
    """A backup of the files brings back how far they were checked: what was erased since goes again."""
    storage = OnDisk(tmp_path)
    world = World(storage)
    made = world.build("history")
    kept = {key: storage.blobs.get_bytes(key) for key in storage.blobs.list("features/")}
    storage.erase("stays", 1)
    assert world.forget.forget_all()[0] == [made]
    for key, data in kept.items():
        storage.blobs.put_bytes(key, data)
    world.restart()
    assert storage.rows_of(made) == [1, 2, 3]
    assert world.forget.forget_all()[0] == [made]
    assert storage.rows_of(made) is None


def vacuum(storage: OnDisk, dataset: str) -> None:
    """Nothing but the newest version can be read any more."""
    DeltaTable(storage.uri(dataset)).vacuum(0, dry_run=False, enforce_retention_duration=False)


def test_versions_that_were_cleaned_up(tmp_path: Path) -> None:
    """Which rows a version had is told by the change feed: what came after it was made does not concern a training set,
    what was corrected after it does."""
    storage = OnDisk(tmp_path)
    world = World(storage)
    first = world.build("history")
    storage.commit("visits", 13)
    second = world.build("history")
    storage.correct("visits", 10, 13)
    storage.erase("visits", 13)
    vacuum(storage, "visits")
    assert world.forget.forget(NORTH, "visits") == [second]
    storage.commit("visits", 13)
    storage.erase("visits", 10, 11)
    vacuum(storage, "visits")
    assert world.forget.forget(NORTH, "visits") == [first]
    whys = [world.record(one).erased for one in (first, second)]
    assert [why.rows for why in whys if why is not None] == [2, 1]
    assert storage.rows_of(world.build("history")) == [1, 2, 3]


def test_nobody_can_tell(tmp_path: Path) -> None:
    """Of rows that no commit says to have brought, all that was made before they were erased goes, and says that."""
    storage = OnDisk(tmp_path)
    world = World(storage)
    made = world.build("history")
    storage.says = CommitProperties  # type: ignore[method-assign]
    storage.commit("visits", 13)
    storage.erase("visits", 13)
    assert world.forget.forget(NORTH, "visits") == [made]
    why = world.record(made).erased
    assert why is not None
    assert why.rows is None


@pytest.mark.parametrize("cut", ["delete", "put_bytes"])
def test_cut_off_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    """A process that ends while it erases leaves what the next one finishes."""
    storage = OnDisk(tmp_path)
    world = World(storage)
    made = world.build("history")
    storage.erase("stays", 1)
    world.restart()

    def ends(*_: Any) -> None:
        raise Unavailable("BLOBS_UNAVAILABLE", "gone")

    with monkeypatch.context() as patch:
        patch.setattr(storage.blobs, cut, ends)
        with pytest.raises(Unavailable):
            world.forget.forget(NORTH, "stays")
    world.restart()
    assert world.forget.forget(NORTH, "stays") == [made]
    assert storage.rows_of(made) is None


def test_records_of_earlier_and_later_versions(tmp_path: Path) -> None:
    """A training set that was made before its record said what it was made of is found, and one whose record says more."""
    storage = OnDisk(tmp_path)
    world = World(storage)
    made = world.build("history")
    key = f"features/{NORTH}/training/{made.fingerprint}.json"
    said = json.loads(storage.blobs.get_bytes(key))
    for name in ("spine", "columns", "made_at", "erased"):
        del said[name]
    said["tomorrow"] = {"who": "knows"}
    storage.blobs.put_bytes(key, json.dumps(said).encode())
    for name in ("stays", "visits"):
        storage.blobs.delete(f"features/_checked/{NORTH}/{name}.json")
    storage.erase("stays", 1)
    world.restart()
    assert [one.fingerprint for one in world.forget.forget(NORTH, "stays")] == [made.fingerprint]
    assert storage.rows_of(made) is None
