"""Every alert fires when it should and is silent when it should not, as Prometheus' own tool finds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.observability import RULES, alerts, metrics_of

# As texts: 0x10 is ten samples here, not sixteen.
CASES: dict[str, dict[str, dict[str, Any]]] = yaml.load(
    (Path(__file__).parent / "alerts/cases.yaml").read_text(), Loader=yaml.BaseLoader
)

pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool (Debian: prometheus)")


def promtool(*words: str) -> str:
    """What the tool says; its refusal fails the test."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_are_well_formed() -> None:
    """Expressions, templates and durations, as Prometheus reads them; each rule stands once."""
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))


def test_each_alert_has_both_cases() -> None:
    """No alert without a case in which it fires and one in which it is silent, and no case without an alert."""
    assert CASES.keys() == alerts().keys()
    assert all(cases.keys() == {"firing", "silent"} for cases in CASES.values())


def rules_of(alert: str) -> list[dict[str, Any]]:
    """The groups with no other rules than the alert and what it is computed from: evaluating all of them at each step of each
    case would take fifty times as long."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    recorded = {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}
    wanted, found = {alert}, metrics_of(alerts()[alert]["expr"]) & recorded.keys()
    while found - wanted:
        wanted |= found
        found = {name for record in found for name in metrics_of(recorded[record])} & recorded.keys()
    kept = [
        group | {"rules": [rule for rule in group["rules"] if rule.get("alert", rule.get("record")) in wanted]}
        for group in groups
    ]
    return [group for group in kept if group["rules"]]


def test_alerts_fire_and_are_silent(tmp_path: Path) -> None:
    """All cases at once; the alert that is wrong is named."""
    files = []
    for alert, cases in CASES.items():
        (tmp_path / f"{alert}.rules.yaml").write_text(yaml.safe_dump({"groups": rules_of(alert)}))
        tests = []
        for kind, case in cases.items():
            labels = {"alertname": alert, "alertstate": "firing", **case.get("labels", {})}
            inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
            samples = [{"labels": f"ALERTS{{{inside}}}", "value": 1}] if kind == "firing" else []
            tests.append(
                {
                    "name": f"{alert}: {kind}",
                    "interval": "1m",
                    "input_series": [{"series": name, "values": text} for name, text in case["series"].items()],
                    "promql_expr_test": [
                        {
                            "expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}',
                            "eval_time": case["at"],
                            "exp_samples": samples,
                        }
                    ],
                }
            )
        file = tmp_path / f"{alert}.tests.yaml"
        file.write_text(
            yaml.safe_dump({"rule_files": [f"{alert}.rules.yaml"], "evaluation_interval": "1m", "tests": tests})
        )
        files.append(str(file))
    promtool("test", "rules", *files)
