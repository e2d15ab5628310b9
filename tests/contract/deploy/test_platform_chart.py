"""The chart `platform` as it is rendered: what its pods are told, what they may not do, and what values it refuses."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from services.trainer.worker import TASK
from tenon.kit.config import ServiceSettings
from tenon.kit.queue import make_celery
from tests.support.charts import CHARTS, ROOT, Document, Refused, render

CHART = CHARTS / "platform"
SETS = [pytest.param(path, id=path.name) for path in sorted((CHART / "ci").glob("*-values.yaml"))]
DEFAULT, BUNDLED, PRODUCTION = (CHART / f"ci/{name}-values.yaml" for name in ("a-external", "bundled", "production"))
SERVICES = ("registry", "ingest", "features", "trainer", "worker", "monitor")


@functools.cache
def platform(*arguments: str, values: Path = DEFAULT) -> dict[str, Document]:
    """The release `tenon` in the namespace `tenon`; rendered once, so nobody changes it."""
    return render("platform", *arguments, values=values, name="tenon", namespace="tenon")


def pods(found: dict[str, Document]) -> Iterator[tuple[str, Document]]:
    """What pods are made from, by the object that makes them."""
    for name, item in found.items():
        if item["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield name, item["spec"]["template"]
        elif item["kind"] == "Pod":
            yield name, item


def needed(component: str) -> tuple[type[ServiceSettings], set[str]]:
    """The settings class of a program, and what its main asks `load_settings` for, read from its source."""
    service, function = ("trainer", "main_worker") if component == "worker" else (component, "main")
    module = importlib.import_module(f"services.{service}.settings")
    source = ROOT / f"services/{service}/main.py"
    tree = ast.parse((source if source.exists() else source.with_suffix("") / "__init__.py").read_text())
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    call = next(
        node
        for node in ast.walk(main)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "load_settings"
    )
    cls, *names = call.args
    assert isinstance(cls, ast.Name)
    fields = set[str]()
    for item in names:
        if isinstance(item, ast.Starred):
            assert isinstance(item.value, ast.Name)
            fields |= set(getattr(module, item.value.id))
        else:
            assert isinstance(item, ast.Constant)
            fields.add(str(item.value))
    return getattr(module, cls.id), fields


SECRET_TEXT = {
    "TENON_DATABASE_URL": "postgresql+psycopg://nobody@nowhere/nothing",
    "TENON_REDIS_URL": "redis://nowhere:6379/0",
}


@pytest.mark.parametrize("values", SETS)
def test_settings(values: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every setting a program is given is one it knows, every one it cannot do without is given, and all can be read."""
    found = platform(values=values)
    seen = set()
    for name, template in pods(found):
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        if not name.startswith("Deployment/"):
            continue
        seen.add(component)
        container = template["spec"]["containers"][0]
        names = [variable["name"] for variable in container["env"]]
        assert len(names) == len(set(names)), name
        given = {
            variable["name"]: variable.get("value", SECRET_TEXT.get(variable["name"], "secret"))
            for variable in container["env"]
        }
        cls, fields = needed(component)
        known = {f"TENON_{field.upper()}" for field in cls.model_fields}
        assert {key for key in given if key.startswith("TENON_")} <= known, name
        with monkeypatch.context() as patched:
            for key in [key for key in os.environ if key.startswith("TENON_")]:
                patched.delenv(key)
            for key, value in given.items():
                # What is mounted there has to be there.
                place = tmp_path / value.lstrip("/")
                if value.startswith("/etc/tenon/"):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.touch()
                patched.setenv(key, str(place) if value.startswith("/etc/tenon/") else value)
            try:
                settings = cls()
            except ValidationError as err:
                raise AssertionError(f"{name}: {err}") from None
            settings.need(*fields)
    assert seen >= set(SERVICES)


