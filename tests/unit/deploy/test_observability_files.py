"""Dashboards, rules and runbooks: they name what the code exports, and each alert has what people need to act on it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.observability import (
    DASHBOARDS,
    FOLDER,
    RULES,
    RUNBOOKS,
    alerts,
    labels_of,
    metrics_of,
    panels,
    queries,
    rules,
)  # fmt: skip
from tests.support.service_process import ROOT

KINDS = {
    "Counter": ("_total",),
    "CounterMetricFamily": ("_total",),
    "Gauge": ("",),
    "GaugeMetricFamily": ("",),
    "Histogram": ("_bucket", "_count", "_sum"),
    "HistogramMetricFamily": ("_bucket", "_count", "_sum"),
}
LIBRARY = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"}
"""What prometheus-client tells of each process, as far as we use it."""
PROMETHEUS = {"up", "ALERTS"}
ON_TARGETS = {"job", "service", "instance", "track", "worker", "le", "__name__"}
"""Labels that every series may have: of the target, of a process among several, of histograms."""

UNUSED_ON_PURPOSE: dict[str, str] = {
    "tenon_monitor_reviewed_total": "Decisions of experts: for who plans their hours; the queue itself says what is open.",
    "tenon_features_online_age_seconds": "How old history may be differs from view to view: for who looks into one.",
}
"""Exported, and neither on a dashboard nor in a rule: why."""


def words_in(node: ast.expr, named: dict[str, set[str]]) -> set[str]:
    """The texts of a list or tuple, or of one that has a name."""
    if isinstance(node, ast.Name):
        return named.get(node.id, set())
    found = set[str]()
    for item in node.elts if isinstance(node, ast.List | ast.Tuple) else ():
        if isinstance(item, ast.Starred):
            found |= words_in(item.value, named)
        elif isinstance(item, ast.Constant):
            found.add(str(item.value))
    return found


def exported() -> dict[str, tuple[set[str], set[str]]]:
    """Of each metric of the code, by the name it is declared with: its names in Prometheus, and its labels."""
    found: dict[str, tuple[set[str], set[str]]] = {"tenon_workers_up": ({"tenon_workers_up"}, {"worker"})}
    for path in [*(ROOT / "tenon").rglob("*.py"), *(ROOT / "services").rglob("*.py")]:
        if "prometheus_client" not in (text := path.read_text()):
            continue
        tree, named = ast.parse(text), dict[str, set[str]]()
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                named[node.targets[0].id] = words_in(node.value, {})
        for call in ast.walk(tree):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in KINDS):
                continue
            if not (call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)):
                continue
            name, endings = call.args[0].value, KINDS[call.func.id]
            given = [*call.args[2:3], *(word.value for word in call.keywords if word.arg in ("labels", "labelnames"))]
            base = name.removesuffix("_total") if endings == ("_total",) else name
            found[name] = ({base + ending for ending in endings}, set().union(*(words_in(one, named) for one in given)))
    return found


EXPORTED = exported()
OURS = {name: labels for names, labels in EXPORTED.values() for name in names}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
EXPRESSIONS = [
    *((f"{path.name}: {rule.get('alert') or rule['record']}", rule["expr"])
      for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]),
    *((f"{query.dashboard}: {query.panel}", query.expression) for query in queries()),
]  # fmt: skip


def test_the_code_was_read() -> None:
    """The reading of declarations finds each service's metrics; an empty list would make the other tests say nothing."""
    prefixes = {name.split("_")[1] for name in EXPORTED if name.startswith("tenon_")}
    assert prefixes >= {"ingest", "features", "trainer", "registry", "predictor", "monitor", "events", "disk", "tls"}
    assert OURS["tenon_predictor_requests_total"] == {"tenant", "model", "version", "role", "protocol", "outcome"}
    assert metrics_of('sum by (le) (rate(a_total{x="b_total"}[5m])) / on (c) d:e offset 1h > 0.1 * 86400') == {
        "a_total",
        "d:e",
    }


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_no_metric_is_invented(where: str, expression: str) -> None:
    """Each name in a rule or a panel is one that the code exports, or that is recorded, and has the labels asked for."""
    known = OURS.keys() | LIBRARY | PROMETHEUS | RECORDED
    assert metrics_of(expression) <= known, where
    for name, labels in labels_of(expression):
        if name in OURS:
            assert labels <= OURS[name] | ON_TARGETS, (where, name)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_runbooks_name_what_exists(path: Path) -> None:
    """Metrics and `tenon` commands in a runbook exist."""
    text = path.read_text()
    named = set(re.findall(r"\b(?:tenon_[a-z0-9_]+|\w+:tenon_\w+:\w+|\w+:(?:http|rpc)_server\w+:\w+)", text))
    bases = OURS.keys() | EXPORTED.keys() | RECORDED
    assert not {name for name in named if name not in bases}
    commands = set(re.findall(r"(?m)^\s*tenon ([a-z]+)(?: ([a-z]+))?", text))
    listed = (ROOT / "docs/reference/cli.md").read_text()
    for words in commands:
        assert f"tenon {words[0]}" in listed, words


