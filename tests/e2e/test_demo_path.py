"""The demo's path at a small size, through public doors only: it tells the whole story, and it cleans up after itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.platform import eventually, processes_of, run_tenon
from tests.support.service_process import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SMALL = ("--scale", "0.25")


@contextmanager
def demo(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The demo as a process that writes its screen into a file; whatever happens, its platform is stopped."""
    screen = folder.with_suffix(".txt")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
    with screen.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.hospital.demo", "--data", str(folder), *SMALL, *words],
            cwd=ROOT, env=environment | {"PYTHONUNBUFFERED": "1"}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        yield process, screen
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(180)
        if (folder / "platform").is_dir():
            run_tenon(folder / "platform", "down")


def test_story_is_told_and_the_platform_kept(tmp_path: Path) -> None:
    """All eight steps hold; with --keep the platform goes on until `tenon down`, which leaves no process."""
    folder = tmp_path / "demo"
    with demo(folder, "--keep") as (process, screen):
        code = process.wait(1200)
        text = screen.read_text()
        assert code == 0, text
        for number in range(1, 9):
            assert f"\n{number}. " in text
        assert "simulated" in text.lower()
        assert "Traceback" not in text
        assert "✗" not in text
        assert "facts held" in text
        assert f"export TENON_HOME={folder / 'platform'}" in text
        status = run_tenon(folder / "platform", "status")
        assert status.returncode == 0, status.stdout + status.stderr
        report = run_tenon(folder / "platform", "report", "visit_cost", "--tenant", "lakeside", "--check")
        assert report.returncode == 1, report.stdout + report.stderr
        assert run_tenon(folder / "platform", "down").returncode == 0
        assert not processes_of(folder)


@pytest.mark.parametrize(
    ("step", "signum"), [(1, signal.SIGINT), (3, signal.SIGTERM), (4, signal.SIGINT)], ids=["start", "ingest", "train"]
)
def test_interrupted_story_leaves_no_process(step: int, signum: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C (or SIGTERM) in the middle of starting, loading or training stops everything; exit code 130."""
    folder = tmp_path / "demo"
    with demo(folder) as (process, screen):
        eventually(lambda: f"\n{step}. " in screen.read_text(), f"step {step} has begun", seconds=300)
        process.send_signal(signum)
        assert process.wait(180) == 130, screen.read_text()
        assert "Traceback" not in screen.read_text()
        eventually(lambda: not processes_of(folder), f"no process is left, but: {processes_of(folder)}", seconds=180)
