"""The chart `observability`: it carries the plain files as they are, and finds what the other charts install."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.charts import Document, Refused, render
from tests.support.observability import DASHBOARDS, FOLDER, RULES, RUNBOOKS, alerts

STACK = FOLDER / "ci/stack-values.yaml"


def rendered_rules(documents: dict[str, Document]) -> dict[str, list[Any]]:
    """The groups of every PrometheusRule, by the file that they come from."""
    return {
        name.removeprefix("PrometheusRule/some-"): document["spec"]["groups"]
        for name, document in documents.items()
        if name.startswith("PrometheusRule/")
    }


def plain(group: dict[str, Any]) -> dict[str, Any]:
    """A group without what the chart may change."""
    kept = [
        {name: value for name, value in rule.items() if name not in ("annotations", "labels")}
        for rule in group["rules"]
    ]
    return {**group, "rules": kept}


def test_rules_are_the_files() -> None:
    """Nothing is lost or changed but the link to the runbook."""
    found = rendered_rules(render("observability"))
    assert found.keys() == {path.stem for path in RULES}
    for path in RULES:
        groups = yaml.safe_load(path.read_text())["groups"]
        assert [plain(group) for group in found[path.stem]] == [plain(group) for group in groups]
    for groups in found.values():
        for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
            given = alerts()[rule["alert"]]
            assert rule["labels"] == given["labels"]
            assert rule["annotations"]["summary"] == given["annotations"]["summary"]
            assert "runbook_url" not in rule["annotations"]
            assert f"{{.data.{rule['alert']}\\.md}}" in rule["annotations"]["runbook"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool (Debian: prometheus)")
@pytest.mark.parametrize("values", sorted((FOLDER / "ci").glob("*-values.yaml")), ids=lambda path: path.stem)
def test_rendered_rules_are_well_formed(values: Path, tmp_path: Path) -> None:
    """Prometheus' own tool takes them for every set of values."""
    for name, groups in rendered_rules(render("observability", values=values)).items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"groups": groups}))
        done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_can_be_changed_without_touching_files() -> None:
    """Left out, given another severity, labelled, linked to a company's own runbooks."""
    groups = [group for found in rendered_rules(render("observability", values=STACK)).values() for group in found]
    found = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    assert found.keys() == alerts().keys() - {"TenonModelsEvictedOften"}
    assert found["TenonModelDrifts"]["labels"] == {"severity": "info", "team": "ml-platform"}
    assert found["TenonNoAnswers"]["labels"] == {"severity": "critical", "team": "ml-platform"}
    link = found["TenonNoAnswers"]["annotations"]["runbook_url"]
    assert link == "https://runbooks.example.org/tenon/TenonNoAnswers.md"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rules": {"disabled": ["TenonNoAnswer"]}}, "TenonNoAnswer, which does not exist"),
        ({"rules": {"severities": {"TenonNoAnswer": "info"}}}, "TenonNoAnswer, which does not exist"),
        ({"rules": {"severities": {"TenonNoAnswers": "loud"}}}, "severities"),
        ({"monitors": {"intervall": "15s"}}, "intervall"),
        ({"runbooks": {"url": "runbooks.example.org"}}, "url"),
        ({"rules": {"alertLabels": {"severity": "info"}}}, "severity"),
    ],
)
def test_mistakes_are_refused(values: dict[str, Any], words: str) -> None:
    """A value or an alert that does not exist is named."""
    with pytest.raises(Refused, match=words):
        render("observability", values=values)


def test_dashboards_and_runbooks_arrive_whole() -> None:
    """Each file is in a ConfigMap, byte for byte but for the last line's end, under the label that the sidecar wants."""
    documents = render("observability")
    for path in DASHBOARDS:
        document = documents[f"ConfigMap/some-dashboard-{path.stem}"]
        assert document["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(document["data"][f"tenon-{path.name}"]) == json.loads(path.read_text())
    data = documents["ConfigMap/some-runbooks"]["data"]
    assert data == {path.name: path.read_text().strip() for path in RUNBOOKS}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels."""
    for one in selector.get("matchExpressions", []):
        value, operator = labels.get(one["key"]), one["operator"]
        if operator == "In" and value not in one["values"]:
            return False
        if (operator == "Exists" and value is None) or (operator == "DoesNotExist" and value is not None):
            return False
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def service_label(endpoint: dict[str, Any], labels: dict[str, str]) -> str:
    """The label `service` that a target of a pod with these labels gets."""
    rules = {rule["targetLabel"]: rule for rule in endpoint["relabelings"]}
    assert rules["job"]["replacement"] == "tenon"
    rule = rules["service"]
    if "replacement" in rule:
        return str(rule["replacement"])
    (source,) = rule["sourceLabels"]
    assert source == "__meta_kubernetes_pod_label_app_kubernetes_io_component"
    return labels["app.kubernetes.io/component"]


def test_monitors_find_every_program_once() -> None:
    """Each program of the charts `platform` and `tenant` is read through one monitor, under the name that rules know it by."""
    watch = render("observability")
    platform = render("platform", values={"predictor": {"enabled": True}})
    tenant = render("tenant", "--set", "tenant=acme,model=stay,stable.version=1,canary.version=2,canary.weight=10")
    found: list[str] = []
    for documents in (platform, tenant):
        for name, workload in documents.items():
            if not name.startswith("Deployment/"):
                continue
            template = workload["spec"]["template"]
            labels = template["metadata"]["labels"]
            ports = [port["name"] for one in template["spec"]["containers"] for port in one.get("ports", [])]
            by: list[str] = []
            for kind, monitor in watch.items():
                spec = monitor.get("spec", {})
                if kind.startswith("PodMonitor/") and selects(spec["selector"], labels):
                    (endpoint,) = spec["podMetricsEndpoints"]
                elif kind.startswith("ServiceMonitor/") and any(
                    selects(spec["selector"], service["metadata"]["labels"])
                    and selects({"matchLabels": service["spec"]["selector"]}, labels)
                    for key, service in documents.items()
                    if key.startswith("Service/")
                ):
                    (endpoint,) = spec["endpoints"]
                else:
                    continue
                assert endpoint["port"] in ports
                by.append(service_label(endpoint, labels))
            assert len(by) == 1, (name, by)
            found += by
    known = {"registry", "ingest", "features", "trainer", "trainer-worker", "predictor", "monitor"}
    assert set(found) == known
    assert found.count("predictor") == 3
