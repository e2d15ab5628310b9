"""What the chart has Flagger ask of monitor's verdicts, as Prometheus' own tool evaluates it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
import yaml

from tests.support.charts import render

pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool (Debian: prometheus)")

VALUES = {
    "tenant": "acme", "model": "stay", "stable": {"version": 7}, "rollout": {"strategy": "flagger"},
    "flagger": {"verdict": True, "window": "5m", "minRequests": 100},
}  # fmt: skip
ASKED = {'tenon_predictor_requests_total{namespace="ns",pod="acme-5b6f-x1"}': "0+60x20"}


def verdict(name: str, version: int = 7) -> dict[str, str]:
    """Monitor's gauge: one verdict holds."""
    names = ("promote", "hold", "roll_back", "not_enough_evidence")
    labels = f'tenant="acme",model="stay",version="{version}",role="canary"'
    return {
        f'tenon_monitor_canary_verdict{{{labels},verdict="{one}"}}': ("1x20" if one == name else "0x20")
        for one in names
    }


def value_of(tmp_path: Path, query: str, series: dict[str, str]) -> str:
    """The one value that a query has after ten minutes, or what the tool says of it."""
    test = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": text} for name, text in series.items()],
                "promql_expr_test": [
                    {"expr": query, "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": -1}]}
                ],
            }
        ],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=180, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("said", "value", "opens"),
    [
        (verdict("promote"), "0E+00", True),
        (verdict("hold"), "0E+00", False),
        (verdict("not_enough_evidence"), "0E+00", False),
        (verdict("roll_back"), "1E+00", False),
        (verdict("promote", version=6), "0E+00", False),
        ({}, "0E+00", False),
    ],
    ids=["promote", "hold", "open", "worse", "another version", "silence"],
)
def test_only_a_verdict_promotes(tmp_path: Path, said: dict[str, str], value: str, opens: bool) -> None:
    """`roll_back` fails the check; the gate before the promotion opens for `promote` on this version alone."""
    found = render("tenant", values=VALUES, name="acme")
    query = found["MetricTemplate/acme-verdict"]["spec"]["query"]
    assert f"{{}} {value}" in value_of(tmp_path, query, ASKED | said)
    hooks = found["Canary/acme"]["spec"]["analysis"]["webhooks"]
    (gate,) = (hook["url"] for hook in hooks if hook["type"] == "confirm-promotion")
    answer = value_of(tmp_path, parse_qs(urlparse(gate).query)["query"][0], ASKED | said)
    assert ("multiple matches" in answer or "many-to-" in answer) is not opens, answer
    assert ("{} 0E+00" in answer or "{} 1E+00" in answer) is opens, answer