def test_migrations_in_jobs() -> None:
    """Each service with tables has a Job that runs before anything else, and then does not migrate when it starts."""
    found = platform()
    jobs = {name.removeprefix("Job/tenon-migrate-"): item for name, item in found.items() if name.startswith("Job/")}
    assert set(jobs) == {"registry", "ingest", "features", "trainer", "monitor"}
    for service, job in jobs.items():
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        container = job["spec"]["template"]["spec"]["containers"][0]
        assert container["command"] == ["python", "-m", f"services.{service}", "migrate"]
        assert container["image"] == _container(found, f"Deployment/tenon-{service}")["image"]
        assert "migrate" in (ROOT / f"services/{service}/__main__.py").read_text()
    # What a hook needs comes as a hook before it, or it is not there yet.
    for name in ("ServiceAccount/tenon-migrate", "NetworkPolicy/tenon-migrate"):
        assert found[name]["metadata"]["annotations"]["helm.sh/hook-weight"] == "-10"
    for service in SERVICES:
        assert _env(found, service)["TENON_MIGRATE_AT_START"] == "false"


def test_migrations_at_start() -> None:
    """The bundled PostgreSQL is not there before the hooks, so services migrate when they start."""
    found = platform(values=BUNDLED)
    assert not [name for name in found if name.startswith("Job/")]
    assert _env(found, "registry")["TENON_MIGRATE_AT_START"] == "true"


