"""A real predictor process for foreign clients, and the table of what each of them could do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tenon.bundle import load_evaluator, open_bundle
from tests.conformance.matrix import MATRIX, Matrix, as_text
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import ADMIN_KEY, KEYS, linear_bundle, signing_key, visit_bundle
from tests.support.predictor_process import PredictorProcess

COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "age": ("FP64", [61.5, None, 0.1]),
    "count": ("INT64", [3, 0, -7]),
    "urgent": ("BOOL", [True, False, True]),
    "ward": ("BYTES", ["north", "é", "west"]),
}
"""Three rows; the second has no age and a ward that the model never saw."""
SPLIT = visit_bundle(model="split", shift=1.0)


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PredictorProcess]:
    """One predictor with a model of several columns, one of a matrix, and one with a canary."""
    registry = FakeRegistry().start()
    registry.add("acme", "stay", 1, visit_bundle())
    registry.release("acme", "stay", 1)
    registry.add("acme", "price", 4, linear_bundle())
    registry.release("acme", "price", 4)
    registry.add("acme", "split", 1, visit_bundle(model="split"))
    registry.add("acme", "split", 2, SPLIT)
    registry.release("acme", "split", 1, canary=2, permille=300)
    process = PredictorProcess(tmp_path_factory.mktemp("conformance"), registry=registry.port)
    try:
        process.start()
        yield process
    finally:
        code = process.stop()
        registry.stop()
    assert code == 0


@pytest.fixture(scope="session")
def facts(predictor: PredictorProcess) -> dict[str, Any]:
    """What the clients' programs are told: where to ask, and what is right, as the bundle itself says."""
    return {
        "http": predictor.http,
        "grpc": predictor.grpc,
        "tenant": "acme",
        "key": KEYS["acme"],
        "admin": ADMIN_KEY,
        "model": "stay",
        "columns": COLUMNS,
        "whole": [0, 2],
        "expected": answers(visit_bundle()),
        "matrix": {"model": "price", "rows": [[1, 2], [3, 4]], "expected": [9.0, 19.0]},
        "split": {"model": "split", "version": "2", "expected": answers(SPLIT)},
        "instances": [
            {"features": {name: values[row] for name, (_, values) in COLUMNS.items() if values[row] is not None}}
            for row in range(3)
        ],
    }


def answers(bundle: bytes) -> list[float]:
    """What the evaluator of a bundle says of the rows, asked in this process and alone."""
    evaluator = load_evaluator(open_bundle(bundle, signing_key().public_key()))
    found: list[float] = evaluator.predict(
        {
            name: np.array(values, object if datatype == "BYTES" else np.float64)
            for name, (datatype, values) in COLUMNS.items()
        }
    ).tolist()
    return found


@pytest.fixture(scope="session")
def matrix(pytestconfig: pytest.Config) -> Matrix:
    """What the clients reported."""
    return pytestconfig.stash[MATRIX]


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty table."""
    config.stash[MATRIX] = Matrix()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands its table to the process that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["conformance"] = session.config.stash[MATRIX].clients


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """Take a worker's table."""
    node.config.stash[MATRIX].clients |= getattr(node, "workeroutput", {}).get("conformance", {})


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table."""
    found = config.stash[MATRIX]
    if found.clients:
        terminalreporter.write_sep("-", "conformance: what each client could do")
        terminalreporter.write_line(as_text(found))
