"""The simulated hospitals: the same seed gives the same bytes, and what is planted is what is counted."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.hospital.dirt import KINDS
from examples.hospital.generate import HEADER, exports, generate
from examples.hospital.hospitals import CALM, DIAGNOSES, DRIFTED, HOSPITALS
from examples.hospital.simulate import DEPARTMENTS, GROUPS, LAST_MONTH, SEXES, Visits, simulate
from services.ingest.domain.read_csv import read_chunks
from tenon.core.specs import DatasetSpec
from tests.support.hospital_documents import documents

SCALE = 0.2
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The example's files at a small scale, and what was planted."""
    folder = tmp_path_factory.mktemp("hospital")
    return folder, generate(folder, seed=7, scale=SCALE)


def digests(folder: Path) -> dict[str, str]:
    """Every file's sha256."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lines_of(path: Path) -> list[list[str]]:
    """The fields of every line after the header."""
    return list(csv.reader(io.StringIO(path.read_text())))[1:]


def test_same_seed_same_bytes(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """A second run with the same seed writes the same files, byte for byte; another seed does not."""
    folder, truth = made
    assert generate(tmp_path / "again", seed=7, scale=SCALE) == truth
    assert digests(tmp_path / "again") == digests(folder)
    generate(tmp_path / "other", seed=8, scale=SCALE)
    assert digests(tmp_path / "other")["lakeside/visits-2024Q1.csv"] != digests(folder)["lakeside/visits-2024Q1.csv"]


def test_files_cover_two_years_and_a_month() -> None:
    """There is a file for each quarter without a hole, and one for the last month."""
    files = exports()
    assert [file.name for file in files][-2:] == ["visits-2025Q1.csv", "visits-2025-04.csv"]
    assert len(files) == 10
    assert all(one.end == other.start for one, other in pairwise(files))


def test_planted_dirt_is_counted(made: tuple[Path, dict[str, Any]]) -> None:
    """Lines = good ones + repeated ones + spoilt ones; every kind of dirt is in every file; about 1.5 % are spoilt."""
    folder, truth = made
    for tenant, facts in truth["hospitals"].items():
        for file in facts["files"]:
            lines = lines_of(folder / tenant / file["name"])
            assert len(lines) == file["rows"] == file["good"] + file["repeated"] + file["bad"]
            assert set(file["planted"]) == set(KINDS)
            assert all(number > 0 for number in file["planted"].values())
            assert sum(file["planted"].values()) == file["bad"]
    rows, bad = (
        sum(file[name] for file in truth["hospitals"][CALM]["files"]) for name in ("rows", "bad")
    )  # fmt: skip
    assert 0.01 < bad / rows < 0.04


def test_ingest_finds_the_ragged_lines(made: tuple[Path, dict[str, Any]]) -> None:
    """Ingest's own reader accepts each file as CSV and finds exactly the ragged lines that were planted."""
    folder, truth = made
    spec = documents()["Dataset", "visits"]
    assert isinstance(spec, DatasetSpec)
    for file in truth["hospitals"][DRIFTED]["files"]:
        with (folder / DRIFTED / file["name"]).open("rb") as stream:
            chunks = list(read_chunks(stream, file["name"], spec))
        assert sum(len(chunk.bad) for chunk in chunks) == file["planted"]["ragged"]
        assert {problem.reason for chunk in chunks for problem in chunk.bad} == {"FIELD_COUNT"}


def test_late_bills_come_again(made: tuple[Path, dict[str, Any]]) -> None:
    """A visit whose bill is not known at the export has no bill there; the next export has it again, with the bill."""
    folder, truth = made
    bill, visit = HEADER.index("bill_amount"), 0
    first, second = truth["hospitals"][CALM]["files"][:2]
    early = {line[visit]: line for line in lines_of(folder / CALM / first["name"]) if len(line) == len(HEADER)}
    late = {line[visit]: line for line in lines_of(folder / CALM / second["name"]) if len(line) == len(HEADER)}
    open_bills = {key for key, line in early.items() if line[bill] == "" and key and key[3] != "9"}
    assert len(open_bills) == first["unbilled"] > 0
    found = open_bills & late.keys()
    assert len(found) == second["updates"]
    assert all(late[key][bill] for key in found)


def test_requests_hold_nothing_that_is_known_later(made: tuple[Path, dict[str, Any]]) -> None:
    """The last month's requests end before the columns of discharge and bill; each has its bill in a file of its own."""
    folder, truth = made
    for tenant, facts in truth["hospitals"].items():
        month = facts["last_month"]["month"]
        with (folder / tenant / f"requests-{month}.csv").open() as file:
            requests = list(csv.DictReader(file))
        with (folder / tenant / f"bills-{month}.csv").open() as file:
            bills = {row["visit_id"]: row for row in csv.DictReader(file)}
        assert not {"discharged_at", "length_of_stay_days", "billed_at", "bill_amount"} & requests[0].keys()
        assert {row["visit_id"] for row in requests} == bills.keys()
        assert len(requests) == facts["last_month"]["visits"] >= 250
        assert all(bills[row["visit_id"]]["billed_at"] > row["admitted_at"] for row in requests)