@pytest.mark.parametrize("values", SETS)
def test_pods_are_confined(values: Path) -> None:
    """No pod runs as root, writes to its root, keeps capabilities, holds a token of the API or lacks requests and a limit."""
    for name, template in pods(platform(values=values)):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["serviceAccountName"], name
        assert spec["enableServiceLinks"] is False, name
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] == (999 if "postgresql" in name else 10001), name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec.get("initContainers", []) + spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("values", SETS)
def test_rollouts(values: Path) -> None:
    """Every Deployment replaces pods one at a time without missing one, has three probes, and time to drain."""
    found = platform(values=values)
    for name, item in found.items():
        if item["kind"] != "Deployment":
            continue
        spec = item["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}, name
        selector = spec["selector"]["matchLabels"]
        assert selector.items() <= spec["template"]["metadata"]["labels"].items()
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & selector.keys(), "selectors cannot change"
        container = spec["template"]["spec"]["containers"][0]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name
        grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
        given = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        # After SIGTERM the program itself goes on answering and then finishes; a hook before it would only be longer.
        assert "lifecycle" not in container, name
        waits = [float(given.get(f"TENON_{what}_SECONDS", 0)) for what in ("DRAIN", "FINISH")]
        assert grace >= sum(waits) + 10, name


def test_probes_with_tls() -> None:
    """Doors with TLS are probed over TLS, except by the gRPC probe, which cannot; the worker has no door."""
    plain, encrypted = platform(), platform(values=PRODUCTION)
    assert _container(plain, "Deployment/tenon-registry")["startupProbe"]["grpc"] == {"port": 8081}
    registry = _container(encrypted, "Deployment/tenon-registry")
    assert registry["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert registry["startupProbe"]["tcpSocket"] == {"port": "grpc"}
    assert "scheme" not in _container(encrypted, "Deployment/tenon-worker")["readinessProbe"]["httpGet"]


@pytest.mark.parametrize("values", SETS)
def test_no_secrets(values: Path) -> None:
    """Manifests have no Secret, and whatever is secret in a container comes from one by name."""
    found = platform(values=values)
    assert not [name for name in found if name.startswith("Secret/")]
    for name, template in pods(found):
        for container in template["spec"]["containers"]:
            for variable in container.get("env", ()):
                secret = re.search("TOKEN|_KEY$|_KEY_ID|PASSWORD|DATABASE_URL|REDIS_URL", variable["name"])
                assert ("valueFrom" in variable) == bool(secret), f"{name}: {variable['name']}"
    text = yaml.safe_dump(list(found.values()))
    assert not re.search(r"://[^/\s\"']+:[^/\s\"'@]+@", text), "a password in a URL"


def test_only_workers_sign() -> None:
    """The private key is mounted where bundles are signed and nowhere else; the API of training has no use for it."""
    found = platform(values=PRODUCTION)
    holders = {
        name for name, template in pods(found) if "tenon-signing-key" in json.dumps(template["spec"].get("volumes", []))
    }
    assert holders == {"Deployment/tenon-worker"}


def test_same_values_same_manifests() -> None:
    """Nothing is random, and nothing is asked of the cluster: what GitOps compares stays the same."""
    assert platform(values=PRODUCTION) == platform.__wrapped__(values=PRODUCTION)
    for path in (CHART / "templates").iterdir():
        assert not re.search(
            r"\b(lookup|rand\w+|genCA|genSelfSignedCert|genPrivateKey|uuidv4|now)\b ", path.read_text()
        )


def test_autoscaled_deployments_say_no_number() -> None:
    """Where somebody else changes the number of pods, the chart does not write it."""
    found = platform(values=PRODUCTION)
    scaled = {name for name, item in found.items() if item["kind"] == "Deployment" and "replicas" not in item["spec"]}
    targets = {
        f"Deployment/{item['spec']['scaleTargetRef']['name']}"
        for item in found.values()
        if item["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    }
    assert scaled == targets == {"Deployment/tenon-registry", "Deployment/tenon-worker", "Deployment/tenon-predictor"}


def test_keda_reads_the_queue_that_is_used() -> None:
    """The keys that KEDA counts are those that Celery writes: what waits, and what is being worked on."""
    triggers = platform(values=PRODUCTION)["ScaledObject/tenon-worker"]["spec"]["triggers"]
    keys = {trigger["name"]: trigger["metadata"]["listName"] for trigger in triggers}
    celery = make_celery(TASK.split(".")[0], "redis://nowhere")
    prefix = celery.conf.broker_transport_options["global_keyprefix"]
    assert keys == {"waiting": prefix + celery.conf.task_default_queue, "working": f"{prefix}unacked"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "registry.replica=3"), r"'/registry'.*'replica'"),
        (("--set", "ingest.replicas=many"), r"'/ingest/replicas'.*want integer"),
        (("--set", "registry.env.TENON_DATABASE_URL=x"), "TENON_DATABASE_URL"),
        (("--set", "env.TENON_ADMIN_KEY=x"), "TENON_ADMIN_KEY"),
        (("--set", "image.digest=sha256:0"), r"'/image'.*'digest'"),
        (("--set", "registry.image.digest=latest"), r"'/registry/image/digest'"),
        (("--set", "worker.autoscaling.kind=cron"), r"'/worker/autoscaling/kind'.*keda"),
        (("--set", "objects.url=http://x"), r"'/objects/url'"),
        (
            ("--set", "gateway.enabled=true", "--set", "gateway.hosts.predictor=a.example"),
            "gateway.hosts names predictor",
        ),
    ],
)
def test_refused(arguments: tuple[str, ...], said: str) -> None:
    """A value that is unknown, of the wrong kind or a secret is refused, and the text says where it stands."""
    with pytest.raises(Refused, match=said):
        platform(*arguments)


def test_every_value_has_its_comment() -> None:
    """Above each value stands what it means, and the schema knows each of them and nothing else."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\s*(?!requests|limits)\w+: *\S", line) and not lines[number - 1].lstrip().startswith("# "):
            raise AssertionError(f"values.yaml:{number + 1}: no comment above {line.strip()}")
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    _same_names(schema, values, schema, "")


def _same_names(schema: Document, values: Any, root: Document, place: str) -> None:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if not isinstance(values, dict) or schema.get("additionalProperties") is not False or place.endswith("resources"):
        return
    known = set(schema["properties"]) - {"global"}
    if place.startswith(("/networkPolicy/extra", "/gateway/hosts")):
        return
    assert known == set(values), place
    for name, value in values.items():
        _same_names(schema["properties"][name], value, root, f"{place}/{name}")


def test_bundled_databases_are_made_as_in_compose() -> None:
    """The script that makes databases and roles is the one that docker-compose uses."""
    ours, theirs = CHART / "files/10-databases.sh", ROOT / "deploy/docker/postgres/10-databases.sh"
    assert ours.read_text() == theirs.read_text()


def _container(found: dict[str, Document], name: str) -> Document:
    container: Document = found[name]["spec"]["template"]["spec"]["containers"][0]
    return container


def _env(found: dict[str, Document], component: str) -> dict[str, str]:
    container = _container(found, f"Deployment/tenon-{component}")
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
