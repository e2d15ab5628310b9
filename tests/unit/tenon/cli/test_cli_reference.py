"""The reference page names what there is, and help is fast and complete."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from tenon.cli.main import COMMANDS, SECTIONS
from tests.unit.tenon.cli.conftest import Run

PAGE = Path(__file__).resolve().parents[4] / "docs" / "reference" / "cli.md"
SHARED = {"--data", "--json", "--tenant", "--help"}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand with its full name."""
    for name, (module, _) in COMMANDS.items():
        command = getattr(import_module(f"tenon.cli.commands.{module}"), name)
        yield name, command
        for sub, inner in getattr(command, "commands", {}).items():
            yield f"{name} {sub}", inner


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_reference_page_names_every_command_and_option(name: str, command: click.Command) -> None:
    """Nothing is left out of docs/reference/cli.md."""
    page = PAGE.read_text()
    assert f"**`tenon {name}`**" in page or isinstance(command, click.Group), name
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden and not SHARED & set(parameter.opts):
            assert any(re.search(rf"{re.escape(flag)}\b", page) for flag in parameter.opts), f"{name} {parameter.opts}"


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_help_of_every_command(name: str, command: click.Command, run: Run) -> None:
    """Each command has help with a first sentence, and each of its options says what it does."""
    shown = run(*name.split(), "--help")
    assert shown.code == 0
    assert shown.out.startswith(f"Usage: tenon {name}")
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{name} {parameter.opts}"


def test_help_imports_nothing_heavy() -> None:
    """`tenon --help` and a mistake on the command line import neither pydantic, urllib3, rich, yaml nor any service library."""
    heavy = (
        "pydantic",
        "urllib3",
        "rich",
        "yaml",
        "fastapi",
        "grpc",
        "numpy",
        "polars",
        "sqlalchemy",
        "asyncio",
        "services",
    )
    for words in (
        ["--help"],
        ["uup"],
        ["release", "set", "m", "--stable", "x"],
        ["apply", "-f", "nowhere"],
        ["predict", "m"],
    ):
        code = f"import sys; from tenon.cli.main import main; main({words!r}); print([n for n in {heavy!r} if n in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", words


def test_help_names_every_section() -> None:
    """Each command stands in exactly one section."""
    names = [name for section in SECTIONS.values() for name in section]
    assert len(names) == len(set(names)) == len(COMMANDS)