def last_month(visits: Visits) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which visits are of the last month."""
    return visits.admitted >= LAST_MONTH.astype("datetime64[s]")


def test_only_one_hospital_changes() -> None:
    """In the last month cardiology, age and missing insurance rise at the drifted hospital and at no other."""
    for hospital in HOSPITALS:
        visits = simulate(hospital, seed=7, scale=1.0)
        late = last_month(visits)
        department = visits.group // 4
        heart = department == DEPARTMENTS.index("cardiology")
        changes = (
            heart[late].mean() - heart[~late].mean() > 0.1,
            visits.age[late].mean() - visits.age[~late].mean() > 8,
            (visits.insurance[late] == -1).mean() - (visits.insurance[~late] == -1).mean() > 0.2,
        )
        assert changes == ((True,) * 3 if hospital.tenant == DRIFTED else (False,) * 3), hospital.tenant


def test_hospitals_differ() -> None:
    """Price level, case mix and season are not the same anywhere."""
    of = {hospital.tenant: simulate(hospital, seed=7, scale=1.0) for hospital in HOSPITALS}
    median = {tenant: float(np.median(visits.bill_cents)) for tenant, visits in of.items()}
    assert median["alpine-clinic"] > 1.3 * median["st-mary"] > 1.3 * median["lakeside"]
    bones = DEPARTMENTS.index("orthopaedics")
    assert np.mean(of["alpine-clinic"].group // 4 == bones) > 1.5 * np.mean(of["st-mary"].group // 4 == bones)
    fractures = [index for index, (_, group) in enumerate(GROUPS) if group in ("fracture", "knee_injury")]

    def in_month(visits: Visits, month: int) -> int:
        months = visits.admitted.astype("datetime64[M]").astype(int) % 12 + 1
        whole = visits.admitted < np.datetime64("2025-01-01")
        return int(np.count_nonzero(whole & (months == month) & np.isin(visits.group, fractures)))

    assert in_month(of["alpine-clinic"], 1) > in_month(of["alpine-clinic"], 7)
    assert in_month(of["lakeside"], 1) < in_month(of["lakeside"], 7)


def test_history_is_worth_knowing() -> None:
    """Chronic patients come back, and what a patient's earlier visits cost says something about the next one."""
    visits = simulate(HOSPITALS[0], seed=7, scale=1.0)
    _, count = np.unique(visits.patient, return_counts=True)
    assert (count >= 12).sum() > 100
    usual = np.array([DIAGNOSES[department][group][0] for department, group in GROUPS])[visits.group]
    surprise = np.log(visits.bill_cents / 100 / usual)
    order = np.lexsort((visits.admitted, visits.patient))
    same = visits.patient[order][1:] == visits.patient[order][:-1]
    pairs = np.corrcoef(surprise[order][:-1][same], surprise[order][1:][same])
    assert pairs[0, 1] > 0.4


def test_visits_are_plausible() -> None:
    """Children and only children are in paediatrics, maternity is for women, nobody is billed before discharge."""
    for hospital in HOSPITALS:
        visits = simulate(hospital, seed=3, scale=SCALE)
        department = visits.group // 4
        assert np.array_equal(visits.age < 17, department == DEPARTMENTS.index("paediatrics"))
        assert set(visits.sex[department == DEPARTMENTS.index("maternity")].tolist()) <= {SEXES.index("f")}
        assert (visits.admitted < visits.discharged).all()
        assert (visits.discharged < visits.billed).all()
        assert (np.diff(visits.admitted) >= np.timedelta64(0, "s")).all()


def test_command_says_that_data_are_simulated(tmp_path: Path) -> None:
    """The generator's command writes the files and says on the screen and beside them that they are simulated."""
    command = [sys.executable, "-m", "examples.hospital.generate", str(tmp_path / "out"), "--scale", "0.05"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Simulated data" in done.stdout
    assert "No real hospital" in (tmp_path / "out" / "README.txt").read_text()
    assert json.loads((tmp_path / "out" / "truth.json").read_text())["simulated"] is True


@pytest.mark.parametrize(("words", "said"), [(["--scale", "0"], "--scale"), ([], "out")])
def test_command_refuses_nonsense(words: list[str], said: str, tmp_path: Path) -> None:
    """A wrong scale or a missing folder is refused with exit code 2, naming the argument."""
    folder = [str(tmp_path / "out")] if words else []
    command = [sys.executable, "-m", "examples.hospital.generate", *folder, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
