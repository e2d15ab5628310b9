"""The profile `observability` beside the platform: what Prometheus finds, what alerts go to, where traces arrive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.compose import Composed
from tests.support.docker import DockerError, docker, inspect, need_image
from tests.support.platform import eventually
from tests.support.service_process import ROOT

pytestmark = pytest.mark.timeout(1800)

IMAGES = ("prom/prometheus:v2.53.4", "prom/alertmanager:v0.27.0", "otel/opentelemetry-collector:0.154.0")
GRAFANA = "grafana/grafana:11.4.0"
BOTH = ("core", "observability")


@pytest.fixture(scope="module")
def watched(composed: Composed) -> Iterator[Composed]:
    """Prometheus, Alertmanager and the collector beside the platform, which sends its traces there; Grafana where its image is."""
    for name in IMAGES:
        need_image(name, f"docker pull {name}")
    settings = dict(composed.settings)
    composed.settings = settings | {"TENON_OTLP_ENDPOINT": "http://collector:4317"}
    composed.up("prometheus", "alertmanager", "collector", profiles=BOTH)
    # The others have other settings now, and stay as they are.
    composed.compose("up", "--wait", "--no-deps", "predictor")
    yield composed
    composed.settings = settings
    # Changed settings make another container of it: now, and not while another test asks it.
    composed.up("predictor")
    composed.compose("rm", "--stop", "--force", "prometheus", "alertmanager", "collector", profiles=BOTH)


def prometheus(watched: Composed, path: str, **parameters: str) -> Any:
    """What Prometheus answers."""
    url = f"http://127.0.0.1:{watched.settings['PROMETHEUS_PORT']}/api/v1/{path}"
    return httpx.get(url, params=parameters, trust_env=False, timeout=60).json()["data"]


def test_every_program_is_scraped(watched: Composed) -> None:
    """All targets of the configuration are up, the worker's and the collector's too."""

    def states() -> dict[str, str]:
        return {target["scrapePool"] + " " + target["discoveredLabels"]["__address__"]: target["health"]
                for target in prometheus(watched, "targets")["activeTargets"]}  # fmt: skip

    eventually(lambda: set(states().values()) == {"up"}, f"all targets are up, but {states()}", seconds=180)
    assert len(states()) == 9
    found = prometheus(watched, "query", query='tenon_predictor_releases_connected{service="predictor"}')["result"]
    assert [sample["value"][1] for sample in found] == ["1"]


def test_rules_and_receivers_load(watched: Composed) -> None:
    """Every rule file was taken and evaluates; Prometheus knows its Alertmanager, and that one's configuration is ours."""
    files = inspect(watched.container("prometheus"))["Mounts"]
    assert any(mount["Destination"] == "/etc/prometheus/rules" for mount in files)
    docker("exec", watched.container("prometheus"), "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    for group in prometheus(watched, "rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] != "err", (rule["name"], rule.get("lastError"))
    names = {rule["name"] for group in prometheus(watched, "rules")["groups"] for rule in group["rules"]}
    assert "TenonNoAnswers" in names
    pages = f"http://127.0.0.1:{watched.settings['PROMETHEUS_PORT']}/user"
    assert httpx.get(f"{pages}/TenonNoAnswers.md", trust_env=False, timeout=60).text.startswith("# TenonNoAnswers")
    urls = [item["url"] for item in prometheus(watched, "alertmanagers")["activeAlertmanagers"]]
    assert urls == ["http://alertmanager:9093/api/v2/alerts"]
    shown = docker(
        "exec",
        watched.container("alertmanager"),
        "amtool",
        "--alertmanager.url=http://127.0.0.1:9093",
        "config",
        "show",
    )
    assert "receiver: nobody" in shown


def test_traces_arrive_at_the_collector(watched: Composed) -> None:
    """A request at the predictor becomes spans that the collector has counted."""
    watched.ask("predictor", "GET", "/v2/models/nothing", key=watched.admin_key, tenant="kiosk")
    query = "sum(otelcol_receiver_accepted_spans_total) or sum(otelcol_receiver_accepted_spans)"

    def spans() -> float:
        found = prometheus(watched, "query", query=query)["result"]
        return float(found[0]["value"][1]) if found else 0.0

    eventually(lambda: spans() > 0, "the collector has accepted spans", seconds=180)


def test_grafana_shows_the_dashboards(watched: Composed) -> None:
    """Provisioned from the same files as in a cluster. Only where the image can be had: it cannot be built here."""
    try:
        docker("image", "inspect", GRAFANA)
    except DockerError:
        pytest.skip(f"there is no image {GRAFANA}; no package of Debian, PyPI, npm or Go brings Grafana")
    watched.up("grafana", profiles=BOTH)
    password = (watched.secrets / "grafana.env").read_text().strip().partition("=")[2]
    url = f"http://127.0.0.1:{watched.settings['GRAFANA_PORT']}/api"
    files = list((ROOT / "deploy/helm/observability/dashboards").glob("*.json"))
    with httpx.Client(auth=("admin", password), trust_env=False, timeout=60) as client:
        found = client.get(f"{url}/search", params={"type": "dash-db"}).json()
        assert len(found) == len(files), json.dumps(found)
