"""What goes into an image: the requirements of its extras, and nothing of another's."""

from __future__ import annotations

import runpy
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SERVICES = ("ingest", "features", "trainer", "registry", "predictor", "monitor")


@pytest.fixture(scope="module")
def needed() -> Callable[[Iterable[str]], list[str]]:
    """The requirements of some extras of the real pyproject.toml."""
    program = runpy.run_path(str(ROOT / "deploy/docker/requirements.py"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return lambda extras: program["requirements"](project, extras)


def test_an_extra_that_names_others_is_followed(needed: Callable[[Iterable[str]], list[str]]) -> None:
    """`registry` is `tenon[service,sql]` and more: all of it appears once, and no `tenon` among it."""
    lines = needed(["registry", "registry"])
    names = [line.partition(">")[0].partition("[")[0] for line in lines]
    assert {"click", "grpcio", "sqlalchemy", "boto3", "numpy"} <= set(names)
    assert len(set(lines)) == len(lines)
    assert "tenon" not in names


def test_the_predictors_stay_few(needed: Callable[[Iterable[str]], list[str]]) -> None:
    """No queue, table, lake or learning library is asked for."""
    text = " ".join(needed(["predictor"]))
    assert not [
        name
        for name in ("celery", "sqlalchemy", "boto3", "polars", "scikit", "xgboost", "scipy", "onnx")
        if name in text
    ]


def test_every_service_has_an_extra_and_an_unknown_one_is_named(needed: Callable[[Iterable[str]], list[str]]) -> None:
    """The Dockerfile's SERVICE is the name of an extra."""
    assert all(needed([service]) for service in SERVICES)
    with pytest.raises(KeyError, match="predictr"):
        needed(["predictr"])
