"""`make bench-features-memory`: how much memory a training set takes as its spine grows.

Every row of a table is an example and an event of it: two million, then eight. 48 features of three views, with
half a gigabyte allowed; each in a process of its own, whose peak is told (the lake's library and all included).

`python -m tests.bench.features_memory one FOLDER ROWS MIB` is one of them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.model import LakeTable
from services.features.storage.lake import DeltaLake
from services.features.storage.training_files import BlobTrainingFiles
from tenon.kit.blobs import open_blobs
from tests.bench import features, frame
from tests.bench.tables import Tables
from tests.support.features_fakes import FakeMeter, FakeViews

ROWS = (2_000_000, 8_000_000)
KEYS = (20_000, 100_000, 400_000)
MIB = 512


def main(*rows: int) -> None:
    """Measure and report."""
    figures, peaks = [], []
    for count in rows or ROWS:
        with tempfile.TemporaryDirectory(prefix="tenon-bench-memory-") as name:
            subprocess.run([sys.executable, "-m", "tests.bench.features_memory", "make", name, str(count)], check=True)
            command = [sys.executable, "-m", "tests.bench.features_memory", "one", name, str(count), str(MIB)]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        peaks.append(told["peak_mib"])
        label = f"{count:,} rows, 48 features, {MIB:,} MiB allowed"
        figures.append(
            frame.figure(f"peak memory, {label}", told["peak_mib"], "MiB", yardstick=("fewest rows", peaks[0]))
        )
        figures.append(frame.figure(f"processor time, {label}", told["seconds"], "s"))
        figures.append(frame.figure(f"the file, {label}", told["file_mib"], "MiB"))
    frame.report("features-memory", "training sets larger than memory", figures)


def make(folder: Path, rows: int) -> None:
    """The table."""
    spec = features.DATASET
    features._write(
        spec, features._rows(np.random.default_rng(5), rows, KEYS, amounts=True), folder / "lake" / "events"
    )


def one(folder: Path, mib: int) -> None:
    """The training set."""
    tables = Tables({"events": LakeTable(str(folder / "lake" / "events"), 0, features.DATASET)})
    views = FakeViews()
    for view in features.VIEWS:
        views.apply(features.TENANT, view, dry_run=False)
    files = BlobTrainingFiles(open_blobs(f"file://{folder}/blobs"), folder / "scratch")
    lake = DeltaLake(open_blobs(f"file://{folder}/lake"))
    began = time.process_time()
    made = BuildTrainingSet(
        views, tables, lake, files, FakeMeter(), scratch=folder / "scratch", memory=mib << 20
    ).build(features.TENANT, "events", ["amount"], [view.name for view in features.VIEWS])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = Path(made.uri.removeprefix("file://")).stat().st_size / (1 << 20)
    print(
        json.dumps(
            {"peak_mib": peak, "seconds": time.process_time() - began, "file_mib": size, "sha": made.file_sha256}
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["one"]:
        one(Path(sys.argv[2]), int(sys.argv[4]))
    else:
        main(*(int(argument) for argument in sys.argv[1:]))
