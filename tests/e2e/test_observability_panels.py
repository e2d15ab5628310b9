"""Every panel of every dashboard shows something, on a real platform with traffic that a real Prometheus has read."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.hospital.doors import MODEL
from examples.hospital.hospitals import CALM
from examples.hospital.world import TENANTS
from tests.support.observability import DASHBOARDS, alerts, panels
from tests.support.platform import Platform, eventually, running_platform
from tests.support.ports import free_port
from tests.support.prometheus import Prometheus, needs_prometheus, running_prometheus
from tests.support.service_process import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_prometheus]

EMPTY_ON_PURPOSE = {
    ("platform", "When certificates end"): "the platform of the test speaks without TLS",
}
"""Panels that rightly show nothing here: why."""

_TENANTS = ("lakeside", *TENANTS)
"""The one that drifts first; another shows what its part of the story lacks (few of its requests need history)."""
_KILL = """
import json, os, pathlib, signal, sys
services = json.loads(pathlib.Path(sys.argv[1], "platform.json").read_text())["services"]
os.kill(services[sys.argv[2]]["pid"], signal.SIGKILL)
"""

_STEP = 5


@dataclass(frozen=True)
class Watched:
    """A platform that has told its whole story while Prometheus looked on."""

    prometheus: Prometheus
    began: float
    ended: float

    def values(self, expression: str, *, instant: bool) -> list[float]:
        """Every figure that a panel with this query shows, for the first hospital that has any."""
        for tenant in _TENANTS if "$tenant" in expression else _TENANTS[:1]:
            if found := self._values(expression, tenant, instant=instant):
                return found
        return []

    def _values(self, expression: str, tenant: str, *, instant: bool) -> list[float]:
        chosen = {"$__rate_interval": "1m", "$tenant": tenant, "$model": ".*", "$instance": ".*"}
        for name, value in chosen.items():
            expression = expression.replace(name, value)
        assert "$" not in expression, expression
        if instant:
            shown = [one["value"][1] for one in self.prometheus.series(expression)]
        else:
            # The last step is the end: what was shown a moment ago is seen as well.
            steps = math.ceil((self.ended - self.began) / _STEP)
            times = {"start": str(self.ended - steps * _STEP), "end": str(self.ended), "step": f"{_STEP}s"}
            found = self.prometheus.get("query_range", query=expression, **times)["result"]
            shown = [value for one in found for _, value in one["values"]]
        return [value for value in map(float, shown) if not math.isnan(value)]


def tell_the_story(platform: Platform, folder: Path) -> None:
    """The hospital demo: dirty files, training, releases, a canary, an outage of features, labels, drift."""
    target = folder / "target.env"
    lines = [f"TENON_{name.upper()}_URL={url}" for name, url in platform.urls.items()]
    lines += [f"TENON_PREDICTOR_GRPC={platform.targets['predictor']}", f"TENON_API_KEY={platform.admin_key}"]
    target.write_text("\n".join(lines))
    kill = shlex.join([sys.executable, "-c", _KILL, str(platform.folder)])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
    done = subprocess.run(
        [
            sys.executable, "-m", "examples.hospital.demo", "--scale", "0.25", "--target", str(target),
            "--kill", kill, "--start", "true",
        ],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def tell_the_rest(platform: Platform) -> None:
    """What the demo does not tell: a row that comes before its commit, and a canary that stays for a while."""
    key, place = platform.create_key(CALM), f"/v1/tenants/{CALM}"
    features = {
        "department": "surgery", "diagnosis_group": "arrhythmia", "triage": 3, "age": 50, "sex": "f", "insurance": "public",
        "planned": True, "weekday": 2, "hour": 9,
    }  # fmt: skip
    row = {
        "visit_id": "ZZ-00000001",
        "patient_id": "ZZ-P000001",
        "admitted_at": "2026-01-01T00:00:00Z",
        "month": 1,
        **features,
    }
    pushed = platform.ask("features", "POST", f"{place}/datasets/visits/events", key=key, body={"rows": [row]})
    assert pushed.status_code == 200, pushed.text
    canary = {"stable": 1, "canary": 2, "canary_weight": 50}
    released = platform.ask("registry", "PUT", f"{place}/models/{MODEL}/release", key=key, body=canary)
    assert released.status_code == 200, released.text
    for number in range(60):
        asked = {"entity": {"patient_id": f"ZZ-P{number:06}"}, "features": features}
        answer = platform.ask("predictor", "POST", f"/v1/models/{MODEL}:predict", key=key, body={"instances": [asked]})
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Everything runs, the story is told, and what is looked at only now and then has been looked at."""
    folder = tmp_path_factory.mktemp("watched")
    worker = free_port()
    # The story wants every answer to know its history, however busy the machine is.
    settings = {"TENON_WORKER_METRICS_PORT": str(worker), "TENON_PREDICTOR_HISTORY_TIMEOUT_MS": "10000"}
    with running_platform(folder / "platform", settings) as platform:
        targets = {name: url.removeprefix("http://") for name, url in platform.urls.items()}
        targets["trainer-worker"] = f"127.0.0.1:{worker}"
        with running_prometheus(folder / "prometheus", targets) as prometheus:
            began = time.time()
            eventually(lambda: len(prometheus.series('up{job="tenon"} == 1')) == 7, "all targets are up")
            tell_the_story(platform, folder)
            tell_the_rest(platform)
            made = platform.ask(
                "registry", "POST", f"/v1/tenants/{_TENANTS[0]}/keys", key=platform.admin_key,
                body={"name": "of a test", "scopes": ["read"], "expires_in": "90d"},
            )  # fmt: skip
            assert made.status_code == 201, made.text
            eventually(
                lambda: prometheus.series("tenon_registry_key_expiry_timestamp_seconds"),
                "the key is known",
                seconds=300,
            )
            eventually(
                lambda: prometheus.series("tenant_model:tenon_predictor_slow:ratio_rate1h"), "rules ran", seconds=300
            )
            eventually(
                lambda: prometheus.series('tenon_monitor_verdict{kind="drift",verdict="drift"} == 1'),
                "monitor looked at its models", seconds=300,
            )  # fmt: skip
            eventually(lambda: prometheus.series("tenon_monitor_quality"), "labels have matured", seconds=300)
            eventually(
                lambda: prometheus.series("tenon_monitor_canary_answers_needed"), "the canary is judged", seconds=300
            )
            eventually(
                lambda: prometheus.series("tenon_monitor_estimated_quality"), "quality is estimated", seconds=300
            )
            seen = time.time()
            eventually(lambda: prometheus.series(f'timestamp(up{{job="tenon"}}) > {seen + 2}'), "it was read twice")
            yield Watched(prometheus, began, time.time())


