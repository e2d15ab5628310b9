"""`tenon erase` against a platform that remembers."""

from __future__ import annotations

import json

from tests.unit.tenon.cli.conftest import Run
from tests.unit.tenon.cli.fake_platform import FakePlatform


def test_nothing_is_done_without_yes(run: Run, example: FakePlatform) -> None:
    """It shows which data sets it would touch, and asks nobody to remove anything."""
    found = run("erase", "--key", "customer=7")
    assert (found.code, found.err) == (0, "")
    assert "would leave orders" in found.out
    assert "--yes does it" in found.out
    assert json.loads(run("erase", "--key", "customer=7", "--json").out)["done"] is False
    assert not [path for _, path in example.asked if "erasures" in path]


def test_somebody_is_forgotten(run: Run, example: FakePlatform) -> None:
    """Rows, predictions and labels, with the versions that had answered and the files that are kept."""
    found = run("erase", "--key", "customer=7", "--yes")
    assert (found.code, found.err) == (0, "")
    assert [line.split() for line in found.out.splitlines()[1:3]] == [
        ["orders", "3", "rows", "—"],
        ["predictions", "of", "returned", "2", "rows", "1", "label;", "answered", "by", "version", "1,", "3"],
    ]
    assert "kept as it came: orders.csv (batch b1)" in found.out
    assert "1 pushed row withdrawn" in run("erase", "--key", "customer=9", "--yes").out
    said = json.loads(run("erase", "--key", "customer=8", "--dataset", "orders", "--yes", "--json").out)
    assert (said["done"], said["datasets"]["orders"]["rows"]) == (True, 0)


def test_what_cannot_be_meant(run: Run, example: FakePlatform) -> None:
    """A column or data set that is not there, and a key that is none, with what was perhaps meant."""
    for args, said in [
        (["--key", "customer7"], "is not COLUMN=VALUE"),
        (["--key", "custmer=7"], "did you mean `customer`?"),
        (["--key", "customer=7", "--dataset", "order"], "did you mean `orders`?"),
    ]:
        found = run("erase", *args, "--yes")
        assert found.code == 2
        assert said in found.err