def test_every_metric_is_shown_or_left_out_on_purpose() -> None:
    """What nobody looks at is either a mistake or should not be exported."""
    used = {name for _, expression in EXPRESSIONS for name in metrics_of(expression)}
    unused = {declared for declared, (names, _) in EXPORTED.items() if not names & used}
    assert unused == UNUSED_ON_PURPOSE.keys()


def test_each_alert_has_a_runbook_and_its_link() -> None:
    """One file for one alert, named like it, and the annotation that leads there; and none for alerts that are gone."""
    assert {path.stem for path in RUNBOOKS} == alerts().keys()
    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in ("critical", "warning"), name
        notes = alert["annotations"]
        assert notes["runbook_url"] == f"{{{{ $externalURL }}}}/user/{name}.md"
        assert notes["summary"], name
        assert notes["description"].endswith("."), name


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_runbooks_say_all_three(path: Path) -> None:
    """What it means, how to see it, what to do; under the alert's name."""
    lines = path.read_text().splitlines()
    assert lines[0] == f"# {path.stem}"
    assert [line for line in lines if line.startswith("## ")] == [
        "## What it means",
        "## How to see it",
        "## What to do",
    ]


def test_guide_lists_every_alert() -> None:
    """The table of docs/operate/observe.md has each alert once, with its runbook."""
    text = (ROOT / "docs/operate/observe.md").read_text()
    listed = re.findall(
        r"(?m)^\| \[(Tenon\w+)\]\(\.\./\.\./deploy/helm/observability/runbooks/(Tenon\w+)\.md\) \|", text
    )
    assert all(name == target for name, target in listed)
    assert sorted(name for name, _ in listed) == sorted(alerts())


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_whole(path: Path) -> None:
    """Ids are unique, panels lie within the grid and not over each other, each says what it shows and where from."""
    dashboard: dict[str, Any] = json.loads(path.read_text())
    assert dashboard["uid"] == f"tenon-{path.stem}"
    every = dashboard["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels(dashboard):
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    titles = [panel["title"] for panel in every if panel["type"] != "row"]
    assert all(titles)


def test_uids_are_unique() -> None:
    """Grafana keeps one dashboard of each uid."""
    uids = [json.loads(path.read_text())["uid"] for path in DASHBOARDS]
    assert len(set(uids)) == len(uids) == 7


def test_failures_of_ours_are_those_the_code_has() -> None:
    """The outcomes that count as failures are those that the predictor refuses with as unavailable, and no others."""
    pattern = re.search(r'outcome=~"([^"]+)"', alerts()["TenonNoAnswers"]["expr"])
    assert pattern
    ours, theirs = set(), set()
    places = [*(ROOT / "services/predictor").rglob("*.py"), *(ROOT / "tenon/kit").rglob("*.py")]
    for path in places:
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
                reason, kind = call.args[0].value, getattr(call.func, "id", "")
                if isinstance(reason, str) and re.fullmatch(r"[A-Z][A-Z_]+", reason):
                    if kind in ("Unavailable", "DeadlineExceeded"):
                        ours.add(reason)
                    elif kind in ("Invalid", "NotFound", "Forbidden", "Unauthenticated", "TooLarge", "RateLimited"):
                        theirs.add(reason)
    # The predictor has no database, and what keeps a service from starting answers nobody.
    ours = {reason for reason in ours if not reason.startswith(("DATABASE_", "MIGRATION_"))}
    assert len(ours) > 5
    assert len(theirs) > 20
    assert {reason for reason in ours if not re.fullmatch(pattern[1], reason)} == set()
    assert {reason for reason in theirs if re.fullmatch(pattern[1], reason)} == set()
    for _, expression in EXPRESSIONS:
        for found in re.findall(r'outcome=~"([^"]+)"', expression):
            assert found == pattern[1]


def test_chart_holds_nothing_else() -> None:
    """Every file of these folders is of a kind that the chart loads."""
    for folder, ending in (("dashboards", ".json"), ("rules", ".yaml"), ("runbooks", ".md")):
        assert {path.suffix for path in (FOLDER / folder).iterdir()} == {ending}