# The longer the machine takes for the story, the more of what is true has been so for long enough.
# And the hospitals name a webhook that the platform of this test does not have.
TRUE_ALARMS = {
    "TenonRowsQuarantined", "TenonModelDrifts", "TenonIncidentCritical", "TenonIncidentCommon", "TenonAlertsNotDelivered",
}  # fmt: skip
OF_THE_MACHINE = {"TenonLatencyBudgetBurnsFast", "TenonLatencyBudgetBurnsSlowly", "TenonDiskFull", "TenonDiskFillsUp"}


def every_query() -> list[Any]:
    """Each target of each panel."""
    found = []
    for path in DASHBOARDS:
        for panel in panels(json.loads(path.read_text())):
            for target in panel["targets"]:
                instant = bool(target.get("instant"))
                name = f"{path.stem}: {panel['title']} {target['refId']}"
                found.append(pytest.param(path.stem, panel["title"], target["expr"], instant, id=name))
    return found


@pytest.mark.parametrize(("dashboard", "panel", "expression", "instant"), every_query())
def test_panel_shows_something(watched: Watched, dashboard: str, panel: str, expression: str, *, instant: bool) -> None:
    """The query is well formed and gives figures; where none is right, the reason is written down above."""
    figures = watched.values(expression, instant=instant)
    if (dashboard, panel) in EMPTY_ON_PURPOSE:
        assert not figures
    else:
        assert figures


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_choices_and_marks(watched: Watched, path: Path) -> None:
    """Every variable has values to choose from, and what is marked on the time axis has happened."""
    dashboard = json.loads(path.read_text())
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
            assert asked
            selector = asked[1].replace("$tenant", _TENANTS[0])
            names = {one.get(asked[2]) for one in watched.prometheus.get("series", **{"match[]": selector})}
            assert names - {None, ""}, variable["name"]
    for mark in dashboard["annotations"]["list"]:
        if "expr" in mark:
            assert watched.values(mark["expr"], instant=False), mark["name"]


def test_rules_run_and_only_true_alarms_fire(watched: Watched) -> None:
    """Every rule evaluates; after a story with one drifted hospital and one killed service nothing else is alarmed."""
    rules = [rule for group in watched.prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    loaded = {rule["name"] for rule in rules if rule["type"] == "alerting"}
    assert loaded == alerts().keys()
    active = {(alert["labels"]["alertname"], alert["state"]) for alert in watched.prometheus.get("alerts")["alerts"]}
    assert {name for name, state in active if state == "firing"} <= TRUE_ALARMS | OF_THE_MACHINE
    waiting = {name for name, _ in active}
    assert "TenonModelDrifts" in waiting
    for alert in watched.prometheus.get("alerts")["alerts"]:
        _, _, path = alert["annotations"]["runbook_url"].partition("/user/")
        page = httpx.get(f"{watched.prometheus.url}/user/{path}", trust_env=False, timeout=60)
        assert page.text.startswith(f"# {alert['labels']['alertname']}\n")
