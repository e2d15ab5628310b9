"""Raw files, quarantine and lake tables in a bucket."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import polars as pl
import pytest

from services.features.domain.model import ErasedBy, LakeTable, TrainingSet
from services.features.storage.lake import DeltaLake as FeaturesLake
from services.features.storage.training_files import BlobTrainingFiles
from services.ingest.domain.erase_rows import EraseRows
from services.ingest.domain.model import BatchState
from tenon.kit.blobs import open_blobs
from tests.support.ingest_process import eventually
from tests.support.ingest_world import ACME, Accident, World, csv_of
from tests.support.ports import free_port


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a prefix in an empty bucket of a local S3 server."""
    # A process of its own: deltalake keeps the interpreter to itself while it reads a table's history.
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)

    def answers() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually("the S3 server", answers, 180)
        boto3.client("s3").create_bucket(Bucket="tenon")
        yield "s3://tenon/some/prefix"
    finally:
        server.kill()
        server.wait(180)


def test_a_bucket_serves_as_well_as_a_folder(tmp_path: Path, bucket: str) -> None:
    """Load, replace, quarantine, and a kill between the lake's commit and the ledger's: the same on S3; and so are
    erasing rows and the training sets that read them."""
    world = World(tmp_path, blob_url=bucket)
    world.apply()
    world.send(csv_of((1, "a", 1), ("x", "a", 1)), "first.csv")
    world.load_all()
    world.accidents = {"after DeltaLake.upsert": 0}
    world.send(csv_of((1, "b", 2), (2, "b", 2)), "second.csv")
    with pytest.raises(Accident):
        world.load_all()
    world = world.reopen()
    world.load_all()
    second, first = world.batches.list(ACME, "visits", 10)
    assert [(batch.state, batch.table_version) for batch in (first, second)] == [
        (BatchState.COMMITTED, 1),
        (BatchState.COMMITTED, 2),
    ]
    assert [row.reason for row in world.read_quarantine.first(ACME, "visits", first.id, 10)[0]] == ["NOT_INTEGER"]
    table = world.datasets.table(ACME, "visits")
    assert table is not None
    assert table.uri == f"{bucket}/lake/acme/visits"
    frame = pl.read_delta(table.uri, version=table.version, storage_options=open_blobs(bucket).storage_options())
    assert frame.sort("visit")["ward"].to_list() == ["b", "b"]

    erased = EraseRows(world.datasets, world.batches, world.queue, world.lake).erase(ACME, "visits", "visit", "2")
    assert (erased.rows, [batch.id for batch in erased.batches]) == (1, [second.id])
    table = world.datasets.table(ACME, "visits")
    assert table is not None
    assert (table.version, table.rows) == (erased.table_version, 1)
    blobs = open_blobs(bucket)
    files = list(blobs.list("lake/acme/visits/part-"))
    assert len(files) == 1, "nothing of the versions before is left"
    # Who made a training set from the second file's commit finds out that it had the row, from the first's that it had not.
    seen = LakeTable(table.uri, table.version, world.datasets.get(ACME, "visits").spec)
    assert [FeaturesLake(blobs).count_removed(seen, version) for version in (2, 1)] == [1, 0]
    training = BlobTrainingFiles(blobs, tmp_path / "scratch")
    made = training.write(ACME, TrainingSet("", 0, "f1", "", {"visits": 2}, {}), frame)
    assert list(training.list(ACME)) == [made]
    training.erase(ACME, made, ErasedBy("visits", table.version, 1, 7))
    training.note_checked(ACME, "visits", table.version)
    (record,) = training.list(ACME)
    assert (record.erased is not None, list(training.list_checked())) == (True, [(ACME, "visits")])
    assert [key for key in blobs.list("features/acme/training/") if key.endswith(".parquet")] == []
