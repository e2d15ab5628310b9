"""Running the command in this process, in a folder of its own, with or without a platform."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenon.cli.main import main
from tests.unit.tenon.cli.fake_platform import FakePlatform


@dataclass(frozen=True)
class Result:
    """What a run of the command left on the screen."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams."""
        return self.out + self.err


Run = Callable[..., Result]


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to work in, and none of the caller's settings."""
    for name in list(os.environ):
        if name.startswith("TENON_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(clean: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `tenon WORDS` in the empty folder."""

    def call(*words: str) -> Result:
        capsys.readouterr()
        code = main(list(words))
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return call


@pytest.fixture
def platform(clean: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePlatform]:
    """A platform without anything in it, which the environment names."""
    made = FakePlatform()
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


@pytest.fixture
def example(run: Run, platform: FakePlatform) -> FakePlatform:
    """A platform with the example of `tenon init` applied and nothing loaded, in the folder `example`."""
    assert run("init").code == 0
    assert run("apply", "-f", "example").code == 0
    return platform
