"""The chart `tenant` as it is rendered: tracks, weights, routes, and what it refuses."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
import yaml

from tests.support.charts import CHARTS, ROOT, Document, Refused, environment, render

CHART = CHARTS / "tenant"
SETS = sorted((CHART / "ci").glob("*-values.yaml"), key=lambda path: path.name)
BASE = {"tenant": "acme", "model": "stay", "stable": {"version": 6}}
CANARY = ("--set", "canary.version=7", "--set", "canary.weight=10")


def tenant(*arguments: str, **values: Any) -> dict[str, Document]:
    """The release `acme` with these values."""
    return render("tenant", *arguments, values=BASE | values, name="acme")


def pins(workload: Document) -> dict[str, int]:
    """What a track's predictor is told to serve."""
    return {pin["model"]: pin["version"] for pin in json.loads(environment(workload)["TENON_PREDICTOR_PINNED"])}


def shares(rule: Document) -> dict[str, int]:
    """The weights of a rule by service and port."""
    return {f"{to['name']}:{to['port']}": to.get("weight", 1) for to in rule["backendRefs"]}


def headers(rule: Document) -> dict[str, str]:
    """The headers that a rule's first match asks for."""
    return {header["name"]: header["value"] for header in rule["matches"][0].get("headers", ())}


def test_stable_alone() -> None:
    """Without a canary the stable version has all requests, and the pod on standby has the same version and none."""
    found = tenant()
    assert pins(found["Deployment/acme-stable"]) == pins(found["Deployment/acme-canary"]) == {"stay": 6}
    grpc, rest = found["HTTPRoute/acme"]["spec"]["rules"][-2:]
    assert shares(grpc) == {"acme-stable:8081": 100, "acme-canary:8081": 0}
    assert shares(rest) == {"acme-stable:8080": 100, "acme-canary:8080": 0}


def test_without_standby() -> None:
    """Without standby and without a canary there is nothing of the canary's track at all."""
    found = tenant("--set", "rollout.standby=false")
    assert not [name for name in found if "canary" in name]
    grpc, rest = found["HTTPRoute/acme"]["spec"]["rules"]
    assert (shares(grpc), shares(rest)) == ({"acme-stable:8081": 100}, {"acme-stable:8080": 100})


@pytest.mark.parametrize("standby", ["true", "false"])
def test_canary(standby: str) -> None:
    """A canary gets its version and its share; of the stable track not a letter changes, so its pods are not restarted."""
    choice = ("--set", f"rollout.standby={standby}")
    before, found = tenant(*choice), tenant(*choice, *CANARY)
    assert found["Deployment/acme-stable"] == before["Deployment/acme-stable"]
    assert pins(found["Deployment/acme-canary"]) == {"stay": 7}
    *_, grpc, rest = found["HTTPRoute/acme"]["spec"]["rules"]
    assert shares(grpc) == {"acme-stable:8081": 90, "acme-canary:8081": 10}
    assert shares(rest) == {"acme-stable:8080": 90, "acme-canary:8080": 10}


def test_promotion_leaves_the_canarys_pods() -> None:
    """What was the canary is on standby after it was promoted, and runs on as it is."""
    during = tenant(*CANARY)
    after = tenant(*CANARY, "--set", "stable.version=7", "--set", "canary=null")
    assert pins(after["Deployment/acme-stable"]) == {"stay": 7}
    assert after["Deployment/acme-canary"] == during["Deployment/acme-canary"]
    assert shares(after["HTTPRoute/acme"]["spec"]["rules"][-1])["acme-canary:8080"] == 0


def test_grpc_comes_first() -> None:
    """For each choice of a track, and without one, gRPC's rule stands before that of REST; testers' rules stand first."""
    rules = tenant(*CANARY)["HTTPRoute/acme"]["spec"]["rules"]
    kinds = [("content-type" in headers(rule), headers(rule).get("x-tenon-track", "")) for rule in rules]
    assert kinds == [(grpc, track) for track in ("canary", "stable", "") for grpc in (True, False)]
    for rule, (grpc, track) in zip(rules, kinds, strict=True):
        assert {to["port"] for to in rule["backendRefs"]} == {8081 if grpc else 8080}
        if track:
            assert [to["name"] for to in rule["backendRefs"]] == [f"acme-{track}"]
        if grpc:
            pattern = headers(rule)["content-type"]
            assert all(re.fullmatch(pattern, kind) for kind in ("application/grpc", "application/grpc+proto"))
            assert not re.fullmatch(pattern, "application/json")


@pytest.mark.parametrize(
    ("gateway", "paths", "tenant_header"),
    [
        ({"routing": "path"}, ["/tenants/acme"], True),
        ({"routing": "host", "hosts": ["acme.example.org"]}, ["/v1", "/v2", "/tenants/acme"], False),
    ],
)
def test_routing(gateway: dict[str, Any], paths: list[str], *, tenant_header: bool) -> None:
    """By path only the tenant's own paths, and gRPC by the header that names it; by host everything that predicts. Never
    the process's own pages, such as /metrics.
    """
    route = tenant(gateway=gateway)["HTTPRoute/acme"]["spec"]
    assert route.get("hostnames", []) == gateway.get("hosts", [])
    *_, grpc, rest = route["rules"]
    assert [match["path"]["value"] for match in rest["matches"]] == paths
    assert ("x-tenon-tenant" in headers(grpc)) is tenant_header


