"""Every manifest of every chart, with every set of values in its `ci` folder, as the API server itself judges it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.harness.cluster import CHARTS, Cluster

SETS = [
    pytest.param(chart.parent, values, id=f"{chart.parent.name}/{values.name.removesuffix('-values.yaml')}")
    for chart in sorted(CHARTS.glob("*/Chart.yaml"))
    for values in sorted((chart.parent / "ci").glob("*-values.yaml"))
]


@pytest.mark.parametrize(("chart", "values"), SETS)
def test_server_accepts(cluster: Cluster, namespace: str, chart: Path, values: Path) -> None:
    """No unknown field, no wrong type, nothing that admission refuses, and pods as restricted as the namespace asks."""
    text = cluster.helm("template", "some-release", str(chart), "-f", str(values), "-n", namespace)
    documents: list[dict[str, Any]] = [document for document in yaml.safe_load_all(text) if document]
    assert documents
    # What names another namespace is placed there; it need only exist.
    places = {document["metadata"].get("namespace", namespace) for document in documents} - {namespace}
    for place in places:
        cluster.create_namespace(place)
    # A bare pod (of `helm test`) is admitted only where its account exists; a dry run makes none.
    if accounts := [document for document in documents if document["kind"] == "ServiceAccount"]:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", text=yaml.safe_dump_all(accounts))
    answer = ""
    for place in places | {namespace}:
        there = [document for document in documents if document["metadata"].get("namespace", namespace) == place]
        answer += cluster.kubectl(
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--warnings-as-errors",
            "-n",
            place,
            "-f",
            "-",
            text=yaml.safe_dump_all(there),
        )
    accepted = [line for line in answer.splitlines() if line.endswith("(server dry run)")]
    assert len(accepted) == len(documents)


@pytest.mark.parametrize("chart", sorted(CHARTS.glob("*/Chart.yaml")), ids=lambda path: path.parent.name)
def test_has_sets_of_values(chart: Path) -> None:
    """A chart without sets of values would pass the test above without being looked at."""
    assert list((chart.parent / "ci").glob("*-values.yaml"))


@pytest.mark.parametrize(("chart", "values"), SETS)
def test_lint(cluster: Cluster, chart: Path, values: Path) -> None:
    """`helm lint --strict` finds nothing, which includes the values' own schema."""
    cluster.helm("lint", "--strict", str(chart), "-f", str(values))
