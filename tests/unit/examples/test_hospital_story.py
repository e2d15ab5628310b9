"""The story ends with the right exit code, says why, and leaves what it should."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from examples.hospital import demo
from examples.hospital.doors import Column, Command, split_entity
from examples.hospital.platforms import Embedded, Running, read_target
from examples.hospital.story import StepFailed, Story
from examples.hospital.world import eventually, read_rows

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def story() -> Story:
    """A story on a screen that is no terminal."""
    return Story()


def ending(outcome: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    """The exit code when the story goes so."""
    monkeypatch.setattr(demo, "tell", lambda *_, **__: outcome())
    command = Command(tmp_path)
    return demo._run(Story(), command, Embedded(command), tmp_path, Namespace(scale=1.0, keep=False, target=None))


def test_a_fact_that_does_not_hold_ends_the_story(
    story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, and the last line names the fact."""
    assert ending(lambda: story.check(False, "9 rows [red] in quarantine"), monkeypatch, tmp_path) == 1
    assert "FAILED" in (said := capsys.readouterr().out)
    assert "9 rows [red] in quarantine" in said.splitlines()[-1]


def test_the_end_of_a_good_story_is_zero(story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Facts that hold are counted."""
    assert ending(lambda: story.check(True, "all is well"), monkeypatch, tmp_path) == 0
    assert story.facts == 1


def test_interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ctrl-C is exit code 130."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    assert ending(interrupt, monkeypatch, tmp_path) == 130


def test_a_failed_command_is_a_failed_step(tmp_path: Path) -> None:
    """What the command said is in the message; the exit code that was expected is no failure."""
    command = Command(tmp_path / "nothing")
    with pytest.raises(StepFailed, match=r"NO_PLATFORM|no folder"):
        command.run("status")
    assert command.run("status", expect=3)


def test_commands_side_by_side_end_with_the_block(tmp_path: Path) -> None:
    """When the block is left early, its commands are ended and not waited for."""
    command = Command(tmp_path)
    started: dict[str, Future[dict[str, Any]]] = {}

    def leave() -> None:
        with command.together({"one": ["doctor"], "two": ["--version"]}) as running:
            started.update(running)
            raise StepFailed("enough")

    with pytest.raises(StepFailed, match="enough"):
        leave()
    assert all(future.done() for future in started.values())


def test_waiting_ends_with_what_was_waited_for() -> None:
    """A wait that is in vain names what did not come."""
    with pytest.raises(StepFailed, match="the moon is full"):
        eventually(lambda: False, "the moon is full", seconds=0.2)


def test_columns_go_over_the_wire_in_their_types() -> None:
    """Text of a CSV file becomes numbers, booleans and missing values; the patient is the entity."""
    columns = [
        Column("age", "INT64"),
        Column("planned", "BOOL"),
        Column("insurance", "BYTES"),
        Column("patient_id", "BYTES"),
    ]
    row = {"age": "61", "planned": "false", "insurance": "", "patient_id": "SM-P000001"}
    assert split_entity(columns, row) == (
        {"patient_id": "SM-P000001"},
        {"age": 61, "planned": False, "insurance": None},
    )


def test_spoilt_lines_are_left_out(tmp_path: Path) -> None:
    """The story asks for good lines only."""
    path = tmp_path / "visits.csv"
    path.write_text("visit_id,age\nSM-00000001,5\nSM-923Q10000,212\n,7\nSM-00000002\nSM-00000003,1,2\n")
    assert [row["visit_id"] for row in read_rows(path)] == ["SM-00000001"]


@pytest.mark.parametrize(
    ("words", "said"), [(["--scale", "0"], "--scale"), (["--data", "{full}"], "not empty"), (["--kep"], "--kep")]
)
def test_wrong_arguments(words: list[str], said: str, tmp_path: Path) -> None:
    """A wrong argument is exit code 2 at once, before anything starts."""
    (tmp_path / "mine.txt").write_text("precious")
    words = [word.replace("{full}", str(tmp_path)) for word in words]
    command = [sys.executable, "-m", "examples.hospital.demo", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


TARGET = """# a platform in containers
TENON_API_KEY=k=1
TENON_PREDICTOR_GRPC=127.0.0.1:1
""" + "".join(
    f"TENON_{name}_URL=http://127.0.0.1:1\n"
    for name in ("REGISTRY", "INGEST", "FEATURES", "TRAINER", "PREDICTOR", "MONITOR")
)


def test_a_file_names_the_platform(tmp_path: Path) -> None:
    """Comments are passed over, a value may hold `=`, and what is missing is named."""
    (tmp_path / "target").write_text(TARGET)
    assert read_target(tmp_path / "target")["TENON_API_KEY"] == "k=1"
    (tmp_path / "target").write_text(TARGET.replace("TENON_INGEST_URL", "TENON_INGEST"))
    with pytest.raises(ValueError, match="does not say TENON_INGEST_URL"):
        read_target(tmp_path / "target")


def test_a_service_of_a_running_platform_is_killed_by_the_command_that_was_given(tmp_path: Path) -> None:
    """The service's name is added to it; one that fails is a failed step."""
    running = Running({}, f"touch {tmp_path}/killed", "false")
    running.kill("-c")
    assert not (tmp_path / "-c").exists()
    with pytest.raises(StepFailed, match="`false features` ended with 1"):
        running.bring_back("features")
