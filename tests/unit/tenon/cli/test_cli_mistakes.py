"""The corpus of newcomers' mistakes: each is named, placed and answered with a way out, and none ends in a traceback."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tenon.cli.main import main
from tests.unit.tenon.cli.conftest import Run
from tests.unit.tenon.cli.corpus import command_line, data, documents, platforms
from tests.unit.tenon.cli.corpus.mistake import Mistake
from tests.unit.tenon.cli.fake_platform import FakePlatform

CORPUS = [*command_line.MISTAKES, *platforms.MISTAKES, *documents.MISTAKES, *data.MISTAKES]


def prepare(mistake: Mistake, run: Run, folder: Path) -> None:
    """Bring about the state in which the mistake is made."""
    if mistake.needs in ("example", "two-tenants"):
        assert run("init").code == 0
        if mistake.needs == "two-tenants":
            (folder / "example" / "other.yaml").write_text("kind: Tenant\nname: other\n")
        assert run("apply", "-f", "example").code == 0
        if mistake.needs == "example":
            assert run("train", "returned", "--release").code == 0
    if mistake.change is not None:
        assert main(["init"]) == 0
        name, old, new = mistake.change
        path = folder / "example" / name
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} must stand once in {name}"
        path.write_text(text.replace(old, new))
    for name, content in mistake.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def state(request: pytest.FixtureRequest) -> Callable[[str], FakePlatform | None]:
    """Gives the platform that a mistake needs."""

    def make(needs: str) -> FakePlatform | None:
        return None if needs == "nothing" else request.getfixturevalue("platform")

    return make


@pytest.mark.parametrize("mistake", CORPUS, ids=lambda mistake: mistake.id)
def test_mistake(
    mistake: Mistake,
    run: Run,
    clean: Path,
    state: Callable[[str], FakePlatform | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command fails with the right code, names the thing, points at it, and says what to do."""
    # Where nobody answers this is how long the test takes; elsewhere a busy machine may need a while.
    monkeypatch.setattr("tenon.cli.context.DEADLINE_SECONDS", 0.5 if mistake.id == "server-not-running" else 30)
    state(mistake.needs)
    prepare(mistake, run, clean)
    for name, value in mistake.environment.items():
        monkeypatch.setenv(name, value)
    result = run(*mistake.words)
    assert result.code == mistake.code, result.text
    assert "Traceback" not in result.text
    assert "this is a mistake of ours" not in result.text
    assert re.search(r"^error: ", result.err, re.MULTILINE), result.text
    for name in mistake.names:
        assert name in result.err, result.err
    if mistake.place is not None:
        assert f" --> {mistake.place}" in result.err, result.err
        if re.search(r":\d+:\d*$", mistake.place):
            assert re.search(r"^\s*\d+ \| .*\n\s+\| +\^$", result.err, re.MULTILINE), result.err
    if mistake.way is not None:
        hints = "\n".join(line for line in result.err.splitlines() if line.startswith("hint: "))
        assert hints, result.err
        assert mistake.way in hints, result.err


def test_corpus_is_large_and_mostly_has_a_way_out() -> None:
    """At least 100 mistakes, no name twice; 95 % name the thing and 90 % give a way out."""
    assert len(CORPUS) >= 100
    assert len({mistake.id for mistake in CORPUS}) == len(CORPUS)
    assert sum(bool(mistake.names) for mistake in CORPUS) >= 0.95 * len(CORPUS)
    assert sum(mistake.way is not None for mistake in CORPUS) >= 0.9 * len(CORPUS)