def test_further_models() -> None:
    """Models that the canary does not name are on its track as on the stable one."""
    found = tenant(stable={"version": 6, "versions": {"cost": 3}}, canary={"versions": {"cost": 4}, "weight": 25})
    assert pins(found["Deployment/acme-stable"]) == {"stay": 6, "cost": 3}
    assert pins(found["Deployment/acme-canary"]) == {"stay": 6, "cost": 4}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tenant": "Acme"}, "tenant"),
        ({"model": "Late Arrival"}, "model"),
        ({"stable": {}}, "stable.version is needed"),
        ({"model": "", "stable": {}}, "are needed"),
        ({"canary": {"versions": {"other": 1}}}, "no stable version"),
        ({"canary": {"version": 7, "weight": 101}}, "weight"),
        ({"canary": {"version": "seven"}}, "version"),
        ({"gateway": {"routing": "host"}}, "gateway.hosts"),
        ({"replica": 3}, "replica"),
        ({"image": {"tags": "1"}}, "tags"),
        ({"predictor": {"env": {"PATH": "x"}}}, "PATH"),
        ({"rollout": {"strategy": "flagger"}, "canary": {"version": 7}}, "stable.version alone"),
        ({"rollout": {"strategy": "flagger"}, "gateway": {"enabled": False}}, "needs gateway.enabled"),
    ],
)
def test_refused(values: dict[str, Any], said: str) -> None:
    """What cannot be meant is refused before anything is installed, and named."""
    with pytest.raises(Refused, match=re.escape(said)):
        tenant(**values)


@pytest.mark.parametrize("values", SETS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_every_set_of_values(values: Path) -> None:
    """Whatever the values: nothing is random, every object says whose it is, containers have what the platform asks of
    every container, and no selector holds what changes between versions.
    """
    found = render("tenant", values=values, name="acme")
    assert found == render("tenant", values=values, name="acme")
    for name, item in found.items():
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "acme", name
        assert labels["app.kubernetes.io/managed-by"] == "Helm", name
        assert {"app.kubernetes.io/name", "app.kubernetes.io/part-of", "helm.sh/chart"} <= labels.keys(), name
        assert labels["tenon.io/tenant"] == "acme", name
    pods = [(name, item["spec"]["template"]["spec"]) for name, item in found.items() if name.startswith("Deployment/")]
    pods += [(name, item["spec"]) for name, item in found.items() if name.startswith("Pod/")]
    assert pods
    for name, pod in pods:
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
    for name, item in found.items():
        if name.startswith("Deployment/"):
            selector = item["spec"]["selector"]["matchLabels"]
            assert selector.items() <= item["spec"]["template"]["metadata"]["labels"].items(), name
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & selector.keys(), name


def test_secrets_are_named_only() -> None:
    """No Secret is made, and what is secret reaches the pod by the name of somebody else's."""
    found = tenant()
    assert not [name for name in found if name.startswith("Secret/")]
    container = found["Deployment/acme-stable"]["spec"]["template"]["spec"]["containers"][0]
    secret = {variable["name"] for variable in container["env"] if "valueFrom" in variable}
    assert secret == {"TENON_SERVICE_TOKEN", "TENON_REDIS_URL"}


def test_large_numbers() -> None:
    """A whole number in a values file arrives as it was written, and not as 1e+07."""
    found = tenant(predictor={"env": {"TENON_PREDICTOR_MAX_ROWS": 10_000_000}}, quota={"rowsPerSecond": 2_500_000})
    given = environment(found["Deployment/acme-stable"])
    assert given["TENON_PREDICTOR_MAX_ROWS"] == "10000000"
    assert given["TENON_PREDICTOR_ROWS_PER_SECOND"] == "2500000"


def test_every_value_is_explained_and_checked() -> None:
    """Each value of values.yaml stands under a comment of its own, and the schema knows it and nothing else."""
    text = (CHART / "values.yaml").read_text()
    lines = text.splitlines()
    schema = json.loads((CHART / "values.schema.json").read_text())

    def check(values: dict[str, Any], known: dict[str, Any], depth: int) -> None:
        assert known.get("additionalProperties") is False
        assert values.keys() <= known["properties"].keys()
        for key, value in values.items():
            place = next(index for index, line in enumerate(lines) if re.match(rf" {{{2 * depth}}}{key}:", line))
            inner = known["properties"][key]
            if isinstance(value, dict) and value and "properties" in inner and key not in ("requests", "limits"):
                check(value, inner, depth + 1)
            elif key not in ("requests", "limits"):
                assert lines[place - 1].lstrip().startswith("#"), key

    check(yaml.safe_load(text), schema, 0)


def test_version_is_the_projects() -> None:
    """The image that is used when none is named is the one that this tree builds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project


def test_flagger_asks_for_the_verdict_where_it_shall() -> None:
    """`flagger.verdict` adds the metric, of the versions that are wanted, and a gate before the promotion; without it nothing
    of monitor's is asked.
    """
    rollout = {"strategy": "flagger"}
    asked = tenant(rollout=rollout, flagger={"verdict": True})
    query = asked["MetricTemplate/acme-verdict"]["spec"]["query"]
    assert query.strip() == (
        'max(tenon_monitor_canary_verdict{tenant="acme",model=~"stay",version=~"6",verdict="roll_back"}) or vector(0)'
    )
    analysis = asked["Canary/acme"]["spec"]["analysis"]
    assert analysis["metrics"][-1]["templateRef"] == {"name": "acme-verdict"}
    gates = {hook["type"]: unquote_plus(hook["url"]) for hook in analysis["webhooks"]}
    assert 'verdict="promote"' in gates["confirm-promotion"]
    assert "tenon_monitor" not in gates["confirm-traffic-increase"]
    assert "tenon_monitor" not in json.dumps(tenant(rollout=rollout))
