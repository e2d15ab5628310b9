"""The environments of the clients, made when a test first asks for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments import CACHE, Unavailable, environment, must_run

LISTS = Path(__file__).parent / "requirements"


def client_python(name: str) -> Path:
    """The Python of an environment; without it the test is skipped, or fails where it must run."""
    try:
        return environment(CACHE / "clients" / name, LISTS / f"{name}.txt")
    except Unavailable as err:
        if must_run():
            raise
        pytest.skip(f"the environment of {name} cannot be made here: {str(err)[:300]}")
